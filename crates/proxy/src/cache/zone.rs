//! What all cores share of one cache: the answers in memory, which requests are being fetched, and the files behind both.
//!
//! Memory is bounded by evicting what was not used for longest. Not here: whether an answer may be used (`look`).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::Semaphore;
use trine_cache::Fields;
use trine_cache::store::vary_key;

use super::Entry;
use super::disk::Disk;

/// Locks that are taken one at a time.
const SHARDS: usize = 16;
/// How long a key whose answer could not be kept is fetched without queueing.
const PASS_FOR: Duration = Duration::from_secs(30);
/// Variants of one key; more would be a request field that is different each time.
const MOST_VARIANTS: usize = 16;

/// A cache as the configuration names it.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) name: String,
    /// Bytes of memory.
    pub(crate) memory: usize,
    /// What is not asked for during this time is forgotten.
    pub(crate) inactive: Duration,
    pub(crate) disk: Option<Arc<Disk>>,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Keys that somebody fetches; the semaphore is closed when that is over.
    flights: Mutex<HashMap<Vec<u8>, Arc<Semaphore>>>,
}

#[derive(Debug)]
struct Shard {
    primaries: LruCache<Vec<u8>, Primary>,
    bytes: usize,
}

/// All that is known of one key.
#[derive(Debug)]
struct Primary {
    variants: Vec<Arc<Entry>>,
    uses: u32,
    used: Instant,
    /// Its answers cannot be kept, so nobody waits for one.
    passes_until: Option<Instant>,
}

/// What is there for a request.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entry: Option<Arc<Entry>>,
    /// There are answers, but for other request fields.
    pub(crate) varies: bool,
    /// How often the key was asked for, with this time.
    pub(crate) uses: u32,
    pub(crate) passes: bool,
}

/// The right to fetch a key for all that wait for it; gone with this.
#[derive(Debug)]
pub(crate) struct Flight {
    held: Arc<Held>,
    key: Vec<u8>,
}

/// Zones that an earlier configuration had too go on with what it holds.
pub(crate) fn adopt(new: &mut [Zone], old: &[Zone]) {
    for zone in new {
        let same = |other: &&Zone| {
            other.name == zone.name
                && other.disk.as_ref().map(|disk| &disk.folder)
                    == zone.disk.as_ref().map(|disk| &disk.folder)
        };
        if let Some(before) = old.iter().find(same) {
            zone.adopt(before);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left a table that is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Zone {
    pub(crate) fn new(
        name: String,
        memory: usize,
        inactive: Duration,
        disk: Option<Arc<Disk>>,
    ) -> Self {
        let shard = || {
            Mutex::new(Shard {
                primaries: LruCache::unbounded(),
                bytes: 0,
            })
        };
        Self {
            name,
            memory,
            inactive,
            disk,
            held: Arc::new(Held {
                shards: std::array::from_fn(|_| shard()),
                hasher: RandomState::new(),
                flights: Mutex::default(),
            }),
        }
    }

    /// Goes on with what the same zone of an earlier configuration holds.
    pub(crate) fn adopt(&mut self, before: &Self) {
        self.held = Arc::clone(&before.held);
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = self.held.hasher.hash_one(key);
        lock(&self.held.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)])
    }

    /// What is kept for a request, in memory or on disk.
    pub(crate) fn find(&self, key: &[u8], request: Fields<'_>) -> Found {
        let found = self.find_in_memory(key, request);
        if found.entry.is_some() {
            return found;
        }
        let Some(entry) = self.disk.as_ref().and_then(|disk| disk.load(key, request)) else {
            return found;
        };
        let entry = Arc::new(entry);
        self.keep_in_memory(&entry);
        Found {
            entry: Some(entry),
            ..found
        }
    }

    fn find_in_memory(&self, key: &[u8], request: Fields<'_>) -> Found {
        let now = Instant::now();
        let mut shard = self.shard(key);
        let Some(primary) = shard.primaries.get_mut(key) else {
            let primary = Primary {
                variants: Vec::new(),
                uses: 1,
                used: now,
                passes_until: None,
            };
            shard.bytes += key.len() + 256;
            shard.primaries.put(key.to_vec(), primary);
            self.evict(&mut shard);
            return Found {
                uses: 1,
                ..Found::default()
            };
        };
        if now.duration_since(primary.used) > self.inactive {
            primary.uses = 0;
            let freed: usize = primary.variants.drain(..).map(|entry| entry.cost()).sum();
            primary.used = now;
            primary.uses = 1;
            shard.bytes = shard.bytes.saturating_sub(freed);
            return Found {
                uses: 1,
                ..Found::default()
            };
        }
        primary.used = now;
        primary.uses = primary.uses.saturating_add(1);
        let fits = |entry: &&Arc<Entry>| vary_key(&entry.kept.vary, request) == entry.vary_key;
        let entry = primary.variants.iter().find(fits).cloned();
        Found {
            varies: entry.is_none() && !primary.variants.is_empty(),
            entry,
            uses: primary.uses,
            passes: primary.passes_until.is_some_and(|until| now < until),
        }
    }

    /// Keeps an answer in the place of the one for the same request fields.
    pub(crate) fn keep(&self, entry: &Arc<Entry>) {
        self.keep_in_memory(entry);
        if let Some(disk) = &self.disk {
            disk.store(Arc::clone(entry));
        }
    }

    fn keep_in_memory(&self, entry: &Arc<Entry>) {
        let mut shard = self.shard(&entry.key);
        let mut bytes = shard.bytes;
        if !shard.primaries.contains(&entry.key) {
            bytes += entry.key.len() + 256;
        }
        let primary = shard
            .primaries
            .get_or_insert_mut(entry.key.clone(), || Primary {
                variants: Vec::new(),
                uses: 1,
                used: Instant::now(),
                passes_until: None,
            });
        primary.passes_until = None;
        let same = |other: &Arc<Entry>| {
            other.kept.vary != entry.kept.vary || other.vary_key == entry.vary_key
        };
        while let Some(at) = primary.variants.iter().position(same) {
            bytes = bytes.saturating_sub(primary.variants.remove(at).cost());
        }
        if primary.variants.len() >= MOST_VARIANTS {
            bytes = bytes.saturating_sub(primary.variants.remove(0).cost());
        }
        bytes += entry.cost();
        primary.variants.push(Arc::clone(entry));
        shard.bytes = bytes;
        self.evict(&mut shard);
    }

    fn evict(&self, shard: &mut Shard) {
        while shard.bytes > self.memory / SHARDS {
            let Some((key, primary)) = shard.primaries.pop_lru() else {
                shard.bytes = 0;
                return;
            };
            let freed: usize = primary.variants.iter().map(|entry| entry.cost()).sum();
            shard.bytes = shard.bytes.saturating_sub(freed + key.len() + 256);
        }
    }

    /// For a while nobody waits for the answer of another.
    pub(crate) fn pass(&self, key: &[u8]) {
        if let Some(primary) = self.shard(key).primaries.peek_mut(key) {
            primary.passes_until = Some(Instant::now() + PASS_FOR);
        }
    }

    /// Forgets a key. Returns whether there was something.
    pub(crate) fn forget(&self, key: &[u8]) -> bool {
        let mut shard = self.shard(key);
        let gone = shard.primaries.pop(key);
        if let Some(primary) = &gone {
            let freed: usize = primary.variants.iter().map(|entry| entry.cost()).sum();
            shard.bytes = shard.bytes.saturating_sub(freed + key.len() + 256);
        }
        drop(shard);
        let on_disk = self.disk.as_ref().is_some_and(|disk| disk.forget(key));
        on_disk || gone.is_some_and(|primary| !primary.variants.is_empty())
    }

    /// The right to fetch a key.
    ///
    /// # Errors
    /// Somebody has it: the semaphore is closed when they are done.
    pub(crate) fn take_off(&self, key: &[u8]) -> Result<Flight, Arc<Semaphore>> {
        let mut flights = lock(&self.held.flights);
        if let Some(other) = flights.get(key) {
            return Err(Arc::clone(other));
        }
        flights.insert(key.to_vec(), Arc::new(Semaphore::new(0)));
        Ok(Flight {
            held: Arc::clone(&self.held),
            key: key.to_vec(),
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(landed) = lock(&self.held.flights).remove(&self.key) {
            landed.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::sample;

    fn entry(key: &str, request: &[(&[u8], &[u8])], vary: &str, size: usize) -> Arc<Entry> {
        Arc::new(sample(key, request, vary, &vec![b'x'; size]))
    }

    fn zone(memory: usize) -> Zone {
        Zone::new("z".to_owned(), memory, Duration::from_secs(600), None)
    }

    #[test]
    fn variants_live_side_by_side() {
        let zone = zone(1 << 20);
        let a: [(&[u8], &[u8]); 1] = [(b"accept", b"a")];
        let b: [(&[u8], &[u8]); 1] = [(b"accept", b"b")];
        zone.keep(&entry("k", &a, "Accept", 1));
        let found = zone.find(b"k", Fields(&b));
        assert!(found.entry.is_none() && found.varies);
        zone.keep(&entry("k", &b, "Accept", 2));
        zone.keep(&entry("k", &a, "Accept", 3));
        let size = |request: &[(&[u8], &[u8])]| {
            zone.find(b"k", Fields(request))
                .entry
                .map(|entry| entry.body.len())
        };
        assert_eq!((size(&a), size(&b), size(&[])), (Some(3), Some(2), None));
        // What varies by something else now makes the others worthless.
        zone.keep(&entry("k", &a, "Accept-Language", 4));
        assert_eq!((size(&a), size(&b)), (Some(4), Some(4)));
        assert!(zone.forget(b"k"));
        assert!(!zone.forget(b"k"));
        assert_eq!(size(&a), None);
    }

    #[test]
    fn memory_is_bounded_and_counted_back() {
        let zone = zone(SHARDS * 100_000);
        for number in 0..1000 {
            zone.keep(&entry(&format!("k{number}"), &[], "", 10_000));
        }
        let bytes: usize = zone.held.shards.iter().map(|shard| lock(shard).bytes).sum();
        assert!(bytes <= SHARDS * 100_000, "{bytes}");
        for number in 0..1000 {
            zone.forget(format!("k{number}").as_bytes());
        }
        let bytes: usize = zone.held.shards.iter().map(|shard| lock(shard).bytes).sum();
        assert_eq!(bytes, 0);
    }

    #[test]
    fn one_fetches_for_all() {
        let zone = zone(1 << 20);
        let flight = zone.take_off(b"k").unwrap();
        let waits = zone.take_off(b"k").unwrap_err();
        assert!(zone.take_off(b"other").is_ok());
        assert!(!waits.is_closed());
        drop(flight);
        assert!(waits.is_closed());
        assert!(zone.take_off(b"k").is_ok());
    }
}
