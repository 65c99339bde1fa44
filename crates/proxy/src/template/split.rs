//! `split_clients`: a variable whose value depends on a share that a key falls into.
//!
//! The hash is nginx's (MurmurHash2), so that the same key falls into the same share there and here. Not here: reading
//! the block (`config::nginx`).

use super::{Scene, Template};

/// One `split_clients`.
#[derive(Debug, Default)]
pub(crate) struct SplitTable<T = Template> {
    pub(crate) source: T,
    pub(crate) shares: Vec<Share>,
}

/// A part of all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Hashes below it fall into the share; `None` is all that are left.
    pub(crate) below: Option<u32>,
    pub(crate) value: Vec<u8>,
}

impl SplitTable {
    /// Appends the value of the key's share; nothing if it falls into none.
    pub(super) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        let value = self.find(&self.source.value(scene));
        out.extend_from_slice(value.unwrap_or_default());
    }
}

impl<T> SplitTable<T> {
    /// The value of a key's share.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let hash = murmur2(key);
        let mut shares = self.shares.iter();
        let share = shares.find(|share| share.below.is_none_or(|below| hash < below))?;
        Some(&share.value)
    }
}

/// Where shares end, from their parts in hundredths of a percent; 0 is `*`. `None` if they are more than everything.
pub(crate) fn bounds(parts: &[u32]) -> Option<Vec<Option<u32>>> {
    let (mut sum, mut last) = (0, 0_u32);
    parts
        .iter()
        .map(|&part| {
            sum = if part == 0 { 10_000 } else { sum + part };
            if sum > 10_000 {
                return None;
            }
            if part == 0 {
                return Some(None);
            }
            let width = u64::from(u32::MAX) * u64::from(part) / 10_000;
            last = last.wrapping_add(u32::try_from(width).unwrap_or(u32::MAX));
            Some(Some(last))
        })
        .collect()
}

/// MurmurHash2 (32 bits, seed 0).
fn murmur2(bytes: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut hash = length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ mixed.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(bounds(&[5000, 0]), Some(vec![Some(2_147_483_647), None]));
        assert_eq!(bounds(&[50, 5000, 4950]).map(|list| list.len()), Some(3));
        assert_eq!(bounds(&[5000, 5001]), None);
        assert_eq!(bounds(&[5000, 0, 1]), None);
    }

    /// The end-to-end tests compare with nginx itself; these are fixed so that the hash cannot change unnoticed.
    #[test]
    fn hashes() {
        for (text, want) in [
            ("", 0),
            ("a", 0x9268_5f5e),
            ("abcd", 0x2687_3021),
            ("192.0.2.1agent", 0x64ab_e256),
        ] {
            assert_eq!(murmur2(text.as_bytes()), want, "{text}");
        }
    }
}
