//! What calls of the application are like: short and computing, or waiting for something.
//!
//! Looked at once in a while, since the processor's clock of a thread costs a system call.
//! Not here: what follows from it (`hall`).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A call that takes longer is not short.
const SHORT: Duration = Duration::from_millis(1);
/// Of so many calls one is measured.
const EVERY: u32 = 16;

/// The calls of one thread.
#[derive(Debug, Default)]
pub(super) struct Pace {
    calls: u32,
    /// The processor's time at the beginning of the call that is measured.
    began: Option<Duration>,
}

impl Pace {
    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(EVERY) {
            self.began = processor_time();
        }
    }

    /// It has ended after `took`. Whether calls are short and compute, when that was looked at.
    pub(super) fn end(&mut self, took: Duration) -> Option<bool> {
        if took > SHORT {
            self.began = None;
            return Some(false);
        }
        let began = self.began.take()?;
        let used = processor_time()?.checked_sub(began)?;
        Some(is_brisk(took, used))
    }
}

/// Half of a short call was spent computing; the rest may have been the loop's, on the same processor.
fn is_brisk(took: Duration, used: Duration) -> bool {
    took <= SHORT && used * 2 >= took
}

fn processor_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .ok()
        .map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_calls_that_compute() {
        let us = Duration::from_micros;
        for (took, used, want) in [
            (us(100), us(90), true),
            (us(100), us(60), true),
            (us(100), us(40), false),
            (us(2000), us(2000), false),
        ] {
            assert_eq!(is_brisk(took, used), want, "{took:?} {used:?}");
        }
        let mut pace = Pace::default();
        let mut seen = 0;
        for _ in 0..EVERY * 3 {
            pace.begin();
            seen += u32::from(pace.end(us(100)).is_some());
        }
        assert_eq!(seen, 3);
        pace.begin();
        assert_eq!(pace.end(us(5000)), Some(false));
    }
}
