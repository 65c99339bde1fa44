//! What the arbiter tells of itself: log, STATUS, `/v1/status`, events.
//!
//! Not here: how it travels (`control`), and metrics.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use trine_control::{ListenerStatus, Status};
use trine_service::Phase;
use trine_service::listeners::Origin;
use trine_sys::net::SockAddr;
use trine_sys::process;

use super::Arbiter;
use super::state::Stage;

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
        let event = self.events.push(kind, data);
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
                    "seats": slot.seats.load(Relaxed),
                    "free": self.slots.free(child.slot),
                    "socket": child.personal.as_ref().map(|own| own.addr.to_string()),
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
}

fn stage_word(stage: Option<Stage>) -> &'static str {
    match stage {
        Some(Stage::Booting { .. }) => "booting",
        Some(Stage::Ready { .. }) => "ready",
        Some(Stage::Leaving { .. }) => "leaving",
        Some(Stage::Killed) | None => "killed",
    }
}
