//! What the arbiter tells statsd: how many workers there are, how many connections wait in the kernel.
//!
//! Not here: requests, which workers tell (`python::request_hooks`), our own metrics (`metrics`).

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use trine_sys::net::SockAddr;

use crate::python::Gil;

use super::Arbiter;

/// gunicorn looks at the backlog with every turn of its loop.
const BACKLOG_LOOK: Duration = Duration::from_secs(1);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    workers: Option<usize>,
    backlog: Option<Instant>,
}

impl Arbiter {
    /// When it is time for the next look at the backlog; only `enable_backlog_metric` wants one.
    pub(super) fn next_measure(&self) -> Option<Instant> {
        let settings = self.settings_of(self.state.generation());
        let wanted = settings.statsd.as_ref()?.backlog_metric;
        let last = self.told.backlog.unwrap_or(self.started);
        wanted.then(|| last + BACKLOG_LOOK)
    }

    pub(super) fn measure(&mut self, gil: Gil<'_>) {
        let workers = self.children.iter().count();
        if self.told.workers.replace(workers) != Some(workers) {
            self.logger.tell_workers(gil, workers);
        }
        let now = Instant::now();
        if self.next_measure().is_some_and(|next| next <= now) {
            self.told.backlog = Some(now);
            let listeners: Vec<i32> = self
                .listeners_of(self.state.generation())
                .iter()
                .filter(|listener| matches!(listener.addr, SockAddr::Tcp(_)))
                .map(|listener| listener.fd.as_fd().as_raw_fd())
                .collect();
            self.logger.tell_backlog(gil, &listeners);
        }
    }
}
