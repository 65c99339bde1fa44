//! What the loop and a thread share about one connection: whether the request has ended, what is left of its answer, and
//! a body that is waited for.
//!
//! Locks here are held for a few instructions, and never while the interpreter lock is waited for.
//! Not here: requests that wait for a thread (`hall`).

use std::io;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trine_http1::BodyLength;

use crate::python::NoBody;
use crate::worker::body::Body;
use crate::worker::outbox::{Outbox, Sent};
use crate::worker::transport::Transport;

use super::hall::{Finished, lock};

/// A thread waits while more of its answer than this has not been taken by the client.
const MOST_WAITING: usize = 256 * 1024;

const RUNNING: u8 = 0;
/// The loop has seen something on the connection and wants to be told of the end.
const WANTED: u8 = 1;
const FINISHED: u8 = 2;

/// Between the loop and the thread that is at a connection's request.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: AtomicU8,
    inner: Mutex<Inner>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    finished: Option<Finished>,
    /// What the client did not take at once.
    out: Outbox,
    gone: bool,
    body: Wanted,
}

/// A body that a thread waits for.
#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    /// The loop has not heard of it.
    Asked(BodyLength),
    /// So much has come.
    Coming(u64),
    Came(Result<Body, NoBody>),
}

impl Link {
    /// A request goes to a thread; `out` is what must go out before its answer.
    /// `wanted`: the loop has to be told of the end.
    pub(super) fn start(&self, out: Outbox, wanted: bool) {
        let mut inner = lock(&self.inner);
        inner.finished = None;
        inner.gone = false;
        inner.body = Wanted::Nothing;
        inner.out = out;
        self.state
            .store(if wanted { WANTED } else { RUNNING }, SeqCst);
    }

    /// The request, if its thread is done. Otherwise the thread will tell of its end.
    pub(super) fn take_finished(&self) -> Option<Finished> {
        let _ = self.state.compare_exchange(RUNNING, WANTED, SeqCst, SeqCst);
        if self.state.load(SeqCst) != FINISHED {
            return None;
        }
        lock(&self.inner).finished.take()
    }

    /// Returns whether the loop wants to be told.
    pub(super) fn finish(&self, finished: Finished) -> bool {
        lock(&self.inner).finished = Some(finished);
        self.state.swap(FINISHED, SeqCst) == WANTED
    }

    /// Something of the answer waits here.
    pub(super) fn has_rest(&self) -> bool {
        !lock(&self.inner).out.is_empty()
    }

    /// What is left to send, after the end. Nothing to a client that is gone, or that was cut off.
    pub(super) fn rest(&self) -> Outbox {
        let mut inner = lock(&self.inner);
        let rest = inner.out.take();
        if inner.gone { Outbox::default() } else { rest }
    }

    /// The thread leaves the rest of its answer to the loop. `false`: the client is gone.
    pub(super) fn leave(&self, mut out: Outbox) -> bool {
        let mut inner = lock(&self.inner);
        if inner.out.is_empty() {
            inner.out = out;
        } else {
            inner.out.append(&mut out);
        }
        !inner.gone
    }

    /// Waits until the client has taken enough. `false`: it is gone, or has not taken it `until` then. Call it detached
    /// from Python.
    pub(super) fn wait_for_room(&self, until: Option<Instant>) -> bool {
        let mut inner = lock(&self.inner);
        while inner.out.waiting() > MOST_WAITING && !inner.gone {
            let Some(until) = until else {
                inner = self
                    .room
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.gone = true;
                break;
            }
            inner = self
                .room
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        !inner.gone
    }

    /// The thread wants the body; the loop has to be told.
    pub(super) fn ask_for_body(&self, length: BodyLength) {
        lock(&self.inner).body = Wanted::Asked(length);
    }

    /// A body that the loop has not heard of yet.
    pub(super) fn take_asked(&self) -> Option<BodyLength> {
        let mut inner = lock(&self.inner);
        let Wanted::Asked(length) = inner.body else {
            return None;
        };
        inner.body = Wanted::Coming(0);
        Some(length)
    }

    /// The loop tells how much of the body is there, or how it ended.
    pub(super) fn tell_body(&self, collected: u64, came: Option<Result<Body, NoBody>>) {
        lock(&self.inner).body = came.map_or(Wanted::Coming(collected), Wanted::Came);
        self.room.notify_all();
    }

    /// Waits for the body. `None`: it did not come `until` then, or nothing of it for `stall`. Call it detached from
    /// Python.
    pub(super) fn wait_for_body(
        &self,
        until: Option<Instant>,
        stall: Duration,
    ) -> Option<Result<Body, NoBody>> {
        let mut inner = lock(&self.inner);
        let (mut seen, mut patience) = (0, Instant::now() + stall);
        loop {
            match std::mem::take(&mut inner.body) {
                Wanted::Came(came) => return Some(came),
                Wanted::Coming(collected) => {
                    if collected > seen {
                        (seen, patience) = (collected, Instant::now() + stall);
                    }
                    inner.body = Wanted::Coming(collected);
                }
                other => inner.body = other,
            }
            let end = until.map_or(patience, |until| until.min(patience));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            inner = self
                .room
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    pub(super) fn needs_room(&self) -> bool {
        let inner = lock(&self.inner);
        inner.gone || inner.out.waiting() > MOST_WAITING
    }

    /// The loop sends what waits.
    pub(super) fn flush(&self, socket: &Transport) -> io::Result<Sent> {
        let mut inner = lock(&self.inner);
        let sent = inner.out.flush(socket);
        if inner.out.waiting() <= MOST_WAITING {
            self.room.notify_all();
        }
        sent
    }

    /// The client is gone: a thread that waits for it need not.
    pub(super) fn break_off(&self) {
        lock(&self.inner).gone = true;
        self.room.notify_all();
    }
}
