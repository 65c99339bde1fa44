//! Does to a body what was planned, piece by piece: here, or on a thread if it would take long.
//!
//! Not here: what is done (`plan`), or sending it.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tokio::sync::Semaphore;

use super::replace::Replace;
use super::surround::Surround;
use crate::compress::{Coding, Encoder, Inflater, MOST_TIMES, STEP, Shelf, Then};

/// How long a body may keep the core's other connections waiting, over all its pieces, in nanoseconds.
const PATIENCE: u64 = 1_000_000;

/// Work that is not worth a thread, whatever was done before, in nanoseconds.
const LIGHT: u64 = 50_000;

/// Pieces that one core has in work on threads at once.
const TURNS: usize = 2;

/// The threads of one core, and what its encoders leave to the next.
#[derive(Debug)]
pub(crate) struct Presses {
    pub(super) shelf: Shelf,
    turns: Arc<Semaphore>,
}

impl Default for Presses {
    fn default() -> Self {
        Self {
            shelf: Shelf::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }
}

/// One thing that is done.
#[derive(Debug)]
pub(super) enum Stage {
    Replace(Replace),
    Surround(Surround),
    Encode(Encoder),
}

/// All of them, in order.
#[derive(Debug, Default)]
struct Stages {
    /// What comes is gzip.
    unpacks: Option<Box<Inflater>>,
    rest: SmallVec<[Stage; 1]>,
    tally: Tally,
}

/// What the encoder has taken, and what it has made of that, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) coding: Option<Coding>,
    pub(crate) taken: u64,
    pub(crate) made: u64,
}

/// What is left of a piece from which more comes than is good at once.
#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    taken: usize,
    then: Then,
}

type Away = Pin<Box<dyn Future<Output = io::Result<(Stages, Vec<u8>, Option<Rest>)>>>>;

/// A body on its way.
#[derive(Default)]
pub(crate) struct Chain {
    stages: Stages,
    /// A piece is on a thread, and the stages with it.
    away: Option<Away>,
    rest: Option<Rest>,
    /// What a byte costs, in nanoseconds.
    cost: u64,
    /// What was spent on this thread.
    spent: u64,
    /// Bytes that have gone in and may not have come out yet.
    held: u64,
    last: bool,
}

impl Chain {
    pub(super) fn add(&mut self, stage: Stage, nanos_per_byte: u64) {
        self.stages.rest.push(stage);
        self.cost += nanos_per_byte;
    }

    /// What comes is unpacked before all else.
    pub(super) fn unpack(&mut self, inflater: Inflater, nanos_per_byte: u64) {
        self.stages.unpacks = Some(Box::new(inflater));
        self.cost += nanos_per_byte;
    }

    /// What it costs to begin, in nanoseconds.
    pub(super) fn spend(&mut self, nanos: u64) {
        self.spent += nanos;
    }

    /// Begins with a piece; what comes of it is appended to `out`, by [`poll`](Self::poll) if it takes long.
    ///
    /// # Errors
    /// The body is damaged, or there is no memory.
    pub(crate) fn begin(
        &mut self,
        presses: &Presses,
        bytes: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let owed = self.held.saturating_add(bytes.len() as u64);
        self.held = if then == Then::More { owed } else { 0 };
        self.last = then == Then::End;
        let unpacks = self.stages.unpacks.is_some();
        for stage in &mut self.stages.rest {
            if let Stage::Encode(encoder) = stage {
                let (bytes, then) = if unpacks {
                    (&[][..], Then::More)
                } else {
                    (bytes, then)
                };
                encoder.prepare(&presses.shelf, bytes, then)?;
            }
        }
        if unpacks {
            self.rest = Some(Rest {
                bytes: bytes.to_vec(),
                taken: 0,
                then,
            });
            return self.go_on(presses, out);
        }
        let cost = self.cost.saturating_mul(bytes.len() as u64);
        self.spent = self.spent.saturating_add(cost);
        // Nothing more comes, but the work for what came before may be due only now.
        let is_light =
            bytes.is_empty() && (then == Then::More || self.cost.saturating_mul(owed) <= LIGHT);
        if is_light || self.spent <= PATIENCE {
            self.stages.put(bytes, then, out)?;
            self.finish(presses);
            return Ok(());
        }
        let bytes = bytes.to_vec();
        self.send_away(presses, move |stages, out| {
            stages.put(&bytes, then, out)?;
            Ok(None)
        });
        Ok(())
    }

    /// Unpacks more of a piece, so much that it is done soon.
    fn go_on(&mut self, presses: &Presses, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(rest) = self.rest.take() else {
            return Ok(());
        };
        let length = (rest.bytes.len() - rest.taken).saturating_mul(MOST_TIMES);
        let cost = self.cost.saturating_mul(length.min(STEP) as u64);
        if self.spent.saturating_add(cost) <= PATIENCE {
            let (rest, made) = self.stages.unpack(rest, out)?;
            self.spent += self.cost.saturating_mul(made as u64);
            self.rest = rest;
            self.finish(presses);
            return Ok(());
        }
        self.spent = self.spent.saturating_add(cost);
        self.send_away(presses, move |stages, out| {
            let (rest, _) = stages.unpack(rest, out)?;
            Ok(rest)
        });
        Ok(())
    }

    /// Does it on a thread.
    fn send_away(
        &mut self,
        presses: &Presses,
        work: impl FnOnce(&mut Stages, &mut Vec<u8>) -> io::Result<Option<Rest>> + Send + 'static,
    ) {
        let mut stages = std::mem::take(&mut self.stages);
        let turns = Arc::clone(&presses.turns);
        self.away = Some(Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let work = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let mut out = Vec::new();
                let rest = work(&mut stages, &mut out)?;
                Ok((stages, out, rest))
            });
            work.await.map_err(io::Error::other)?
        }));
    }

    /// Whether more comes of the last piece, by [`poll`](Self::poll).
    pub(crate) fn is_busy(&self) -> bool {
        self.away.is_some() || self.rest.is_some()
    }

    /// Whether [`Then::Flush`] could bring something out.
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// What was compressed, once all of it was.
    pub(crate) fn tally(&self) -> Tally {
        self.stages.tally
    }

    /// Waits for what comes next of a piece. It may not be all yet: [`is_busy`](Self::is_busy) tells.
    ///
    /// # Errors
    /// The body is damaged, or there is no memory.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        presses: &Presses,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        if self.away.is_none() {
            self.go_on(presses, out)?;
        }
        let Some(away) = &mut self.away else {
            return Poll::Ready(Ok(()));
        };
        let Poll::Ready(done) = away.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.away = None;
        let (stages, bytes, rest) = done?;
        self.stages = stages;
        self.rest = rest;
        out.extend_from_slice(&bytes);
        self.finish(presses);
        Poll::Ready(Ok(()))
    }

    /// Both in one, for who has nothing else to do. What comes of a piece may not be all yet, as with
    /// [`poll`](Self::poll); [`more`](Self::more) brings the rest.
    ///
    /// # Errors
    /// The body is damaged, or there is no memory.
    pub(crate) async fn run(
        &mut self,
        presses: &Presses,
        bytes: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.begin(presses, bytes, then, out)?;
        if self.away.is_some() {
            self.more(presses, out).await?;
        }
        Ok(())
    }

    /// More of what comes of the last piece.
    ///
    /// # Errors
    /// The body is damaged, or there is no memory.
    pub(crate) async fn more(&mut self, presses: &Presses, out: &mut Vec<u8>) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx, presses, out)).await
    }

    fn finish(&mut self, presses: &Presses) {
        if !self.last || self.rest.is_some() {
            return;
        }
        for stage in self.stages.rest.drain(..) {
            if let Stage::Encode(encoder) = stage {
                self.stages.tally.coding = Some(encoder.coding());
                presses.shelf.give_back(encoder);
            }
        }
    }
}

impl Stages {
    fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        let Some((last, before)) = self.rest.split_last_mut() else {
            out.extend_from_slice(bytes);
            return Ok(());
        };
        let mut now = Cow::Borrowed(bytes);
        for stage in before {
            let mut next = Vec::new();
            stage.put(&now, then, &mut next)?;
            now = Cow::Owned(next);
        }
        let start = out.len();
        last.put(&now, then, out)?;
        self.tally.taken += now.len() as u64;
        self.tally.made += (out.len() - start) as u64;
        Ok(())
    }

    /// One step of unpacking, and all else to what comes of it. Returns what is left, and how much came.
    fn unpack(&mut self, mut rest: Rest, out: &mut Vec<u8>) -> io::Result<(Option<Rest>, usize)> {
        let mut made = Vec::new();
        let Some(inflater) = &mut self.unpacks else {
            return Ok((None, 0));
        };
        rest.taken += inflater.step(&rest.bytes[rest.taken..], rest.then, &mut made)?;
        let ends = rest.taken == rest.bytes.len();
        let then = if ends { rest.then } else { Then::More };
        self.put(&made, then, out)?;
        Ok(((!ends).then_some(rest), made.len()))
    }
}

impl Stage {
    fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Replace(replace) => {
                replace.put(bytes, then, out);
                Ok(())
            }
            Self::Surround(surround) => {
                surround.put(bytes, then, out);
                Ok(())
            }
            Self::Encode(encoder) => encoder.put(bytes, then, out),
        }
    }
}

impl Drop for Chain {
    /// A body that was given up on leaves an encoder behind, and giving its memory back may take long.
    fn drop(&mut self) {
        let stages = std::mem::take(&mut self.stages);
        let is_heavy = |stage: &Stage| matches!(stage, Stage::Encode(Encoder::Zstd(Some(_))));
        if stages.rest.iter().any(is_heavy)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(stages));
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("stages", &self.stages)
            .field("away", &self.away.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Coding;
    use crate::config::CodingRules;

    /// What takes long is done on a thread, so that the core goes on meanwhile; what does not is not worth one.
    #[test]
    fn long_work_is_done_elsewhere() {
        let presses = Presses::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for (level, length, want) in [(1, 20_000, false), (9, 200_000, true)] {
                let rules = CodingRules {
                    coding: Coding::Gzip,
                    types: Vec::new(),
                    level,
                    min_length: 0,
                    window: 0,
                };
                let mut chain = Chain::default();
                let encoder = Encoder::new(&rules, None).unwrap();
                let cost = crate::compress::nanos_per_byte(Coding::Gzip, level);
                chain.add(Stage::Encode(encoder), cost);
                let mut out = Vec::new();
                let bytes = vec![b'x'; length];
                chain.begin(&presses, &bytes, Then::More, &mut out).unwrap();
                assert_eq!(chain.is_busy(), want, "{length} bytes at level {level}");
                poll_fn(|cx| chain.poll(cx, &presses, &mut out))
                    .await
                    .unwrap();
                // Many small pieces are a large body too.
                let mut away = 0;
                for _ in 0..100 {
                    chain.begin(&presses, &bytes, Then::More, &mut out).unwrap();
                    away += u32::from(chain.is_busy());
                    poll_fn(|cx| chain.poll(cx, &presses, &mut out))
                        .await
                        .unwrap();
                }
                assert!(away > 50, "{away} of 100");
                chain.run(&presses, b"", Then::End, &mut out).await.unwrap();
                let mut read = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(&out[..]);
                std::io::Read::read_to_end(&mut decoder, &mut read).unwrap();
                assert_eq!(read.len(), length * 101);
            }
        });
    }

    /// Tables of many megabytes are not cleared where others wait, however short the first piece is.
    #[test]
    fn what_costs_much_to_begin_is_begun_elsewhere() {
        let presses = Presses::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            for (level, length, want) in
                [(1, None, false), (12, None, true), (12, Some(900), false)]
            {
                let mut chain = Chain::default();
                chain.spend(crate::compress::nanos_to_begin(Coding::Zstd, level, length));
                let rules = CodingRules {
                    coding: Coding::Zstd,
                    types: Vec::new(),
                    level,
                    min_length: 0,
                    window: 0,
                };
                let cost = crate::compress::nanos_per_byte(Coding::Zstd, level);
                chain.add(Stage::Encode(Encoder::new(&rules, length).unwrap()), cost);
                let mut out = Vec::new();
                chain.begin(&presses, b"few", Then::More, &mut out).unwrap();
                assert_eq!(chain.is_busy(), want, "level {level}, {length:?}");
            }
        });
    }
}
