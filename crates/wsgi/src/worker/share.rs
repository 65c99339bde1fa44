//! Fairness between workers: a request never waits for a slow one while another worker could take it.
//!
//! A connection belongs to one worker, and the request that comes on it would wait for whatever that worker is at. So
//! once a call has lasted [`LONG`], requests that wait behind it are given, with their connections, to workers that are
//! free: each worker has a channel for that ([`Channels`]). With one thread, another one that never calls Python
//! ([`Sharer`]) sees to it, and takes the loop's work over meanwhile; the loop of a worker with several threads does it
//! itself.
//! Not here: what giving a connection away means (`io::share`).

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use trine_sys::{fdpass, signals};

use crate::slots::Slots;

use super::io::Io;

/// From then on requests do not wait for the one that is served.
pub(super) const LONG: Duration = Duration::from_millis(5);
/// After so many looks without a call the sharer sleeps until there is one.
const QUIET_LOOKS: u32 = 20;
/// While the application is at a long call and nothing waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// One channel for each place that a worker can have; all workers have all of them.
#[derive(Debug, Default)]
pub struct Channels(Vec<Channel>);

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) give: OwnedFd,
    pub(super) take: OwnedFd,
}

impl Channels {
    /// For the first `count` places. What was given to a worker that has died is there for the next one in its place.
    pub fn new(count: usize) -> io::Result<Self> {
        let channel = |_| {
            let (give, take) = fdpass::seqpacket_pair()?;
            fdpass::set_nonblocking(&give, true)?;
            fdpass::set_nonblocking(&take, true)?;
            Ok(Channel { give, take })
        };
        (0..count).map(channel).collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn of(&self, slot: usize) -> Option<&Channel> {
        self.0.get(slot)
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A loop that others may work on while the application is being called.
pub type SharedIo = Arc<Mutex<Io>>;

/// Locks the loop.
pub fn lock(io: &Mutex<Io>) -> MutexGuard<'_, Io> {
    // A panic on the way would have ended the process.
    io.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread beside a worker with one thread.
#[derive(Debug)]
pub struct Sharer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    io: SharedIo,
    epoll: OwnedFd,
    slots: Arc<Slots>,
    slot: usize,
    asleep: AtomicBool,
    over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Sharer {
    pub fn start(io: &SharedIo, slots: Arc<Slots>, slot: usize) -> io::Result<Self> {
        let epoll = lock(io).epoll_fd().try_clone_to_owned()?;
        let shared = Arc::new(Shared {
            io: Arc::clone(io),
            epoll,
            slots,
            slot,
            asleep: AtomicBool::new(false),
            over: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let its = Arc::clone(&shared);
        // Signals are for the thread that Python's own handlers run on.
        let mask = signals::block_all()?;
        let spawned = thread::Builder::new()
            .name("trine-share".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || its.run());
        signals::restore(&mask)?;
        let thread = spawned?;
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { shared, thread })
    }

    /// A call begins: its beginning is in the slots already.
    pub fn begin(&self) {
        // Either we see that it sleeps, or it sees the call.
        fence(SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.shared.asleep.store(false, SeqCst);
            self.thread.thread().unpark();
        }
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        self.thread.thread().unpark();
    }
}

impl Shared {
    /// Since when the application has been at its call, in milliseconds of the slots.
    fn since(&self) -> Option<u64> {
        self.slots.running(self.slot).first()?.since()
    }

    fn run(&self) {
        let mut quiet = 0;
        let long = LONG.as_millis() as u64;
        while !self.over.load(SeqCst) {
            let Some(since) = self.since() else {
                quiet += 1;
                if quiet < QUIET_LOOKS {
                    thread::park_timeout(LONG);
                    continue;
                }
                self.asleep.store(true, SeqCst);
                fence(SeqCst);
                while self.since().is_none() && self.asleep.load(SeqCst) {
                    thread::park();
                    if self.over.load(SeqCst) {
                        return;
                    }
                }
                self.asleep.store(false, SeqCst);
                continue;
            };
            quiet = 0;
            let age = self.slots.now().saturating_sub(since);
            if age >= long {
                self.mind(since);
            }
            thread::park_timeout(Duration::from_millis(long.saturating_sub(age).max(1)));
        }
    }

    /// Works on the loop for as long as the application is at this call.
    fn mind(&self, since: u64) {
        loop {
            let waits = {
                let mut io = match self.io.try_lock() {
                    Ok(io) => io,
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                    // The worker itself is at it.
                    Err(TryLockError::WouldBlock) => return,
                };
                if self.since() != Some(since) {
                    return;
                }
                match io.lend() {
                    Ok(waits) => waits,
                    Err(error) => {
                        tracing::warn!("cannot look at connections: {error}");
                        return;
                    }
                }
            };
            let patience = if waits { LONG } else { PATIENCE };
            let mut fds = [PollFd::new(self.epoll.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
            if poll(&mut fds, timeout).is_err() || self.over.load(SeqCst) {
                return;
            }
        }
    }
}
