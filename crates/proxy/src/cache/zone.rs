//! What all cores share of one cache: the answers in memory, which requests are being fetched, and the files behind both.
//!
//! Memory is bounded by evicting what was not used for longest. Not here: whether an answer may be used (`look`).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use trine_cache::Fields;
use trine_cache::store::vary_key;

use super::Entry;
use super::disk::Disk;
use super::flight::Air;

/// Locks that are taken one at a time.
pub(super) const SHARDS: usize = 16;
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
    pub(super) held: Arc<Held>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Keys that somebody fetches.
    pub(super) flights: Mutex<HashMap<Vec<u8>, Air>>,
    /// Counts the times that more than one key was forgotten.
    pub(super) purges: AtomicU64,
    /// Counts the times that one was.
    forgets: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) primaries: LruCache<Vec<u8>, Primary>,
    pub(super) bytes: usize,
}

/// All that is known of one key.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) variants: Vec<Arc<Entry>>,
    uses: u32,
    used: Instant,
    /// When its files were last told that they are used.
    touched: Instant,
    /// Its answers cannot be kept, so nobody waits for one.
    passes_until: Option<Instant>,
    /// Which of all forgets was its last one.
    forgotten: u64,
}

impl Primary {
    fn new(forgotten: u64) -> Self {
        let now = Instant::now();
        Self {
            variants: Vec::new(),
            uses: 1,
            used: now,
            touched: now,
            passes_until: None,
            forgotten,
        }
    }
}

/// What had been forgotten when somebody began to fetch a key. What was fetched is kept only if that is still all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    purges: u64,
    forgotten: u64,
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
    pub(crate) seen: Seen,
    /// Its files have not been told for long that they are used.
    touch: bool,
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
                purges: AtomicU64::new(0),
                forgets: AtomicU64::new(0),
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
        let Some(disk) = &self.disk else { return found };
        if let Some(entry) = &found.entry {
            if found.touch {
                disk.touch(entry);
            }
            return found;
        }
        let Some(entry) = disk.load(key, request) else {
            return found;
        };
        let entry = Arc::new(entry);
        // What is asked for once would push out what is asked for again and again.
        if found.uses > 1 {
            self.keep_in_memory(&entry, found.seen);
        }
        Found {
            entry: Some(entry),
            ..found
        }
    }

    /// What memory keeps for a request, if `accept` takes it; if not, it is as if nobody had asked.
    pub(super) fn hit(
        &self,
        key: &[u8],
        request: Fields<'_>,
        accept: impl FnOnce(&Entry) -> bool,
    ) -> Option<Arc<Entry>> {
        let now = Instant::now();
        let mut shard = self.shard(key);
        let primary = shard.primaries.get_mut(key)?;
        let rested = now.duration_since(primary.used) > self.inactive;
        // From time to time the files have to be told, too.
        let touch = self.disk.is_some() && now.duration_since(primary.touched) > self.inactive / 4;
        if rested || touch {
            return None;
        }
        let fits = |entry: &&Arc<Entry>| vary_key(&entry.kept.vary, request) == entry.vary_key;
        let entry = primary.variants.iter().find(fits)?;
        if !accept(entry) {
            return None;
        }
        primary.used = now;
        primary.uses = primary.uses.saturating_add(1);
        Some(Arc::clone(entry))
    }

    fn find_in_memory(&self, key: &[u8], request: Fields<'_>) -> Found {
        let now = Instant::now();
        let purges = self.held.purges.load(Ordering::SeqCst);
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        let Some(primary) = shard.primaries.get_mut(key) else {
            let primary = Primary::new(self.held.forgets.load(Ordering::SeqCst));
            let forgotten = primary.forgotten;
            shard.bytes += key.len() + 256;
            shard.primaries.put(key.to_vec(), primary);
            self.evict(shard);
            return Found {
                uses: 1,
                seen: Seen { purges, forgotten },
                ..Found::default()
            };
        };
        if now.duration_since(primary.used) > self.inactive {
            primary.uses = 0;
            let freed: usize = primary.variants.drain(..).map(|entry| entry.cost()).sum();
            shard.bytes = shard.bytes.saturating_sub(freed);
        }
        primary.used = now;
        primary.uses = primary.uses.saturating_add(1);
        let fits = |entry: &&Arc<Entry>| vary_key(&entry.kept.vary, request) == entry.vary_key;
        let entry = primary.variants.iter().find(fits).cloned();
        let touch = now.duration_since(primary.touched) > self.inactive / 4;
        if touch {
            primary.touched = now;
        }
        Found {
            varies: entry.is_none() && !primary.variants.is_empty(),
            entry,
            uses: primary.uses,
            passes: primary.passes_until.is_some_and(|until| now < until),
            seen: Seen {
                purges,
                forgotten: primary.forgotten,
            },
            touch,
        }
    }

    /// What has been forgotten so far, for a key that is fetched without looking for it.
    pub(crate) fn seen(&self, key: &[u8]) -> Seen {
        let purges = self.held.purges.load(Ordering::SeqCst);
        let shard = self.shard(key);
        let primary = shard.primaries.peek(key);
        let forgotten = primary.map_or_else(
            || self.held.forgets.load(Ordering::SeqCst),
            |primary| primary.forgotten,
        );
        Seen { purges, forgotten }
    }

    /// Keeps an answer in the place of the one for the same request fields, unless it was forgotten since it was `seen`.
    pub(crate) fn keep(&self, entry: &Arc<Entry>, seen: Seen) {
        if self.keep_in_memory(entry, seen)
            && let Some(disk) = &self.disk
        {
            let zone = self.clone();
            disk.store(Arc::clone(entry), move |key| {
                let shard = zone.shard(key);
                zone.is_current(&shard, key, seen)
            });
        }
    }

    fn is_current(&self, shard: &Shard, key: &[u8], seen: Seen) -> bool {
        let primary = shard.primaries.peek(key);
        self.held.purges.load(Ordering::SeqCst) == seen.purges
            && primary.is_none_or(|primary| primary.forgotten == seen.forgotten)
    }

    fn keep_in_memory(&self, entry: &Arc<Entry>, seen: Seen) -> bool {
        let mut shard = self.shard(&entry.key);
        if !self.is_current(&shard, &entry.key, seen) {
            return false;
        }
        let mut bytes = shard.bytes;
        if !shard.primaries.contains(&entry.key) {
            bytes += entry.key.len() + 256;
        }
        let primary = shard
            .primaries
            .get_or_insert_mut(entry.key.clone(), || Primary::new(seen.forgotten));
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
        // One that is larger than all there is room for would push out everything, itself too.
        if entry.cost() <= self.memory / SHARDS {
            bytes += entry.cost();
            primary.variants.push(Arc::clone(entry));
        }
        shard.bytes = bytes;
        self.evict(&mut shard);
        true
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
        let number = self.held.forgets.fetch_add(1, Ordering::SeqCst) + 1;
        let mut freed = 0;
        let mut had = false;
        if let Some(primary) = shard.primaries.peek_mut(key) {
            primary.forgotten = number;
            had = !primary.variants.is_empty();
            freed = primary.variants.drain(..).map(|entry| entry.cost()).sum();
        }
        shard.bytes = shard.bytes.saturating_sub(freed);
        drop(shard);
        let on_disk = self.disk.as_ref().is_some_and(|disk| disk.forget(key));
        on_disk || had
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

    fn keep(zone: &Zone, entry: Arc<Entry>) {
        zone.keep(&entry, zone.seen(&entry.key));
    }

    #[test]
    fn variants_live_side_by_side() {
        let zone = zone(1 << 20);
        let a: [(&[u8], &[u8]); 1] = [(b"accept", b"a")];
        let b: [(&[u8], &[u8]); 1] = [(b"accept", b"b")];
        keep(&zone, entry("k", &a, "Accept", 1));
        let found = zone.find(b"k", Fields(&b));
        assert!(found.entry.is_none() && found.varies);
        keep(&zone, entry("k", &b, "Accept", 2));
        keep(&zone, entry("k", &a, "Accept", 3));
        let size = |request: &[(&[u8], &[u8])]| {
            zone.find(b"k", Fields(request))
                .entry
                .map(|entry| entry.body.len())
        };
        assert_eq!((size(&a), size(&b), size(&[])), (Some(3), Some(2), None));
        // What varies by something else now makes the others worthless.
        keep(&zone, entry("k", &a, "Accept-Language", 4));
        assert_eq!((size(&a), size(&b)), (Some(4), Some(4)));
        assert!(zone.forget(b"k"));
        assert!(!zone.forget(b"k"));
        assert_eq!(size(&a), None);
    }

    #[test]
    fn memory_is_bounded_and_counted_back() {
        let zone = zone(SHARDS * 100_000);
        for number in 0..1000 {
            keep(&zone, entry(&format!("k{number}"), &[], "", 10_000));
        }
        let bytes: usize = zone.held.shards.iter().map(|shard| lock(shard).bytes).sum();
        assert!(bytes <= SHARDS * 100_000, "{bytes}");
        for number in 0..1000 {
            zone.forget(format!("k{number}").as_bytes());
        }
        // What is left are the keys themselves.
        for shard in &zone.held.shards {
            let shard = lock(shard);
            let keys = shard.primaries.iter().map(|(key, _)| key.len() + 256);
            assert_eq!(shard.bytes, keys.sum::<usize>());
        }
        keep(&zone, entry("large", &[], "", 200_000));
        assert!(zone.find(b"large", Fields(&[])).entry.is_none());
    }

    #[test]
    fn memory_takes_from_files_what_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = crate::cache::disk::Bounds {
            most: 1 << 30,
            least_free: 0,
            inactive: Duration::from_secs(600),
        };
        let disk = Arc::new(Disk::new(dir.path().to_owned(), vec![1], bounds));
        disk.write(&entry("k", &[], "", 10)).unwrap();
        let zone = Zone::new(
            "z".to_owned(),
            1 << 20,
            Duration::from_secs(600),
            Some(disk),
        );
        let in_memory = || zone.hit(b"k", Fields(&[]), |_| true).is_some();
        for is_there_then in [false, true] {
            assert!(!in_memory());
            assert!(zone.find(b"k", Fields(&[])).entry.is_some());
            assert_eq!(in_memory(), is_there_then);
        }
    }
}
