//! Where the loop and the threads meet: requests waiting for a thread, answers on their way back.
//!
//! Locks here are held for a few instructions, and never while the interpreter lock is waited for.
//! Not here: who calls what (`threads`, `answer`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trine_http1::BodyLength;
use trine_sys::epoll;

use crate::access_log::AccessLog;

use crate::python::NoBody;
use crate::worker::body::Body;
use crate::worker::exchange::Exchange;
use crate::worker::io::Token;
use crate::worker::outbox::{Outbox, Sent};
use crate::worker::transport::Transport;

/// A thread waits while more of its answer than this has not been taken by the client.
const MOST_WAITING: usize = 256 * 1024;

/// A complete request for a thread.
#[derive(Debug)]
pub(super) struct Job {
    pub token: Token,
    pub exchange: Box<Exchange>,
    pub fd: Arc<Transport>,
    pub keep_alive: bool,
    /// Nothing of earlier answers waits to be sent.
    pub clear: bool,
    pub link: Arc<Link>,
}

/// A request that its thread is done with.
#[derive(Debug)]
pub(super) struct Finished {
    pub exchange: Box<Exchange>,
    pub keep: bool,
    /// The application has the connection now.
    pub let_go: bool,
    /// The application has used the connection itself.
    pub had_socket: bool,
    pub at: Instant,
}

/// The meeting place of one worker.
#[derive(Debug)]
pub(super) struct Hall {
    queue: Mutex<Queue>,
    came: Condvar,
    /// Connections that the loop has to look at.
    told: Mutex<Vec<Token>>,
    wake: OwnedFd,
    /// Requests that wait for, or are with, a thread.
    busy: AtomicUsize,
    /// The loop wants to know when a thread is free.
    free_wanted: AtomicBool,
    /// A client did not send the body it was told to.
    stalled: AtomicBool,
    access: Mutex<Option<AccessLog>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Hall {
    pub(super) fn new(access: Option<AccessLog>) -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            came: Condvar::new(),
            told: Mutex::default(),
            wake: epoll::eventfd()?,
            busy: AtomicUsize::new(0),
            free_wanted: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            access: Mutex::new(access),
        })
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn push(&self, job: Job) {
        self.busy.fetch_add(1, SeqCst);
        lock(&self.queue).jobs.push_back(job);
        self.came.notify_one();
    }

    /// The next request, if one waits.
    pub(super) fn try_next(&self) -> Option<Job> {
        lock(&self.queue).jobs.pop_front()
    }

    /// Requests that no thread has taken.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).jobs.len()
    }

    /// Takes back the request that came last, if no thread has taken it.
    pub(super) fn take_last(&self) -> Option<Job> {
        let job = lock(&self.queue).jobs.pop_back();
        if job.is_some() {
            self.busy.fetch_sub(1, SeqCst);
        }
        job
    }

    /// Waits for the next request; `None`: there will be none.
    pub(super) fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .came
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more requests.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.came.notify_all();
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(SeqCst)
    }

    pub(super) fn want_free(&self, wanted: bool) {
        self.free_wanted.store(wanted, SeqCst);
    }

    /// Has the loop look at a connection.
    pub(super) fn tell(&self, token: Token) {
        lock(&self.told).push(token);
        let _ = epoll::eventfd_wake(&self.wake);
    }

    pub(super) fn note_stall(&self) {
        self.stalled.store(true, SeqCst);
    }

    pub(super) fn take_stall(&self) -> bool {
        self.stalled.load(SeqCst) && self.stalled.swap(false, SeqCst)
    }

    pub(super) fn told(&self) -> Vec<Token> {
        std::mem::take(&mut lock(&self.told))
    }

    /// A thread gives a request back. The loop is only woken when it has something to do.
    pub(super) fn finish(&self, token: Token, link: &Link, finished: Finished) {
        let more = finished.exchange.end < finished.exchange.buf.len();
        let needed = !finished.keep || finished.let_go || more || link.has_rest();
        self.busy.fetch_sub(1, SeqCst);
        let wanted = link.finish(finished);
        if needed || wanted || self.free_wanted.load(SeqCst) {
            self.tell(token);
        }
    }

    pub(super) fn with_access(&self, use_it: impl FnOnce(&mut AccessLog)) {
        if let Some(access) = lock(&self.access).as_mut() {
            use_it(access);
        }
    }
}

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
    fn finish(&self, finished: Finished) -> bool {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding one of these; if somebody did, the data is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
