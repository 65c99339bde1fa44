//! Doing what `state` decides: signalling, telling, and what follows from it.
//!
//! Not here: deciding, how a worker is forked (`spawn`), reading the settings anew (`reload`).

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde_json::json;
use trine_service::Phase;
use trine_service::listeners::Origin;
use trine_service::signals::Signal;
use trine_sys::process;

use crate::notice::Notice;
use crate::python::Gil;

use super::state::{Effect, Event, Pid, Stage};
use super::{Arbiter, listeners};

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

    pub(super) fn more_workers(&mut self, gil: Gil<'_>) {
        if self.state.target() * 2 >= self.slots.count() {
            tracing::warn!("there are as many workers as there can be");
            return;
        }
        self.happen(gil, Event::More);
        self.pair_up(gil);
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
