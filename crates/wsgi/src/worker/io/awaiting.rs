//! Bodies that the application waits for, and connections that it takes over.
//!
//! A client that sends `Expect: 100-continue` is told to go on when the application reads, so the application is called
//! before its body is there. The loop collects it like any other. A client that then does not send holds a thread, so
//! after the first such one the loop asks for bodies itself again, before anybody is called, for a while.
//! Not here: `wsgi.input` (`python::input`).

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use trine_http1::BodyLength;
use trine_sys::fdpass::set_nonblocking;

use super::places::place;
use super::{Io, Token};
use crate::python::NoBody;
use crate::worker::body::{Body, Collector};
use crate::worker::conn::{ENDED_EARLY, Progress, State};

/// So long a client that was told to go on may send nothing.
pub(in crate::worker) const STALL: Duration = Duration::from_secs(5);
/// So long after that nobody is called before the body is there.
const WARY: Duration = Duration::from_secs(60);

impl Io {
    /// The application at `token` wants the body.
    pub(in crate::worker) fn await_body(&mut self, token: Token, length: BodyLength) {
        if let Some(conn) = place(&mut self.places, token) {
            conn.state = State::Awaiting(Collector::new(length));
            conn.readable = true;
            let exchange = self.pool.take(&conn.peer, conn.listener);
            conn.exchange = Some(exchange);
        }
    }

    /// Whether the body of a ready request is still with its client.
    pub(in crate::worker) fn is_awaited(&self, token: Token) -> bool {
        let exchange = self.get(token).and_then(|conn| conn.exchange.as_ref());
        exchange.is_some_and(|exchange| exchange.awaited.is_some())
    }

    pub(super) fn is_wary(&self) -> bool {
        self.wary_until.is_some_and(|until| self.now <= until)
    }

    /// Asks for the body of a ready request now, rather than when the application reads.
    pub(in crate::worker) fn ask_now(&mut self, token: Token) {
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        let exchange = conn.exchange.as_mut();
        let Some(length) = exchange.and_then(|exchange| exchange.awaited.take()) else {
            return;
        };
        conn.ask_for_body(length);
        self.advance(token);
    }

    /// A client did not send what it was told to.
    pub(in crate::worker) fn be_wary(&mut self) {
        self.wary_until = Some(Instant::now() + WARY);
    }

    /// Receives what is there of a body that is waited for. `None`: it is not complete.
    pub(in crate::worker) fn collect(&mut self, token: Token) -> Option<Result<Body, NoBody>> {
        let no_body = |status, text: &str| {
            let text = text.to_owned();
            Some(Err(NoBody { status, text }))
        };
        let now = self.now;
        let Some(conn) = place(&mut self.places, token) else {
            return no_body(400, "the connection is gone");
        };
        let State::Awaiting(collector) = std::mem::replace(&mut conn.state, State::Running) else {
            return no_body(400, "the body is not waited for");
        };
        if conn.broken {
            return no_body(400, "the client has closed the connection");
        }
        conn.state = State::Body(collector);
        let (limits, policy) = (&self.rules.limits, &self.rules.policy);
        let progress = conn.advance(limits, policy, &mut self.pool, now, false);
        let state = std::mem::replace(&mut conn.state, State::Running);
        match progress {
            Progress::Ready => {
                let Some(mut exchange) = conn.exchange.take() else {
                    return Some(Ok(Body::Empty));
                };
                let body = std::mem::take(&mut exchange.body);
                exchange.next();
                if exchange.pending().is_empty() {
                    self.pool.give(exchange);
                } else {
                    conn.exchange = Some(exchange);
                }
                Some(Ok(body))
            }
            Progress::Wait | Progress::Again => {
                conn.state = match state {
                    State::Body(collector) => State::Awaiting(collector),
                    state => state,
                };
                None
            }
            Progress::Truncated => no_body(400, ENDED_EARLY),
            Progress::Refuse(refusal) => no_body(refusal.status, &refusal.text),
            Progress::Close => no_body(400, "the client has closed the connection"),
        }
    }

    /// How much of a body that is waited for has come.
    pub(in crate::worker) fn collected(&self, token: Token) -> u64 {
        match self.get(token).map(|conn| &conn.state) {
            Some(State::Awaiting(collector)) => collector.len(),
            _ => 0,
        }
    }

    /// Waits, serving others, until the body at `token` is there. `Err`: it did not come, or not `until` then.
    pub fn drive_until_body(
        &mut self,
        token: Token,
        length: BodyLength,
        until: Option<Instant>,
    ) -> Result<Body, NoBody> {
        self.await_body(token, length);
        let (mut seen, mut patience) = (0, Instant::now() + STALL);
        loop {
            if let Some(came) = self.collect(token) {
                return came;
            }
            let now = Instant::now();
            let collected = self.collected(token);
            if collected > seen {
                (seen, patience) = (collected, now + STALL);
            }
            let end = until.map_or(patience, |until| until.min(patience));
            if now >= end {
                self.be_wary();
                if let Some(conn) = self.get_mut(token) {
                    conn.state = State::Running;
                }
                return Err(NoBody::late());
            }
            self.flush_dirty();
            self.settle(token);
            if self.wait_and_absorb(end - now).is_err() {
                return Err(NoBody::late());
            }
            self.give_waiting();
        }
    }

    /// A descriptor of the connection for the application.
    pub(in crate::worker) fn lend_socket(&mut self, token: Token) -> io::Result<OwnedFd> {
        self.flush(token);
        let conn = self.get(token).ok_or(io::ErrorKind::NotConnected)?;
        if conn.door.is_some() {
            return Err(io::Error::other("it is shared with the web server"));
        }
        conn.fd.duplicate()
    }

    /// The application has had the socket; perhaps it made it wait.
    pub(in crate::worker) fn take_socket_back(&mut self, token: Token) {
        if let Some(conn) = self.get_mut(token) {
            conn.lent = true;
            let _ = set_nonblocking(&*conn.fd, true);
        }
    }
}

impl NoBody {
    /// It did not come in time.
    #[must_use]
    pub fn late() -> Self {
        Self {
            status: 408,
            text: "the request body took too long to arrive".to_owned(),
        }
    }
}
