//! `limit_rate`: how much of an answer may go out by now.
//!
//! Pure but for its timer. Not here: writing (`conn::wait`, `files::send`, `upstream::relay`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A limit in bytes for each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Not zero.
    pub(crate) bytes: u64,
    /// So much goes out at full speed first.
    pub(crate) after: u64,
}

/// One answer on its way.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    began: Instant,
    sent: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// For a request that came at `began`.
    pub(crate) fn new(rate: Rate, began: Instant) -> Self {
        Self {
            rate,
            began,
            sent: 0,
            sleep: None,
        }
    }

    /// Notes what has gone out.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// How much may have gone out `elapsed` after the request came: as in nginx, the first second's worth at once.
    fn allowed(&self, elapsed: Duration) -> u64 {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let flowed = u128::from(self.rate.bytes) * (u128::from(millis) + 1000) / 1000;
        u64::try_from(flowed)
            .unwrap_or(u64::MAX)
            .saturating_add(self.rate.after)
    }

    /// How much may go out now, at least a byte.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            let left = self.allowed(self.began.elapsed()).saturating_sub(self.sent);
            if left > 0 {
                return Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX));
            }
            // Not byte by byte: what flows in a tenth of a second.
            let wanted = (self.rate.bytes / 10).max(1);
            self.sleep = Some(Box::pin(tokio::time::sleep(self.until(wanted))));
        }
    }

    /// How long until so many bytes more may go out.
    fn until(&self, wanted: u64) -> Duration {
        let over = (self.sent + wanted).saturating_sub(self.rate.after);
        let at = u128::from(over) * 1000 / u128::from(self.rate.bytes);
        let at = u64::try_from(at).unwrap_or(u64::MAX).saturating_sub(1000) + 1;
        Duration::from_millis(at).saturating_sub(self.began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_ahead() {
        let mut pace = Pace::new(
            Rate {
                bytes: 1000,
                after: 500,
            },
            Instant::now(),
        );
        assert_eq!(pace.allowed(Duration::ZERO), 1500);
        assert_eq!(pace.allowed(Duration::from_millis(2500)), 4000);
        pace.sent(1500);
        let wait = pace.until(100);
        assert!(wait <= Duration::from_millis(101), "{wait:?}");
        let mut huge = Pace::new(
            Rate {
                bytes: u64::MAX,
                after: u64::MAX,
            },
            Instant::now(),
        );
        huge.sent(5);
        assert_eq!(huge.allowed(Duration::from_secs(9)), u64::MAX);
    }
}
