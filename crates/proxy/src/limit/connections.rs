//! `limit_conn`: how many requests with one key are under way, over all cores.
//!
//! Not here: telling of it.

use std::sync::Arc;

use super::zone::{Counts, Zone, lock};

/// One `limit_conn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// An index into the zones of the configuration.
    pub(crate) zone: usize,
    pub(crate) most: u32,
}

/// Counts a request as under way for as long as it lives.
#[derive(Debug)]
pub(crate) struct Permit {
    counts: Arc<Counts>,
    key: Vec<u8>,
}

/// `None` if there are too many already, or if the zone is full of others.
pub(crate) fn take(zone: &Zone, key: &[u8], most: u32) -> Option<Permit> {
    let counts = zone.counts();
    let mut table = lock(&counts.connections);
    match table.get(key) {
        Some(count) if *count >= most => return None,
        Some(count) => *count += 1,
        None => {
            // Each of them is somebody's who is there: none may go.
            if !table.add(key, 1, |_| false) {
                return None;
            }
        }
    }
    Some(Permit {
        counts: Arc::clone(counts),
        key: key.to_vec(),
    })
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = lock(&self.counts.connections);
        match table.get(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => table.remove(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::zone::{Key, Kind};
    use crate::template::Template;

    #[test]
    fn counts_those_that_live() {
        let zone = Zone::new(
            "c".to_owned(),
            Key::Request(Template::default()),
            String::new(),
            32 << 10,
            Kind::Connections,
        );
        let first = take(&zone, b"a", 2).unwrap();
        let second = take(&zone, b"a", 2).unwrap();
        assert!(take(&zone, b"a", 2).is_none());
        assert!(take(&zone, b"b", 2).is_some());
        drop(first);
        let third = take(&zone, b"a", 2).unwrap();
        assert!(take(&zone, b"a", 2).is_none());
        drop((second, third));
        assert_eq!(lock(&zone.counts().connections).len(), 0);
    }

    #[test]
    fn a_full_zone_refuses() {
        let zone = Zone::new(
            "c".to_owned(),
            Key::Request(Template::default()),
            String::new(),
            2 * 128,
            Kind::Connections,
        );
        let held: Vec<_> = [b"a", b"b"].map(|key| take(&zone, key, 1).unwrap()).into();
        assert!(take(&zone, b"c", 1).is_none());
        drop(held);
        assert!(take(&zone, b"c", 1).is_some());
    }
}
