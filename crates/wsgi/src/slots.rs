//! Shared memory: what each worker is doing, written by workers, read by the arbiter. Nobody ever waits for anybody.
//!
//! A worker has one [`WorkerSlot`], and one [`Running`] for each thread that calls the application, so that the log
//! can say which request was stuck, since when.
//! Not here: what is done about it (`arbiter`).

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::sync::atomic::{Ordering::Acquire, fence};
use std::time::{Duration, Instant};

use trine_sys::shm::SharedSlots;

/// Listeners that may be retired while workers still have them.
const RETIRED: usize = 64;

/// Words for the text of a request: its method and target, cut off.
const TEXT_WORDS: usize = 16;

/// One worker process.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerSlot {
    /// A [`Stage`].
    stage: AtomicU8,
    pub requests: AtomicU64,
    /// Answers by class: 1xx to 5xx.
    pub statuses: [AtomicU64; 5],
    pub accepted: AtomicU64,
    pub connections: AtomicU32,
    /// Threads that call the application.
    pub seats: AtomicU32,
    /// Others that are just giving it a connection.
    pub giving: AtomicU32,
    /// Connections that others have given it and that it has not taken.
    pub incoming: AtomicU32,
    /// Requests that wait for one of its threads.
    pub waiting: AtomicU32,
    /// Requests by how long the application was at them: see [`bucket`].
    pub took: [AtomicU64; BUCKETS],
    /// Requests by how long they waited for it.
    pub queued: [AtomicU64; BUCKETS],
    /// Microseconds that they waited, all together.
    pub queued_us: AtomicU64,
    /// Microseconds that threads with a request waited for the interpreter lock.
    pub lock_us: AtomicU64,
    /// Microseconds spent in the application, all threads.
    pub busy_us: AtomicU64,
    /// When the loop's turn began; 0 while it waits. In milliseconds of [`Slots::now`].
    turn_since: AtomicU64,
}

/// How many classes a histogram has; the last has no upper end.
pub const BUCKETS: usize = 17;

/// The class of a duration: its upper end is twice that of the class before, see [`upper_end`].
#[must_use]
pub fn bucket(micros: u64) -> usize {
    let class = u64::BITS - (micros.saturating_sub(1) >> 7).leading_zeros();
    (class as usize).min(BUCKETS - 1)
}

/// In microseconds, 128 at first; `None` for the last class.
#[must_use]
pub fn upper_end(class: usize) -> Option<u64> {
    (class < BUCKETS - 1).then(|| 128 << class)
}

/// Where a worker is, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Booting,
    Serving,
    Draining,
}

impl WorkerSlot {
    pub fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Release);
    }

    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.stage.load(Acquire) {
            1 => Stage::Serving,
            2 => Stage::Draining,
            _ => Stage::Booting,
        }
    }

    /// Counts an answer.
    pub fn count(&self, status: u16, took: Duration, queued: Duration) {
        let (busy_us, queued_us) = (took.as_micros() as u64, queued.as_micros() as u64);
        self.queued_us.fetch_add(queued_us, Relaxed);
        for (counters, micros) in [(&self.took, busy_us), (&self.queued, queued_us)] {
            if let Some(counter) = counters.get(bucket(micros)) {
                counter.fetch_add(1, Relaxed);
            }
        }
        // One writer per worker in the usual case; with threads, additions must not be lost.
        self.requests.fetch_add(1, Relaxed);
        self.busy_us.fetch_add(busy_us, Relaxed);
        if let Some(class) = self.statuses.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    /// Makes the slot a new worker's.
    fn reset(&self) {
        self.set_stage(Stage::Booting);
        let histograms = self.took.iter().chain(&self.queued);
        for counter in self.statuses.iter().chain(histograms).chain([
            &self.queued_us,
            &self.lock_us,
            &self.requests,
            &self.accepted,
            &self.busy_us,
            &self.turn_since,
        ]) {
            counter.store(0, Relaxed);
        }
        self.connections.store(0, Relaxed);
        self.seats.store(0, Relaxed);
        for count in [&self.giving, &self.incoming, &self.waiting] {
            count.store(0, Relaxed);
        }
    }
}

/// One thread that calls the application.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Running {
    /// When the request began; 0 when there is none. In milliseconds of [`Slots::now`].
    since: AtomicU64,
    len: AtomicU32,
    text: [AtomicU64; TEXT_WORDS],
}

impl Running {
    /// A request begins.
    pub fn begin(&self, now: u64, method: &str, target: &[u8]) {
        let mut text = [0_u8; TEXT_WORDS * 8];
        let mut len = 0;
        for part in [method.as_bytes(), b" ", target] {
            let count = part.len().min(text.len() - len);
            text[len..len + count].copy_from_slice(&part[..count]);
            len += count;
        }
        self.since.store(0, Relaxed);
        fence(Release);
        for (word, bytes) in self
            .text
            .iter()
            .zip(text.chunks_exact(8))
            .take(len.div_ceil(8))
        {
            let mut eight = [0; 8];
            eight.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
        self.len.store(len as u32, Relaxed);
        self.since.store(now.max(1), Release);
    }

    pub fn end(&self) {
        self.since.store(0, Release);
    }

    /// When the request began that runs, in milliseconds of [`Slots::now`].
    #[must_use]
    pub fn since(&self) -> Option<u64> {
        Some(self.since.load(Acquire)).filter(|since| *since > 0)
    }

    /// Forgets the last request too.
    fn clear(&self) {
        self.end();
        self.len.store(0, Relaxed);
    }

    /// The method and target of the request that began last, whether it has ended or not.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        let text = self.text();
        (!text.is_empty()).then(|| text.escape_ascii().to_string())
    }

    fn text(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TEXT_WORDS * 8);
        for word in &self.text {
            bytes.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        bytes.truncate(self.len.load(Relaxed) as usize);
        bytes
    }

    /// Since when, and what; `None` when nothing runs, or it has just changed.
    #[must_use]
    pub fn read(&self) -> Option<(u64, String)> {
        let since = self.since.load(Acquire);
        if since == 0 {
            return None;
        }
        let bytes = self.text();
        fence(Acquire);
        (self.since.load(Relaxed) == since).then(|| (since, bytes.escape_ascii().to_string()))
    }
}

/// All of it.
#[derive(Debug)]
pub struct Slots {
    workers: SharedSlots<WorkerSlot>,
    running: SharedSlots<Running>,
    /// One byte: the arbiter wants everything to end.
    stopping: SharedSlots<AtomicU8>,
    /// Listeners that a reload has taken away, by inode.
    retired: SharedSlots<AtomicU64>,
    threads: usize,
    base: Instant,
}

impl Slots {
    pub fn new(workers: usize, threads: usize) -> io::Result<Self> {
        Ok(Self {
            workers: SharedSlots::new(workers)?,
            running: SharedSlots::new(workers * threads)?,
            stopping: SharedSlots::new(1)?,
            retired: SharedSlots::new(RETIRED)?,
            threads,
            base: Instant::now(),
        })
    }

    /// Milliseconds of a clock that all processes share.
    #[must_use]
    pub fn at(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.base).as_millis() as u64 + 1
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// # Panics
    /// When `index` is not below [`Self::count`].
    #[must_use]
    pub fn worker(&self, index: usize) -> &WorkerSlot {
        &self.workers[index]
    }

    /// The threads of a worker.
    #[must_use]
    pub fn running(&self, worker: usize) -> &[Running] {
        self.running
            .get(worker * self.threads..(worker + 1) * self.threads)
            .unwrap_or_default()
    }

    /// How many requests a worker could take at once now.
    #[must_use]
    pub fn free(&self, index: usize) -> usize {
        let worker = self.worker(index);
        let seats = worker.seats.load(Relaxed) as usize;
        // What is on its way to a seat takes it already.
        let coming = worker.incoming.load(Relaxed) + worker.waiting.load(Relaxed);
        let empty = match worker.stage() {
            Stage::Booting | Stage::Draining => 0,
            // The loop itself calls the application: while it waits, it is free.
            Stage::Serving if seats == 1 => usize::from(self.turn_since(index).is_none()),
            Stage::Serving => {
                let threads = self.running(index).iter().take(seats);
                threads.filter(|thread| thread.since().is_none()).count()
            }
        };
        empty.saturating_sub(coming as usize)
    }

    /// Makes a slot ready for a new worker.
    pub fn reset(&self, worker: usize) {
        self.worker(worker).reset();
        self.running(worker).iter().for_each(Running::clear);
    }

    /// Since when the worker's loop has been at one turn; `None` while it waits for something to do.
    #[must_use]
    pub fn turn_since(&self, worker: usize) -> Option<u64> {
        Some(self.worker(worker).turn_since.load(Acquire)).filter(|since| *since > 0)
    }

    /// A worker's loop begins a turn, or goes to sleep.
    pub fn set_turn(&self, worker: usize, since: Option<Instant>) {
        let since = since.map_or(0, |since| self.at(since));
        self.worker(worker).turn_since.store(since, Release);
    }

    pub fn set_stopping(&self) {
        self.stopping[0].store(1, Release);
    }

    /// Nobody listens there any more but the workers of now. The newest ones are remembered.
    pub fn retire(&self, inode: u64) {
        for (place, older) in self.retired.iter().zip(self.retired.iter().skip(1)).rev() {
            older.store(place.load(Relaxed), Relaxed);
        }
        self.retired[0].store(inode, Release);
    }

    #[must_use]
    pub fn is_retired(&self, inode: u64) -> bool {
        inode > 0 && self.retired.iter().any(|one| one.load(Acquire) == inode)
    }

    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping[0].load(Acquire) != 0
    }
}

/// The number of a socket, the same for all its descriptors; 0 if it cannot be told.
pub fn inode(fd: impl AsFd) -> u64 {
    nix::sys::stat::fstat(fd).map_or(0, |stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_listeners_are_remembered() {
        let slots = Slots::new(1, 1).unwrap();
        assert!(!slots.is_retired(0) && !slots.is_retired(7));
        (1..=100).for_each(|inode| slots.retire(inode));
        assert!(slots.is_retired(100) && slots.is_retired(37) && !slots.is_retired(36));
    }

    #[test]
    fn a_running_request_can_be_read() {
        let slots = Slots::new(3, 2).unwrap();
        let running = &slots.running(2)[1];
        assert_eq!(running.read(), None);
        running.begin(7, "GET", b"/a?b=c");
        assert_eq!(running.read(), Some((7, "GET /a?b=c".to_owned())));
        running.begin(8, "POST", &[b'x'; 500]);
        assert_eq!(
            running.read().map(|(since, text)| (since, text.len())),
            Some((8, 128))
        );
        running.end();
        assert_eq!(running.read(), None);
        assert_eq!(running.last().map(|text| text.len()), Some(128));
        slots.reset(2);
        assert_eq!(running.last(), None);
    }

    #[test]
    fn counters_by_class() {
        let slots = Slots::new(1, 1).unwrap();
        for status in [200, 204, 404, 500, 700, 0] {
            slots
                .worker(0)
                .count(status, Duration::from_micros(300), Duration::ZERO);
        }
        let classes: Vec<u64> = slots
            .worker(0)
            .statuses
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        assert_eq!(classes, [0, 2, 0, 1, 1]);
        assert_eq!(slots.worker(0).took[2].load(Relaxed), 6);
        assert_eq!(slots.worker(0).queued[0].load(Relaxed), 6);
        slots.reset(0);
        assert_eq!(slots.worker(0).requests.load(Relaxed), 0);
    }

    #[test]
    fn classes_of_durations() {
        for (micros, class) in [
            (0, 0),
            (128, 0),
            (129, 1),
            (256, 1),
            (257, 2),
            (u64::MAX, 16),
        ] {
            assert_eq!(bucket(micros), class, "{micros}");
            let fits = upper_end(class).is_none_or(|end| micros <= end);
            let not_before = class == 0 || upper_end(class - 1).is_some_and(|end| micros > end);
            assert!(fits && not_before, "{micros}");
        }
    }
}
