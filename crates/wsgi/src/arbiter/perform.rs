//! Doing what `state` decides: forking, signalling, telling.
//!
//! Not here: deciding.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustls::ServerConfig;
use serde_json::json;
use trine_control::ReloadReport;
use trine_service::Phase;
use trine_service::listeners::{Listener, Origin};
use trine_service::signals::Signal;
use trine_sys::epoll::Interest;
use trine_sys::net::SockAddr;
use trine_sys::{file, process, signals};

use crate::config::Settings;
use crate::config::settings::WorkerClass;
use crate::notice::Notice;
use crate::python::{self, Arg, Forked, Gil, Hook, Site, Worker, fork};
use crate::slots::inode;
use crate::worker::identity;
use crate::worker::recycle::limit_of_requests;
use crate::worker::{self, Boot, Hooked, Logging, io::Listening, tls};

use super::children::Child;
use super::state::{Effect, Event, Pid, Stage};
use super::{Arbiter, listeners, policy_of, token};

/// What one fork has that no other has.
struct Own {
    personal: Option<Rc<Listener>>,
    slot: usize,
    generation: u64,
    say: OwnedFd,
    arbiter: process::Pid,
    mask: signals::Mask,
    tls: Option<Arc<ServerConfig>>,
}

/// gunicorn's code for a worker that cannot boot.
const BOOT_FAILED: i32 = 3;

impl Arbiter {
    /// Lets `event` happen, and everything that follows from it.
    pub(super) fn happen(&mut self, gil: Gil<'_>, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.state.step(event, Instant::now(), &self.policy);
            for effect in effects {
                if let Some(next) = self.perform(gil, effect) {
                    events.push_back(next);
                }
            }
        }
    }

    fn perform(&mut self, gil: Gil<'_>, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Spawn { generation } => return Some(self.spawn(gil, generation)),
            Effect::Terminate(pid) => {
                self.leave(pid);
                self.send(pid, Signal::SIGTERM, None);
            }
            Effect::Quit(pid) => self.send(pid, Signal::SIGQUIT, None),
            Effect::Abort(pid) => {
                let why = "it was at one thing for longer than the timeout";
                self.send(pid, Signal::SIGABRT, Some(why));
            }
            Effect::Kill(pid) => {
                let why = if self.state.is_stopping() {
                    "it had not ended within graceful_timeout"
                } else {
                    "it did not end when told to"
                };
                tracing::warn!("Worker (pid:{pid}) is killed: {why}");
                self.send(pid, Signal::SIGKILL, Some(why));
            }
            Effect::BecameReady => {
                self.set_phase(Phase::Ready);
                let _ = self.notifier.ready_with(&self.status_text());
            }
            Effect::Promoted { generation } => self.promoted(gil, generation),
            Effect::Rejected { generation, .. } => self.rejected(gil, generation),
            Effect::Drain => self.drain(),
            Effect::TellStopping => {
                self.set_phase(Phase::Draining);
                let _ = match self.succession.successor() {
                    Some(pid) => self.notifier.main_pid(pid),
                    None => self.notifier.stopping(),
                };
            }
            Effect::BackOff(wait) => tracing::warn!("the next worker is started in {wait:?}"),
            Effect::Resized(target) => {
                tracing::info!("{target} workers from now on");
                self.workers_changed(gil);
                self.tell_status();
            }
            Effect::Exit { code } => self.exit = Some(code),
        }
        None
    }

    fn spawn(&mut self, gil: Gil<'_>, generation: u64) -> Event {
        match self.try_spawn(gil, generation) {
            Ok(pid) => Event::Spawned { pid, generation },
            Err(error) => {
                tracing::error!("cannot fork a worker: {error}");
                match self.halt.take() {
                    Some(code) => Event::Halt { code },
                    None => {
                        self.children.last_failure = Some(error.to_string());
                        Event::SpawnFailed { generation }
                    }
                }
            }
        }
    }

    fn try_spawn(&mut self, gil: Gil<'_>, generation: u64) -> std::io::Result<Pid> {
        let full = || std::io::Error::other("there are too many workers already");
        let slot = self
            .children
            .free_slot(self.slots.count())
            .ok_or_else(full)?;
        let settings = self.settings_of(generation);
        let tls = self.tls_of(generation, &settings)?;
        let object = self
            .new_worker(gil, generation, &settings)
            .map_err(std::io::Error::other)?;
        self.pre_fork(gil, &settings, &object)?;
        let (notice, say) = file::pipe_cloexec_nonblock()?;
        self.slots.reset(slot);
        let personal = self.personal_socket(slot, &settings);
        let arbiter = process::getpid();
        // A signal that comes in between is the child's own only once it has its own handlers.
        let mask = signals::block_all()?;
        match fork(gil) {
            Ok(Forked::Child) => {
                drop(notice);
                let logger = Logging {
                    logger: self.logger.clone(),
                    set_up_anew: generation != self.logged_for,
                };
                let hooked = Hooked {
                    logger,
                    server: self.server.share(gil),
                    worker: object,
                };
                let own = Own {
                    personal,
                    slot,
                    generation,
                    say,
                    arbiter,
                    mask,
                    tls,
                };
                let boot = self.become_worker(gil, settings, own, hooked);
                let code = worker::run(gil, boot);
                process::exit_now(code)
            }
            Ok(Forked::Parent(pid)) => {
                signals::restore(&mask)?;
                self.server.adopt(gil, pid.as_raw(), &object);
                self.adopt(pid, slot, generation, notice, object)?;
                let alone = !self.has_siblings(&settings);
                if let Some(child) = self.children.get_mut(pid.as_raw()) {
                    (child.personal, child.alone) = (personal, alone);
                }
                Ok(pid.as_raw())
            }
            Err(error) => {
                signals::restore(&mask)?;
                Err(error)
            }
        }
    }

    /// Certificates and keys for a new worker: renewed ones if they can be used, else those that its siblings have.
    fn tls_of(
        &mut self,
        generation: u64,
        settings: &Settings,
    ) -> io::Result<Option<Arc<ServerConfig>>> {
        let Some(wanted) = &settings.tls else {
            return Ok(None);
        };
        match (tls::load(wanted), self.tls.get(&generation)) {
            (Ok(read), _) => {
                self.tls.insert(generation, Arc::clone(&read));
                Ok(Some(read))
            }
            (Err(error), Some(before)) => {
                let problem = trine_service::exit::chain(&error);
                tracing::warn!(
                    "the new worker serves with the certificate of the others: {problem}"
                );
                Ok(Some(Arc::clone(before)))
            }
            (Err(error), None) => Err(io::Error::other(error)),
        }
    }

    /// In the child: lets go of everything that is the arbiter's.
    fn become_worker(
        &mut self,
        gil: Gil<'_>,
        settings: Arc<Settings>,
        own: Own,
        hooked: Hooked,
    ) -> Boot {
        let Own {
            personal,
            slot,
            generation,
            say,
            arbiter,
            mask,
            tls,
        } = own;
        self.signals = None;
        self.control = None;
        self.succession.forget();
        self.children.clear();
        self.lifeline.1 = None;
        let mut listeners = self.listeners_of(generation);
        self.listeners.clear();
        if settings.reuse_port {
            match listeners::each_workers_own(&settings) {
                Ok(own) => listeners.extend(own),
                Err(error) => {
                    tracing::error!(
                        "Exception in worker process: {}",
                        trine_service::exit::chain(&error)
                    );
                    process::exit_now(BOOT_FAILED);
                }
            }
        }
        listeners.extend(personal.iter().cloned());
        let sites = listeners
            .iter()
            .map(|listener| site(&settings, listener))
            .collect();
        let listening: io::Result<Vec<Listening>> = listeners.into_iter().map(listening).collect();
        let listening = listening.map(|mut all| {
            if let Some(last) = all.last_mut().filter(|_| personal.is_some()) {
                last.personal = true;
            }
            all
        });
        let listening = listening.unwrap_or_else(|error| {
            tracing::error!("Exception in worker process: cannot take the listeners: {error}");
            process::exit_now(BOOT_FAILED)
        });
        self.apply_variables(gil, &settings);
        Boot {
            sites,
            listeners: listening,
            preloaded: self.preloaded.take(),
            slots: Arc::clone(&self.slots),
            channels: Arc::clone(&self.channels),
            siblings: self.has_siblings(&settings),
            slot,
            generation,
            say,
            lifeline: self.lifeline.0.try_clone().ok(),
            arbiter,
            mask,
            log: self.log.clone(),
            // Drawn in the worker, so that each has another.
            max_requests: limit_of_requests(&settings),
            tls,
            settings,
            hooked,
        }
    }

    fn adopt(
        &mut self,
        pid: process::Pid,
        slot: usize,
        generation: u64,
        notice: OwnedFd,
        object: Worker,
    ) -> std::io::Result<()> {
        let number = pid.as_raw();
        let pidfd = process::pidfd_open(pid)?;
        self.epoll.add(
            &pidfd,
            token::EXITED | u64::from(number as u32),
            Interest::EPOLLIN,
        )?;
        self.epoll.add(
            &notice,
            token::NOTICE | u64::from(number as u32),
            Interest::EPOLLIN,
        )?;
        self.children
            .insert(number, Child::new(slot, generation, pidfd, notice, object));
        self.event(
            "worker.started",
            json!({ "pid": number, "generation": generation }),
        );
        Ok(())
    }

    /// A worker is to leave: from now on nobody finds its socket.
    fn leave(&mut self, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        child.personal = None;
        let generation = child.generation;
        self.event(
            "worker.leaving",
            json!({ "pid": pid, "generation": generation }),
        );
    }

    fn send(&mut self, pid: Pid, signal: Signal, why: Option<&str>) {
        if let Some(child) = self.children.get_mut(pid) {
            if let Some(why) = why {
                child.our_doing = Some(why.to_owned());
            }
            // It may have ended meanwhile, which its pidfd will tell.
            let _ = process::pidfd_signal(&child.pidfd, signal);
        }
    }

    pub(super) fn child_notice(&mut self, gil: Gil<'_>, pid: Pid) {
        let Some(child) = self.children.get_mut(pid) else {
            return;
        };
        let (told, ended) = child.listen();
        if ended {
            // The pipe's end is readable for ever; the exit comes by the pidfd.
            let _ = self.epoll.delete(child.notice().as_fd());
        }
        let generation = child.generation;
        let socket = child.personal.as_ref().map(|own| own.addr.to_string());
        let slot = child.slot;
        for notice in told {
            match notice {
                Notice::Ready => {
                    self.event(
                        "worker.ready",
                        json!({
                            "pid": pid,
                            "generation": generation,
                            "seats": self.slots.worker(slot).seats.load(Relaxed),
                            "socket": socket.as_deref(),
                        }),
                    );
                    self.happen(gil, Event::Ready { pid });
                    self.pair_up(gil);
                    self.tell_status();
                }
                Notice::Recycle(why) => {
                    self.event(
                        "worker.recycled",
                        json!({ "pid": pid, "generation": generation, "reason": why }),
                    );
                    self.happen(gil, Event::Recycle { pid });
                }
                Notice::Failed(_) | Notice::Signalled(_) | Notice::Leaving(_) => {}
            }
        }
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
    fn apply_variables(&self, gil: Gil<'_>, settings: &Settings) {
        if !self.variables.is_empty() {
            python::reset_environment(gil, &self.variables);
            python::set_environment(gil, &settings.raw_env);
        }
    }

    fn promoted(&mut self, gil: Gil<'_>, generation: u64) {
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

    fn rejected(&mut self, gil: Gil<'_>, generation: u64) {
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

    pub(super) fn more_workers(&mut self, gil: Gil<'_>) {
        if self.state.target() * 2 >= self.slots.count() {
            tracing::warn!("there are as many workers as there can be");
            return;
        }
        self.happen(gil, Event::More);
        self.pair_up(gil);
    }

    /// Whether a worker that is forked now has, or will have, others to share with.
    fn has_siblings(&self, settings: &Settings) -> bool {
        settings.workers > 1 || self.state.target() > 1
    }

    /// A worker that was the only one does not know how to share; with others beside it, another takes its place.
    fn pair_up(&mut self, gil: Gil<'_>) {
        if self.state.target() < 2 {
            return;
        }
        let workers = self.state.workers();
        let is_ready = |pid| {
            let stage = workers.get(&pid).map(|worker| worker.stage);
            matches!(stage, Some(Stage::Ready { .. }))
        };
        let alone = self.children.iter().filter(|(_, child)| child.alone);
        let alone: Vec<Pid> = alone
            .map(|(pid, _)| pid)
            .filter(|pid| is_ready(*pid))
            .collect();
        for pid in alone {
            if let Some(child) = self.children.get_mut(pid) {
                child.alone = false;
            }
            tracing::info!("Worker (pid:{pid}) was the only one; one that shares takes its place");
            self.happen(gil, Event::Recycle { pid });
        }
    }

    fn drain(&mut self) {
        if self.succession.is_shared() {
            // Another arbiter serves on, on the same sockets.
            self.listeners
                .values_mut()
                .for_each(|all| listeners::leave_files(all));
            self.listeners.clear();
            return;
        }
        self.slots.set_stopping();
        // Ours end with us: from now on nobody else is let in. The workers take what waits already.
        for all in self.listeners.values_mut() {
            all.retain(|listener| listener.origin == Origin::Inherited);
        }
    }

    pub(super) fn reopen_logs(&mut self, gil: Gil<'_>) {
        if let Err(error) = self.log.reopen() {
            tracing::error!("{}", trine_service::exit::chain(&error));
        }
        self.logger.reopen(gil);
        for (_, child) in self.children.iter() {
            let _ = process::pidfd_signal(&child.pidfd, Signal::SIGUSR1);
        }
    }
}

fn listening(listener: Rc<Listener>) -> io::Result<Listening> {
    Ok(Listening {
        unix: !matches!(listener.addr, SockAddr::Tcp(_)),
        own: listener.origin == Origin::Own,
        personal: false,
        // A reload under way may hold it as well.
        fd: match Rc::try_unwrap(listener) {
            Ok(listener) => listener.fd,
            Err(shared) => shared.fd.try_clone()?,
        },
    })
}

fn site(settings: &Settings, listener: &Listener) -> Site {
    let server = match &listener.addr {
        SockAddr::Tcp(addr) => Some((addr.ip().to_string(), addr.port().to_string())),
        _ => None,
    };
    let script_name = settings
        .raw_env
        .iter()
        .rev()
        .find(|(key, _)| key == "SCRIPT_NAME");
    let script_name = script_name.map(|(_, value)| value.clone());
    Site {
        server,
        script_name: script_name
            .or_else(|| std::env::var("SCRIPT_NAME").ok())
            .unwrap_or_default(),
        multithread: settings.worker_class == WorkerClass::Gthread,
        multiprocess: settings.workers > 1,
        scheme_headers: settings.secure_scheme_headers.clone(),
        secure: settings.tls.is_some(),
        header_map: settings.headers.header_map,
        sendfile: settings.sendfile,
        forwarder_headers: settings.headers.forwarder_headers.clone(),
        error_log: settings.log.errorlog.clone(),
    }
}
