//! The one place that reads CLOCK_MONOTONIC. Not here: timers.

use crate::program::moment::Moment;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The present moment. The clock always exists; if the kernel said otherwise, time would stand still.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Moment::default() + time
}
