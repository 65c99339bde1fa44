//! An answer that is changed on its way: puts its pieces through the chain, and what comes out into the frame.
//!
//! Small output waits for more of it, but only as long as the upstream has more to give at once. Not here: what the
//! chain does (`filter`).

use std::ops::Range;
use std::task::{Context, Poll, ready};

use trine_http1::{BodyLength, CHUNK_END, LAST_CHUNK, write_chunk_head};

use super::exchange::Exchange;
use super::fault::Fault;
use super::relay::Relay;
use crate::compress::Then;
use crate::filter::{Chain, Tally};

/// Less than this is not worth a write of its own.
const WORTH_SENDING: usize = 4096;

/// Up to this length a body is put through in one piece.
const MOST_AT_ONCE: u64 = 64 * 1024;

/// The chain, and what it has made.
#[derive(Debug)]
pub(super) struct Filtered {
    chain: Chain,
    /// A short body of known length is put through in one piece, once it is all there.
    whole: Option<Vec<u8>>,
    /// The length is known: the rest is on its way, and what is kept back meanwhile keeps nobody waiting.
    is_told: bool,
    made: Vec<u8>,
    /// What the output buffer holds has not gone out yet: the head.
    gathered: bool,
    then: Then,
}

impl Filtered {
    /// The head is in the output buffer.
    pub(super) fn new(chain: Chain, length: BodyLength) -> Self {
        let is_short = matches!(length, BodyLength::Known(length) if length <= MOST_AT_ONCE);
        Self {
            chain,
            whole: is_short.then(Vec::new),
            is_told: matches!(length, BodyLength::Known(_)),
            made: Vec::new(),
            gathered: true,
            then: Then::More,
        }
    }

    /// More comes of the last piece.
    pub(super) fn is_busy(&self) -> bool {
        self.chain.is_busy()
    }

    /// What was compressed.
    pub(super) fn tally(&self) -> Tally {
        self.chain.tally()
    }

    /// Something is kept back that the client could have.
    fn holds(&self) -> bool {
        self.gathered || !self.made.is_empty() || self.chain.holds()
    }
}

impl Relay {
    /// A piece has come.
    pub(super) fn filter(
        &mut self,
        exchange: &mut Exchange<'_>,
        piece: Range<usize>,
        then: Then,
    ) -> Result<(), Fault> {
        let Some(filtered) = &mut self.filtered else {
            return Ok(());
        };
        filtered.then = then;
        let presses = &exchange.conn.engine.presses;
        let bench = &exchange.bench;
        let buffer = self.reading.buffer(&bench.answer, &bench.sending);
        let mut bytes = &buffer.all()[piece];
        let whole;
        if let Some(front) = &mut filtered.whole {
            if then != Then::End {
                front.extend_from_slice(bytes);
                return Ok(());
            }
            if !front.is_empty() {
                front.extend_from_slice(bytes);
                whole = std::mem::take(front);
                bytes = &whole;
            }
        }
        filtered
            .chain
            .begin(presses, bytes, then, &mut filtered.made)
            .map_err(Fault::Filter)?;
        // Else what has come of it is on a thread.
        if !filtered.chain.is_busy() || !filtered.made.is_empty() {
            self.deliver(exchange);
        }
        Ok(())
    }

    /// Nothing more has come for now. Whether something goes out that was kept back.
    pub(super) fn flush(&mut self, exchange: &mut Exchange<'_>) -> Result<bool, Fault> {
        let Some(filtered) = &mut self.filtered else {
            return Ok(false);
        };
        if filtered.is_told || !filtered.holds() {
            return Ok(false);
        }
        if filtered.chain.holds() {
            self.filter(exchange, 0..0, Then::Flush)?;
        } else {
            filtered.then = Then::Flush;
            self.deliver(exchange);
        }
        Ok(true)
    }

    /// Waits for more of what comes of a piece.
    pub(super) fn poll_filter(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Poll<Result<(), Fault>> {
        if let Some(filtered) = &mut self.filtered {
            let presses = &exchange.conn.engine.presses;
            ready!(filtered.chain.poll(cx, presses, &mut filtered.made)).map_err(Fault::Filter)?;
            self.deliver(exchange);
        }
        Poll::Ready(Ok(()))
    }

    /// Makes a frame of what the chain has made, if it is worth that.
    fn deliver(&mut self, exchange: &mut Exchange<'_>) {
        let Some(filtered) = &mut self.filtered else {
            return;
        };
        let then = if filtered.is_busy() {
            Then::More
        } else {
            filtered.then
        };
        let Filtered { made, gathered, .. } = filtered;
        if then == Then::More && made.len() < WORTH_SENDING {
            return;
        }
        let out = &mut exchange.bench.out;
        if !std::mem::replace(gathered, false) {
            out.clear();
        }
        if !made.is_empty() {
            if self.chunked {
                write_chunk_head(out, made.len());
            }
            out.extend_from_slice(made);
            if self.chunked {
                out.extend_from_slice(CHUNK_END);
            }
        }
        self.body_bytes += made.len() as u64;
        made.clear();
        let is_last = then == Then::End;
        self.end(is_last);
        let tail: &'static [u8] = if self.chunked && self.complete {
            LAST_CHUNK
        } else {
            b""
        };
        self.frame.load(out, b"", 0..0, tail);
    }
}
