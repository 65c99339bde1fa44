//! Workers that end, or should: who ended them, what they were at, and requests that take too long.
//!
//! Not here: what follows from it (`state`).

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::json;
use trine_service::signals::Signal;
use trine_sys::process;

use crate::python::Gil;

use super::Arbiter;
use super::children::Child;
use super::state::{Event, Pid, Stage};

impl Arbiter {
    pub(super) fn child_exited(&mut self, gil: Gil<'_>, pid: Pid) {
        let Some(child) = self.children.get(pid) else {
            return;
        };
        let status = match process::reap_pidfd(&child.pidfd) {
            Ok(Some((_, status))) => status,
            Ok(None) => return,
            Err(error) => {
                tracing::error!("cannot collect worker {pid}: {error}");
                return;
            }
        };
        let Some(mut child) = self.children.remove(pid) else {
            return;
        };
        let _ = child.listen();
        self.children.count_restart(&child, status.code());
        self.children.last_failure = child.failure();
        self.explain(pid, &child, status);
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        self.event(
            "worker.exited",
            json!({ "pid": pid, "generation": child.generation, "exit_code": status.code(), "signal": status.signal(), "reason": child.our_doing }),
        );
        self.children.keep_totals(self.slots.worker(child.slot));
        self.happen(gil, Event::Exited { pid, code });
        self.tell_status();
    }

    fn explain(&self, pid: Pid, child: &Child, status: ExitStatus) {
        let lived = child.spawned.elapsed();
        let asked = self
            .state
            .workers()
            .get(&pid)
            .is_some_and(|worker| matches!(worker.stage, Stage::Leaving { .. }));
        let at = self.requests_of(child.slot);
        let at = if at.is_empty() {
            String::new()
        } else {
            format!(", at {}", at.join(", "))
        };
        match (status.code(), status.signal()) {
            (Some(0), _) if asked => {
                tracing::info!("Worker (pid:{pid}) has ended after {lived:.1?}")
            }
            (Some(code), _) => tracing::error!(
                "Worker (pid:{pid}) exited with code {code}. It lived {lived:.1?}{at}"
            ),
            (None, signal) => {
                let name = signal
                    .and_then(|number| Signal::try_from(number).ok())
                    .map_or("a signal", Signal::as_str);
                match &child.our_doing {
                    Some(why) => tracing::error!(
                        "Worker (pid:{pid}) was ended by {name} from its arbiter: {why}. It lived {lived:.1?}{at}"
                    ),
                    None if signal == Some(libc::SIGKILL) => tracing::error!(
                        "Worker (pid:{pid}) was sent SIGKILL, not by its arbiter; perhaps out of memory. It lived {lived:.1?}{at}"
                    ),
                    None => tracing::error!(
                        "Worker (pid:{pid}) was ended by {name}. It lived {lived:.1?}{at}"
                    ),
                }
            }
        }
    }

    /// What a worker is at, for people.
    pub(super) fn requests_of(&self, slot: usize) -> Vec<String> {
        let now = self.slots.now();
        let running = self
            .slots
            .running(slot)
            .iter()
            .filter_map(|thread| thread.read());
        running
            .map(|(since, text)| format!("{text} (for {} ms)", now.saturating_sub(since)))
            .collect()
    }

    /// Since when a worker has been stuck, as far as it goes: its loop, or all of its threads.
    fn stuck_since(&self, child: &Child) -> Option<u64> {
        let threads = self.settings_of(child.generation).threads;
        if threads == 1 {
            // The loop itself calls the application.
            return self.slots.turn_since(child.slot);
        }
        // The worker is of use as long as one thread is free.
        let running = self.slots.running(child.slot).iter().take(threads);
        let since: Option<Vec<u64>> = running
            .map(|thread| thread.read().map(|(since, _)| since))
            .collect();
        since.and_then(|since| since.into_iter().max())
    }

    fn request_limit(&self) -> Option<Duration> {
        self.settings_of(self.state.generation()).timeout
    }

    /// When somebody may first have been at one request for too long. A request that begins after this look is not
    /// over its time before the next one, so an idle server wakes once in `timeout`.
    pub(super) fn next_hung_look(&self, now: Instant) -> Option<Instant> {
        let limit = self.request_limit()?;
        let now_ms = self.slots.at(now);
        let limit_ms = limit.as_millis() as u64;
        let waits = self
            .children
            .iter()
            .filter(|(pid, _)| self.is_ready(*pid))
            .map(|(_, child)| {
                let age = self
                    .stuck_since(child)
                    .map_or(0, |since| now_ms.saturating_sub(since));
                Duration::from_millis(limit_ms.saturating_sub(age).max(1))
            });
        waits.min().map(|wait| now + wait)
    }

    fn is_ready(&self, pid: Pid) -> bool {
        self.state
            .workers()
            .get(&pid)
            .is_some_and(|worker| matches!(worker.stage, Stage::Ready { .. }))
    }

    pub(super) fn look_for_hung(&mut self, gil: Gil<'_>) {
        let Some(limit) = self.request_limit() else {
            return;
        };
        let limit_ms = limit.as_millis() as u64;
        let now = self.slots.now();
        let mut hung = Vec::new();
        for (pid, child) in self.children.iter() {
            let since = self
                .stuck_since(child)
                .filter(|since| now.saturating_sub(*since) >= limit_ms);
            if since.is_some() && self.is_ready(pid) {
                hung.push((pid, self.requests_of(child.slot).join(", ")));
            }
        }
        for (pid, requests) in hung {
            tracing::error!("WORKER TIMEOUT (pid:{pid}), at {requests}");
            self.event(
                "worker.timeout",
                json!({ "pid": pid, "requests": requests }),
            );
            self.happen(gil, Event::Hung { pid });
        }
        self.tell_long_requests(now, limit_ms);
    }

    /// A thread that is stuck while others of its worker are not: told once, nothing done.
    fn tell_long_requests(&mut self, now: u64, limit_ms: u64) {
        let slots = std::sync::Arc::clone(&self.slots);
        for (pid, child) in self.children.iter_mut() {
            let threads = slots.running(child.slot);
            if threads.len() < 2 {
                continue;
            }
            child.told.resize(threads.len(), 0);
            for (thread, told) in threads.iter().zip(&mut child.told) {
                let Some((since, text)) = thread.read() else {
                    continue;
                };
                if now.saturating_sub(since) >= limit_ms && *told != since {
                    *told = since;
                    tracing::warn!(
                        "a request takes longer than the timeout: {text} in worker {pid}"
                    );
                }
            }
        }
    }
}
