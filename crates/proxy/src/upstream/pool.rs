//! One server of an upstream, seen from one core: its idle connections, last in first out, and its figures.
//!
//! A connection comes back only from an exchange that left nothing behind. Not here: making connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::fleet::Ticket;
use crate::config::{KeepAlive, PeerAddr};
use crate::stream::{Glance, Stream};

/// A server, with this core's connections to it. It outlives a reload that keeps the address.
pub(crate) struct Peer {
    pub(crate) addr: PeerAddr,
    /// As it is written in logs.
    pub(crate) name: String,
    idle: RefCell<Vec<Idle>>,
    keep: Cell<KeepAlive>,
    pub(crate) figures: Figures,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
    age: Age,
    tag: u64,
}

/// What a connection has been through.
#[derive(Debug, Clone, Copy)]
struct Age {
    born: Instant,
    /// Requests that it has served.
    served: u32,
}

/// What happened with a server so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Connections in use now.
    pub(crate) active: Cell<u64>,
    pub(crate) connects: Cell<u64>,
    pub(crate) requests: Cell<u64>,
    /// Requests that went out on a connection used before.
    pub(crate) reused: Cell<u64>,
    pub(crate) failures: Cell<u64>,
    /// Bytes of sessions of `stream`, from the server and to it.
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
}

pub(crate) fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get().wrapping_add(count));
}

/// A connection in use. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Option<Stream>,
    peer: Rc<Peer>,
    /// It has served a request before, so the server may have closed it meanwhile.
    pub(crate) reused: bool,
    /// Held for as long as the connection is in use, where connections are counted.
    pub(crate) ticket: Option<Ticket>,
    /// How it was made: 0 without TLS.
    pub(crate) tag: u64,
    age: Age,
}

impl Peer {
    pub(crate) fn new(addr: PeerAddr) -> Self {
        let name = addr.to_string();
        Self {
            addr,
            name,
            idle: RefCell::default(),
            keep: Cell::new(KeepAlive {
                count: 0,
                ..KeepAlive::default()
            }),
            figures: Figures::default(),
        }
    }

    /// Idle connections beyond `keep` are closed, now and later.
    pub(crate) fn set_keep(&self, keep: KeepAlive) {
        self.keep.set(keep);
        self.idle.borrow_mut().truncate(keep.count);
    }

    /// None is kept from now on.
    pub(crate) fn retire(&self) {
        let keep = self.keep.get();
        self.set_keep(KeepAlive { count: 0, ..keep });
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Connections in use and idle ones.
    pub(crate) fn open(&self) -> usize {
        self.idle() + usize::try_from(self.figures.active.get()).unwrap_or(usize::MAX)
    }

    /// The connection that was idle for the shortest time and is still good.
    pub(crate) fn take(self: &Rc<Self>, now: Instant, tag: u64) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let most = self.keep.get().timeout;
        loop {
            if idle.last()?.tag != tag {
                // Those made otherwise are not for this request: the newest of ours comes to the end.
                let at = idle.iter().rposition(|one| one.tag == tag)?;
                let last = idle.len() - 1;
                idle.swap(at, last);
            }
            let Idle {
                stream, since, age, ..
            } = idle.pop()?;
            // Bytes that nobody asked for are as bad as a closed connection.
            if now.saturating_duration_since(since) < most && stream.glance() == Glance::Quiet {
                drop(idle);
                return Some(self.lend(stream, true, age, tag));
            }
        }
    }

    pub(crate) fn link(self: &Rc<Self>, stream: Stream, reused: bool) -> Link {
        let born = Instant::now();
        self.lend(stream, reused, Age { born, served: 0 }, 0)
    }

    fn lend(self: &Rc<Self>, stream: Stream, reused: bool, age: Age, tag: u64) -> Link {
        add(&self.figures.active, 1);
        Link {
            stream: Some(stream),
            peer: Rc::clone(self),
            reused,
            ticket: None,
            tag,
            age,
        }
    }

    /// Closes what was idle for too long, or was closed by the server. Returns whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        let most = self.keep.get().timeout;
        idle.retain(|one| {
            now.saturating_duration_since(one.since) < most && one.stream.glance() == Glance::Quiet
        });
        !idle.is_empty()
    }

    /// Closes all idle connections.
    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }
}

impl Link {
    pub(crate) fn stream(&self) -> &Stream {
        self.stream
            .as_ref()
            .expect("only `give_back` and `drop` take the stream, and both end the link")
    }

    pub(crate) fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }

    /// Keeps the connection for another request. Only for one on which nothing is left to be read or written.
    pub(crate) fn give_back(mut self, now: Instant) {
        let keep = self.peer.keep.get();
        let mut age = self.age;
        age.served += 1;
        let young =
            age.served < keep.requests && now.saturating_duration_since(age.born) < keep.time;
        let mut idle = self.peer.idle.borrow_mut();
        if young
            && idle.len() < keep.count
            && let Some(stream) = self.stream.take()
        {
            idle.push(Idle {
                stream,
                since: now,
                age,
                tag: self.tag,
            });
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let active = &self.peer.figures.active;
        active.set(active.get().saturating_sub(1));
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("addr", &self.addr)
            .field("idle", &self.idle())
            .finish_non_exhaustive()
    }
}
