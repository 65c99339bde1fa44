//! The table of everything the holder keeps: what is in it, told to a brain, or packed for another program in our place.
//! Not here: carrying out orders on it (see `orders`), the loop and the brain's own process (see `main`).

use super::kept::{Keeper, Kept, KeptSlot, Unpacking};
use super::process::Inheritance;
use super::slot::Slot;
use super::sockets::Sockets;
use super::wire::{FIRST_KEY, Report, TableHead, Ticket};
use crate::clock;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
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
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) sockets: Sockets,
    pub(super) stored: BTreeMap<String, String>,
    /// Signals the brain has not written down yet.
    pub(super) signals: Vec<Waiting>,
    signals_seen: u64,
    notify: Rc<OwnedFd>,
    notify_address: String,
    pub(super) inheritance: Inheritance,
    pub(super) notifier: Notifier,
    pub(super) pidfile: Option<PidFile>,
    upgrades: u64,
    /// Watches for room in the standard inputs that something waits for.
    pub(super) stdins: Epoll,
    /// Set by `Order::Exit`.
    pub exit: Option<u8>,
    /// At our end, what programs have left behind lives on.
    pub leave: bool,
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
pub(super) struct Waiting {
    pub(super) number: u64,
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
            leave: false,
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
}
