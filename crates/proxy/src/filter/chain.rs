//! Does to a body what was planned, piece by piece: here, or on a thread if it would take long.
//!
//! Not here: what is done (`plan`), or sending it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tokio::sync::Semaphore;

use super::replace::Replace;
use crate::compress::{Encoder, Inflater, Shelf, Then};

/// How long a body may keep the core's other connections waiting, over all its pieces, in nanoseconds.
const PATIENCE: u64 = 1_000_000;

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
    Unpack(Box<Inflater>),
    Replace(Replace),
    Encode(Encoder),
}

/// All of them, in order.
#[derive(Debug, Default)]
struct Stages(SmallVec<[Stage; 1]>);

type Away = Pin<Box<dyn Future<Output = io::Result<(Stages, Vec<u8>)>>>>;

/// A body on its way.
#[derive(Default)]
pub(crate) struct Chain {
    stages: Stages,
    /// A piece is on a thread, and the stages with it.
    away: Option<Away>,
    /// What a byte costs, in nanoseconds.
    cost: u64,
    /// What was spent on this thread.
    spent: u64,
    /// Some of what has gone in may not have come out yet.
    holds: bool,
    last: bool,
}

impl Chain {
    pub(super) fn add(&mut self, stage: Stage, nanos_per_byte: u64) {
        self.stages.0.push(stage);
        self.cost += nanos_per_byte;
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
        self.holds = then == Then::More && (self.holds || !bytes.is_empty());
        self.last = then == Then::End;
        for stage in &mut self.stages.0 {
            if let Stage::Encode(encoder) = stage {
                encoder.prepare(&presses.shelf, bytes, then)?;
            }
        }
        let cost = self.cost.saturating_mul(bytes.len() as u64);
        if self.spent.saturating_add(cost) <= PATIENCE || bytes.is_empty() {
            self.spent += cost;
            self.stages.put(bytes, then, out)?;
            self.finish(presses);
            return Ok(());
        }
        let mut stages = std::mem::take(&mut self.stages);
        let turns = Arc::clone(&presses.turns);
        let bytes = bytes.to_vec();
        self.away = Some(Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let work = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let mut out = Vec::new();
                stages.put(&bytes, then, &mut out)?;
                Ok((stages, out))
            });
            work.await.map_err(io::Error::other)?
        }));
        Ok(())
    }

    /// Whether a piece is on a thread.
    pub(crate) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Whether [`Then::Flush`] could bring something out.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Waits for a piece that is on a thread.
    ///
    /// # Errors
    /// The body is damaged, or there is no memory.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        presses: &Presses,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let Some(away) = &mut self.away else {
            return Poll::Ready(Ok(()));
        };
        let Poll::Ready(done) = away.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.away = None;
        let (stages, bytes) = done?;
        self.stages = stages;
        out.extend_from_slice(&bytes);
        self.finish(presses);
        Poll::Ready(Ok(()))
    }

    /// Both in one, for who has nothing else to do.
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
        poll_fn(|cx| self.poll(cx, presses, out)).await
    }

    fn finish(&mut self, presses: &Presses) {
        if !self.last {
            return;
        }
        for stage in self.stages.0.drain(..) {
            if let Stage::Encode(encoder) = stage {
                presses.shelf.give_back(encoder);
            }
        }
    }
}

impl Stages {
    fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self.0.as_mut_slice() {
            [only] => only.put(bytes, then, out),
            stages => {
                let mut now = bytes.to_vec();
                for stage in stages {
                    let mut next = Vec::new();
                    stage.put(&now, then, &mut next)?;
                    now = next;
                }
                out.append(&mut now);
                Ok(())
            }
        }
    }
}

impl Stage {
    fn put(&mut self, bytes: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Unpack(inflater) => inflater.put(bytes, then, out),
            Self::Replace(replace) => {
                replace.put(bytes, then, out);
                Ok(())
            }
            Self::Encode(encoder) => encoder.put(bytes, then, out),
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
                assert_eq!(chain.is_away(), want, "{length} bytes at level {level}");
                poll_fn(|cx| chain.poll(cx, &presses, &mut out))
                    .await
                    .unwrap();
                // Many small pieces are a large body too.
                let mut away = 0;
                for _ in 0..100 {
                    chain.begin(&presses, &bytes, Then::More, &mut out).unwrap();
                    away += u32::from(chain.is_away());
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
}
