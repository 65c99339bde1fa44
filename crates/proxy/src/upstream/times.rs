//! How long a server takes for its answers: an average of the past, and what is under way (`least_time`).
//!
//! Times are milliseconds on the upstream's clock. Not here: choosing by them (see `balance`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::fleet::{Squad, Standing};
use crate::config::{LeastTime, Method};

/// A new time counts so much of the average: one part in this many.
const PARTS: u64 = 8;

/// What is known of a server's times, by all cores.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// In thousandths of a millisecond; 0: nothing is known.
    average: AtomicU64,
    /// When it was measured last.
    measured: AtomicU64,
    /// Requests under way whose age counts, and the sum of the times at which they began.
    open: AtomicU64,
    begun: AtomicU64,
}

impl Times {
    fn measure(&self, took: Duration, now: u64) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let next = |before: u64| match before {
            0 => Some(took),
            before => Some((before - before / PARTS + took / PARTS).max(1)),
        };
        // Whoever comes between two cores is counted by one of them.
        let _ = self.average.fetch_update(Relaxed, Relaxed, next);
        self.measured.store(now, Relaxed);
    }

    /// How long the next request will take. One that was not asked for a while gets another chance: each `patience`
    /// without an answer halves what is known against it.
    pub(crate) fn expected(&self, patience: Duration, now: u64) -> u64 {
        let average = self.average.load(Relaxed) / 1000;
        let idle = now.saturating_sub(self.measured.load(Relaxed));
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let halvings = u32::try_from(idle / patience.max(1000)).unwrap_or(u32::MAX);
        let past = average.checked_shr(halvings).unwrap_or(0);
        let (open, begun) = (self.open.load(Relaxed), self.begun.load(Relaxed));
        // The two are not read at once; a wrong age lasts for one choice.
        let age = begun
            .checked_div(open)
            .map_or(0, |begun| now.saturating_sub(begun));
        past.max(age)
    }
}

/// One request at one server, as far as its time counts.
#[derive(Debug)]
pub(super) struct Stopwatch {
    rule: LeastTime,
    began: std::time::Instant,
    begun: u64,
    standing: Option<Arc<Standing>>,
}

impl Stopwatch {
    /// `None` if nobody asks for times.
    pub(super) fn start(squad: &Squad, index: usize) -> Option<Self> {
        let Method::LeastTime(rule) = squad.upstream.method else {
            return None;
        };
        let standing = Arc::clone(squad.servers.get(index)?);
        let begun = squad.now();
        if rule.inflight {
            standing.times.open.fetch_add(1, Relaxed);
            standing.times.begun.fetch_add(begun, Relaxed);
        }
        Some(Self {
            rule,
            began: std::time::Instant::now(),
            begun,
            standing: Some(standing),
        })
    }

    /// The head of the answer is there.
    pub(super) fn head(&mut self, squad: &Squad) {
        if !self.rule.last_byte {
            self.stop(squad);
        }
    }

    /// All of it is there.
    pub(super) fn end(mut self, squad: &Squad) {
        self.stop(squad);
    }

    fn stop(&mut self, squad: &Squad) {
        if let Some(standing) = self.leave() {
            standing.times.measure(self.began.elapsed(), squad.now());
        }
    }

    /// It does not count as under way any longer.
    fn leave(&mut self) -> Option<Arc<Standing>> {
        let standing = self.standing.take()?;
        if self.rule.inflight {
            standing.times.begun.fetch_sub(self.begun, Relaxed);
            standing.times.open.fetch_sub(1, Relaxed);
        }
        Some(standing)
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PeerAddr, Upstream};

    #[test]
    fn averages_follow_and_fade() {
        let times = Times::default();
        let expected = |now| times.expected(Duration::from_secs(10), now);
        assert_eq!(expected(1), 0);
        times.measure(Duration::from_millis(800), 1000);
        assert_eq!(expected(1000), 800);
        times.measure(Duration::from_millis(0), 1000);
        assert_eq!(expected(10_999), 700);
        assert_eq!((expected(11_000), expected(31_000)), (350, 87));
        assert_eq!(expected(10_000_000), 0);
    }

    #[test]
    fn what_is_under_way_counts_by_its_age() {
        let check = |inflight: bool, want: u64| {
            let upstream = Arc::new(Upstream {
                method: Method::LeastTime(LeastTime {
                    last_byte: true,
                    inflight,
                }),
                ..Upstream::single("a", PeerAddr::Name("a".to_owned(), 80), Default::default())
            });
            let squad = Squad::new(&upstream, None);
            let times = &squad.servers[0].times;
            let mut watch = Stopwatch::start(&squad, 0).unwrap();
            let begun = watch.begun;
            assert_eq!(times.expected(Duration::from_secs(10), begun + 500), want);
            watch.head(&squad);
            assert!(watch.standing.is_some(), "the last byte counts");
            drop(watch);
            assert_eq!(times.expected(Duration::from_secs(10), begun + 500), 0);
        };
        check(true, 500);
        check(false, 0);
    }
}
