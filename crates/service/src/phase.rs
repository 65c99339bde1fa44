//! The four phases of a daemon's life, and the cell that publishes the current one.
//!
//! Not here: what a daemon does in a phase, or who is told about it (control socket, service manager).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a daemon is in its life. Phases only ever go forward.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading configuration, binding, waiting for the first worker.
    Starting,
    /// Doing its work.
    Ready,
    /// Takes nothing new, finishes what it has.
    Draining,
    /// Done; the process is about to end.
    Gone,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Starting, Self::Ready, Self::Draining, Self::Gone];

    /// The word used on the control socket and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The current phase, shared by everybody who wants to know it. Clones are handles on the same cell.
#[derive(Debug, Clone)]
pub struct PhaseCell {
    now: Arc<AtomicU8>,
    #[cfg(feature = "tokio")]
    watch: tokio::sync::watch::Sender<Phase>,
}

impl Default for PhaseCell {
    fn default() -> Self {
        Self::new()
    }
}

impl PhaseCell {
    /// A cell in phase [`Phase::Starting`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Arc::new(AtomicU8::new(Phase::Starting as u8)),
            #[cfg(feature = "tokio")]
            watch: tokio::sync::watch::Sender::new(Phase::Starting),
        }
    }

    /// Goes forward to `phase`. Returns whether it changed; a step back, or to the same phase, is ignored.
    pub fn set(&self, phase: Phase) -> bool {
        let before = self.now.fetch_max(phase as u8, Ordering::AcqRel);
        #[cfg(feature = "tokio")]
        self.watch.send_if_modified(|seen| {
            let forward = *seen < phase;
            *seen = phase.max(*seen);
            forward
        });
        before < phase as u8
    }

    /// The phase now.
    #[must_use]
    pub fn get(&self) -> Phase {
        Phase::ALL[usize::from(self.now.load(Ordering::Acquire))]
    }

    /// A receiver that sees each later phase (it may skip one that lasted shortly).
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<Phase> {
        self.watch.subscribe()
    }

    /// Resolves once `phase` or a later one is reached.
    #[cfg(feature = "tokio")]
    pub async fn reached(&self, phase: Phase) {
        // The sender is `self`, so waiting cannot fail.
        let _ = self.subscribe().wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forward() {
        let cell = PhaseCell::new();
        assert_eq!(cell.get(), Phase::Starting);
        assert!(cell.set(Phase::Draining));
        assert!(!cell.set(Phase::Ready), "a step back");
        assert!(!cell.clone().set(Phase::Draining), "the same");
        assert_eq!(cell.get(), Phase::Draining);
    }

    #[test]
    fn words() {
        let text = serde_json::to_string(&Phase::ALL).unwrap();
        assert_eq!(text, r#"["starting","ready","draining","gone"]"#);
        assert!(Phase::ALL.iter().all(|phase| text.contains(phase.as_str())));
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(flavor = "current_thread")]
    async fn waiting() {
        let cell = PhaseCell::new();
        let other = cell.clone();
        tokio::join!(
            cell.reached(Phase::Ready),
            async move { other.set(Phase::Gone) }
        );
        assert_eq!(*cell.subscribe().borrow(), Phase::Gone);
    }
}
