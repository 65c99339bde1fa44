//! Where the loop and the threads meet: requests waiting for a thread, answers on their way back.
//!
//! Locks here are held for a few instructions, and never while the interpreter lock is waited for.
//! Not here: who calls what (`threads`, `answer`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trine_sys::epoll;

use crate::access_log::AccessLog;
use crate::slots::Slots;
use crate::worker::exchange::Exchange;
use crate::worker::io::Token;
use crate::worker::transport::Transport;

use super::link::Link;

/// A call that has taken so long is none of the short ones.
const LONG_MS: u64 = 3;

/// So many requests are enough for a thread at short calls, for a moment.
const ENOUGH: usize = 8;
/// So few are not.
const LITTLE: usize = 2;
/// The longest moment.
const REST: Duration = Duration::from_millis(2);

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
    /// There is little left to do.
    low: Condvar,
    /// Connections that the loop has to look at.
    told: Mutex<Vec<Token>>,
    wake: OwnedFd,
    threads: usize,
    /// Requests that wait for, or are with, a thread.
    busy: AtomicUsize,
    /// The loop wants to know when a thread is free.
    free_wanted: AtomicBool,
    /// A client did not send the body it was told to.
    stalled: AtomicBool,
    /// Calls are short and compute: a second thread would only want the first one's interpreter lock.
    brisk: AtomicBool,
    /// Where others see how many requests wait.
    slots: Arc<Slots>,
    slot: usize,
    access: Mutex<Option<AccessLog>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
    /// Threads that sleep, and that nobody has called.
    asleep: usize,
    /// Threads that were called and have not woken yet.
    called: usize,
    /// The loop rests until there is little left.
    rests: bool,
}

impl Queue {
    /// Calls a thread, if one sleeps.
    fn call(&mut self, came: &Condvar) {
        if self.asleep > 0 {
            self.asleep -= 1;
            self.called += 1;
            came.notify_one();
        }
    }
}

impl Hall {
    /// `threads` will come.
    pub(super) fn new(
        threads: usize,
        access: Option<AccessLog>,
        slots: Arc<Slots>,
        slot: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            came: Condvar::new(),
            low: Condvar::new(),
            told: Mutex::default(),
            wake: epoll::eventfd()?,
            busy: AtomicUsize::new(0),
            free_wanted: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            brisk: AtomicBool::new(false),
            slots,
            slot,
            threads,
            access: Mutex::new(access),
        })
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// A request for whoever is free. While calls are short and compute, nobody is woken for it as long as a thread is
    /// awake: that one takes it after its call. Should this call be a long one, the loop wakes another
    /// ([`Self::call_one`]).
    pub(super) fn push(&self, job: Job) {
        self.busy.fetch_add(1, SeqCst);
        let mut queue = lock(&self.queue);
        queue.jobs.push_back(job);
        self.show_waiting(&queue);
        if queue.asleep > 0 && !(self.brisk.load(Relaxed) && self.is_one_at_short_calls(&queue)) {
            queue.call(&self.came);
        }
    }

    /// A thread is awake that will be free in a moment.
    fn is_one_at_short_calls(&self, queue: &Queue) -> bool {
        let before = self.slots.now().saturating_sub(LONG_MS);
        let running = self.slots.running(self.slot).iter().take(self.threads);
        let long = running.filter(|thread| thread.since().is_some_and(|since| since <= before));
        self.threads > queue.asleep + long.count()
    }

    /// Wakes one thread for the requests that nobody was woken for.
    pub(super) fn call_one(&self) {
        lock(&self.queue).call(&self.came);
    }

    /// Wakes a thread for each request that waits, as far as there are any.
    fn call_for_all(&self) {
        let mut queue = lock(&self.queue);
        for _ in queue.called..queue.jobs.len() {
            queue.call(&self.came);
        }
    }

    /// Requests wait that nobody was woken for.
    pub(super) fn has_uncalled(&self) -> bool {
        if !self.brisk.load(Relaxed) {
            return false;
        }
        let queue = lock(&self.queue);
        queue.asleep > 0 && queue.jobs.len() > queue.called
    }

    /// What calls were like of late.
    pub(super) fn set_brisk(&self, brisk: bool) {
        if self.brisk.load(Relaxed) != brisk {
            self.brisk.store(brisk, Relaxed);
            if !brisk {
                self.call_for_all();
            }
        }
    }

    fn show_waiting(&self, queue: &Queue) {
        let count = u32::try_from(queue.jobs.len()).unwrap_or(u32::MAX);
        self.slots.worker(self.slot).waiting.store(count, Relaxed);
    }

    fn pop(&self, queue: &mut Queue) -> Option<Job> {
        let job = queue.jobs.pop_front();
        if job.is_some() {
            self.show_waiting(queue);
            if queue.rests && queue.jobs.len() <= LITTLE {
                queue.rests = false;
                self.low.notify_one();
            }
        }
        job
    }

    /// While a thread at short calls has enough to do, the loop waits a moment before it brings more: each time it runs it
    /// takes the processor from that thread, or a cache of it.
    pub(super) fn rest(&self) {
        if !self.brisk.load(Relaxed) {
            return;
        }
        let mut queue = lock(&self.queue);
        if queue.jobs.len() < ENOUGH {
            return;
        }
        queue.rests = true;
        let still = |queue: &mut Queue| queue.rests;
        let rested = self.low.wait_timeout_while(queue, REST, still);
        rested.unwrap_or_else(PoisonError::into_inner).0.rests = false;
    }

    /// How long the request has waited that came first.
    pub(super) fn oldest_waits(&self) -> Option<Duration> {
        let queue = lock(&self.queue);
        queue
            .jobs
            .front()
            .map(|job| job.exchange.complete.elapsed())
    }

    /// The next request, if one waits.
    pub(super) fn try_next(&self) -> Option<Job> {
        self.pop(&mut lock(&self.queue))
    }

    /// Requests that no thread has taken.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).jobs.len()
    }

    /// Takes back all requests that no thread has taken, in their order.
    pub(super) fn take_waiting(&self) -> VecDeque<Job> {
        let mut queue = lock(&self.queue);
        let jobs = std::mem::take(&mut queue.jobs);
        self.show_waiting(&queue);
        self.busy.fetch_sub(jobs.len(), SeqCst);
        jobs
    }

    /// Takes back the request that came last, if no thread has taken it.
    pub(super) fn take_last(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let job = queue.jobs.pop_back()?;
        self.show_waiting(&queue);
        self.busy.fetch_sub(1, SeqCst);
        Some(job)
    }

    /// Waits for the next request; `None`: there will be none.
    pub(super) fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = self.pop(&mut queue) {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.asleep += 1;
            while queue.called == 0 && !queue.closed {
                queue = self
                    .came
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            queue.called = queue.called.saturating_sub(1);
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding one of these; if somebody did, the data is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
