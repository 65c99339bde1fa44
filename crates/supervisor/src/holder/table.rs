//! The table of everything the holder keeps, and the carrying out of orders on it. One order, one small deed.
//! Not here: the loop and the brain's own process (see `main`).

use super::kept::{Keeper, Kept, KeptSlot, Unpacking};
use super::process::{self, Inheritance};
use super::slot::{Pipe, Slot};
use super::sockets::Sockets;
use super::stdin::Stdin;
use super::wire::{
    Channel, FIRST_KEY, Failure, Input, Order, Report, SpawnOrder, TableHead, Ticket,
};
use crate::clock;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use trine_service::listeners::Inherited;
use trine_service::pidfile::PidFile;
use trine_service::readiness::Notifier;
use trine_sys::epoll::Epoll;
use trine_sys::process::{Pid, Signal};

/// A report and the descriptors that go with it.
pub type Letter = (Report, Vec<Rc<OwnedFd>>);

#[derive(Debug)]
pub struct Table {
    slots: BTreeMap<String, Slot>,
    sockets: Sockets,
    stored: BTreeMap<String, String>,
    /// Signals the brain has not written down yet.
    signals: Vec<Waiting>,
    signals_seen: u64,
    notify: Rc<OwnedFd>,
    notify_address: String,
    inheritance: Inheritance,
    notifier: Notifier,
    pidfile: Option<PidFile>,
    upgrades: u64,
    /// Watches for room in the standard inputs that something waits for.
    stdins: Epoll,
    /// Set by `Order::Exit`.
    pub exit: Option<u8>,
    /// Set by `Order::Started`.
    pub started: bool,
    /// Set by `Order::Upgrade`: who asked, and what to execute.
    pub upgrade: Option<(Ticket, Option<String>)>,
    /// The number of the latest `Order::Pong`.
    pub pong: u64,
}

/// What Table starts with.
#[derive(Debug)]
pub struct Endowment {
    pub notify: OwnedFd,
    pub notify_address: String,
    pub inherited: Inherited,
    pub inheritance: Inheritance,
    pub notifier: Notifier,
}

/// A signal that came to us.
#[derive(Debug)]
struct Waiting {
    number: u64,
    signal: i32,
    at: Moment,
}

impl Waiting {
    fn letter(&self) -> Letter {
        let (number, signal) = (self.number, self.signal);
        (Report::Signal { number, signal }, Vec::new())
    }
}

impl Table {
    pub fn new(from: Endowment) -> io::Result<Self> {
        Ok(Self {
            slots: BTreeMap::new(),
            sockets: Sockets::new(from.inherited)?,
            stored: BTreeMap::new(),
            signals: Vec::new(),
            signals_seen: 0,
            notify: Rc::new(from.notify),
            notify_address: from.notify_address,
            inheritance: from.inheritance,
            notifier: from.notifier,
            pidfile: None,
            upgrades: 0,
            stdins: Epoll::new()?,
            exit: None,
            started: false,
            upgrade: None,
            pong: 0,
        })
    }

    /// Writes down everything that another program in our place needs.
    pub fn pack(&mut self, keeper: &mut Keeper) -> io::Result<Kept> {
        let mut slots = Vec::new();
        for (id, slot) in &self.slots {
            slots.push(KeptSlot::pack(id, slot, keeper)?);
        }
        Ok(Kept {
            slots,
            sockets: self.sockets.pack(keeper)?,
            inherited: self.sockets.pack_inherited(keeper)?,
            stored: self.stored.clone(),
            signals: self
                .signals
                .iter()
                .map(|waiting| (waiting.number, waiting.signal, waiting.at))
                .collect(),
            signals_seen: self.signals_seen,
            notify: keeper.keep(&*self.notify)?,
            notify_address: self.notify_address.clone(),
            descriptors: self.inheritance.descriptors,
            pidfile: self
                .pidfile
                .as_ref()
                .and_then(|file| file.path().to_str().map(str::to_owned)),
            upgrades: self.upgrades,
            ..Kept::default()
        })
    }

    /// The reverse of [`Self::pack`], in a table made from the same notify socket and inherited sockets.
    pub fn unpack(&mut self, kept: Kept, fds: &mut Unpacking) -> io::Result<()> {
        for slot in kept.slots {
            let (id, mut slot) = slot.unpack(fds)?;
            if let Some(stdin) = &mut slot.stdin {
                stdin.resume(&self.stdins)?;
            }
            self.slots.insert(id, slot);
        }
        self.sockets.unpack(kept.sockets, fds)?;
        self.stored = kept.stored;
        self.signals_seen = kept.signals_seen;
        self.signals = kept
            .signals
            .into_iter()
            .map(|(number, signal, at)| Waiting { number, signal, at })
            .collect();
        self.upgrades = kept.upgrades + 1;
        // We have the same pid, so the file is ours already.
        self.pidfile = kept.pidfile.and_then(|path| PidFile::create(path).ok());
        Ok(())
    }

    /// /dev/null, as programs get it.
    #[must_use]
    pub fn null(&self) -> &std::fs::File {
        &self.inheritance.null
    }

    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.stored.keys().all(|key| key == FIRST_KEY)
    }

    /// What brains find as if an earlier one had stored it.
    pub fn store(&mut self, key: String, value: String) {
        self.stored.insert(key, value);
    }

    /// Everything, for a new brain.
    #[must_use]
    pub fn tell_all(&self, brains: u64, last_brain: Option<Exit>) -> Vec<Letter> {
        let head = TableHead {
            holder_pid: trine_sys::process::getpid().as_raw(),
            brains,
            last_brain,
            upgrades: self.upgrades,
            notify_socket: self.notify_address.clone(),
            stored: self.stored.clone(),
        };
        let mut letters = vec![(Report::Table(Box::new(head)), vec![self.notify.clone()])];
        for (id, slot) in &self.slots {
            let channels = slot.pipes.keys().copied().collect();
            let fds = slot
                .pidfd
                .iter()
                .chain(slot.pipes.values().map(|pipe| &pipe.read))
                .cloned()
                .collect();
            let (id, life) = (id.clone(), slot.life.clone());
            letters.push((
                Report::Slot {
                    id,
                    generation: slot.generation,
                    life,
                    channels,
                },
                fds,
            ));
        }
        letters.extend(self.sockets.tell());
        letters.push((Report::TableEnd, Vec::new()));
        letters.extend(self.signals.iter().map(Waiting::letter));
        letters
    }

    /// A signal to us: kept until the brain has written it down.
    pub fn signalled(&mut self, signal: i32) -> Letter {
        self.signals_seen += 1;
        let number = self.signals_seen;
        let at = clock::now();
        self.signals.push(Waiting { number, signal, at });
        (Report::Signal { number, signal }, Vec::new())
    }

    /// Whether it is the main process of a program, not yet reaped, whose process group is to end with it.
    #[must_use]
    pub fn ends_group_of(&self, pid: Pid) -> bool {
        let mut slots = self.slots.values();
        slots.any(|slot| slot.runs(pid.as_raw()) && slot.end_group && slot.follow.is_none())
    }

    #[must_use]
    pub fn has_programs(&self) -> bool {
        self.slots.values().any(Slot::is_alive)
    }

    /// To every program with its group.
    pub fn signal_all(&self, signal: Signal) {
        for slot in self.slots.values() {
            let _ = slot.signal(signal as i32, true);
        }
    }

    /// For how long a signal has waited for a brain.
    #[must_use]
    pub fn unheard_for(&self, now: Moment) -> Duration {
        let first = self.signals.first();
        first.map_or(Duration::ZERO, |waiting| now - waiting.at)
    }

    /// A child has ended and is reaped.
    pub fn ended(&mut self, pid: i32, exit: Exit) -> Letter {
        let at = clock::now();
        let report = match self.slots.iter_mut().find(|(_, slot)| slot.runs(pid)) {
            Some((id, slot)) => {
                if let Some((pid, pidfd)) = slot.follow() {
                    let (id, generation) = (id.clone(), slot.generation);
                    let report = Report::Followed {
                        id,
                        generation,
                        pid,
                    };
                    return (report, vec![pidfd]);
                }
                slot.ended(exit, at);
                Report::Exited {
                    id: id.clone(),
                    generation: slot.generation,
                    pid,
                    at,
                    exit,
                }
            }
            None => Report::Stranger { pid, exit },
        };
        (report, Vec::new())
    }

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
            Order::Exit { code } => {
                self.exit = Some(code);
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

    /// Readable when some program's standard input has room again; then [`Self::feed_waiting`].
    #[must_use]
    pub fn stdins(&self) -> &Epoll {
        &self.stdins
    }

    pub fn feed_waiting(&mut self) {
        for stdin in self
            .slots
            .values_mut()
            .filter_map(|slot| slot.stdin.as_mut())
        {
            stdin.flush(&self.stdins);
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
        if self
            .pidfile
            .as_ref()
            .is_some_and(|file| file.path() == std::path::Path::new(&path))
        {
            return (
                Report::Done {
                    ticket,
                    text: String::new(),
                },
                Vec::new(),
            );
        }
        match PidFile::create(path) {
            Ok(file) => {
                self.pidfile = Some(file);
                (
                    Report::Done {
                        ticket,
                        text: String::new(),
                    },
                    Vec::new(),
                )
            }
            Err(err) => {
                let text = trine_service::exit::chain(&err);
                let failure = Failure {
                    step: "pidfile".into(),
                    errno: None,
                    text,
                };
                (Report::Refused { ticket, failure }, Vec::new())
            }
        }
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
