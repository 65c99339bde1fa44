//! Waiting for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use crate::kernel;

/// Long enough for a busy two-core machine, short enough that a hang is noticed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; panics with `what` when there is none in time. In a kernel of the test's
/// own, where all is slow, it takes longer, and asks less often so as not to be in the way.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    let patience = if kernel::is_inside() {
        PATIENCE * 6
    } else {
        PATIENCE
    };
    until_within(what, patience, ask)
}

/// Like [`until`], with a deadline of its own.
#[track_caller]
pub fn until_within<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let pause = Duration::from_millis(if kernel::is_inside() { 50 } else { 5 });
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < patience,
            "waited {patience:?} in vain for {what}"
        );
        thread::sleep(pause);
    }
}
