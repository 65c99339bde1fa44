//! How long requests took, in buckets: a histogram of one core, without locks.
//!
//! Not here: which times are put in.

use std::cell::Cell;
use std::time::Duration;

use serde::Serialize;

/// Upper bounds in seconds.
pub(crate) const BOUNDS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Times of one kind.
#[derive(Debug, Default)]
pub(crate) struct Times {
    counts: [Cell<u64>; BOUNDS.len() + 1],
    micros: Cell<u64>,
}

/// The same, to be added up and shown.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TimesSnapshot {
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    pub(crate) seconds: f64,
}

impl Times {
    pub(crate) fn put(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        let count = &self.counts[bucket];
        count.set(count.get() + 1);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.set(self.micros.get().saturating_add(micros));
    }

    pub(crate) fn snapshot(&self) -> TimesSnapshot {
        TimesSnapshot {
            counts: std::array::from_fn(|bucket| self.counts[bucket].get()),
            seconds: self.micros.get() as f64 / 1e6,
        }
    }
}

impl TimesSnapshot {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
        self.seconds += other.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        let times = Times::default();
        for millis in [0, 1, 2, 300, 60_000] {
            times.put(Duration::from_millis(millis));
        }
        let mut seen = times.snapshot();
        seen.add(&times.snapshot());
        assert_eq!(seen.counts, [4, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2]);
        assert!((seen.seconds - 120.606).abs() < 1e-6);
    }
}
