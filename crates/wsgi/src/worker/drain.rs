//! The end of a worker: no new connections, every accepted request answered, nobody's request lost.
//!
//! An idle kept connection is the delicate case: the client may be sending its next request right now. On a Unix
//! socket we close our receiving side first and then look once more. Bytes that are there are a request, and it is
//! served; from then on the peer's write fails, so that it knows that nothing of it was processed. TCP has no such
//! answer; there an idle connection stays open for a moment, and a request that comes is the last. So does one on which no
//! request came yet: a client that has just connected does not reckon with being turned away.
//! Not here: when draining begins, and when it takes too long (see `arbiter`).

use std::net::Shutdown;
use std::time::Duration;

use trine_sys::net;

use crate::slots::inode;

use super::conn::State;
use super::io::{Io, Token};

/// How long idle TCP connections, and new ones, may still bring a request.
const TCP_GRACE: Duration = Duration::from_secs(1);

impl Io {
    /// Begins draining. `empty_queues`: our own listeners end with us, so the connections that wait in them are taken, as
    /// are those at listeners that a reload has taken away.
    pub fn start_drain(&mut self, empty_queues: bool) {
        if self.draining {
            return;
        }
        self.draining = true;
        let _ = self.accept_more(false);
        for index in 0..self.listeners.len() {
            let listener = &self.listeners[index];
            let retired = || {
                self.slots()
                    .is_some_and(|slots| slots.is_retired(inode(&listener.fd)))
            };
            let ends_with_us = listener.personal || (listener.own && (empty_queues || retired()));
            while ends_with_us && self.accept_one(index).is_some() {}
        }
        // Whoever connects from now on is not to wait for somebody who never comes.
        self.listeners.clear();
        for token in self.tokens() {
            self.drain_one(token);
        }
    }

    /// What draining does to one connection.
    pub(super) fn drain_one(&mut self, token: Token) {
        let deadline = self.now_ms() + TCP_GRACE.as_millis() as u64;
        let Some(conn) = self.get_mut(token).filter(|conn| conn.is_idle()) else {
            return;
        };
        // epoll's word of a request may still be under way.
        conn.readable = true;
        self.advance(token);
        let Some(conn) = self.get_mut(token) else {
            return;
        };
        if !conn.is_idle() {
            return;
        }
        if !conn.unix || !conn.kept {
            conn.deadline = conn.deadline.min(deadline);
            return self.settle(token);
        }
        if net::shutdown(&*conn.fd, Shutdown::Read).is_err() {
            return self.close(token);
        }
        conn.readable = true;
        conn.ended = true;
        self.advance(token);
        // Nothing was there: the end of input has closed it. A part of a head will never be completed.
        if self
            .get(token)
            .is_some_and(|conn| matches!(conn.state, State::Head | State::Idle))
        {
            self.close(token);
        }
    }

    /// Every connection is gone.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.open() == 0
    }
}
