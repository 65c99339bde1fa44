//! What the arbiter tells of itself: log, STATUS, `/v1/status`, events, metrics.
//!
//! Not here: how it travels (`control`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use trine_control::metrics::Metrics;
use trine_control::{ListenerStatus, Status};
use trine_service::Phase;
use trine_service::listeners::Origin;
use trine_sys::net::SockAddr;
use trine_sys::process::{self, Pid};

use crate::slots::WorkerSlot;

use super::Arbiter;
use super::cause::Cause;
use super::children::Children;
use super::state::Stage;

/// What ended workers had counted, so that counters only grow.
#[derive(Debug, Default)]
pub(super) struct Totals {
    requests: u64,
    statuses: [u64; 5],
    accepted: u64,
    busy_us: u64,
    /// Worker processes that have ended, by cause.
    ended: BTreeMap<Cause, u64>,
}

impl Totals {
    fn add(&mut self, slot: &WorkerSlot) {
        self.requests += slot.requests.load(Relaxed);
        self.accepted += slot.accepted.load(Relaxed);
        self.busy_us += slot.busy_us.load(Relaxed);
        for (sum, count) in self.statuses.iter_mut().zip(&slot.statuses) {
            *sum += count.load(Relaxed);
        }
    }
}

impl Children {
    pub(super) fn keep_totals(&mut self, slot: &WorkerSlot) {
        self.totals.add(slot);
    }

    pub(super) fn count_end(&mut self, cause: Cause) {
        *self.totals.ended.entry(cause).or_default() += 1;
    }
}

impl Arbiter {
    pub(super) fn announce_start(&mut self) {
        let pid = process::getpid();
        for listener in &self.listeners_of(self.state.generation()) {
            let scheme = if matches!(listener.addr, SockAddr::Tcp(_)) {
                "http://"
            } else {
                ""
            };
            tracing::info!("Listening at: {scheme}{} ({pid})", listener.addr);
        }
        let settings = self.settings_of(self.state.generation());
        tracing::info!("Using worker: {}", settings.worker_class.name());
        self.event("phase", json!({ "phase": Phase::Starting }));
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if self.phase.set(phase) {
            self.event("phase", json!({ "phase": phase }));
        }
    }

    pub(super) fn event(&mut self, kind: &str, data: Value) {
        let event = self.events.push(kind, data).clone();
        if let Some(control) = &mut self.control {
            control.tell(&event);
        }
    }

    pub(super) fn status_text(&self) -> String {
        let ready = self
            .state
            .workers()
            .values()
            .filter(|worker| matches!(worker.stage, Stage::Ready { .. }))
            .count();
        let mut text = format!("{ready} of {} workers ready", self.state.target());
        if self.state.is_reloading() {
            text.push_str(", reloading");
        }
        if let Some(report) = self.last_reload.as_ref().filter(|report| !report.ok) {
            let why = report.problems.first().map_or("", String::as_str);
            let why = why.lines().last().unwrap_or_default();
            text.push_str(&format!("; the last reload failed: {why}"));
        }
        text
    }

    pub(super) fn tell_status(&self) {
        if self.phase.get() == Phase::Ready {
            let _ = self.notifier.status(&self.status_text());
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            daemon: "trine-wsgi".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: self.phase.get(),
            uptime_ms: self.started.elapsed().as_millis() as u64,
            status_text: self.status_text(),
            generation: self.state.generation(),
            listeners: self
                .listeners_of(self.state.generation())
                .iter()
                .map(|listener| ListenerStatus {
                    address: listener.addr.to_string(),
                    inherited: listener.origin == Origin::Inherited,
                })
                .collect(),
            last_reload: self.last_reload.clone(),
            detail: self.detail(),
        }
    }

    fn detail(&self) -> Value {
        let settings = self.settings_of(self.state.generation());
        let workers: Vec<Value> = self
            .children
            .iter()
            .map(|(pid, child)| {
                let slot = self.slots.worker(child.slot);
                let stage = self.state.workers().get(&pid).map(|worker| worker.stage);
                json!({
                    "pid": pid,
                    "generation": child.generation,
                    "state": stage_word(stage),
                    "uptime_ms": child.spawned.elapsed().as_millis() as u64,
                    "requests": slot.requests.load(Relaxed),
                    "connections": slot.connections.load(Relaxed),
                    "running": self.requests_of(child.slot),
                })
            })
            .collect();
        json!({
            "app": settings.app,
            "workers_wanted": self.state.target(),
            "threads": settings.threads,
            "preload": settings.preload_app,
            "workers": workers,
        })
    }

    pub(super) fn metrics(&self) -> String {
        let mut sums = Totals::default();
        let mut connections = 0_u64;
        let mut busy = 0_u64;
        let mut rss = 0_u64;
        for (pid, child) in self.children.iter() {
            let slot = self.slots.worker(child.slot);
            sums.add(slot);
            connections += u64::from(slot.connections.load(Relaxed));
            busy += self
                .slots
                .running(child.slot)
                .iter()
                .filter(|thread| thread.read().is_some())
                .count() as u64;
            rss += process::rss_bytes(Pid::from_raw(pid)).unwrap_or(0);
        }
        let gone = &self.children.totals;
        let mut metrics = Metrics::new();
        metrics
            .counter("trine_wsgi_requests", "Requests answered.")
            .sample(&[], sums.requests + gone.requests);
        let mut family =
            metrics.counter("trine_wsgi_responses", "Answers by class of their status.");
        for (index, (now, before)) in sums.statuses.iter().zip(&gone.statuses).enumerate() {
            family.sample(&[("class", &format!("{}xx", index + 1))], now + before);
        }
        metrics
            .counter("trine_wsgi_connections_accepted", "Connections accepted.")
            .sample(&[], sums.accepted + gone.accepted);
        metrics
            .counter("trine_wsgi_busy_seconds", "Time spent in the application.")
            .sample(&[], (sums.busy_us + gone.busy_us) as f64 / 1e6);
        metrics
            .gauge("trine_wsgi_connections", "Connections open.")
            .sample(&[], connections);
        metrics
            .gauge(
                "trine_wsgi_requests_running",
                "Requests that the application is at.",
            )
            .sample(&[], busy);
        metrics
            .gauge("trine_wsgi_workers", "Worker processes.")
            .sample(&[], self.children.iter().count() as u64);
        metrics
            .gauge(
                "trine_wsgi_workers_wanted",
                "Worker processes that there should be.",
            )
            .sample(&[], self.state.target() as u64);
        metrics
            .gauge(
                "trine_wsgi_resident_memory_bytes",
                "Memory of all workers, shared parts counted each time.",
            )
            .sample(&[], rss);
        metrics
            .gauge(
                "trine_wsgi_generation",
                "Counts configurations put into effect.",
            )
            .sample(&[], self.state.generation());
        let mut family = metrics.counter(
            "trine_wsgi_workers_ended",
            "Worker processes that have ended, by cause.",
        );
        for cause in Cause::ALL {
            let count = gone.ended.get(&cause).copied().unwrap_or(0);
            family.sample(&[("cause", cause.word())], count);
        }
        metrics.finish()
    }
}

fn stage_word(stage: Option<Stage>) -> &'static str {
    match stage {
        Some(Stage::Booting { .. }) => "booting",
        Some(Stage::Ready { .. }) => "ready",
        Some(Stage::Leaving { .. }) => "leaving",
        Some(Stage::Killed) | None => "killed",
    }
}
