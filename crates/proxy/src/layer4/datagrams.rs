//! A door for datagrams (UDP): whose session each belongs to, by the client's address and the one it sent to.
//!
//! A datagram of a new client begins a session, which has an inbox; the door never waits for a session. What a session
//! does with its datagrams is in `exchange`. Not here: opening sockets (`listen`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trine_sys::net::{self, Arrived, SockAddr};

use super::exchange;
use super::session::{Arrival, Session};
use crate::config::StreamContent;
use crate::engine::Engine;
use crate::headers::forwarded::Peer;
use crate::upstream::pool::add;

/// No datagram is longer: 65,535 bytes less the heads of IP and UDP.
pub(super) const LONGEST: usize = 65_536;
/// How many are taken before the sessions get a turn, how many a session may have waiting, and how many are taken from
/// a door that is closed.
const TURN: usize = 64;
const MOST_WAITING: usize = 4 * TURN;
const MOST_AT_THE_END: usize = 64 * TURN;
const WARNING_EVERY: Duration = Duration::from_secs(10);

type Datagram = Box<[u8]>;

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    client: SocketAddr,
    /// Which address of ours, if the socket is on all of them.
    local: Option<IpAddr>,
}

/// One socket's sessions.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) engine: Rc<Engine>,
    pub(super) door: usize,
    bound: SocketAddr,
    socket: UdpSocket,
    sessions: RefCell<HashMap<Key, Rc<Inbox>>>,
    /// Nothing new comes any more.
    pub(super) closing: Cell<bool>,
    refused: Cell<u64>,
    warned: Cell<Option<Instant>>,
}

/// What has come for a session and was not taken yet.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: RefCell<VecDeque<Datagram>>,
    more: Notify,
    came: Cell<u32>,
    /// After so many the next one is another session's; 0: never.
    most: u32,
}

impl Inbox {
    pub(super) fn pop(&self) -> Option<Datagram> {
        self.waiting.borrow_mut().pop_front()
    }

    pub(super) async fn next(&self) -> Datagram {
        loop {
            if let Some(datagram) = self.pop() {
                return datagram;
            }
            self.more.notified().await;
        }
    }

    /// False if there are too many already.
    fn push(&self, datagram: Datagram) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MOST_WAITING {
            return false;
        }
        waiting.push_back(datagram);
        self.came.set(self.came.get() + 1);
        self.more.notify_one();
        true
    }

    fn has_all(&self) -> bool {
        self.most > 0 && self.came.get() >= self.most
    }
}

impl Table {
    fn take(self: &Rc<Self>, came: Arrived, bytes: &[u8]) {
        let key = Key {
            client: came.from,
            local: came.to,
        };
        let known = self.sessions.borrow().get(&key).map(Rc::clone);
        let Some(inbox) = known else {
            if self.engine.is_full() {
                self.refuse();
            } else {
                self.begin(key, VecDeque::from([bytes.into()]));
            }
            return;
        };
        if !inbox.push(bytes.into()) {
            tracing::debug!(client = %key.client, "a datagram was dropped: too many of its session wait");
        }
        if inbox.has_all() {
            self.sessions.borrow_mut().remove(&key);
        }
    }

    /// Begins a session with what has come.
    pub(super) fn begin(self: &Rc<Self>, key: Key, waiting: VecDeque<Datagram>) {
        let ip = key.local.unwrap_or(self.bound.ip());
        let arrival = Arrival {
            peer: Peer::Ip(key.client.ip().to_canonical()),
            port: key.client.port(),
            door: self.door,
            local: Some(SocketAddr::new(ip.to_canonical(), self.bound.port())),
            protocol: "UDP",
        };
        let Some(session) = Session::new(&self.engine, &arrival) else {
            return;
        };
        let most = match &session.rules().content {
            StreamContent::Pass(pass) => pass.requests,
            StreamContent::Return(_) => 1,
        };
        let inbox = Rc::new(Inbox {
            came: Cell::new(u32::try_from(waiting.len()).unwrap_or(u32::MAX)),
            waiting: waiting.into(),
            more: Notify::new(),
            most,
        });
        if !inbox.has_all() {
            self.sessions.borrow_mut().insert(key, Rc::clone(&inbox));
        }
        let exchange = exchange::run(Rc::clone(self), key, inbox, session);
        self.engine.conns.spawn_local(exchange);
    }

    /// The session is over. What has come for it meanwhile begins another.
    pub(super) fn end(self: &Rc<Self>, key: Key, inbox: &Rc<Inbox>) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&key).is_some_and(|one| Rc::ptr_eq(one, inbox)) {
            sessions.remove(&key);
        }
        let other = sessions.get(&key).map(Rc::clone);
        drop(sessions);
        let left = inbox.waiting.take();
        match other {
            _ if left.is_empty() => {}
            None => self.begin(key, left),
            Some(other) => left.into_iter().for_each(|one| _ = other.push(one)),
        }
    }

    /// Sends a datagram to a client, from the address that it sent to.
    pub(super) async fn send(&self, key: Key, bytes: &[u8]) -> io::Result<()> {
        let send = || net::send_datagram(&self.socket, bytes, key.client, key.local);
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// There is no room for another client.
    fn refuse(&self) {
        add(&self.engine.figures.accept_failures, 1);
        add(&self.refused, 1);
        let dismissed = self.engine.shed();
        if self
            .warned
            .get()
            .is_none_or(|at| at.elapsed() >= WARNING_EVERY)
        {
            self.warned.set(Some(Instant::now()));
            tracing::error!(
                dismissed,
                "{} datagrams of new clients of {} were dropped: there are {} sessions, and the limit of open files is near; raise it (ulimit -n), or lower proxy_timeout",
                self.refused.take(),
                self.bound,
                self.sessions.borrow().len()
            );
        }
    }
}

/// Takes datagrams until the door is closed, then what still waits in a queue that nobody else serves.
pub(crate) async fn serve(
    engine: Rc<Engine>,
    door: usize,
    fd: OwnedFd,
    own: bool,
    closed: CancellationToken,
) -> io::Result<()> {
    let SockAddr::Tcp(bound) = net::local_addr(&fd)? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let table = Rc::new(Table {
        engine,
        door,
        bound,
        socket: UdpSocket::from_std(fd.into())?,
        sessions: RefCell::default(),
        closing: Cell::new(false),
        refused: Cell::new(0),
        warned: Cell::new(None),
    });
    let mut buf = vec![0; LONGEST];
    loop {
        tokio::select! {
            biased;
            () = closed.cancelled() => break,
            ready = table.socket.readable() => ready?,
        }
        for _ in 0..TURN {
            let recv = || net::recv_datagram(&table.socket, &mut buf);
            match table.socket.try_io(Interest::READABLE, recv) {
                Ok(came) => table.take(came, &buf[..came.len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => tracing::debug!("a datagram could not be taken: {error}"),
            }
        }
        tokio::task::yield_now().await;
    }
    table.closing.set(true);
    let most = if own { MOST_AT_THE_END } else { 0 };
    for count in 1..=most {
        let Ok(came) = net::recv_datagram(&table.socket, &mut buf) else {
            break;
        };
        table.take(came, &buf[..came.len]);
        if count % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
