//! The loop's side of requests that other threads answer (see `threads`).
//!
//! Not here: the threads.

use std::cmp::Reverse;
use std::time::Instant;

use trine_sys::epoll::Interest;

use super::places::place;
use super::{Io, Token, ms};
use crate::worker::outbox::Outbox;

impl Io {
    /// Connections that something happened on while a thread is at their request, and whether that is a deadline.
    pub(in crate::worker) fn take_touched(&mut self) -> Vec<(Token, bool)> {
        std::mem::take(&mut self.touched)
    }

    /// Whether an answer of now may leave its connection open.
    pub(in crate::worker) fn may_keep(&self) -> bool {
        !self.draining && !self.rules.deadlines.keepalive.is_zero()
    }

    /// A request is with a thread: looks after it once in a while, since the thread may not tell of its end.
    pub(in crate::worker) fn expect_back(&mut self, token: Token) {
        let deadline = self.now_ms() + ms(self.rules.deadlines.keepalive).max(1000);
        if let Some(conn) = place(&mut self.places, token) {
            conn.deadline = deadline;
        }
        self.settle(token);
    }

    /// A thread's answer waits for the client to take some of it.
    pub(in crate::worker) fn expect_room(&mut self, token: Token) {
        let deadline = self.now_ms() + ms(self.rules.deadlines.send);
        let epoll = &self.epoll;
        if let Some(conn) = place(&mut self.places, token) {
            conn.deadline = deadline;
            if !conn.watch_out {
                let interest = Interest::EPOLLIN
                    | Interest::EPOLLRDHUP
                    | Interest::EPOLLET
                    | Interest::EPOLLOUT;
                conn.broken |= epoll.modify(&*conn.fd, token.as_u64(), interest).is_err();
                conn.watch_out = true;
            }
            if conn.deadline < conn.armed {
                conn.armed = conn.deadline;
                self.timers.push(Reverse((conn.deadline, token)));
            }
        }
    }

    /// What waits to be sent moves to a thread's answer, and back.
    pub(in crate::worker) fn take_out(&mut self, token: Token) -> Outbox {
        place(&mut self.places, token)
            .map(|conn| conn.out.take())
            .unwrap_or_default()
    }

    pub(in crate::worker) fn put_out(&mut self, token: Token, out: Outbox) {
        if let Some(conn) = place(&mut self.places, token) {
            conn.out = out;
        }
    }

    /// The connection has been idle since then, if it still is.
    pub(in crate::worker) fn idle_since(&mut self, token: Token, at: Instant) {
        let deadline =
            ms(at.saturating_duration_since(self.base)) + ms(self.rules.deadlines.keepalive);
        if let Some(conn) = place(&mut self.places, token)
            && conn.is_idle()
        {
            conn.deadline = deadline.max(1);
            self.settle(token);
        }
    }
}
