//! The I/O loop of a worker: listeners, connections, deadlines, and which request is next. It knows nothing of Python;
//! the inline worker calls the application between its steps, the threaded one hands requests to other threads.
//!
//! Connections are watched edge-triggered and for writing only while something waits, so that a request on a kept
//! connection costs one receive and one send.
//! Not here: what is done with a request, signals' meaning, draining (see `drain`).

mod accepting;
mod awaiting;
mod handover;
mod places;
mod rules;
mod sending;
mod share;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use trine_sys::epoll::{Epoll, Event, Interest};
use trine_sys::net;

use crate::slots::Slots;

use super::conn::{Conn, Progress, Refusal, State};
use super::date::DateCache;
use super::exchange::{Exchange, Pool};

pub(super) use awaiting::STALL;
pub use places::Token;
pub use rules::{Deadlines, Listening, Rules};
pub use share::Sharing;
pub(in crate::worker) use share::To;

use places::{Place, place};

/// Tokens from here on are not connections.
const FIRST_LISTENER: u64 = u64::MAX - 0xffff;
const FIRST_NOTICE: u64 = u64::MAX - 0xff;

/// Answers beyond this are sent before the next request on the connection is looked at.
const PIPELINE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub struct Io {
    epoll: Epoll,
    pub(super) rules: Rules,
    /// None while draining.
    pub(super) listeners: Vec<Listening>,
    /// How many there were.
    sites: usize,
    pub(super) accepting: bool,
    places: Vec<Place>,
    free: Vec<u32>,
    open: usize,
    events: Vec<Event>,
    seen: usize,
    count: usize,
    ready: VecDeque<Token>,
    again: Vec<Token>,
    dirty: Vec<Token>,
    /// Connections that have something while the application is at their last request.
    touched: Vec<(Token, bool)>,
    /// Requests are answered by other threads; see `threads`.
    pub(super) hands_over: bool,
    notices: u8,
    timers: BinaryHeap<Reverse<(u64, Token)>>,
    pool: Pool,
    base: Instant,
    now: Instant,
    date: DateCache,
    scratch: Vec<u8>,
    pub(super) draining: bool,
    /// Until then clients that want to be told to send their body are told by the loop.
    pub(super) wary_until: Option<Instant>,
    /// Connections accepted, ever.
    accepted: u64,
    /// The other workers, if there are any to share with.
    pub sharing: Option<Sharing>,
    /// Somebody else works on this loop while the application is being called.
    lent: bool,
    /// Where the arbiter sees how many connections there are.
    pub shown: Option<(Arc<Slots>, usize)>,
}

impl Io {
    pub fn new(rules: Rules, listeners: Vec<Listening>) -> io::Result<Self> {
        let now = Instant::now();
        let mut io = Self {
            epoll: Epoll::new()?,
            rules,
            sites: listeners.len(),
            listeners,
            accepting: false,
            places: Vec::new(),
            free: Vec::new(),
            open: 0,
            events: vec![Event::EMPTY; 256],
            seen: 0,
            count: 0,
            ready: VecDeque::new(),
            again: Vec::new(),
            dirty: Vec::new(),
            touched: Vec::new(),
            hands_over: false,
            notices: 0,
            timers: BinaryHeap::new(),
            pool: Pool::default(),
            base: now,
            now,
            date: DateCache::default(),
            scratch: Vec::new(),
            draining: false,
            wary_until: None,
            accepted: 0,
            sharing: None,
            lent: false,
            shown: None,
        };
        for listener in io.listeners.iter().filter(|listener| !listener.unix) {
            // Linux hands it on to what is accepted there, which saves a call for each connection.
            let _ = net::set_nodelay(&listener.fd, true);
        }
        io.accept_more(true)?;
        Ok(io)
    }

    /// Watches a descriptor of somebody else's; [`Self::take_notice`] tells when it was readable.
    pub fn watch(&mut self, fd: impl AsFd, notice: u8) -> io::Result<()> {
        self.epoll
            .add(fd, FIRST_NOTICE + u64::from(notice), Interest::EPOLLIN)
    }

    pub fn unwatch(&mut self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd);
    }

    /// Whether the descriptor watched as `notice` was readable since the last call.
    pub fn take_notice(&mut self, notice: u8) -> bool {
        let bit = 1 << notice;
        let seen = self.notices & bit != 0;
        self.notices &= !bit;
        seen
    }

    /// Whether any watched descriptor was readable and was not asked for.
    pub(super) fn has_notice(&self) -> bool {
        self.notices != 0
    }

    /// Sleeps until something happens or the next deadline, at most `limit`. Call it detached from Python.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        debug_assert!(self.seen >= self.count, "events would be lost");
        let busy = !self.ready.is_empty() || !self.again.is_empty();
        let timeout = if busy { 0 } else { self.timeout_ms(limit) };
        if let Some((slots, slot)) = &self.shown {
            let slot = slots.worker(*slot);
            slot.connections.store(self.open as u32, Relaxed);
            slot.accepted.store(self.accepted, Relaxed);
        }
        let count = self.epoll.wait(&mut self.events, timeout)?;
        self.took_in(count);
        Ok(count)
    }

    /// After a wait: `count` events are there to be gone through.
    fn took_in(&mut self, count: usize) {
        (self.count, self.seen) = (count, 0);
        self.now = Instant::now();
        // What others have to say comes first: a stop that came together with a request changes its answer.
        for event in self.events.iter().take(count) {
            if event.token() >= FIRST_NOTICE {
                self.notices |= 1 << (event.token() - FIRST_NOTICE);
            }
        }
        self.expire();
    }

    fn timeout_ms(&self, limit: Option<Duration>) -> i32 {
        let now = self.now_ms();
        let timer = self
            .timers
            .peek()
            .map(|Reverse((at, _))| at.saturating_sub(now).max(1));
        let limit = limit.map(|limit| limit.as_millis().try_into().unwrap_or(u64::MAX).max(1));
        let nearest = [timer, limit].into_iter().flatten().min();
        nearest.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX))
    }

    /// The next complete request: advances connections until there is one. `None`: nothing left of this turn.
    pub fn next_ready(&mut self) -> Option<Token> {
        loop {
            if let Some(token) = self.ready.pop_front() {
                let is_ready = |conn: &Conn| matches!(conn.state, State::Ready);
                if self.get(token).is_some_and(is_ready) {
                    if !self.is_wary() || !self.is_awaited(token) {
                        return Some(token);
                    }
                    self.ask_now(token);
                }
                continue;
            }
            if self.seen < self.count {
                let event = self.events[self.seen];
                self.seen += 1;
                self.handle(&event);
                continue;
            }
            let token = self.again.pop()?;
            self.advance(token);
        }
    }

    /// Goes through what the last wait brought without starting anything: requests that are complete wait in line.
    pub(super) fn absorb(&mut self) {
        while self.seen < self.count {
            let event = self.events[self.seen];
            self.seen += 1;
            self.handle(&event);
        }
        for token in std::mem::take(&mut self.again) {
            self.advance(token);
        }
    }

    fn handle(&mut self, event: &Event) {
        let token = event.token();
        if token >= FIRST_NOTICE {
            // Noted when it came in.
        } else if token >= FIRST_LISTENER {
            // The door may have been closed since, and then nothing was left before it.
            if self.accepting {
                self.accept((token - FIRST_LISTENER) as usize);
            }
        } else {
            self.connection_event(Token::from_u64(token), event);
        }
    }

    fn connection_event(&mut self, token: Token, event: &Event) {
        let hands_over = self.hands_over;
        let Some(conn) = self.get_mut(token) else {
            return;
        };
        let flags = event.flags();
        conn.readable |= event.readable();
        conn.ended |= flags.intersects(Interest::EPOLLRDHUP | Interest::EPOLLHUP);
        conn.broken |= flags.contains(Interest::EPOLLERR);
        if event.writable() && !conn.out.is_empty() {
            self.flush(token);
        } else if event.writable() && conn.fd.is_tls() {
            // A handshake or a farewell that found the socket full.
            conn.broken |=
                matches!(conn.fd.flush(), Err(error) if error.kind() != io::ErrorKind::WouldBlock);
            if matches!(conn.state, State::Closing) && !conn.dirty {
                return self.after_last(token);
            }
        }
        let Some(conn) = self.get_mut(token) else {
            return;
        };
        match conn.state {
            State::Idle | State::Head | State::Body(_) if conn.readable => self.advance(token),
            State::Lingering => self.linger(token),
            State::Running | State::Awaiting(_) if hands_over => self.touched.push((token, false)),
            State::Running | State::Awaiting(_) => {}
            State::Idle | State::Head | State::Body(_) | State::Ready | State::Closing => {}
        }
    }

    /// Receives and parses what is there.
    pub(super) fn advance(&mut self, token: Token) {
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        if conn.out.has_file() || conn.out.waiting() > PIPELINE_BYTES {
            return;
        }
        let was_head = matches!(conn.state, State::Head);
        let wary = self.wary_until.is_some_and(|until| self.now <= until);
        let progress = conn.advance(
            &self.rules.limits,
            &self.rules.policy,
            &mut self.pool,
            self.now,
            !wary,
        );
        let now = self.now_ms();
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        let progress = match progress {
            Progress::Truncated => match conn.truncate() {
                Ok(()) => Progress::Ready,
                Err(refusal) => Progress::Refuse(refusal),
            },
            other => other,
        };
        match progress {
            Progress::Ready | Progress::Truncated => {
                conn.deadline = u64::MAX;
                if let Some(exchange) = &mut conn.exchange {
                    exchange.complete = exchange.began.max(self.now);
                }
                self.ready.push_back(token);
            }
            Progress::Again => self.again.push(token),
            Progress::Close if conn.out.is_empty() => self.close(token),
            Progress::Close => {
                // The client has said all it had to say, and waits for the rest of our answer.
                conn.state = State::Closing;
                if !conn.watch_out {
                    self.mark_dirty(token);
                }
            }
            Progress::Refuse(refusal) => self.refuse(token, &refusal),
            Progress::Wait => {
                match conn.state {
                    State::Head if !was_head => {
                        conn.deadline = now + ms(self.rules.deadlines.head);
                    }
                    State::Body(_) => conn.deadline = now + ms(self.rules.deadlines.body),
                    State::Idle => {
                        if let Some(exchange) = conn.exchange.take() {
                            self.pool.give(exchange);
                        }
                    }
                    _ => {}
                }
                self.settle(token);
            }
        }
    }

    /// Makes sure that epoll and the timers know a connection that has to wait.
    pub(super) fn settle(&mut self, token: Token) {
        let epoll = &self.epoll;
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        let watch_out = (!conn.out.is_empty() || conn.fd.wants_write()) && !conn.dirty;
        if !conn.registered || watch_out != conn.watch_out {
            let mut interest = Interest::EPOLLIN | Interest::EPOLLRDHUP | Interest::EPOLLET;
            interest.set(Interest::EPOLLOUT, watch_out);
            let result = if conn.registered {
                epoll.modify(&*conn.fd, token.as_u64(), interest)
            } else {
                epoll.add(&*conn.fd, token.as_u64(), interest)
            };
            conn.broken |= result.is_err();
            conn.registered = true;
            conn.watch_out = watch_out;
        }
        if conn.deadline < conn.armed {
            conn.armed = conn.deadline;
            self.timers.push(Reverse((conn.deadline, token)));
        }
    }

    /// Takes the request of a ready connection; it belongs to the caller until [`Self::finish`].
    pub fn take(&mut self, token: Token) -> Option<Box<Exchange>> {
        let conn = self.get_mut(token)?;
        conn.state = State::Running;
        conn.exchange.take()
    }

    /// The application is done with a request. `keep`: its answer leaves the connection usable.
    pub fn finish(&mut self, token: Token, mut exchange: Box<Exchange>, keep: bool) {
        let keepalive = self.rules.deadlines.keepalive;
        let deadline = self.now_ms() + ms(keepalive);
        let draining = self.draining;
        let Some(conn) = place(&mut self.places, token) else {
            return self.pool.give(exchange);
        };
        if !keep || conn.broken {
            // A body that nobody asked for may be coming all the same.
            let unread = exchange.end < exchange.buf.len() || exchange.awaited.is_some();
            conn.state = State::Closing;
            conn.readable |= unread;
            self.pool.give(exchange);
            return self.after_last(token);
        }
        conn.state = State::Idle;
        conn.kept = true;
        conn.deadline = deadline;
        exchange.next();
        let mut more = !exchange.pending().is_empty();
        if let Some(door) = &mut conn.door {
            door.answered();
            more |= !door.raw.is_empty();
        }
        match conn.exchange.take() {
            // It came behind a body that was waited for.
            Some(rest) => {
                conn.exchange = Some(rest);
                more = true;
                self.pool.give(exchange);
            }
            None => conn.exchange = Some(exchange),
        }
        if more || conn.readable {
            self.advance(token);
        } else {
            if let Some(exchange) = conn.exchange.take() {
                self.pool.give(exchange);
            }
            self.settle(token);
        }
        if draining {
            self.drain_one(token);
        }
    }

    /// Gives back an exchange whose connection is gone.
    pub fn recycle(&mut self, exchange: Box<Exchange>) {
        self.pool.give(exchange);
    }

    /// Drops a connection. One that the application is at is only marked, and goes when that is done.
    pub(super) fn close(&mut self, token: Token) {
        let Some(conn) = self.get_mut(token) else {
            return;
        };
        if matches!(conn.state, State::Running | State::Awaiting(_)) {
            conn.broken = true;
            return;
        }
        let conn = self.remove(token);
        self.open -= 1;
        if let Some(exchange) = conn.and_then(|mut conn| conn.exchange.take()) {
            self.pool.give(exchange);
        }
        if !self.accepting && !self.draining && !self.lent && self.open < self.rules.max_connections
        {
            let _ = self.accept_more(true);
        }
    }

    fn expire(&mut self) {
        let (now, hands_over) = (self.now_ms(), self.hands_over);
        while let Some(Reverse((at, token))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(conn) = self.get_mut(token) else {
                continue;
            };
            if conn.armed == at {
                conn.armed = u64::MAX;
            }
            if conn.deadline > now {
                if conn.deadline < conn.armed {
                    self.settle(token);
                }
                continue;
            }
            match conn.state {
                State::Head | State::Body(_) => self.refuse(token, &Refusal::timeout()),
                State::Running | State::Awaiting(_) if hands_over => {
                    self.touched.push((token, true));
                }
                State::Running | State::Awaiting(_) => conn.broken = true,
                State::Idle | State::Ready | State::Closing | State::Lingering => self.close(token),
            }
        }
    }

    pub(super) fn slots(&self) -> Option<&Slots> {
        self.shown.as_ref().map(|(slots, _)| &**slots)
    }

    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    #[must_use]
    pub fn date(&mut self) -> &[u8; 29] {
        self.date.at(self.now)
    }

    /// When the last wait was over.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn now_ms(&self) -> u64 {
        ms(self.now.duration_since(self.base))
    }
}

fn ms(duration: Duration) -> u64 {
    duration
        .as_millis()
        .try_into()
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}
