//! Workers that end, or should: who ended them, what they were at, and requests that take too long.
//!
//! Not here: what follows from it (`state`).

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::json;
use trine_sys::process;

use crate::python::Gil;
use crate::slots::Running;
use crate::worker::watch;

use super::Arbiter;
use super::cause::{Cause, Death};
use super::children::Child;
use super::state::{Event, Pid, Stage};

impl Arbiter {
    pub(super) fn child_exited(&mut self, gil: Gil<'_>, pid: Pid) {
        if self.children.get(pid).is_none() {
            return;
        }
        let ended = match process::reap_with_usage(process::Pid::from_raw(pid)) {
            Ok(Some(ended)) => ended,
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
        let death = self.death_of(pid, &child, ended);
        let code = death.code.and_then(|code| u8::try_from(code).ok());
        let cause = death.cause();
        let text = death.tell();
        match cause {
            Cause::Asked => tracing::info!("{text}"),
            Cause::Signal if code == Some(0) => tracing::warn!("{text}"),
            _ => tracing::error!("{text}"),
        }
        self.children.count_end(cause);
        self.event(
            "worker.exited",
            json!({
                "pid": pid, "generation": child.generation, "exit_code": death.code, "signal": death.signal,
                "cause": cause.word(), "reason": text,
            }),
        );
        self.child_exit(gil, child.generation, pid, &child.object);
        self.children.last_failure = child.failure.take();
        self.children.keep_totals(self.slots.worker(child.slot));
        self.happen(gil, Event::Exited { pid, code });
        self.tell_status();
    }

    /// Children that are not ours by birth: as the first process of a container we collect them.
    pub(super) fn reap_orphans(&mut self, gil: Gil<'_>) {
        while let Ok(Some(pid)) = process::peek_exited() {
            let number = pid.as_raw();
            if self.children.get(number).is_some() {
                self.child_exited(gil, number);
            } else if self.succession.successor() == Some(number) {
                self.successor_ended(gil);
            } else if process::reap(process::Reap::Pid(pid)).is_err() {
                return;
            }
        }
    }

    /// When the next worker is as old as `max_worker_lifetime` allows.
    pub(super) fn next_age(&self) -> Option<Instant> {
        let ages = self
            .children
            .iter()
            .filter(|(pid, child)| !child.aged && self.is_ready(*pid));
        ages.filter_map(|(_, child)| self.end_of(child)).min()
    }

    fn end_of(&self, child: &Child) -> Option<Instant> {
        let lifetime = self.settings_of(child.generation).max_worker_lifetime?;
        Some(child.spawned + lifetime)
    }

    /// Has others take the places of workers that are too old.
    pub(super) fn look_for_aged(&mut self, gil: Gil<'_>) {
        let now = Instant::now();
        let due = |(pid, child): &(Pid, &Child)| {
            !child.aged && self.is_ready(*pid) && self.end_of(child).is_some_and(|end| end <= now)
        };
        let aged: Vec<Pid> = self
            .children
            .iter()
            .filter(due)
            .map(|(pid, _)| pid)
            .collect();
        for pid in aged {
            if let Some(child) = self.children.get_mut(pid) {
                child.aged = true;
                tracing::info!(
                    "Worker (pid:{pid}) is as old as max_worker_lifetime allows; another takes its place"
                );
            }
            self.happen(gil, Event::Recycle { pid });
        }
    }

    /// Everything that is known of how a worker ended.
    fn death_of(&mut self, pid: Pid, child: &Child, ended: process::Ended) -> Death {
        let stage = self.state.workers().get(&pid).map(|worker| worker.stage);
        let last = self
            .slots
            .running(child.slot)
            .iter()
            .find_map(Running::last);
        Death {
            pid,
            code: ended.status.code(),
            signal: ended.status.signal(),
            dumped_core: ended.status.core_dumped(),
            our_doing: child.our_doing.clone(),
            asked: matches!(stage, Some(Stage::Leaving { .. })),
            said: child.said.clone(),
            failure: child.failure.clone(),
            oom: self.oom.look(),
            lived: child.spawned.elapsed(),
            peak_bytes: Some(ended.peak_rss_bytes).filter(|bytes| *bytes > 0),
            requests: self.requests_of(child.slot),
            last_request: last,
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

    /// After so long a worker that cannot be interrupted is ended. Threads without a limit may be at something for
    /// ever.
    fn hang_limit(&self) -> Option<Duration> {
        let limit = watch::limit(&self.settings_of(self.state.generation()))?;
        Some(limit + watch::GIVEN_UP)
    }

    /// After so long a request on one of several threads is told of.
    fn long_limit(&self) -> Option<Duration> {
        let settings = self.settings_of(self.state.generation());
        settings.timeout.filter(|_| settings.threads > 1)
    }

    /// When somebody may first have been at one request for too long. A request that begins after this look is not
    /// over its time before the next one, so an idle server wakes once in `timeout`.
    pub(super) fn next_hung_look(&self, now: Instant) -> Option<Instant> {
        let limits = [self.hang_limit(), self.long_limit()];
        let limit = limits.into_iter().flatten().min()?;
        let now_ms = self.slots.at(now);
        let limit_ms = limit.as_millis() as u64;
        let waits = self
            .children
            .iter()
            .filter(|(pid, _)| self.is_ready(*pid))
            .map(|(_, child)| {
                let since = self.stuck_since(child).or(self.oldest_since(child));
                let age = since.map_or(0, |since| now_ms.saturating_sub(since));
                Duration::from_millis(limit_ms.saturating_sub(age).max(1))
            });
        waits.min().map(|wait| now + wait)
    }

    /// Since when the thread has been at its request that has been at one for longest. `None` too where that is told
    /// already.
    fn oldest_since(&self, child: &Child) -> Option<u64> {
        let threads = self.settings_of(child.generation).threads;
        let running = self.slots.running(child.slot).iter().take(threads);
        let since = running.filter_map(Running::since).min();
        since.filter(|_| threads > 1 && !child.stuck)
    }

    fn is_ready(&self, pid: Pid) -> bool {
        self.state
            .workers()
            .get(&pid)
            .is_some_and(|worker| matches!(worker.stage, Stage::Ready { .. }))
    }

    pub(super) fn look_for_hung(&mut self, gil: Gil<'_>) {
        if let Some(limit) = self.hang_limit() {
            let limit_ms = limit.as_millis() as u64;
            self.end_hung(gil, limit_ms);
            self.replace_stuck(gil, limit_ms);
        }
        if let Some(limit) = self.long_limit() {
            self.tell_long_requests(self.slots.now(), limit.as_millis() as u64);
        }
    }

    fn end_hung(&mut self, gil: Gil<'_>, limit_ms: u64) {
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
            tracing::error!(critical = true, "WORKER TIMEOUT (pid:{pid}), at {requests}");
            self.event(
                "worker.timeout",
                json!({ "pid": pid, "requests": requests }),
            );
            self.happen(gil, Event::Hung { pid });
        }
    }

    /// A thread that does not react takes its place away for good, while the others of its worker serve on: another
    /// worker comes first, then this one leaves.
    fn replace_stuck(&mut self, gil: Gil<'_>, limit_ms: u64) {
        let now = self.slots.now();
        let over = |since: u64| now.saturating_sub(since) >= limit_ms;
        let stuck: Vec<Pid> = self
            .children
            .iter()
            .filter(|(pid, child)| {
                self.is_ready(*pid) && self.oldest_since(child).is_some_and(over)
            })
            .map(|(pid, _)| pid)
            .collect();
        for pid in stuck {
            let Some(child) = self.children.get_mut(pid) else {
                continue;
            };
            child.stuck = true;
            let slot = child.slot;
            let requests = self.requests_of(slot).join(", ");
            let why = format!("a thread of its does not react, at {requests}");
            tracing::error!(
                critical = true,
                "WORKER TIMEOUT (pid:{pid}): {why}; another worker takes its place"
            );
            self.event("worker.recycled", json!({ "pid": pid, "reason": why }));
            self.happen(gil, Event::Recycle { pid });
        }
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
