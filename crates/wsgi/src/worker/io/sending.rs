//! Sending: batches, what the socket does not take at once, and closing so that the last answer arrives.
//!
//! Not here: receiving (`conn`), draining (`drain`).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trine_http1::default_reason;

use super::places::place;
use super::{Io, PIPELINE_BYTES, Token, ms};
use crate::worker::conn::{Refusal, State};
use crate::worker::outbox::{FileSpan, Sent};
use crate::worker::reply::error_page;
use crate::worker::transport::Transport;

impl Io {
    /// A connection whose last answer is in its outbox.
    pub(super) fn after_last(&mut self, token: Token) {
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        if conn.broken {
            self.close(token);
        } else if conn.out.is_empty() {
            self.close_gently(token);
        } else {
            self.mark_dirty(token);
        }
    }

    /// Remembers that `token` has something to send at the end of the batch.
    pub fn mark_dirty(&mut self, token: Token) {
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        if !conn.dirty && !conn.out.is_empty() {
            conn.dirty = true;
            self.dirty.push(token);
        }
    }

    /// Sends what the batch has produced.
    pub fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            self.flush(token);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Sends what waits on one connection.
    pub(in crate::worker) fn flush(&mut self, token: Token) {
        let now = self.now_ms();
        let deadline = now + ms(self.rules.deadlines.send);
        let idle = now + ms(self.rules.deadlines.keepalive);
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        conn.dirty = false;
        let waiting = (conn.out.waiting(), conn.out.has_file());
        let sent = if matches!(conn.state, State::Closing) {
            conn.out.flush_last(&conn.fd)
        } else {
            conn.out.flush(&conn.fd)
        };
        match sent {
            Ok(Sent::All) => {
                conn.out.shrink(PIPELINE_BYTES);
                if conn.watch_out {
                    // The deadline was for sending.
                    conn.deadline = if matches!(conn.state, State::Running) {
                        u64::MAX
                    } else {
                        idle
                    };
                }
                match conn.state {
                    State::Closing => self.close_gently(token),
                    // What came while the answer waited was left alone.
                    State::Idle if conn.readable || conn.exchange.is_some() => self.advance(token),
                    State::Running if !conn.watch_out => {}
                    _ => self.settle(token),
                }
            }
            Ok(Sent::Blocked) => {
                if waiting != (conn.out.waiting(), conn.out.has_file())
                    || !conn.watch_out
                    || waiting.1
                {
                    conn.deadline = deadline;
                }
                self.settle(token);
            }
            Err(_) => {
                conn.broken = true;
                match conn.state {
                    State::Running => {}
                    _ => self.close(token),
                }
            }
        }
    }

    /// Answers without the application and closes.
    pub(super) fn refuse(&mut self, token: Token, refusal: &Refusal) {
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        let peer = if conn.peer.addr.is_empty() {
            "unix"
        } else {
            conn.peer.addr.as_str()
        };
        tracing::warn!("Invalid request from ip={peer}: {}", refusal.text);
        let reason = default_reason(refusal.status);
        let page = error_page(
            refusal.version,
            refusal.status,
            reason,
            &refusal.text,
            false,
        );
        let page = match &conn.door {
            Some(door) => door.page(page),
            None => page,
        };
        conn.out.bytes().extend_from_slice(&page);
        conn.state = State::Closing;
        conn.readable = true;
        if conn.out.is_empty() {
            // Nothing can be said in a protocol that the peer does not speak.
            return self.close_gently(token);
        }
        self.mark_dirty(token);
    }

    /// Closes so that the client can still read what was sent, if it has sent us more than we have read.
    pub(super) fn close_gently(&mut self, token: Token) {
        let now = self.now_ms();
        let deadline = now + ms(self.rules.deadlines.linger);
        let send = now + ms(self.rules.deadlines.send);
        let Some(conn) = place(&mut self.places, token) else {
            return;
        };
        if matches!(conn.fd.farewell(), Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            // The answer just filled the socket; `Io::connection_event` comes back here when there is room.
            conn.state = State::Closing;
            conn.deadline = send;
            return self.settle(token);
        }
        let unread = conn.readable && !conn.ended;
        // TLS has said it; and where the application holds the socket open, closing ours says nothing.
        let says = unread || conn.lent || conn.fd.is_tls();
        let said = !says || conn.fd.end().is_ok();
        if !unread || !said {
            return self.close(token);
        }
        conn.state = State::Lingering;
        conn.deadline = deadline;
        self.linger(token);
    }

    pub(super) fn linger(&mut self, token: Token) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let more = self
            .get_mut(token)
            .is_some_and(|conn| conn.discard(&mut scratch));
        self.scratch = scratch;
        if more {
            self.settle(token);
        } else {
            self.close(token);
        }
    }

    /// Sends now what is gathered, then `data` and `tail`.
    pub fn write(&mut self, token: Token, data: &[u8], tail: &[u8]) -> io::Result<Sent> {
        let deadline = self.now_ms() + ms(self.rules.deadlines.send);
        let Some(conn) = place(&mut self.places, token) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if conn.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let sent = conn.out.write(&conn.fd, data, tail);
        conn.broken |= sent.is_err();
        if matches!(sent, Ok(Sent::Blocked)) {
            conn.deadline = deadline;
        }
        sent
    }

    /// Ends the answer with a part of a file.
    pub fn set_file(&mut self, token: Token, span: FileSpan) {
        if let Some(conn) = place(&mut self.places, token) {
            conn.out.set_file(span);
        }
    }

    /// The socket of an HTTP connection on which nothing of earlier answers waits.
    pub(in crate::worker) fn clear_socket(&self, token: Token) -> Option<Arc<Transport>> {
        let conn = self.get(token)?;
        if !conn.out.is_empty() || conn.door.is_some() {
            return None;
        }
        Some(Arc::clone(&conn.fd))
    }

    /// Puts `bytes` behind what waits to be sent; what they leave behind is memory to use again.
    pub(in crate::worker) fn add_out(&mut self, token: Token, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(conn) = place(&mut self.places, token) {
            if conn.out.is_empty() {
                std::mem::swap(conn.out.bytes(), bytes);
            } else {
                conn.out.bytes().extend_from_slice(bytes);
            }
        }
        bytes.clear();
    }

    /// Throws away what waits to be sent: the client has got another answer.
    pub(in crate::worker) fn forget_out(&mut self, token: Token) {
        drop(self.take_out(token));
    }

    /// Waits, serving others, until everything in the outbox of `token` is with the kernel. `false`: the client is
    /// gone, or has not taken it `until` then.
    pub fn drive_until_sent(&mut self, token: Token, until: Option<Instant>) -> bool {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero())
                && let Some(conn) = self.get_mut(token)
            {
                conn.broken = true;
            }
            match self.get_mut(token) {
                Some(conn) if conn.broken => return false,
                Some(conn) if conn.out.is_empty() => return true,
                Some(_) => {}
                None => return false,
            }
            self.flush_dirty();
            self.absorb();
            self.settle(token);
            // Requests that became complete wait for the application, which is busy with this one.
            if self.wait_and_absorb_until(left).is_err() {
                return false;
            }
            self.give_waiting();
        }
    }

    /// Waits for whatever comes first, at most `left`, and takes it in without starting anything.
    fn wait_and_absorb_until(&mut self, left: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout_ms(left);
        let count = self.epoll.wait(&mut self.events, timeout)?;
        self.took_in(count);
        self.absorb();
        Ok(())
    }

    pub(super) fn wait_and_absorb(&mut self, left: Duration) -> io::Result<()> {
        self.absorb();
        self.wait_and_absorb_until(Some(left))
    }
}
