//! The brain's end of the line to the holder.
//! Not here: what is ordered, or what a report means to a process.

use crate::error::Error;
use crate::holder::channel::{ChannelError, Inbox, Outbox};
use crate::holder::wire::{Failure, Order, Report, Ticket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// A report with the descriptors that came with it.
pub type Letter = (Report, Vec<OwnedFd>);

/// What became of an order that is answered: text and descriptors, or why it was not carried out.
pub type Answer = Result<(String, Vec<OwnedFd>), Failure>;

#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
    inbox: Inbox,
    /// Reports that came while an answer was waited for.
    backlog: VecDeque<Letter>,
    tickets: Ticket,
}

impl Link {
    /// Must be called inside a runtime.
    pub fn new(socket: OwnedFd) -> Result<Self, Error> {
        let failed = |source| Error::Brain {
            doing: "listen to the holder",
            source,
        };
        trine_sys::fdpass::set_nonblocking(&socket, true).map_err(failed)?;
        let socket = UnixStream::from_std(StdUnixStream::from(socket)).map_err(failed)?;
        Ok(Self {
            socket,
            inbox: Inbox::default(),
            backlog: VecDeque::new(),
            tickets: 0,
        })
    }

    /// Sends orders that are carried out together, or not at all if we are killed first. When this returns they will be
    /// carried out, whatever becomes of us.
    pub fn send(&mut self, orders: &[Order]) -> Result<(), Error> {
        self.send_with(orders, Vec::new())
    }

    /// The same with descriptors, which belong to the first order that takes some.
    pub fn send_with(&mut self, orders: &[Order], fds: Vec<OwnedFd>) -> Result<(), Error> {
        if orders.is_empty() {
            return Ok(());
        }
        let mut outbox = Outbox::default();
        let fds = fds.into_iter().map(Rc::new).collect();
        outbox.push(&orders, fds).map_err(Error::Protocol)?;
        while !outbox.flush(&self.socket).map_err(Error::Link)? {
            self.wait(PollFlags::POLLOUT)?; // the holder never waits for us, so it will read
        }
        Ok(())
    }

    /// A number for an order whose answer comes among the reports.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// Sends an order that is answered, and waits: the holder answers in microseconds.
    pub fn call(&mut self, order: impl FnOnce(Ticket) -> Order) -> Result<Answer, Error> {
        let mut answers = self.call_all([order])?;
        answers.pop().ok_or(Error::Link(ChannelError::Closed))
    }

    /// The same with several at once, which spares the wait for each. The answers are in the order of the orders.
    pub fn call_all<F: FnOnce(Ticket) -> Order>(
        &mut self,
        orders: impl IntoIterator<Item = F>,
    ) -> Result<Vec<Answer>, Error> {
        let first = self.tickets + 1;
        let mut numbered = Vec::new();
        for order in orders {
            numbered.push(order(self.ticket()));
        }
        self.send(&numbered)?;
        let mut answers = Vec::with_capacity(numbered.len());
        let mut awaited = first;
        while answers.len() < numbered.len() {
            match self.read_waiting()? {
                (Report::Done { ticket, text }, fds) if ticket == awaited => {
                    answers.push(Ok((text, fds)));
                }
                (Report::Refused { ticket, failure }, _) if ticket == awaited => {
                    answers.push(Err(failure));
                }
                other => {
                    self.backlog.push_back(other);
                    continue;
                }
            }
            awaited += 1;
        }
        Ok(answers)
    }

    /// The next report, waiting without the runtime; passes over the backlog.
    pub fn read_waiting(&mut self) -> Result<Letter, Error> {
        loop {
            if let Some(letter) = self.inbox.take().map_err(Error::Link)? {
                return Ok(letter);
            }
            if !self.inbox.fill(&self.socket).map_err(Error::Link)? {
                self.wait(PollFlags::POLLIN)?;
            }
        }
    }

    /// The next report if it has come already.
    pub fn next_here(&mut self) -> Result<Option<Letter>, Error> {
        if let Some(letter) = self.backlog.pop_front() {
            return Ok(Some(letter));
        }
        self.inbox.take().map_err(Error::Link)
    }

    /// The next report. Dropping the future loses none.
    pub async fn next(&mut self) -> Result<Letter, Error> {
        loop {
            if let Some(letter) = self.backlog.pop_front() {
                return Ok(letter);
            }
            if let Some(letter) = self.inbox.take().map_err(Error::Link)? {
                return Ok(letter);
            }
            let failed = |source| Error::Brain {
                doing: "listen to the holder",
                source,
            };
            self.socket.readable().await.map_err(failed)?;
            let (socket, inbox) = (&self.socket, &mut self.inbox);
            let mut outcome = Ok(true);
            let tried = socket.try_io(Interest::READABLE, || {
                outcome = inbox.fill(socket);
                if matches!(outcome, Ok(false)) {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            outcome.map_err(Error::Link)?;
            match tried {
                Err(err) if err.kind() != io::ErrorKind::WouldBlock => return Err(failed(err)),
                _ => {}
            }
        }
    }

    fn wait(&self, what: PollFlags) -> Result<(), Error> {
        let mut fds = [PollFd::new(self.socket.as_fd(), what)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(Error::Link(ChannelError::Io(errno.into()))),
        }
    }
}
