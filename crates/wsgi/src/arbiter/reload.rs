//! A reload: the settings are read again, and a generation of workers takes the place of another, or does not.
//!
//! Not here: who leaves when (`state`).

use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;
use trine_control::ReloadReport;
use trine_service::listeners::Listener;

use crate::config::Settings;
use crate::python::{self, Arg, Gil, Hook};
use crate::slots::inode;
use crate::worker::{identity, tls};

use super::state::Event;
use super::{Arbiter, listeners, policy_of};

impl Arbiter {
    /// HUP and `/v1/reload`: reads the settings again; if they are good, a candidate generation begins.
    pub(super) fn reload(&mut self, gil: Gil<'_>) {
        let _ = self.notifier.reloading();
        let checked = self.sources.read(gil).and_then(|read| {
            read.settings.tls.as_ref().map(tls::load).transpose()?;
            Ok(read)
        });
        let settings = match checked {
            Ok(read) => read.settings,
            Err(error) => {
                let problem = trine_service::exit::chain(&error);
                tracing::error!("the reload failed, the old workers serve on: {problem}");
                self.reload_ended(false, vec![problem]);
                return;
            }
        };
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let in_force = self.settings_of(self.state.generation());
        let now = self.listeners_of(self.state.generation());
        let opened = listeners::reopen(&settings, &in_force, &now);
        drop(now);
        let listeners = match opened {
            Ok(listeners) => listeners,
            Err(error) => {
                let problem = trine_service::exit::chain(&error);
                tracing::error!("the reload failed, the old workers serve on: {problem}");
                self.reload_ended(false, vec![problem]);
                return;
            }
        };
        if self.preloaded.is_some() {
            tracing::info!("the application was preloaded: its code is not imported again");
        }
        self.reopen_logs(gil);
        self.show_settings(gil, &settings);
        let called = settings
            .hooks
            .call(gil, Hook::OnReload, &[Arg::Server(&self.server)]);
        if let Err(error) = called {
            tracing::error!("the reload failed, the old workers serve on: {error}");
            self.show_settings(gil, &self.settings_of(self.state.generation()));
            self.reload_ended(false, vec![error.to_string()]);
            return;
        }
        let workers = settings.workers;
        self.note_variables(&settings);
        identity::give_logs(&settings);
        self.listeners
            .insert(self.state.next_generation(), listeners);
        self.settings
            .insert(self.state.next_generation(), Arc::new(settings));
        self.happen(gil, Event::Reload { workers });
    }

    pub(super) fn promoted(&mut self, gil: Gil<'_>, generation: u64) {
        self.settings.retain(|other, _| *other >= generation);
        self.retire_listeners(generation);
        self.listeners.retain(|other, _| *other >= generation);
        self.tls.retain(|other, _| *other >= generation);
        let settings = self.settings_of(generation);
        self.policy = policy_of(&settings);
        match self.logger.set_up(gil, settings.shown.as_ref(), &self.log) {
            Ok(()) => self.logged_for = generation,
            Err(why) => tracing::error!("the log stays as it was: {why}"),
        }
        self.apply_variables(gil, &settings);
        self.move_pidfile(&settings);
        self.show_listeners(gil);
        tracing::info!("generation {generation} is ready; the old workers leave");
        self.workers_changed(gil);
        self.reload_ended(true, Vec::new());
    }

    /// What is not listened at any more ends with the old workers: they have to take what waits there.
    fn retire_listeners(&self, generation: u64) {
        let current = self.listeners_of(generation);
        let before = self.listeners.range(..generation);
        for listener in before.flat_map(|(_, listeners)| listeners) {
            if !current.iter().any(|one| Rc::ptr_eq(one, listener)) {
                self.slots.retire(inode(&listener.fd));
            }
        }
    }

    pub(super) fn rejected(&mut self, gil: Gil<'_>, generation: u64) {
        self.show_settings(gil, &self.settings_of(self.state.generation()));
        self.settings.remove(&generation);
        self.listeners.remove(&generation);
        self.tls.remove(&generation);
        let why = self
            .children
            .last_failure
            .take()
            .unwrap_or_else(|| "its worker did not boot".to_owned());
        tracing::error!("the reload failed, the old workers serve on: {why}");
        self.reload_ended(false, vec![why]);
    }

    fn reload_ended(&mut self, ok: bool, problems: Vec<String>) {
        let report = ReloadReport {
            ok,
            time: jiff::Timestamp::now(),
            dry_run: false,
            problems,
        };
        self.event("reload", json!(report));
        self.last_reload = Some(report);
        let _ = self.notifier.ready_with(&self.status_text());
    }

    pub(super) fn settings_of(&self, generation: u64) -> Arc<Settings> {
        let own = self.settings.get(&generation);
        let any = own.or_else(|| self.settings.values().next_back());
        any.map(Arc::clone)
            .unwrap_or_else(|| unreachable!("the settings in force are never removed"))
    }

    pub(super) fn listeners_of(&self, generation: u64) -> Vec<Rc<Listener>> {
        let own = self.listeners.get(&generation);
        own.or_else(|| self.listeners.values().next_back())
            .cloned()
            .unwrap_or_default()
    }

    /// Remembers what the variables of `settings` were before.
    pub(super) fn note_variables(&mut self, settings: &Settings) {
        for (name, _) in &settings.raw_env {
            let before = self.sources.variable(name);
            self.variables.entry(name.clone()).or_insert(before);
        }
    }

    /// `os.environ` as these settings want it: what others have set is as it was at the start.
    pub(super) fn apply_variables(&self, gil: Gil<'_>, settings: &Settings) {
        if !self.variables.is_empty() {
            python::reset_environment(gil, &self.variables);
            python::set_environment(gil, &settings.raw_env);
        }
    }
}
