//! How fast a client sends its body, or takes its answer: only the time counts in which it is waited for.
//!
//! Not here: waiting (`wait`, `upstream::exchange`).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// So long a client may be slower than it has to be.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// One direction of one request.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// When the wait that is under way began.
    since: Cell<Option<Instant>>,
    waited: Cell<Duration>,
    bytes: Cell<u64>,
}

impl Lane {
    /// How much has come or gone for the request under way.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// For another request.
    pub(crate) fn reset(&self) {
        self.since.set(None);
        self.waited.set(Duration::ZERO);
        self.bytes.set(0);
    }

    /// Something has come or gone.
    pub(crate) fn moved(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited.set(self.waited.get() + since.elapsed());
        }
    }

    /// The client is waited for from now on, if it was not before: when that has been too long for a client that has to
    /// make so many bytes in a second. `None`: never, since no rate is asked for.
    pub(crate) fn late_at(&self, rate: u64, now: Instant) -> Option<Instant> {
        if rate == 0 {
            return None;
        }
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        let millis = u128::from(self.bytes.get()) * 1000 / u128::from(rate);
        let earned = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        let left = GRACE
            .saturating_add(earned)
            .saturating_sub(self.waited.get());
        since.checked_add(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_buy_time() {
        let lane = Lane::default();
        let now = Instant::now();
        assert_eq!(lane.late_at(0, now), None);
        assert_eq!(lane.late_at(1000, now), Some(now + GRACE));
        // The same wait goes on.
        let later = now + Duration::from_secs(3);
        assert_eq!(lane.late_at(1000, later), Some(now + GRACE));
        lane.moved(2000);
        let waited = lane.waited.get();
        let next = Instant::now();
        let left = GRACE + Duration::from_secs(2) - waited;
        assert_eq!(lane.late_at(1000, next), Some(next + left));
        lane.reset();
        assert_eq!(lane.late_at(1000, next), Some(next + GRACE));
    }
}
