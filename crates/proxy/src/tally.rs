//! Counters that all cores can read: what nginx's `stub_status` page tells.
//!
//! Each core writes its own part and nobody else's, so that counting costs no more than adding. Not here: figures of the
//! control API, which cores are asked for (`control`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The parts of all cores.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    parts: Mutex<Vec<Arc<Part>>>,
}

/// What one core counts.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Part {
    pub(crate) accepted: Counter,
    pub(crate) requests: Counter,
    /// Connections that are open.
    pub(crate) active: Counter,
    /// Those of them that have no request.
    pub(crate) waiting: Counter,
}

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// The sums over all cores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) active: u64,
    pub(crate) waiting: u64,
}

impl Counter {
    pub(crate) fn up(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0
            .store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

impl Tally {
    /// Another core counts too. What one that has ended has counted stays.
    pub(crate) fn join(&self, part: &Arc<Part>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(Arc::clone(part));
    }

    pub(crate) fn sums(&self) -> Sums {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().fold(Sums::default(), |sums, part| Sums {
            accepted: sums.accepted + part.accepted.0.load(Relaxed),
            requests: sums.requests + part.requests.0.load(Relaxed),
            active: sums.active + part.active.0.load(Relaxed),
            waiting: sums.waiting + part.waiting.0.load(Relaxed),
        })
    }
}
