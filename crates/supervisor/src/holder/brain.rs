//! The brain as the holder sees it: a child to start, with a line to talk on.
//! Not here: when to start another one (see `main`), or what its orders do (see `table`).

use super::channel::{ChannelError, Inbox, Outbox};
use super::main::{BRAIN_ARGUMENT, BRAIN_FD, OURS};
use super::table::{Letter, Table};
use super::wire::{Order, Report, WireError};
use crate::clock;
use crate::error::Error;
use crate::program::moment::Moment;
use crate::program::state::Exit;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use trine_sys::process::{self, Pid, Signal};
use trine_sys::spawn::Spawn;

#[derive(Debug)]
pub struct Brain {
    pub pid: Pid,
    pub since: Moment,
    pub has_spoken: bool,
    /// It has taken over and answers.
    pub has_lived: bool,
    pings: u64,
    /// The sign of life it was asked for, and when.
    owes: Option<(u64, Moment)>,
    pidfd: OwnedFd,
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
}

/// What a brain that says hello is told beside the table.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// How many brains there have been.
    pub brains: u64,
    pub last: Option<Exit>,
}

impl Brain {
    pub fn start() -> Result<Self, Error> {
        let failed = |source| Error::Holder {
            doing: "make a socket pair",
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        // Not the path: the file may have been replaced, and this brain must be of our own version.
        let mut plan = Spawn::new(c"/proc/self/exe".into());
        let mut args = std::env::args_os();
        plan.argv = vec![
            text(args.next().unwrap_or_default())?,
            text(BRAIN_ARGUMENT.into())?,
        ];
        plan.argv
            .extend(args.map(text).collect::<Result<Vec<_>, _>>()?);
        plan.env = std::env::vars_os()
            .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
            .map(|(name, value)| text([name, value].join(&OsString::from("="))))
            .collect::<Result<_, _>>()?;
        // A group of its own: Ctrl-C on the terminal is for the holder, which passes it on as an event.
        plan.process_group = Some(0);
        plan.fds.push((theirs.as_fd(), BRAIN_FD));
        let child = plan.spawn().map_err(Error::StartBrain)?;
        Ok(Self {
            pid: child.pid,
            since: clock::now(),
            has_spoken: false,
            has_lived: false,
            pings: 0,
            owes: None,
            pidfd: child.pidfd,
            socket: ours.into(),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
        })
    }

    /// Runs the orders that have come in. `Closed` needs no care: the brain's end follows.
    pub fn hear(&mut self, table: &mut Table, history: History) -> Result<(), ChannelError> {
        loop {
            let more = self.inbox.fill(&self.socket);
            while let Some((orders, fds)) = self.inbox.take::<Vec<Order>>()? {
                self.has_spoken = true;
                let mut fds = Some(fds);
                for order in orders {
                    let letters = match order {
                        Order::Hello => table.tell_all(history.brains, history.last),
                        order @ Order::KeepFds { .. } => {
                            let fds = fds.take().unwrap_or_default();
                            table.perform(order, fds).into_iter().collect()
                        }
                        order => table.perform(order, Vec::new()).into_iter().collect(),
                    };
                    let is_table = letters.len() > 1;
                    letters
                        .into_iter()
                        .try_for_each(|letter| self.tell(letter))?;
                    if is_table {
                        self.ping()?;
                    }
                }
            }
            if !more? {
                return Ok(());
            }
        }
    }

    /// Puts a report among those to be sent.
    pub fn tell(&mut self, (report, fds): Letter) -> Result<(), WireError> {
        self.outbox.push(&report, fds)
    }

    /// Sends what goes without waiting. `Ok(true)`: everything is out.
    pub fn speak(&mut self) -> Result<bool, ChannelError> {
        self.outbox.flush(&self.socket)
    }

    /// It cannot be talked to; its successor may do better.
    pub fn kill(&self) {
        let _ = process::pidfd_signal(&self.pidfd, Signal::SIGKILL);
    }

    /// Ends it and waits until it is gone.
    pub fn end(self) {
        self.kill();
        let _ = process::wait_pidfd(&self.pidfd);
    }

    /// Asks for a sign of life, unless it owes one already.
    pub fn ping(&mut self) -> Result<(), WireError> {
        if self.owes.is_some() {
            return Ok(());
        }
        self.pings += 1;
        self.owes = Some((self.pings, clock::now()));
        let number = self.pings;
        self.tell((Report::Ping { number }, Vec::new()))
    }

    /// It has answered up to this one.
    pub fn ponged(&mut self, number: u64) {
        if self.owes.is_some_and(|(owed, _)| owed <= number) {
            self.owes = None;
            self.has_lived = true;
        }
    }

    /// Since when it owes a sign of life.
    #[must_use]
    pub fn owes_since(&self) -> Option<Moment> {
        self.owes.map(|(_, since)| since)
    }
}

impl AsFd for Brain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn text(text: OsString) -> Result<CString, Error> {
    CString::new(text.into_vec()).map_err(|err| Error::Holder {
        doing: "pass arguments on",
        source: err.into(),
    })
}
