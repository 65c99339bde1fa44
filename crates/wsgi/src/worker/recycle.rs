//! When a worker has served long enough: its requests, its memory, or a hook that wants its end.
//!
//! It only tells the arbiter, once, and serves on until another is ready for its place and the arbiter's TERM comes.
//! Its age is the arbiter's to watch.
//! Not here: what the arbiter makes of it (`arbiter::state`).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use trine_sys::{file, process};

use crate::config::Settings;
use crate::notice::Notice;
use crate::slots::WorkerSlot;

/// How often memory is looked at, at most.
const MEMORY_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Recycling {
    say: OwnedFd,
    asked: AtomicBool,
    /// After so many requests; `u64::MAX` is never.
    requests: u64,
    /// Beyond so much resident memory; `None` is never.
    memory_bytes: Option<u64>,
    began: Instant,
    /// When memory is to be looked at next, in milliseconds since `began`.
    next_look: AtomicU64,
}

impl Recycling {
    #[must_use]
    pub fn new(say: OwnedFd, requests: Option<u64>, memory_bytes: Option<u64>) -> Self {
        Self {
            say,
            asked: AtomicBool::new(false),
            requests: requests.unwrap_or(u64::MAX),
            memory_bytes,
            began: Instant::now(),
            next_look: AtomicU64::new(0),
        }
    }

    /// A request has ended at `now`.
    pub fn after_request(&self, slot: &WorkerSlot, now: Instant) {
        let served = slot.requests.load(Relaxed);
        if served >= self.requests {
            self.ask(&format!("it has served {served} requests"));
        }
        if let Some(limit) = self.memory_bytes {
            self.look_at_memory(limit, now);
        }
    }

    fn look_at_memory(&self, limit: u64, now: Instant) {
        let now_ms = now.saturating_duration_since(self.began).as_millis() as u64;
        if now_ms < self.next_look.load(Relaxed) {
            return;
        }
        self.next_look
            .store(now_ms + MEMORY_LOOK.as_millis() as u64, Relaxed);
        if let Ok(bytes) = process::rss_bytes(process::getpid())
            && bytes > limit
        {
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            self.ask(&format!(
                "its memory of {:.1} MiB is beyond the limit of {:.1} MiB",
                mib(bytes),
                mib(limit)
            ));
        }
    }

    /// Asks for another worker in this one's place, once.
    pub fn ask(&self, why: &str) {
        if self.asked.swap(true, Relaxed) {
            return;
        }
        tracing::info!(
            "Autorestarting worker after current request. Worker (pid:{}): {why}",
            process::getpid()
        );
        // If the arbiter is gone, the end of its lifeline says so.
        let _ = file::write(&self.say, &Notice::Recycle(why.to_owned()).encode());
    }
}

/// `max_requests` with its jitter, so that workers do not leave all at once.
#[must_use]
pub fn limit_of_requests(settings: &Settings) -> Option<u64> {
    let jitter = settings.max_requests_jitter;
    let more = jitter.checked_add(1).map_or(0, |sides| random() % sides);
    settings
        .max_requests
        .map(|limit| limit.saturating_add(more))
}

/// A number that is another in each process: std's hasher keys are random.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    fn told(read: &OwnedFd) -> String {
        let mut bytes = [0; 4096];
        let count = file::read(read, &mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn after_so_many_requests_and_only_once() {
        let (read, write) = file::pipe_cloexec_nonblock().unwrap();
        let slots = Slots::new(1, 1).unwrap();
        let recycling = Recycling::new(write, Some(3), None);
        for count in 1..6 {
            slots
                .worker(0)
                .count(200, Duration::from_micros(1), Duration::ZERO);
            recycling.after_request(slots.worker(0), Instant::now());
            assert_eq!(
                told(&read).contains("has served 3 requests"),
                count == 3,
                "{count}"
            );
        }
    }

    #[test]
    fn memory_is_looked_at_once_a_second() {
        let (read, write) = file::pipe_cloexec_nonblock().unwrap();
        let slots = Slots::new(1, 1).unwrap();
        let recycling = Recycling::new(write, None, Some(1024));
        let now = Instant::now();
        recycling.next_look.store(5_000, Relaxed);
        recycling.after_request(slots.worker(0), now);
        assert_eq!(told(&read), "");
        recycling.after_request(slots.worker(0), now + Duration::from_secs(6));
        assert!(told(&read).contains("is beyond the limit of 0.0 MiB"));
        let roomy = Recycling::new(
            file::pipe_cloexec_nonblock().unwrap().1,
            None,
            Some(u64::MAX),
        );
        roomy.after_request(slots.worker(0), now);
        assert!(!roomy.asked.load(Relaxed));
    }
}
