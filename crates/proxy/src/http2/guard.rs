//! Counts frames that cost work and ask for nothing: resets, pings, settings, empty content and the like.
//!
//! Pure: the client's bytes and the time in, a verdict out. A client has a stock of such frames that fills up again with
//! time; those that need none of it are requests, content and window updates, which have limits of their own. Not here:
//! what happens to a client whose stock is used up.

use std::time::{Duration, Instant};

/// How many such frames a client may send at once, and how long it takes for one more.
const STOCK: u32 = 400;
const REFILL: Duration = Duration::from_millis(10);

const HEADER: usize = 9;
const PREFACE: usize = 24;
const END_STREAM: u8 = 1;

/// The client sends more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flood;

/// What is known of a client's frames.
#[derive(Debug)]
pub(super) struct Guard {
    header: [u8; HEADER],
    seen: usize,
    /// Bytes that come before the next frame's header.
    skip: usize,
    stock: u32,
    /// Up to when the stock was filled up.
    filled: Option<Instant>,
}

impl Guard {
    /// For a connection from its first byte on.
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER],
            seen: 0,
            skip: PREFACE,
            stock: STOCK,
            filled: None,
        }
    }

    /// Looks at the next bytes that have come.
    pub(super) fn watch(&mut self, bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        let mut rest = bytes;
        let mut verdict = Ok(());
        loop {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = &rest[skipped..];
            let taken = (HEADER - self.seen).min(rest.len());
            self.header[self.seen..self.seen + taken].copy_from_slice(&rest[..taken]);
            self.seen += taken;
            rest = &rest[taken..];
            if self.seen < HEADER {
                return verdict;
            }
            self.seen = 0;
            let [high, middle, low, kind, flags, ..] = self.header;
            self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            let asks = match kind {
                // Content, or its end.
                0 => self.skip > 0 || flags & END_STREAM != 0,
                // A request, and the client's word about how much it takes.
                1 | 8 => true,
                _ => false,
            };
            if !asks {
                verdict = verdict.and(self.spend(now()));
            }
        }
    }

    fn spend(&mut self, now: Instant) -> Result<(), Flood> {
        let filled = *self.filled.get_or_insert(now);
        let gained = now.saturating_duration_since(filled).as_nanos() / REFILL.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX).min(STOCK);
        if gained > 0 {
            self.stock = (self.stock + gained).min(STOCK);
            self.filled = Some(now);
        }
        self.stock = self.stock.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, kind, flags, 0, 0, 0, 1];
        bytes[1] = u8::try_from(payload >> 8).unwrap();
        bytes[2] = u8::try_from(payload & 255).unwrap();
        bytes.resize(HEADER + payload, 0xff);
        bytes
    }

    /// How many of these frames a client may send at once, in pieces of this size.
    fn count(kind: u8, flags: u8, payload: usize, piece: usize) -> usize {
        let start = Instant::now();
        let mut guard = Guard::new();
        guard.watch(&[b'P'; PREFACE], || start).unwrap();
        (0..2000)
            .take_while(|_| {
                frame(kind, flags, payload)
                    .chunks(piece)
                    .all(|piece| guard.watch(piece, || start).is_ok())
            })
            .count()
    }

    #[test]
    fn what_only_costs_is_limited() {
        for (kind, flags, payload) in [
            (2, 0, 5),
            (3, 0, 4),
            (4, 0, 0),
            (4, 1, 0),
            (6, 0, 8),
            (9, 0, 0),
            (9, 4, 300),
            (0, 0, 0),
            (77, 0, 1),
        ] {
            for piece in [1, 4, 9, 1000] {
                assert_eq!(count(kind, flags, payload, piece), 400, "{kind} {flags}");
            }
        }
    }

    #[test]
    fn what_asks_for_something_is_not() {
        for (kind, flags, payload) in [(0, 1, 0), (0, 0, 1), (0, 0, 1000), (1, 4, 20), (8, 0, 4)] {
            assert_eq!(count(kind, flags, payload, 7), 2000, "{kind} {flags}");
        }
    }

    #[test]
    fn the_stock_fills_up_again() {
        let start = Instant::now();
        let mut guard = Guard::new();
        guard.watch(&[0; PREFACE], || start).unwrap();
        let ping = frame(6, 0, 8);
        let burst = |guard: &mut Guard, now: Instant| {
            (0..1000)
                .take_while(|_| guard.watch(&ping, || now).is_ok())
                .count()
        };
        assert_eq!(burst(&mut guard, start), 400);
        assert_eq!(burst(&mut guard, start + Duration::from_millis(55)), 5);
        assert_eq!(burst(&mut guard, start + Duration::from_secs(3600)), 400);
    }
}
