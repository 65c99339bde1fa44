//! Waiting for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a busy two-core machine, short enough that a hang is noticed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer; panics with `what` when there is none in time.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(what, PATIENCE, ask)
}

/// Like [`until`], with a deadline of its own.
#[track_caller]
pub fn until_within<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < patience,
            "waited {patience:?} in vain for {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
