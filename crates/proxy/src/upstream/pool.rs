//! One server of an upstream, seen from one core: its idle connections, last in first out, and its figures.
//!
//! A connection comes back only from an exchange that left nothing behind. Not here: making connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::PeerAddr;
use crate::stream::{Glance, Stream};

/// Idle connections older than this are closed: many servers close theirs after a minute or so.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A server, with this core's connections to it. It outlives a reload that keeps the address.
pub(crate) struct Peer {
    pub(crate) addr: PeerAddr,
    /// As it is written in logs.
    pub(crate) name: String,
    idle: RefCell<Vec<Idle>>,
    keep: Cell<usize>,
    pub(crate) figures: Figures,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
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
}

impl Peer {
    pub(crate) fn new(addr: PeerAddr) -> Self {
        let name = addr.to_string();
        Self {
            addr,
            name,
            idle: RefCell::default(),
            keep: Cell::new(0),
            figures: Figures::default(),
        }
    }

    /// Idle connections beyond `keep` are closed, now and later.
    pub(crate) fn set_keep(&self, keep: usize) {
        self.keep.set(keep);
        self.idle.borrow_mut().truncate(keep);
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Connections in use and idle ones.
    pub(crate) fn open(&self) -> usize {
        self.idle() + usize::try_from(self.figures.active.get()).unwrap_or(usize::MAX)
    }

    /// The connection that was idle for the shortest time and is still good.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { stream, .. }) = idle.pop() {
            // Bytes that nobody asked for are as bad as a closed connection.
            if stream.glance() == Glance::Quiet {
                drop(idle);
                return Some(self.link(stream, true));
            }
        }
        None
    }

    pub(crate) fn link(self: &Rc<Self>, stream: Stream, reused: bool) -> Link {
        add(&self.figures.active, 1);
        Link {
            stream: Some(stream),
            peer: Rc::clone(self),
            reused,
        }
    }

    /// Closes what was idle for too long, or was closed by the server. Returns whether any is left.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|one| {
            now.duration_since(one.since) < IDLE_LIMIT && one.stream.glance() == Glance::Quiet
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
        let mut idle = self.peer.idle.borrow_mut();
        if idle.len() < self.peer.keep.get()
            && let Some(stream) = self.stream.take()
        {
            idle.push(Idle { stream, since: now });
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
