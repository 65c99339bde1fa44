//! A kept answer as a file: a line that names the form, a line of JSON with all lengths and a check sum, then the key, the
//! varying fields, the head and the body.
//!
//! Bytes in, entry out, and nothing if any byte is missing, too much, or another. Not here: where files lie (`disk`).

use std::fs;
use std::io::{self, BufRead as _, Read as _, Write};
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trine_cache::Kept;

use super::Entry;

/// The first line of a file; another form of it gets another number.
const MAGIC: &[u8] = b"trine cache 2\n";
/// The longest line of lengths that is read.
const LONGEST_CARD: u64 = 64 * 1024;

/// What stands before the bytes.
#[derive(Serialize, Deserialize)]
struct Card {
    kept: Kept,
    key: usize,
    vary_key: usize,
    head: usize,
    body: usize,
    /// CRC-32 of all that follows.
    sum: u32,
}

/// Writes a whole file.
pub(super) fn write(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let mut sum = crc32fast::Hasher::new();
    let parts = [&entry.key[..], &entry.vary_key, &entry.head, &entry.body];
    parts.iter().for_each(|part| sum.update(part));
    let card = Card {
        kept: entry.kept.clone(),
        key: entry.key.len(),
        vary_key: entry.vary_key.len(),
        head: entry.head.len(),
        body: entry.body.len(),
        sum: sum.finalize(),
    };
    let mut front = MAGIC.to_vec();
    serde_json::to_writer(&mut front, &card)?;
    front.push(b'\n');
    for part in &parts[..3] {
        front.extend_from_slice(part);
    }
    out.write_all(&front)?;
    out.write_all(&entry.body)
}

/// Reads a whole file.
pub(super) fn decode(bytes: Vec<u8>) -> Option<Entry> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = memchr::memchr(b'\n', rest)?;
    let card: Card = serde_json::from_slice(&rest[..end]).ok()?;
    let start = MAGIC.len() + end + 1;
    if crc32fast::hash(bytes.get(start..)?) != card.sum {
        return None;
    }
    let bytes = Bytes::from(bytes);
    let mut at = start;
    let mut take = |length: usize| {
        let end = at.checked_add(length).filter(|&end| end <= bytes.len())?;
        let part = bytes.slice(at..end);
        at = end;
        Some(part)
    };
    let entry = Entry {
        key: take(card.key)?.to_vec(),
        vary_key: take(card.vary_key)?.to_vec(),
        head: take(card.head)?.to_vec(),
        body: take(card.body)?,
        kept: card.kept,
        sent: std::sync::atomic::AtomicBool::new(false),
        ready: Mutex::default(),
    };
    (at == bytes.len()).then_some(entry)
}

/// Reads all but the body, which is left empty and is not checked.
pub(super) fn read_front(path: &Path) -> Option<Entry> {
    let mut file = io::BufReader::new(fs::File::open(path).ok()?);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok()?;
    if magic != MAGIC {
        return None;
    }
    let mut card = Vec::new();
    file.by_ref()
        .take(LONGEST_CARD)
        .read_until(b'\n', &mut card)
        .ok()?;
    let card: Card = serde_json::from_slice(&card).ok()?;
    let mut take = |length: usize| {
        let mut part = Vec::new();
        let most = u64::try_from(length).ok()?;
        file.by_ref().take(most).read_to_end(&mut part).ok()?;
        (part.len() == length).then_some(part)
    };
    Some(Entry {
        key: take(card.key)?,
        vary_key: take(card.vary_key)?,
        head: take(card.head)?,
        body: Bytes::new(),
        kept: card.kept,
        sent: std::sync::atomic::AtomicBool::new(false),
        ready: Mutex::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::sample;

    #[test]
    fn every_cut_and_every_other_byte_is_noticed() {
        let entry = sample("key", &[(b"accept", b"a")], "Accept", b"hello");
        let mut bytes = Vec::new();
        write(&entry, &mut bytes).unwrap();
        let again = decode(bytes.clone()).unwrap();
        assert_eq!(
            (
                again.key,
                again.vary_key,
                again.head,
                again.body,
                again.kept
            ),
            (
                entry.key,
                entry.vary_key,
                entry.head,
                entry.body,
                entry.kept
            )
        );
        for cut in 0..bytes.len() {
            assert!(decode(bytes[..cut].to_vec()).is_none(), "{cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode(longer).is_none());
        let start = bytes.len() - 5 - 20;
        for at in start..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(decode(other).is_none(), "{at}");
        }
    }
}
