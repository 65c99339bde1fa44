//! One client connection of a worker: receiving until a request is complete, and what is still to be sent.
//!
//! Not here: epoll, timers, and the order in which connections are served (see `io`).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use trine_http1::{
    BodyLength, Limits, Policy, Preamble, PreambleError, PreambleVersions, RequestError, Version,
    read_preamble,
};

use super::body::{CollectError, Collector};
use super::exchange::{Exchange, Peer, Pool};
use super::gateway::{Door, DoorError, Passed};
use super::outbox::Outbox;
use super::transport::Transport;

/// Room that is made for one receive of a head.
const HEAD_READ: usize = 16 * 1024;
/// Room for one receive of a body that does not go straight into its own memory.
const BODY_READ: usize = 64 * 1024;
/// So many receives in a row, then other connections have their turn.
const READS_PER_TURN: usize = 16;

/// Why a body is of no use.
pub(super) const ENDED_EARLY: &str = "The request body ended before its announced length.";

/// Where a connection is.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Nothing of the next request has come.
    #[default]
    Idle,
    /// A part of a head is here.
    Head,
    /// The head is complete, the body is not.
    Body(Collector),
    /// The application waits for the body at its first read of it.
    Awaiting(Collector),
    /// A complete request waits for its call.
    Ready,
    /// The application is at it.
    Running,
    /// The last answer is being sent; then it closes.
    Closing,
    /// Closed for sending; what still comes is thrown away, so that the client can read our answer.
    Lingering,
}

/// What [`Conn::advance`] came to.
#[derive(Debug)]
pub(super) enum Progress {
    /// More bytes are needed.
    Wait,
    /// There may be more bytes, but others have their turn first.
    Again,
    Ready,
    /// The client has closed its sending side in the middle of a body.
    Truncated,
    Refuse(Refusal),
    Close,
}

/// A request that is answered without the application.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub text: String,
    pub version: Version,
}

/// What a connection may begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub versions: PreambleVersions,
    /// The peer may say who its client is.
    pub allowed: bool,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub fd: Arc<Transport>,
    pub peer: Arc<Peer>,
    pub listener: usize,
    pub unix: bool,
    pub state: State,
    pub exchange: Option<Box<Exchange>>,
    pub out: Outbox,
    /// What is spoken, when it is not HTTP.
    pub door: Option<Box<Door>>,
    /// A preamble of the PROXY protocol may come first.
    pub preamble: Option<Expected>,
    /// The application may hold the socket open.
    pub lent: bool,
    /// A request was answered on it.
    pub kept: bool,
    /// Receiving may bring something.
    pub readable: bool,
    /// The peer has closed its sending side: the end comes after the bytes that are there.
    pub ended: bool,
    /// Sending failed, or epoll reported the connection dead.
    pub broken: bool,
    pub registered: bool,
    /// EPOLLOUT is asked for.
    pub watch_out: bool,
    /// In milliseconds of the loop's clock; `u64::MAX` for none.
    pub deadline: u64,
    /// The earliest timer that is set for it.
    pub armed: u64,
    /// In `dirty`: has something to send at the end of the batch.
    pub dirty: bool,
}

impl Conn {
    pub(super) fn new(fd: Transport, peer: Peer, listener: usize, unix: bool) -> Self {
        Self {
            fd: Arc::new(fd),
            peer: Arc::new(peer),
            listener,
            unix,
            state: State::Idle,
            exchange: None,
            out: Outbox::default(),
            door: None,
            preamble: None,
            lent: false,
            kept: false,
            readable: true,
            ended: false,
            broken: false,
            registered: false,
            watch_out: false,
            deadline: u64::MAX,
            armed: u64::MAX,
            dirty: false,
        }
    }

    /// Receives and parses until a request is complete or the socket is empty.
    pub(super) fn advance(
        &mut self,
        limits: &Limits,
        policy: &Policy,
        pool: &mut Pool,
        now: Instant,
        asks_first: bool,
    ) -> Progress {
        for _ in 0..READS_PER_TURN {
            if let Some(progress) = self.pass_door(pool, now) {
                return progress;
            }
            let progress = match &mut self.state {
                State::Idle | State::Head => self.parse_head(limits, policy, now, asks_first),
                State::Body(_) => self.take_body(),
                State::Ready => return Progress::Ready,
                State::Running | State::Awaiting(_) | State::Closing | State::Lingering => {
                    return Progress::Wait;
                }
            };
            if let Some(progress) = progress {
                return progress;
            }
            if !self.readable {
                return Progress::Wait;
            }
            match self.receive(pool) {
                Ok(0) => return self.end_of_input(),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Progress::Wait;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Close,
            }
            if self.fd.lacks_tls() {
                return Progress::Refuse(Refusal::no_tls());
            }
        }
        Progress::Again
    }

    /// Lets what was received through the door, if there is one.
    fn pass_door(&mut self, pool: &mut Pool, now: Instant) -> Option<Progress> {
        let door = self.door.as_mut()?;
        let open = matches!(self.state, State::Idle | State::Head | State::Body(_));
        if !open || door.raw.is_empty() {
            return None;
        }
        let exchange = match &mut self.exchange {
            Some(exchange) => exchange,
            empty => empty.insert(pool.take(&self.peer, self.listener)),
        };
        let mut replies = Vec::new();
        let passed = door.pass(exchange, &mut replies);
        if !replies.is_empty() {
            self.out.bytes().extend_from_slice(&replies);
            self.broken |= self.out.flush(&self.fd).is_err();
        }
        match passed {
            Ok(Passed::On) => {
                if matches!(self.state, State::Idle) && !door.is_idle() {
                    exchange.began = now;
                    self.state = State::Head;
                }
                None
            }
            Ok(Passed::Aborted) => {
                self.state = State::Idle;
                pool.give(self.exchange.take()?);
                None
            }
            Ok(Passed::Close) => Some(Progress::Close),
            Err(error) => Some(Progress::Refuse(Refusal::door(error))),
        }
    }

    /// One receive, to where the bytes belong.
    fn receive(&mut self, pool: &mut Pool) -> io::Result<usize> {
        if let Some(door) = &mut self.door {
            door.raw.reserve(HEAD_READ);
            let spare = door.raw.capacity() - door.raw.len();
            let count = self.fd.recv_append(&mut door.raw)?;
            self.readable = count == spare || self.ended || self.fd.is_tls();
            return Ok(count);
        }
        if let State::Body(collector) = &mut self.state
            && let Some(room) = collector.direct()
        {
            let spare = room.capacity() - room.len();
            let count = self.fd.recv_append(room)?;
            collector.received(count);
            self.readable = count == spare || self.ended || self.fd.is_tls();
            return Ok(count);
        }
        let in_body = matches!(self.state, State::Body(_));
        let exchange = match &mut self.exchange {
            Some(exchange) => exchange,
            empty => empty.insert(pool.take(&self.peer, self.listener)),
        };
        let buf = &mut exchange.buf;
        if buf.capacity() - buf.len() < HEAD_READ / 4 {
            buf.reserve(if in_body { BODY_READ } else { HEAD_READ });
        }
        let spare = buf.capacity() - buf.len();
        let result = self.fd.recv_append(buf);
        if let Ok(count) = &result {
            self.readable = *count == spare || self.ended || self.fd.is_tls();
        }
        result
    }

    /// `None`: more bytes are needed.
    /// `asks_first`: a client that waits for `100 Continue` gets it when the application reads, not before.
    fn parse_head(
        &mut self,
        limits: &Limits,
        policy: &Policy,
        now: Instant,
        asks_first: bool,
    ) -> Option<Progress> {
        if let Some(expected) = self.preamble
            && let Err(progress) = self.take_preamble(expected, now)
        {
            return progress;
        }
        let exchange = self.exchange.as_mut()?;
        let pending = exchange.buf.get(exchange.start..).unwrap_or_default();
        if pending.is_empty() {
            return None;
        }
        let used = match exchange.head.parse(pending, limits, policy) {
            Ok(Some(used)) => used,
            Ok(None) => {
                if matches!(self.state, State::Idle) {
                    exchange.began = now;
                    self.state = State::Head;
                }
                return None;
            }
            Err(error) => return Some(Progress::Refuse(Refusal::head(&error))),
        };
        if matches!(self.state, State::Idle) {
            exchange.began = now;
        }
        exchange.end = exchange.start + used;
        let request = exchange.head.on(pending);
        let (length, expects) = (request.body(), request.expects_continue());
        exchange.keep_alive = request.keep_alive() && request.method() != "CONNECT";
        let no_body = length == BodyLength::Empty || length == BodyLength::Known(0);
        if let Some(door) = &self.door {
            exchange.keep_alive = door.keeps();
        } else if no_body {
            self.state = State::Ready;
            return Some(Progress::Ready);
        }
        let waits = expects && exchange.buf.len() == exchange.end && self.door.is_none();
        if waits && asks_first {
            exchange.awaited = Some(length);
            self.state = State::Ready;
            return Some(Progress::Ready);
        }
        if waits {
            self.ask_for_body(length);
        } else {
            self.state = State::Body(Collector::new(length));
        }
        self.take_body()
    }

    /// Tells the client to go on, and begins to collect what it sends.
    pub(super) fn ask_for_body(&mut self, length: BodyLength) {
        self.out
            .bytes()
            .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.broken |= self.out.flush(&self.fd).is_err();
        self.state = State::Body(Collector::new(length));
    }

    /// Takes the load balancer's word for who the client is. `Err`: what comes of it instead of a request.
    fn take_preamble(&mut self, expected: Expected, now: Instant) -> Result<(), Option<Progress>> {
        let exchange = self.exchange.as_mut().ok_or(None)?;
        let pending = exchange.buf.get(exchange.start..).unwrap_or_default();
        if pending.is_empty() {
            return Err(None);
        }
        let refuse = |refusal| Err(Some(Progress::Refuse(refusal)));
        match read_preamble(pending, expected.versions) {
            Ok(Preamble::Partial) => {
                if matches!(self.state, State::Idle) {
                    exchange.began = now;
                    self.state = State::Head;
                }
                return Err(None);
            }
            Ok(Preamble::Absent) => {}
            Ok(Preamble::Present { .. }) if !expected.allowed => {
                return refuse(Refusal::forbidden_preamble());
            }
            Ok(Preamble::Present { len, addresses }) => {
                exchange.start += len;
                exchange.end = exchange.start;
                if let Some((client, to)) = addresses {
                    self.peer = Arc::new(self.peer.behind(client, to));
                    exchange.peer = Arc::clone(&self.peer);
                }
            }
            Err(error) => return refuse(Refusal::preamble(&error)),
        }
        self.preamble = None;
        Ok(())
    }

    fn take_body(&mut self) -> Option<Progress> {
        let (State::Body(collector), Some(exchange)) = (&mut self.state, self.exchange.as_mut())
        else {
            return Some(Progress::Close);
        };
        let received = exchange.buf.get(exchange.end..).unwrap_or_default();
        if !received.is_empty() {
            match collector.take(received) {
                Ok(used) => drop(exchange.buf.drain(exchange.end..exchange.end + used)),
                Err(error) => return Some(Progress::Refuse(Refusal::body(&error))),
            }
        }
        if !collector.is_done() || self.door.as_ref().is_some_and(|door| !door.is_complete()) {
            return None;
        }
        let State::Body(collector) = std::mem::replace(&mut self.state, State::Ready) else {
            return Some(Progress::Close);
        };
        let chunked = collector.is_chunked();
        match collector.finish() {
            Ok((body, len)) => {
                exchange.body = body;
                exchange.chunked_length = chunked.then_some(len);
                Some(Progress::Ready)
            }
            Err(error) => Some(Progress::Refuse(Refusal::body(&error))),
        }
    }

    fn end_of_input(&mut self) -> Progress {
        self.ended = true;
        self.readable = false;
        match &self.state {
            State::Body(_) if self.door.is_none() => Progress::Truncated,
            State::Body(_) => Progress::Refuse(Refusal {
                status: 400,
                text: ENDED_EARLY.to_owned(),
                version: Version::Http11,
            }),
            _ => Progress::Close,
        }
    }

    /// Makes a request of what came of its body. The application is told when it reads beyond that.
    pub(super) fn truncate(&mut self) -> Result<(), Refusal> {
        let State::Body(collector) = std::mem::replace(&mut self.state, State::Ready) else {
            return Ok(());
        };
        let chunked = collector.is_chunked();
        let (body, len) = collector.finish().map_err(|error| Refusal::body(&error))?;
        if let Some(exchange) = &mut self.exchange {
            exchange.body = body;
            // Nobody knows how long it would have been; what is announced must not look complete.
            exchange.chunked_length = chunked.then_some(len + 1);
            exchange.truncated = true;
            exchange.keep_alive = false;
        }
        Ok(())
    }

    /// Throws away what comes while lingering. `false`: the peer is done, or gone.
    pub(super) fn discard(&mut self, scratch: &mut Vec<u8>) -> bool {
        for _ in 0..READS_PER_TURN {
            scratch.clear();
            scratch.reserve(BODY_READ);
            match self.fd.recv_append(scratch) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return true,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        // As much as gunicorn takes; who sends more does not read our answer anyway.
        false
    }

    /// Between requests, nothing pending in either direction.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
            && self.out.is_empty()
            && self.door.as_ref().is_none_or(|door| door.is_idle())
            && self
                .exchange
                .as_ref()
                .is_none_or(|exchange| exchange.pending().is_empty())
    }
}

impl Refusal {
    fn head(error: &RequestError) -> Self {
        Self {
            status: error.status(),
            text: error.to_string(),
            version: Version::Http11,
        }
    }

    fn door(error: DoorError) -> Self {
        Self {
            status: error.status(),
            text: error.to_string(),
            version: Version::Http11,
        }
    }

    pub(super) fn forbidden() -> Self {
        Self {
            status: 403,
            text: "This address may not speak the gateway protocol; see uwsgi_allow_ips."
                .to_owned(),
            version: Version::Http11,
        }
    }

    fn body(error: &CollectError) -> Self {
        let status = match error {
            CollectError::Framing(error) => error.status(),
            CollectError::Spool(_) => 500,
        };
        Self {
            status,
            text: error.to_string(),
            version: Version::Http11,
        }
    }

    /// gunicorn's answer to what is no TLS.
    fn no_tls() -> Self {
        Self {
            status: 403,
            text: "This port speaks TLS, and the request came without it.".to_owned(),
            version: Version::Http11,
        }
    }

    fn preamble(error: &PreambleError) -> Self {
        Self {
            status: 400,
            text: error.to_string(),
            version: Version::Http11,
        }
    }

    fn forbidden_preamble() -> Self {
        Self {
            status: 403,
            text: "This address may not speak the PROXY protocol; see proxy_allow_ips.".to_owned(),
            version: Version::Http11,
        }
    }

    /// Others need the place more.
    pub(super) fn crowded() -> Self {
        Self {
            status: 408,
            text: "The request was not complete when the server ran out of connections.".to_owned(),
            version: Version::Http11,
        }
    }

    pub(super) fn timeout() -> Self {
        Self {
            status: 408,
            text: "The request took too long to arrive.".to_owned(),
            version: Version::Http11,
        }
    }
}
