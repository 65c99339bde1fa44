//! The arbiter's own hooks, and what `server` and `worker` show of it.
//!
//! A hook that fails while the server starts ends the start, as with gunicorn. One that fails while it runs is told in
//! the log and costs nothing else: the site stays up.
//! Not here: the objects themselves (`python::hooks`), hooks of workers (`worker::life`).

use std::os::fd::{AsFd as _, AsRawFd as _};

use trine_config::ListenAddr;
use trine_service::listeners::Listener;
use trine_sys::net::SockAddr;
use trine_sys::process;

use crate::config::Settings;
use crate::error::Error;
use crate::python::{Arg, Fact, Gil, Hook, HookError, ListenerFacts, Logger, Server, Worker};

use super::Arbiter;

/// gunicorn's exit code for an exception that nobody caught.
const UNHANDLED: u8 = 1;
/// Its code when that happens in the main loop.
const UNHANDLED_IN_LOOP: u8 = 255;

/// `server` before anything has happened.
pub(super) fn server(gil: Gil<'_>, settings: &Settings, logger: &Logger) -> Result<Server, Error> {
    let mut facts = facts_of_settings(settings);
    facts.push(("log", Fact::Log(logger.clone())));
    facts.push(("pid", Fact::Number(process::getpid().as_raw().into())));
    facts.push(("num_workers", Fact::Number(settings.workers as i64)));
    Server::new(gil, &facts).map_err(|text| Error::Hook {
        text,
        code: UNHANDLED,
    })
}

/// What `server` shows of the settings.
fn facts_of_settings(settings: &Settings) -> Vec<(&'static str, Fact)> {
    let timeout = settings.timeout.map_or(0, |timeout| timeout.as_secs());
    let addresses = settings.bind.iter().map(facts_of_address).collect();
    let mut facts = vec![
        (
            "worker_class",
            Fact::Text(settings.worker_class.name().to_owned()),
        ),
        ("timeout", Fact::Number(timeout as i64)),
        ("proc_name", Fact::Text(settings.proc_name.clone())),
        ("address", Fact::Addresses(addresses)),
    ];
    facts.extend(
        settings
            .shown
            .clone()
            .map(|config| ("cfg", Fact::Config(config))),
    );
    facts
}

fn facts_of_address(addr: &ListenAddr) -> ListenerFacts {
    ListenerFacts {
        fd: -1,
        text: addr.to_string(),
        host_port: match addr {
            ListenAddr::Tcp(addr) => Some((addr.ip().to_string(), addr.port())),
            _ => None,
        },
        path: match addr {
            ListenAddr::Unix(path) => Some(path.display().to_string()),
            _ => None,
        },
    }
}

pub(super) fn facts_of(listener: &Listener) -> ListenerFacts {
    let (host_port, path) = match &listener.addr {
        SockAddr::Tcp(addr) => (Some((addr.ip().to_string(), addr.port())), None),
        SockAddr::Unix(path) => (None, Some(path.display().to_string())),
        _ => (None, None),
    };
    let text = match &listener.addr {
        SockAddr::Tcp(addr) => format!("http://{addr}"),
        other => other.to_string(),
    };
    ListenerFacts {
        fd: listener.as_fd().as_raw_fd(),
        text,
        host_port,
        path,
    }
}

impl Arbiter {
    /// Calls a hook of the settings in force with `server`.
    pub(super) fn server_hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), HookError> {
        let settings = self.settings_of(self.state.generation());
        settings.hooks.call(gil, hook, &[Arg::Server(&self.server)])
    }

    /// As [`Self::server_hook`], while the server starts.
    pub(super) fn starting_hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), Error> {
        self.server_hook(gil, hook)
            .map_err(|error| start_failed(&error))
    }

    /// Shows the settings of a generation: of the one in force, or of one that is on its way.
    pub(super) fn show_settings(&self, gil: Gil<'_>, settings: &Settings) {
        self.server.set(gil, &facts_of_settings(settings));
    }

    /// The first `nworkers_changed`, with no number before.
    pub(super) fn first_workers_hook(&self, gil: Gil<'_>) -> Result<(), Error> {
        let called = self.call_workers_changed(gil, self.state.target(), None);
        called.map_err(|error| start_failed(&error))
    }

    pub(super) fn workers_changed(&mut self, gil: Gil<'_>) {
        let new = self.state.target();
        let old = std::mem::replace(&mut self.workers_told, new);
        self.server
            .set(gil, &[("num_workers", Fact::Number(new as i64))]);
        if let Err(error) = self.call_workers_changed(gil, new, Some(old)) {
            tracing::error!("{error}");
        }
    }

    fn call_workers_changed(
        &self,
        gil: Gil<'_>,
        new: usize,
        old: Option<usize>,
    ) -> Result<(), HookError> {
        let settings = self.settings_of(self.state.generation());
        let args = [
            Arg::Server(&self.server),
            Arg::Number(Some(new)),
            Arg::Number(old),
        ];
        settings.hooks.call(gil, Hook::NworkersChanged, &args)
    }

    /// Brings LISTENERS up to date.
    pub(super) fn show_listeners(&self, gil: Gil<'_>) {
        let listeners = self.listeners_of(self.state.generation());
        let all: Vec<ListenerFacts> = listeners.iter().map(|one| facts_of(one)).collect();
        self.server.set(gil, &[("LISTENERS", Fact::Listeners(all))]);
    }

    /// `worker` for a fork that is about to be.
    pub(super) fn new_worker(
        &mut self,
        gil: Gil<'_>,
        generation: u64,
        settings: &Settings,
    ) -> Result<Worker, String> {
        self.worker_age += 1;
        let age = self.worker_age;
        self.server.set(gil, &[("worker_age", Fact::Number(age))]);
        let timeout = settings
            .timeout
            .map_or(0.0, |timeout| timeout.as_secs_f64());
        let listeners = self.listeners_of(generation);
        let sockets: Vec<ListenerFacts> = listeners.iter().map(|one| facts_of(one)).collect();
        let mut facts: Vec<(&str, Fact)> = Vec::new();
        facts.extend(
            settings
                .shown
                .clone()
                .map(|config| ("cfg", Fact::Config(config))),
        );
        facts.extend([
            ("age", Fact::Number(age)),
            ("ppid", Fact::Number(process::getpid().as_raw().into())),
            ("timeout", Fact::Real(timeout / 2.0)),
            ("sockets", Fact::Listeners(sockets)),
        ]);
        self.server.worker(gil, &facts)
    }

    /// `pre_fork`. A failure while the server starts ends it; later it only costs this fork.
    pub(super) fn pre_fork(
        &mut self,
        gil: Gil<'_>,
        settings: &Settings,
        worker: &Worker,
    ) -> std::io::Result<()> {
        let args = [Arg::Server(&self.server), Arg::Worker(worker)];
        let called = settings.hooks.call(gil, Hook::PreFork, &args);
        called.map_err(|error| {
            if self.state.is_starting() {
                self.halt = Some(error.exit.unwrap_or(UNHANDLED_IN_LOOP));
            }
            std::io::Error::other(error.to_string())
        })
    }

    /// `child_exit`, after a worker was reaped.
    pub(super) fn child_exit(&self, gil: Gil<'_>, generation: u64, pid: i32, worker: &Worker) {
        self.server.forget(gil, pid);
        let hooks = self.settings_of(generation).hooks.clone();
        if let Err(error) = hooks.call(
            gil,
            Hook::ChildExit,
            &[Arg::Server(&self.server), Arg::Worker(worker)],
        ) {
            tracing::error!("{error}");
        }
    }
}

fn start_failed(error: &HookError) -> Error {
    Error::Hook {
        text: error.to_string(),
        code: error.exit.unwrap_or(UNHANDLED),
    }
}
