//! An instant on CLOCK_MONOTONIC that can be written down: deadlines must outlive the brain, and clock jumps
//! must not touch them. Not here: reading the clock (see `brain::clock`).

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on CLOCK_MONOTONIC; comparable between the processes of one boot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, more: Duration) -> Self {
        let nanos = u64::try_from(more.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// How long after `earlier`; zero when it is not after it.
impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
