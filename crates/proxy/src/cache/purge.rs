//! Forgetting on order: one key, all keys with a beginning, all answers with a tag, or everything.
//!
//! What is being fetched or written meanwhile is not kept (`zone::Seen`), so nothing that was there before the order comes
//! back after it. Not here: what unsafe requests make worthless (`look`).

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::Ordering;

use super::Entry;
use super::zone::{Primary, Zone, lock};

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purge {
    Key(Vec<u8>),
    /// Keys that begin so.
    Prefix(Vec<u8>),
    /// Answers that have this word in `Surrogate-Key` or `Cache-Tag`.
    Tag(Vec<u8>),
    All,
}

impl Purge {
    /// A key as nginx's `proxy_cache_purge` takes it: one that ends with an asterisk is a beginning.
    pub(crate) fn of_key(mut key: Vec<u8>) -> Self {
        match key.pop() {
            Some(b'*') => Self::Prefix(key),
            last => {
                key.extend(last);
                Self::Key(key)
            }
        }
    }

    /// Whether it means an answer.
    pub(super) fn means(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(key) => *key == entry.key,
            Self::Prefix(front) => entry.key.starts_with(front),
            Self::Tag(tag) => entry.tags().any(|known| known == tag),
            Self::All => true,
        }
    }
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {}", key.escape_ascii()),
            Self::Prefix(front) => write!(f, "keys that begin with {}", front.escape_ascii()),
            Self::Tag(tag) => write!(f, "tag {}", tag.escape_ascii()),
            Self::All => f.write_str("all"),
        }
    }
}

impl Zone {
    /// How many keys have an answer in memory, and the bytes in use.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (mut keys, mut bytes) = (0, 0);
        for shard in &self.held.shards {
            let shard = lock(shard);
            let filled = |primary: &&Primary| !primary.variants.is_empty();
            keys += shard
                .primaries
                .iter()
                .map(|(_, primary)| primary)
                .filter(filled)
                .count();
            bytes += shard.bytes;
        }
        (keys, bytes)
    }

    /// Adds the keys that begin so and have an answer, in memory or on disk. Reads the whole folder.
    pub(crate) fn keys(&self, prefix: &[u8], all: &mut BTreeSet<Vec<u8>>) {
        for shard in &self.held.shards {
            for (key, primary) in lock(shard).primaries.iter() {
                if key.starts_with(prefix) && !primary.variants.is_empty() {
                    all.insert(key.clone());
                }
            }
        }
        if let Some(disk) = &self.disk {
            disk.keys(prefix, all);
        }
    }

    /// Forgets in memory and on disk. Returns how many keys there were. Reads the whole folder, unless it is one key.
    pub(crate) fn purge(&self, purge: &Purge) -> usize {
        if let Purge::Key(key) = purge {
            return usize::from(self.forget(key));
        }
        // First of all: from here on nothing older is kept.
        self.held.purges.fetch_add(1, Ordering::SeqCst);
        let mut gone = HashSet::new();
        for shard in &self.held.shards {
            let mut shard = lock(shard);
            let mut freed = 0;
            for (key, primary) in shard.primaries.iter_mut() {
                let before = primary.variants.len();
                primary.variants.retain(|entry| {
                    let stays = !purge.means(entry);
                    freed += if stays { 0 } else { entry.cost() };
                    stays
                });
                if primary.variants.len() < before {
                    gone.insert(key.clone());
                }
            }
            shard.bytes = shard.bytes.saturating_sub(freed);
        }
        if let Some(disk) = &self.disk {
            disk.purge(purge, &mut gone);
        }
        gone.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use trine_cache::Fields;

    use super::*;
    use crate::cache::disk::{Bounds, Disk};
    use crate::cache::entry::sample;

    fn tagged(key: &str, tags: &str) -> Arc<Entry> {
        let mut entry = sample(key, &[], "", b"body");
        entry.head = format!("HTTP/1.1 200 OK\r\n{tags}\r\n").into_bytes();
        Arc::new(entry)
    }

    fn zone(disk: Option<Arc<Disk>>) -> Zone {
        Zone::new("z".to_owned(), 1 << 20, Duration::from_secs(600), disk)
    }

    #[track_caller]
    fn check(purge: &Purge, want: &[&str]) {
        let zone = zone(None);
        for (key, tags) in [
            ("site/a", "Surrogate-Key: news front"),
            ("site/b", "Cache-Tag: front, sport"),
            (
                "other/c",
                "X: news\r\nsurrogate-key: old\r\nSurrogate-Key: news",
            ),
        ] {
            let found = zone.find(key.as_bytes(), Fields(&[]));
            zone.keep(&tagged(key, tags), found.seen);
        }
        let count = zone.purge(purge);
        let left: Vec<&str> = ["site/a", "site/b", "other/c"]
            .into_iter()
            .filter(|key| zone.find(key.as_bytes(), Fields(&[])).entry.is_some())
            .collect();
        assert_eq!(
            (left.as_slice(), count),
            (want, 3 - want.len()),
            "{purge:?}"
        );
    }

    #[test]
    fn what_is_meant_goes_and_the_rest_stays() {
        check(&Purge::Key(b"site/a".to_vec()), &["site/b", "other/c"]);
        check(&Purge::of_key(b"site/*".to_vec()), &["other/c"]);
        check(
            &Purge::of_key(b"site/".to_vec()),
            &["site/a", "site/b", "other/c"],
        );
        check(&Purge::Tag(b"news".to_vec()), &["site/b"]);
        check(&Purge::Tag(b"front".to_vec()), &["other/c"]);
        check(
            &Purge::Tag(b"new".to_vec()),
            &["site/a", "site/b", "other/c"],
        );
        check(&Purge::All, &[]);
    }

    #[test]
    fn what_was_under_way_is_not_kept() {
        for purge in [Purge::Key(b"a".to_vec()), Purge::Tag(b"t".to_vec())] {
            let zone = zone(None);
            let fetched = zone.find(b"a", Fields(&[])).seen;
            zone.purge(&purge);
            zone.keep(&tagged("a", "Cache-Tag: t"), fetched);
            let again = zone.find(b"a", Fields(&[]));
            assert!(again.entry.is_none(), "{purge:?}");
            zone.keep(&tagged("a", "Cache-Tag: t"), again.seen);
            assert!(zone.find(b"a", Fields(&[])).entry.is_some());
        }
    }

    #[test]
    fn files_go_too_and_so_do_variants() {
        let folder = tempfile::tempdir().unwrap();
        let new = || {
            let bounds = Bounds {
                most: 1 << 30,
                least_free: 0,
                inactive: Duration::from_secs(600),
            };
            let disk = Disk::new(folder.path().to_owned(), vec![1, 2], bounds);
            zone(Some(Arc::new(disk)))
        };
        let first = new();
        let disk = first.disk.clone().unwrap();
        let a: [(&[u8], &[u8]); 1] = [(b"accept", b"a")];
        let b: [(&[u8], &[u8]); 1] = [(b"accept", b"b")];
        let fill = || {
            for request in [&a, &b] {
                disk.write(&sample("k", request, "Accept", b"x")).unwrap();
            }
            disk.write(&tagged("plain", "Cache-Tag: t")).unwrap();
        };
        fill();
        let found = |key: &str, request: &[(&[u8], &[u8])]| {
            // Another zone: what is found was read.
            new().find(key.as_bytes(), Fields(request)).entry.is_some()
        };
        assert!(found("k", &a) && found("k", &b) && found("plain", &[]));
        assert_eq!(first.purge(&Purge::Key(b"k".to_vec())), 1);
        // Another answer for one variant does not bring the other one back.
        disk.write(&sample("k", &a, "Accept", b"y")).unwrap();
        assert!(found("k", &a) && !found("k", &b));
        fill();
        assert_eq!(first.purge(&Purge::Tag(b"t".to_vec())), 1);
        assert!(found("k", &a) && found("k", &b) && !found("plain", &[]));
        assert_eq!(first.purge(&Purge::Prefix(b"k".to_vec())), 1);
        assert!(!found("k", &a) && !found("k", &b));
    }
}
