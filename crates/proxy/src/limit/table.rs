//! A table of bounded size by key: when it is full, what was used longest ago goes.
//!
//! Not here: locks, or what the values mean.

use std::collections::HashMap;
use std::sync::Arc;

/// What an entry costs beside its key: as in nginx, whose zones hold some 8,000 addresses in a megabyte.
const ENTRY_BYTES: u64 = 80;
const NONE: usize = usize::MAX;

/// Values by key, in the order of their use.
#[derive(Debug)]
pub(crate) struct Table<V> {
    /// Bytes that entries may cost, by [`cost`].
    room: u64,
    used: u64,
    index: HashMap<Arc<[u8]>, usize>,
    entries: Vec<Entry<V>>,
    /// Those that are not in use.
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Entry<V> {
    key: Arc<[u8]>,
    value: V,
    newer: usize,
    older: usize,
}

/// What an entry with a key of `length` bytes counts as.
fn cost(length: usize) -> u64 {
    (ENTRY_BYTES + length as u64).next_power_of_two()
}

impl<V: Copy> Table<V> {
    pub(crate) fn new(room: u64) -> Self {
        Self {
            room,
            used: 0,
            index: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The value of a key, which is now the one used last.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&mut V> {
        let at = *self.index.get(key)?;
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
        Some(&mut self.entries[at].value)
    }

    /// Adds a key that is not there, used last. Others go if there is no room; `may_go` says which may. `false` if none
    /// may.
    pub(crate) fn add(&mut self, key: &[u8], value: V, may_go: impl Fn(&V) -> bool) -> bool {
        let wanted = cost(key.len());
        while self.used + wanted > self.room {
            let mut at = self.oldest;
            while at != NONE && !may_go(&self.entries[at].value) {
                at = self.entries[at].newer;
            }
            if at == NONE {
                return false;
            }
            self.remove_at(at);
        }
        let entry = Entry {
            key: key.into(),
            value,
            newer: NONE,
            older: NONE,
        };
        let name = Arc::clone(&entry.key);
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.index.insert(name, at);
        self.used += wanted;
        self.link(at);
        true
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(&at) = self.index.get(key) {
            self.remove_at(at);
        }
    }

    /// The value that was used longest ago.
    pub(crate) fn oldest(&self) -> Option<&V> {
        self.entries.get(self.oldest).map(|entry| &entry.value)
    }

    pub(crate) fn remove_oldest(&mut self) {
        if self.oldest != NONE {
            self.remove_at(self.oldest);
        }
    }

    fn remove_at(&mut self, at: usize) {
        self.unlink(at);
        let key = std::mem::take(&mut self.entries[at].key);
        self.index.remove(&key);
        self.used -= cost(key.len());
        self.free.push(at);
    }

    fn link(&mut self, at: usize) {
        self.entries[at].newer = NONE;
        self.entries[at].older = self.newest;
        match self.entries.get_mut(self.newest) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: usize) {
        let (newer, older) = (self.entries[at].newer, self.entries[at].older);
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_goes() {
        // Room for three of 128 bytes.
        let mut table = Table::new(3 * 128);
        for key in ["a", "b", "c"] {
            assert!(table.add(key.as_bytes(), key, |_| true));
        }
        assert_eq!(table.get(b"a"), Some(&mut "a"));
        assert!(table.add(b"d", "d", |_| true));
        assert_eq!(table.get(b"b"), None);
        assert_eq!(table.oldest(), Some(&"c"));
        assert!(table.add(b"e", "e", |value| *value == "a"));
        assert_eq!(table.len(), 3);
        assert_eq!(table.get(b"a"), None);
        assert!(!table.add(b"f", "f", |_| false));
        table.remove(b"d");
        assert!(table.add(b"f", "f", |_| false));
        table.remove_oldest();
        assert_eq!(table.get(b"c"), None);
        assert_eq!(table.len(), 2);
    }

    /// A long walk against a plain list.
    #[test]
    fn as_a_list_would_do_it() {
        let mut table = Table::new(5 * 128);
        let mut list: Vec<(u8, u32)> = Vec::new();
        let mut seed = 7_u32;
        for step in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = u8::try_from(seed >> 28).unwrap();
            match seed >> 8 & 3 {
                0 => {
                    table.remove(&[key]);
                    list.retain(|(other, _)| *other != key);
                }
                _ => match table.get(&[key]) {
                    Some(value) => {
                        *value = step;
                        list.retain(|(other, _)| *other != key);
                        list.push((key, step));
                    }
                    None => {
                        assert!(!list.iter().any(|(other, _)| *other == key));
                        table.add(&[key], step, |_| true);
                        if list.len() == 5 {
                            list.remove(0);
                        }
                        list.push((key, step));
                    }
                },
            }
            assert_eq!(table.len(), list.len());
            assert_eq!(
                table.oldest().copied(),
                list.first().map(|(_, value)| *value)
            );
        }
    }
}
