//! What goes through an exec: the holder's table as JSON in a sealed memory file, and the descriptors it names.
//! Not here: the exec itself, or when to do it (see `upgrade`).
//!
//! Fields are only added, each with a default, so that a newer holder takes over from an older one.

use super::slot::{LASTING, Pipe, Slot};
use super::stdin::Stdin;
use super::wire::{Channel, SlotLife};
use crate::program::moment::Moment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use trine_sys::fdpass;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    pub slots: Vec<KeptSlot>,
    pub sockets: Vec<KeptSocket>,
    /// Sockets that were handed down and nobody has asked for: name, number then, descriptor.
    pub inherited: Vec<(String, i32, i32)>,
    pub stored: BTreeMap<String, String>,
    /// Signals the brain has not written down: number, signal, when.
    pub signals: Vec<(u64, i32, Moment)>,
    pub signals_seen: u64,
    pub notify: i32,
    pub notify_address: String,
    /// The limit on descriptors from before we raised our own.
    pub descriptors: (u64, u64),
    pub oom_score: Option<i32>,
    pub pidfile: Option<String>,
    pub brains: u64,
    pub upgrades: u64,
    /// The program to go back to, should the new one not be able to work.
    pub previous: Option<i32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct KeptSlot {
    pub id: String,
    pub generation: u64,
    pub life: SlotLife,
    pub pidfd: Option<i32>,
    /// Channel, read end, write end.
    pub pipes: Vec<(Channel, i32, i32)>,
    #[serde(default)]
    pub end_group: bool,
    /// The writing end of its standard input, and what waits there.
    #[serde(default)]
    pub stdin: Option<(i32, Vec<u8>)>,
    #[serde(default)]
    pub kept: Vec<(String, i32)>,
    #[serde(default)]
    pub cgroup: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct KeptSocket {
    pub key: String,
    pub fd: i32,
    /// Bound by us, so that its file is ours to remove.
    pub own: bool,
    /// The file of a Unix socket, and the descriptor of its lock.
    pub file: Option<(PathBuf, i32)>,
    /// The brain has a copy.
    pub given: bool,
}

/// Notes descriptors that are to stay open, and can undo that.
#[derive(Debug, Default)]
pub struct Keeper {
    /// Duplicates without CLOEXEC, so that the originals stay as they are should the exec fail.
    copies: Vec<OwnedFd>,
}

/// The copies lie where what lasts does.
const LOWEST_COPY: i32 = LASTING;

impl Keeper {
    /// The number under which it will be found.
    pub fn keep(&mut self, fd: impl AsFd) -> io::Result<i32> {
        let copy = fdpass::duplicate(fd, LOWEST_COPY)?;
        let number = copy.as_raw_fd();
        self.copies.push(copy);
        Ok(number)
    }

    /// From here on they go through an exec.
    pub fn open_door(&self) -> io::Result<()> {
        self.copies
            .iter()
            .try_for_each(|fd| fdpass::set_cloexec(fd, false))
    }
}

/// Takes descriptors over by their numbers, each once.
#[derive(Debug, Default)]
pub struct Unpacking;

impl Unpacking {
    pub fn take(&mut self, number: i32) -> io::Result<OwnedFd> {
        fdpass::adopt(number)
    }
}

impl KeptSlot {
    pub fn pack(id: &str, slot: &Slot, keeper: &mut Keeper) -> io::Result<Self> {
        let mut pipes = Vec::new();
        for (channel, pipe) in &slot.pipes {
            pipes.push((
                *channel,
                keeper.keep(&*pipe.read)?,
                keeper.keep(&pipe.write)?,
            ));
        }
        let kept = slot.kept.iter();
        Ok(Self {
            id: id.to_owned(),
            generation: slot.generation,
            life: slot.life.clone(),
            pidfd: match &slot.pidfd {
                Some(pidfd) => Some(keeper.keep(&**pidfd)?),
                None => None,
            },
            pipes,
            end_group: slot.end_group,
            stdin: match &slot.stdin {
                Some(stdin) => Some((keeper.keep(stdin)?, stdin.waiting())),
                None => None,
            },
            kept: kept
                .map(|(name, fd)| Ok((name.clone(), keeper.keep(fd)?)))
                .collect::<io::Result<_>>()?,
            cgroup: slot.cgroup.clone(),
        })
    }

    pub fn unpack(self, fds: &mut Unpacking) -> io::Result<(String, Slot)> {
        let mut slot = Slot {
            generation: self.generation,
            life: self.life,
            pidfd: match self.pidfd {
                Some(number) => Some(Rc::new(fds.take(number)?)),
                None => None,
            },
            end_group: self.end_group,
            cgroup: self.cgroup,
            stdin: match self.stdin {
                Some((number, waiting)) => Some(Stdin::from_parts(fds.take(number)?, waiting)),
                None => None,
            },
            ..Slot::default()
        };
        for (channel, read, write) in self.pipes {
            let (read, write) = (Rc::new(fds.take(read)?), fds.take(write)?);
            slot.pipes.insert(channel, Pipe { read, write });
        }
        for (name, number) in self.kept {
            slot.kept.push((name, fds.take(number)?));
        }
        Ok((self.id, slot))
    }
}
