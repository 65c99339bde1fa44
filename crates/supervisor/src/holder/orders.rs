//! Carrying out what a brain orders: one order, one small deed on the table.
//! Not here: what the table keeps and tells (see `table`), making a process (see `process`).

use super::process;
use super::slot::Pipe;
use super::stdin::Stdin;
use super::table::{Letter, Table};
use super::wire::{Channel, Failure, Input, Order, Report, SpawnOrder, Ticket};
use crate::clock;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use trine_service::pidfile::PidFile;
use trine_sys::process::Pid;

impl Table {
    /// Carries out one order (all but `Hello`). `fds`: what came with its frame.
    pub fn perform(&mut self, order: Order, fds: Vec<OwnedFd>) -> Option<Letter> {
        match order {
            Order::Hello => None,
            Order::Store { key, value } => {
                match value {
                    Some(value) => self.stored.insert(key, value),
                    None => self.stored.remove(&key),
                };
                None
            }
            Order::Spawn(order) => self.spawn(*order),
            Order::Signal { id, signal, group } => {
                // The process may just have ended: its exit is on the way to the brain, nothing else is to be said.
                let _ = self.slots.get(&id).map(|slot| slot.signal(signal, group));
                None
            }
            Order::Feed { ticket, id, text } => Some(self.feed(ticket, &id, &text)),
            Order::Acknowledge { id, generation } => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.acknowledge(generation);
                }
                None
            }
            Order::OpenPipe {
                ticket,
                id,
                channel,
                bytes,
            } => Some(match self.open_pipe(id, channel, bytes) {
                Ok(pipe) => (
                    Report::Done {
                        ticket,
                        text: String::new(),
                    },
                    vec![pipe],
                ),
                Err(err) => refused(ticket, "pipe", &err),
            }),
            Order::Bind {
                ticket,
                key,
                bind,
                give,
            } => Some(match self.sockets.bind(key, &bind, give) {
                Ok((text, fds)) => (Report::Done { ticket, text }, fds),
                Err(failure) => (Report::Refused { ticket, failure }, Vec::new()),
            }),
            Order::Release { key } => {
                self.sockets.release(&key);
                None
            }
            Order::Forget { id } => {
                if self.slots.get(&id).is_some_and(|slot| !slot.is_alive()) {
                    self.slots.remove(&id);
                }
                None
            }
            Order::TakeSignals { up_to } => {
                self.signals.retain(|waiting| waiting.number > up_to);
                None
            }
            Order::Pidfile { ticket, path } => Some(self.write_pidfile(ticket, path)),
            Order::Started => {
                self.started = true;
                None
            }
            Order::Notify { text } => {
                // Whoever supervises us may be gone; that changes nothing for the programs.
                let _ = self.notifier.send(&text);
                None
            }
            Order::Exit { code, leave } => {
                self.exit = Some(code);
                self.leave = leave;
                None
            }
            Order::Pong { number } => {
                self.pong = number;
                None
            }
            Order::Rest => {
                trine_sys::memory::give_back();
                None
            }
            Order::Upgrade { ticket, program } => {
                self.upgrade = Some((ticket, program));
                None
            }
            Order::Follow {
                id,
                generation,
                pid,
            } => {
                if let Some(slot) = self.slots.get_mut(&id)
                    && slot.generation == generation
                    && let Ok(pidfd) = trine_sys::process::pidfd_open(Pid::from_raw(pid))
                {
                    slot.follow = Some((pid, pidfd)).filter(|_| !slot.runs(pid));
                }
                None
            }
            Order::KeepFds { id, name } => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.keep(&name, fds);
                }
                None
            }
            Order::DropFds { id, name } => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.kept.retain(|(known, _)| *known != name);
                }
                None
            }
        }
    }

    fn spawn(&mut self, order: SpawnOrder) -> Option<Letter> {
        let (id, generation) = (order.id.clone(), order.generation);
        let slot = self.slots.entry(id.clone()).or_default();
        if slot.is_alive() {
            return None; // never two of them
        }
        slot.end_group = order.end_group;
        slot.cgroup.clone_from(&order.confinement.cgroup);
        let mut fds = Vec::new();
        let stdin = match &order.stdin {
            Input::Null | Input::Pipe => None,
            Input::Socket(key) => Some(key),
        };
        for key in order.sockets.iter().map(|(_, key)| key).chain(stdin) {
            match self.sockets.get(key) {
                Some(socket) => fds.push(socket),
                None => {
                    let failure = Failure {
                        step: "sockets".into(),
                        errno: None,
                        text: format!("no socket {key} is held"),
                    };
                    slot.failed(generation, clock::now(), failure.clone());
                    return Some((
                        Report::SpawnFailed {
                            id,
                            generation,
                            at: clock::now(),
                            failure,
                        },
                        Vec::new(),
                    ));
                }
            }
        }
        let at = clock::now();
        let mut pipe = None;
        if order.stdin == Input::Pipe {
            // Without one the program reads nothing, which is better than not running.
            slot.stdin = Stdin::open().ok().map(|(stdin, read)| {
                pipe = Some(read);
                stdin
            });
        }
        fds.extend(pipe.as_ref().map(AsFd::as_fd));
        Some(
            match process::spawn(&order, slot, &fds, &self.inheritance) {
                Ok(child) => {
                    let pid = child.pid.as_raw();
                    let pidfd = slot.started(generation, pid, child.pidfd, at);
                    (
                        Report::Spawned {
                            id,
                            generation,
                            pid,
                            at,
                        },
                        vec![pidfd],
                    )
                }
                Err(failure) => {
                    slot.failed(generation, at, failure.clone());
                    (
                        Report::SpawnFailed {
                            id,
                            generation,
                            at,
                            failure,
                        },
                        Vec::new(),
                    )
                }
            },
        )
    }

    fn feed(&mut self, ticket: Ticket, id: &str, text: &str) -> Letter {
        let stdin = self.slots.get_mut(id).and_then(|slot| slot.stdin.as_mut());
        let fed = match stdin {
            Some(stdin) => stdin.feed(text.as_bytes(), &self.stdins),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        match fed {
            Ok(()) => (
                Report::Done {
                    ticket,
                    text: String::new(),
                },
                Vec::new(),
            ),
            Err(err) => refused(ticket, "write", &err),
        }
    }

    fn open_pipe(&mut self, id: String, channel: Channel, bytes: usize) -> io::Result<Rc<OwnedFd>> {
        let pipe = match self.slots.entry(id).or_default().pipes.entry(channel) {
            Entry::Occupied(pipe) => pipe.into_mut(),
            Entry::Vacant(place) => place.insert(Pipe::open(channel, bytes)?),
        };
        Ok(pipe.read.clone())
    }

    fn write_pidfile(&mut self, ticket: Ticket, path: String) -> Letter {
        let is_there = |file: &PidFile| file.path() == std::path::Path::new(&path);
        if path.is_empty() {
            self.pidfile = None;
        } else if !self.pidfile.as_ref().is_some_and(is_there) {
            match PidFile::create(path) {
                Ok(file) => self.pidfile = Some(file),
                Err(err) => {
                    let failure = Failure {
                        step: "pidfile".into(),
                        errno: None,
                        text: trine_service::exit::chain(&err),
                    };
                    return (Report::Refused { ticket, failure }, Vec::new());
                }
            }
        }
        let text = String::new();
        (Report::Done { ticket, text }, Vec::new())
    }
}

fn refused(ticket: Ticket, step: &str, err: &io::Error) -> Letter {
    (
        Report::Refused {
            ticket,
            failure: Failure::of(step, err),
        },
        Vec::new(),
    )
}
