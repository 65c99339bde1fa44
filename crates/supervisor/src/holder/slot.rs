//! What the holder keeps of one process: the process itself, its exit record, its log pipes.
//! Not here: whether it should run.

use super::stdin::Stdin;
use super::wire::{Channel, Failure, SlotLife};
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use trine_sys::process::{self, Pid};
use trine_sys::{fdpass, file};

#[derive(Debug, Default)]
pub struct Slot {
    /// The brain's number of the spawn that `life` is about.
    pub generation: u64,
    pub life: SlotLife,
    /// Readable once the process has ended; `None` unless alive.
    pub pidfd: Option<Rc<OwnedFd>>,
    pub pipes: BTreeMap<Channel, Pipe>,
    /// What is left of its process group is to end with it.
    pub end_group: bool,
    /// Descriptors that a process gave us for the next one, by name.
    pub kept: Vec<(String, OwnedFd)>,
    /// The descendant that goes on in its place when it ends.
    pub follow: Option<(i32, OwnedFd)>,
    /// The control group of this generation, if it has one.
    pub cgroup: Option<String>,
    /// `None` unless it is alive and has a pipe there.
    pub stdin: Option<Stdin>,
}

/// A program may have so many descriptors kept.
const MOST_KEPT: usize = 64;

/// What lies in the holder for long lies from this number on: below it is what a new process gets copies of, and copying
/// thousands of descriptors for each would take longer than all else.
pub const LASTING: RawFd = 256;

/// The descriptor at a number for those that stay, if there is room.
pub fn lasting(fd: OwnedFd) -> OwnedFd {
    fdpass::duplicate(&fd, LASTING).unwrap_or(fd)
}

/// A log pipe. It lasts as long as its slot: both ends stay open, so that a program never meets a closed pipe, output
/// of one generation stays before that of the next, and what is in it waits for whoever reads next. A memory file for the
/// brain is kept in the same way, with two descriptors of the same.
#[derive(Debug)]
pub struct Pipe {
    pub read: Rc<OwnedFd>,
    pub write: OwnedFd,
}

impl Pipe {
    pub fn open(channel: Channel, bytes: usize) -> io::Result<Self> {
        if channel.is_staging() {
            let write = lasting(fdpass::memfd(c"trine-staging")?);
            let read = Rc::new(fdpass::duplicate(&write, LASTING).or_else(|_| write.try_clone())?);
            return Ok(Self { read, write });
        }
        let (read, write) = file::pipe_cloexec()?;
        // The brain polls its end; programs get the other one, which must wait as they expect.
        fdpass::set_nonblocking(&read, true)?;
        // Beyond the user's quota the kernel refuses; the pipe then has the size it has.
        let _ = file::set_pipe_size(&read, bytes);
        Ok(Self {
            read: Rc::new(lasting(read)),
            write: lasting(write),
        })
    }
}

impl Slot {
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.life, SlotLife::Alive { .. })
    }

    pub fn started(
        &mut self,
        generation: u64,
        pid: i32,
        pidfd: OwnedFd,
        since: Moment,
    ) -> Rc<OwnedFd> {
        let pidfd = Rc::new(lasting(pidfd));
        self.generation = generation;
        self.life = SlotLife::Alive { pid, since };
        self.pidfd = Some(pidfd.clone());
        self.follow = None;
        pidfd
    }

    /// Its process has ended. Whether another goes on in its place: its pid and pidfd.
    pub fn follow(&mut self) -> Option<(i32, Rc<OwnedFd>)> {
        let (pid, pidfd) = self.follow.take()?;
        let SlotLife::Alive { since, .. } = self.life else {
            return None;
        };
        if process::has_ended(&pidfd) {
            return None;
        }
        let pidfd = Rc::new(pidfd);
        self.life = SlotLife::Alive { pid, since };
        self.pidfd = Some(pidfd.clone());
        Some((pid, pidfd))
    }

    pub fn failed(&mut self, generation: u64, at: Moment, failure: Failure) {
        self.generation = generation;
        self.life = SlotLife::Failed { at, failure };
        self.pidfd = None;
        self.stdin = None;
    }

    pub fn ended(&mut self, exit: Exit, at: Moment) {
        if let SlotLife::Alive { pid, since } = self.life {
            self.life = SlotLife::Exited {
                pid,
                since,
                at,
                exit,
            };
            self.pidfd = None;
            self.stdin = None;
        }
    }

    /// Whether `pid` is its process, not yet reaped.
    #[must_use]
    pub fn runs(&self, pid: i32) -> bool {
        matches!(self.life, SlotLife::Alive { pid: own, .. } if own == pid)
    }

    /// Keeps descriptors for the next process. One that is kept already is not kept twice: a brain that died may have
    /// ordered it before.
    pub fn keep(&mut self, name: &str, fds: Vec<OwnedFd>) {
        for fd in fds {
            let known = |(kept_name, kept): &(String, OwnedFd)| {
                kept_name == name && file::same(kept, &fd).unwrap_or(false)
            };
            if self.kept.len() < MOST_KEPT && !self.kept.iter().any(known) {
                self.kept.push((name.to_owned(), fd));
            }
        }
    }

    /// The brain knows how this generation ended.
    pub fn acknowledge(&mut self, generation: u64) {
        if self.generation == generation && !self.is_alive() {
            self.life = SlotLife::Empty;
        }
    }

    /// Nobody but our own reaping frees the pid, so the number is good as long as the slot says alive.
    pub fn signal(&self, signal: i32, group: bool) -> io::Result<()> {
        let (SlotLife::Alive { pid, .. }, Some(pidfd)) = (&self.life, &self.pidfd) else {
            return Ok(());
        };
        if group {
            process::signal_group_number(Pid::from_raw(*pid), signal)
        } else {
            process::pidfd_signal_number(pidfd, signal)
        }
    }
}

#[must_use]
pub fn exit_of(status: ExitStatus) -> Exit {
    match status.signal() {
        Some(signal) => Exit::Signal {
            signal,
            core: status.core_dumped(),
        },
        None => Exit::Code(status.code().unwrap_or(-1)),
    }
}
