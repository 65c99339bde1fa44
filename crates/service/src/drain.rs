//! Shutdown with a deadline: one token stops intake, one tracker counts what is in flight, one clock ends the wait.
//!
//! Not here: closing the connections that are left when the time is over; dropping their tasks does that.

use std::future::{Future, pending};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a cut drain is worth a log line"]
pub enum Drained {
    /// Everything in flight finished.
    Clean,
    /// The deadline, or somebody in a hurry, came first.
    Cut {
        /// Tasks that had not finished.
        still_open: usize,
    },
}

/// Stops intake by cancelling `stop`, then waits for all of `conns`, at most for `grace`.
pub async fn drain(stop: &CancellationToken, conns: &TaskTracker, grace: Duration) -> Drained {
    drain_unless(stop, conns, grace, pending()).await
}

/// Like [`drain`], and also ends as soon as `hurry` resolves: a second signal, for instance.
pub async fn drain_unless(
    stop: &CancellationToken,
    conns: &TaskTracker,
    grace: Duration,
    hurry: impl Future<Output = ()>,
) -> Drained {
    stop.cancel(); // accept loops and idle keep-alives end here
    conns.close(); // from now on `wait` can finish
    tokio::select! {
        biased;
        () = conns.wait() => Drained::Clean,
        () = hurry => Drained::Cut { still_open: conns.len() },
        () = tokio::time::sleep(grace) => Drained::Cut { still_open: conns.len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[tokio::test(flavor = "current_thread")]
    async fn outcomes() {
        let stop = CancellationToken::new();
        let conns = TaskTracker::new();
        assert_eq!(drain(&stop, &conns, Duration::ZERO).await, Drained::Clean);
        assert!(stop.is_cancelled());

        let _held = (conns.token(), conns.token());
        assert_eq!(
            drain(&stop, &conns, Duration::ZERO).await,
            Drained::Cut { still_open: 2 }
        );
        let hurried = drain_unless(&stop, &conns, Duration::from_secs(3600), ready(())).await;
        assert_eq!(hurried, Drained::Cut { still_open: 2 });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn waits_for_what_is_in_flight() {
        let (stop, conns) = (CancellationToken::new(), TaskTracker::new());
        let held = conns.token();
        let finish = async {
            stop.cancelled().await;
            drop(held);
        };
        let (drained, ()) = tokio::join!(drain(&stop, &conns, Duration::from_secs(3600)), finish);
        assert_eq!(drained, Drained::Clean);
    }
}
