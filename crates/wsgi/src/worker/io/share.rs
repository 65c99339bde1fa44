//! Giving connections to other workers, and taking those that they give.
//!
//! A connection can be given when nothing of it is in this process but bytes that were received and belong to a request
//! that was not begun: they go along. Whoever takes it reads them as if it had received them.
//! Not here: when that is done (`worker::share`).

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use trine_sys::fdpass;

use super::{Io, Token, ms};
use crate::slots::{Slots, Stage};
use crate::worker::body::Body;
use crate::worker::conn::{Conn, State};
use crate::worker::exchange::{Exchange, Peer};
use crate::worker::share::Channels;
use crate::worker::transport::Transport;

/// What was received of a request that is given away has at most so many bytes.
const MOST: usize = 32 * 1024;
/// In front of it: listener, age of the request, flags, and the peer.
const FRONT: usize = 2 + 8 + 1;
const TRUSTED: u8 = 1;

/// The other workers, as this one sees them.
#[derive(Debug)]
pub struct Sharing {
    pub slots: Arc<Slots>,
    pub slot: usize,
    pub channels: Arc<Channels>,
    /// Where the next look for a free one begins.
    pub next: usize,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum To {
    /// Who could serve it at once.
    Free,
    LeastConnected,
    /// Where the fewest requests wait.
    ShortestLine,
}

impl Sharing {
    fn free_sibling(&mut self) -> Option<usize> {
        let count = self.channels.count();
        let found = (0..count)
            .map(|offset| (self.next + offset) % count)
            .find(|&slot| slot != self.slot && self.slots.free(slot) > 0)?;
        self.next = found + 1;
        Some(found)
    }

    /// Who serves and has the fewest connections, and how many.
    fn least_connected(&self) -> Option<(usize, usize)> {
        let others = (0..self.channels.count()).filter(|slot| *slot != self.slot);
        others
            .map(|slot| (slot, self.slots.worker(slot)))
            .filter(|(_, worker)| worker.stage() == Stage::Serving)
            .map(|(slot, worker)| (slot, worker.connections.load(Relaxed) as usize))
            .min_by_key(|(_, connections)| *connections)
    }

    /// Where the fewest requests wait or are on their way, and how many.
    fn shortest_line(&self) -> Option<(usize, usize)> {
        let others = (0..self.channels.count()).filter(|slot| *slot != self.slot);
        others
            .map(|slot| (slot, self.slots.worker(slot)))
            .filter(|(_, worker)| worker.stage() == Stage::Serving)
            .map(|(slot, worker)| {
                let line = worker.waiting.load(Relaxed) + worker.incoming.load(Relaxed);
                (slot, line as usize)
            })
            .min_by_key(|(_, line)| *line)
    }

    /// Gives to a sibling that serves. One that begins to leave waits for what is under way to it.
    fn give(&self, to: usize, message: &[u8], fd: BorrowedFd<'_>) -> bool {
        let worker = self.slots.worker(to);
        let giving = &worker.giving;
        giving.fetch_add(1, SeqCst);
        worker.incoming.fetch_add(1, SeqCst);
        let sent = worker.stage() == Stage::Serving
            && self
                .channels
                .of(to)
                .is_some_and(|channel| fdpass::send_fds(&channel.give, message, &[fd]).is_ok());
        if !sent {
            self.arrived(to);
        }
        giving.fetch_sub(1, SeqCst);
        sent
    }

    /// A connection under way to a worker is there, or does not come.
    fn arrived(&self, to: usize) {
        // What was under way to a worker that died is the next one's, who began to count anew.
        let incoming = &self.slots.worker(to).incoming;
        let _ = incoming.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
    }

    fn has_free(&self) -> bool {
        (0..self.channels.count()).any(|slot| slot != self.slot && self.slots.free(slot) > 0)
    }
}

impl Io {
    pub(in crate::worker) fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Does what the loop would do, were the application not at a call, and gives away what waits for it. Whether
    /// something still waits.
    pub(in crate::worker) fn lend(&mut self) -> std::io::Result<bool> {
        // Others shall take new connections. The loop opens the door again when the call is over.
        self.lent = true;
        self.close_door()?;
        self.absorb();
        let count = self.epoll.wait(&mut self.events, 0)?;
        self.took_in(count);
        self.absorb();
        self.adopt_given();
        // Answers from before the call.
        self.flush_dirty();
        self.give_waiting();
        Ok(!self.ready.is_empty())
    }

    /// Leaves new connections to others. The kernel may have told only us of those that wait already, so they are taken
    /// and given to somebody who is free, if there is one.
    pub(in crate::worker) fn close_door(&mut self) -> std::io::Result<()> {
        if !self.accepting {
            return Ok(());
        }
        self.accept_more(false)?;
        if self.sharing.is_none() {
            return Ok(());
        }
        for index in 0..self.listeners.len() {
            while let Some(token) = self.accept_one(index) {
                let full = self.open > self.rules.max_connections;
                if !self.give(token, To::Free) && full && !self.give(token, To::LeastConnected) {
                    // Nobody can take more.
                    break;
                }
            }
        }
        Ok(())
    }

    /// Lets somebody have a new connection who has far fewer of them: the kernel wakes the same worker again and again.
    pub(in crate::worker) fn balance(&mut self, token: Token) {
        let least = self.sharing.as_ref().and_then(Sharing::least_connected);
        if least.is_some_and(|(_, connections)| self.open >= 2 * connections + 4) {
            let _ = self.give(token, To::LeastConnected);
        }
    }

    /// Whether another worker takes connections that this one has no place for.
    pub(super) fn others_have_room(&self) -> bool {
        let least = self.sharing.as_ref().and_then(Sharing::least_connected);
        least.is_some_and(|(_, connections)| connections < self.rules.max_connections)
    }

    /// The call is over.
    pub(in crate::worker) fn take_back(&mut self) {
        if std::mem::take(&mut self.lent)
            && !self.draining
            && self.open < self.rules.max_connections
        {
            let _ = self.accept_more(true);
        }
    }

    /// Gives away requests that are complete and wait, as long as there is somebody free.
    pub(in crate::worker) fn give_waiting(&mut self) {
        if self.sharing.is_none() || self.draining {
            return;
        }
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            if !self.give(token, To::Free) {
                self.ready.push_front(token);
                break;
            }
        }
    }

    /// How many requests wait where the fewest do.
    pub(in crate::worker) fn shortest_line(&self) -> Option<usize> {
        let found = self.sharing.as_ref().and_then(Sharing::shortest_line);
        found.map(|(_, line)| line)
    }

    /// Whether another worker could serve a request at once.
    pub(in crate::worker) fn has_free_sibling(&self) -> bool {
        self.sharing.as_ref().is_some_and(Sharing::has_free)
    }

    /// Gives one connection away. `false`: it stays, and so would others.
    pub(in crate::worker) fn give(&mut self, token: Token, to: To) -> bool {
        let to = self.sharing.as_mut().and_then(|sharing| match to {
            To::Free => sharing.free_sibling(),
            To::LeastConnected => sharing.least_connected().map(|(slot, _)| slot),
            To::ShortestLine => sharing.shortest_line().map(|(slot, _)| slot),
        });
        let (Some(to), Some(sharing)) = (to, &self.sharing) else {
            return false;
        };
        // One that is gone already waits for nobody.
        let Some(conn) = self.get(token) else {
            return true;
        };
        let given = conn
            .message()
            .is_some_and(|message| sharing.give(to, &message, conn.fd.as_fd()));
        if given {
            self.let_go(token);
        }
        given
    }

    /// Forgets a connection that lives on elsewhere.
    pub(in crate::worker) fn let_go(&mut self, token: Token) {
        let Some(mut conn) = self.remove(token) else {
            return;
        };
        self.open -= 1;
        // The socket stays open, so the kernel would go on telling us of it.
        let _ = self.epoll.delete(&*conn.fd);
        if let Some(exchange) = conn.exchange.take() {
            self.pool.give(exchange);
        }
    }

    /// Takes what others have given.
    pub(in crate::worker) fn adopt_given(&mut self) {
        let mut buf = vec![0; FRONT + 2 * 256 + MOST];
        loop {
            let received = self.sharing.as_ref().and_then(|sharing| {
                let channel = sharing.channels.of(sharing.slot)?;
                fdpass::recv_fds(&channel.take, &mut buf, 1).ok()
            });
            let Some((len, mut fds)) = received else {
                return;
            };
            if let (Some(fd), Some(message)) = (fds.pop(), buf.get(..len)) {
                self.adopt(fd, message);
                if let Some(sharing) = &self.sharing {
                    sharing.arrived(sharing.slot);
                }
            } else {
                return;
            }
        }
    }

    fn adopt(&mut self, fd: OwnedFd, message: &[u8]) {
        let Some((listener, age, peer, received)) = read(message) else {
            tracing::error!("another worker gave a connection in words that are not ours");
            return;
        };
        let listener = if listener < self.sites { listener } else { 0 };
        let unix = peer.addr.is_empty();
        let mut conn = Conn::new(Transport::plain(fd), peer, listener, unix);
        conn.kept = true;
        conn.deadline = self.now_ms() + ms(self.rules.deadlines.head);
        if !received.is_empty() {
            let mut exchange = self.pool.take(&conn.peer, listener);
            exchange.buf.extend_from_slice(received);
            exchange.began = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
            conn.exchange = Some(exchange);
        }
        let token = self.insert(conn);
        self.advance(token);
    }

    /// A job that no thread has begun waits in line again.
    pub(in crate::worker) fn put_back(&mut self, token: Token, exchange: Box<Exchange>) {
        if let Some(conn) = self.get_mut(token) {
            conn.state = State::Ready;
            conn.exchange = Some(exchange);
            conn.deadline = u64::MAX;
        }
    }
}

impl Conn {
    /// What has to go along with the socket; `None` when it can not be given.
    fn message(&self) -> Option<Vec<u8>> {
        // What TLS and the PROXY protocol know of it cannot go along.
        let bare = !self.fd.is_tls() && self.preamble.is_none() && self.peer.proxied_to.is_none();
        let whole =
            bare && self.door.is_none() && self.out.is_empty() && !self.dirty && !self.broken;
        if !whole || !matches!(self.state, State::Ready | State::Idle) {
            return None;
        }
        let exchange = self.exchange.as_deref();
        let received = exchange.map_or(&[][..], Exchange::pending);
        let bodyless = exchange.is_none_or(|exchange| {
            matches!(exchange.body, Body::Empty)
                && exchange.chunked_length.is_none()
                && !exchange.truncated
        });
        if !bodyless || received.len() > MOST {
            return None;
        }
        let age = exchange.map_or(Duration::ZERO, |exchange| exchange.began.elapsed());
        let mut message = Vec::with_capacity(FRONT + 64 + received.len());
        message.extend_from_slice(&u16::try_from(self.listener).ok()?.to_le_bytes());
        message.extend_from_slice(&(age.as_micros() as u64).to_le_bytes());
        message.push(if self.peer.trusted { TRUSTED } else { 0 });
        for text in [&self.peer.addr, &self.peer.port] {
            message.push(u8::try_from(text.len()).ok()?);
            message.extend_from_slice(text.as_bytes());
        }
        message.extend_from_slice(received);
        Some(message)
    }
}

/// Reads what [`Conn::message`] wrote.
fn read(message: &[u8]) -> Option<(usize, Duration, Peer, &[u8])> {
    let (listener, rest) = message.split_first_chunk::<2>()?;
    let (age, rest) = rest.split_first_chunk::<8>()?;
    let (&flags, mut rest) = rest.split_first()?;
    let mut text = || {
        let (&len, after) = rest.split_first()?;
        let (text, after) = after.split_at_checked(len.into())?;
        rest = after;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    let peer = Peer {
        addr: text()?,
        port: text()?,
        trusted: flags & TRUSTED != 0,
        proxied_to: None,
    };
    let age = Duration::from_micros(u64::from_le_bytes(*age));
    Some((u16::from_le_bytes(*listener).into(), age, peer, rest))
}
