//! Requests that take too long: who runs since when, and one thread that sleeps until the first of them is over its time.
//!
//! A request that begins costs a lock that nobody else holds; while requests come and go, the watcher wakes once per
//! limit, and while there are none it does not wake at all.
//! Not here: how a request is interrupted (`python::interrupt`), and workers that do not react (`arbiter`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use std::{io, mem};

use trine_http1::{Version, default_reason};
use trine_sys::signals;

use crate::config::Settings;
use crate::slots::{Running, Slots};

use super::reply::error_page;
use super::transport::Transport;

/// A thread that has not come free by then does not answer its client itself any more.
const UNHEEDED: Duration = Duration::from_secs(1);
/// A worker that still has not come free is ended by the arbiter this long after the request was over its time.
pub const GIVEN_UP: Duration = Duration::from_secs(3);
/// A thread that waits for its client is looked at again after this; the wait ends by itself.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a request may be with the application. gunicorn's `timeout` is that for one thread; for several it never
/// was, and there only `request_timeout` is.
#[must_use]
pub fn limit(settings: &Settings) -> Option<Duration> {
    if settings.request_timeout_given || settings.threads == 1 {
        settings.request_timeout
    } else {
        None
    }
}

/// All threads of a worker that call the application.
#[derive(Debug)]
pub struct Watch {
    limit: Duration,
    slots: Arc<Slots>,
    slot: usize,
    seats: Vec<Seat>,
    /// The watcher sleeps without a limit: who begins a request wakes it.
    asleep: AtomicBool,
    over: AtomicBool,
    watcher: OnceLock<Thread>,
}

/// One thread that calls the application.
#[derive(Debug, Default)]
pub struct Seat {
    inner: Mutex<Inner>,
    /// The thread's number in Python.
    pub thread: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts the requests of this seat.
    number: u64,
    began: Option<Instant>,
    socket: Option<Arc<Transport>>,
    answer: Answer,
    /// It was told to end.
    due: bool,
    /// It waits for the client, not the other way round.
    waits: bool,
}

/// What the client has got of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Answer {
    #[default]
    Nothing,
    /// Something from the thread.
    Begun,
    /// 504, from the watcher.
    TimedOut,
}

/// A request over its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    pub seat: usize,
    number: u64,
}

impl Watch {
    #[must_use]
    pub fn new(limit: Duration, seats: usize, slots: Arc<Slots>, slot: usize) -> Self {
        Self {
            limit,
            slots,
            slot,
            seats: (0..seats).map(|_| Seat::default()).collect(),
            asleep: AtomicBool::new(false),
            over: AtomicBool::new(false),
            watcher: OnceLock::new(),
        }
    }

    /// # Panics
    /// When there is no such seat.
    #[must_use]
    pub fn seat(&self, index: usize) -> &Seat {
        &self.seats[index]
    }

    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Method and target of the request at a seat, for the log.
    #[must_use]
    pub fn about(&self, index: usize) -> String {
        let running = self.slots.running(self.slot).get(index);
        let running = running.and_then(Running::read);
        running.map_or_else(|| "a request".to_owned(), |(_, text)| text)
    }

    /// A request begins. `socket`: nothing of earlier answers waits to be sent on it.
    pub fn begin(&self, index: usize, now: Instant, socket: Option<Arc<Transport>>) {
        {
            let mut inner = self.seat(index).lock();
            inner.number += 1;
            inner.began = Some(now);
            inner.answer = if socket.is_some() {
                Answer::Nothing
            } else {
                Answer::Begun
            };
            inner.socket = socket;
        }
        if self.asleep.load(SeqCst)
            && self.asleep.swap(false, SeqCst)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
    }

    /// When the request of a seat is over its time.
    #[must_use]
    pub fn deadline(&self, index: usize) -> Option<Instant> {
        self.seat(index)
            .lock()
            .began
            .map(|began| began + self.limit)
    }

    /// Starts the watcher. `interrupt` is called once for each request that is over its time, without any lock held.
    pub fn start(
        self: &Arc<Self>,
        interrupt: impl Fn(Overdue) + Send + 'static,
    ) -> io::Result<Watcher> {
        let watch = Arc::clone(self);
        // Signals are for the thread that Python's own handlers run on.
        let mask = signals::block_all()?;
        let spawned = thread::Builder::new()
            .name("trine-watch".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || watch.run(&interrupt));
        signals::restore(&mask)?;
        let thread = spawned?;
        let _ = self.watcher.set(thread.thread().clone());
        Ok(Watcher {
            watch: Arc::clone(self),
            thread: Some(thread),
        })
    }

    fn run(&self, interrupt: &dyn Fn(Overdue)) {
        // Requests that were interrupted, by seat.
        let mut told = vec![0; self.seats.len()];
        while !self.over.load(SeqCst) {
            let now = Instant::now();
            let next = self.look(now, &mut told, interrupt);
            match next {
                Some(next) => thread::park_timeout(next.saturating_duration_since(now)),
                None => {
                    self.asleep.store(true, SeqCst);
                    // Who began in between has not seen that we sleep. With one that was told and does not react there
                    // is nothing left to do.
                    let settled = |(seat, told): (&Seat, &u64)| {
                        let inner = seat.lock();
                        inner.began.is_none() || inner.number == *told
                    };
                    if self.seats.iter().zip(&told).all(settled) {
                        thread::park();
                    }
                    self.asleep.store(false, SeqCst);
                }
            }
        }
    }

    /// Does what is due; returns when to look again, if there is anything to look for.
    fn look(&self, now: Instant, told: &mut [u64], interrupt: &dyn Fn(Overdue)) -> Option<Instant> {
        let mut next = None;
        for (index, (seat, told)) in self.seats.iter().zip(told).enumerate() {
            let inner = seat.lock();
            let Some(began) = inner.began else {
                continue;
            };
            let number = inner.number;
            let over = began + self.limit;
            let at = if now < over {
                over
            } else if inner.waits {
                now + AGAIN
            } else if *told != number {
                drop(inner);
                *told = number;
                interrupt(Overdue {
                    seat: index,
                    number,
                });
                now + UNHEEDED
            } else if now < over + UNHEEDED {
                over + UNHEEDED
            } else {
                answer_for(inner);
                continue;
            };
            next = Some(next.map_or(at, |next: Instant| next.min(at)));
        }
        next
    }
}

/// The thread does not react: the client gets its answer all the same.
fn answer_for(mut inner: MutexGuard<'_, Inner>) {
    if inner.answer != Answer::Nothing {
        return;
    }
    let Some(socket) = inner.socket.take() else {
        return;
    };
    inner.answer = Answer::TimedOut;
    let _ = socket.send(&timeout_page(Version::Http11, false), false);
    let _ = socket.end();
}

/// 504, after which the connection closes.
#[must_use]
pub fn timeout_page(version: Version, head_only: bool) -> Vec<u8> {
    let text = "The application took too long to answer.";
    error_page(version, 504, default_reason(504), text, head_only)
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics while holding it; if somebody did, the data is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks an overdue request as told to end, if it is still this one and not waiting for its client. Call it where
    /// the request cannot end meanwhile: with the interpreter lock, or on its own thread.
    #[must_use]
    pub fn tell(&self, overdue: Overdue) -> bool {
        let mut inner = self.lock();
        let still = inner.began.is_some() && inner.number == overdue.number && !inner.waits;
        inner.due |= still;
        still
    }

    /// Takes the word that the request is to end.
    #[must_use]
    pub fn take_due(&self) -> bool {
        mem::take(&mut self.lock().due)
    }

    /// Says that the thread sends something of its answer. `false`: the client has got 504 already.
    #[must_use]
    pub fn speak(&self) -> bool {
        let mut inner = self.lock();
        if inner.answer == Answer::TimedOut {
            return false;
        }
        inner.answer = Answer::Begun;
        true
    }

    /// The thread begins or ends a wait for its client.
    pub fn set_waits(&self, waits: bool) {
        self.lock().waits = waits;
    }

    /// The wait took all the time there was. What follows is cleaning up, which gets as much again.
    pub fn start_over(&self) {
        let mut inner = self.lock();
        inner.began = inner.began.map(|_| Instant::now());
    }

    /// The request has ended. An interruption that is still under way has to be called off.
    pub fn end(&self) -> Ended {
        let mut inner = self.lock();
        inner.began = None;
        inner.socket = None;
        inner.waits = false;
        Ended {
            interrupted: mem::take(&mut inner.due),
            answered: inner.answer == Answer::TimedOut,
        }
    }
}

/// How a request ended, as far as the watcher had to do with it.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Ended {
    /// It was told to end, and may have ended before it heard.
    pub interrupted: bool,
    /// The watcher has sent 504; nothing more may be sent.
    pub answered: bool,
}

/// The running watcher; dropping it ends the thread.
#[derive(Debug)]
pub struct Watcher {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watch.over.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            // Not joined: it may be waiting for the interpreter lock, which this thread holds.
            thread.thread().unpark();
        }
    }
}

#[cfg(test)]
mod tests;
