//! A kept answer as a file: a line that names the form, a card of numbers with all lengths and a check sum, then the names
//! of fields, the key, the varying fields, the head and the body.
//!
//! Bytes in, entry out, and nothing if any byte is missing, too much, or another. It is read for every request that memory
//! does not answer, so nothing in it has to be interpreted. Not here: where files lie (`disk`).

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use bytes::{Buf as _, Bytes};
use trine_cache::Kept;

use super::Entry;

/// The first line of a file; another form of it gets another number.
const MAGIC: &[u8] = b"trine cache 3\n";
/// Bytes of a card.
const CARD: usize = 4 + 2 + 1 + 5 * 8 + 6 * 8;

/// What stands before the bytes, every number with its low byte first.
#[derive(Debug)]
struct Card {
    /// CRC-32 of all that follows.
    sum: u32,
    status: u16,
    no_cache: bool,
    never_stale: bool,
    initial_age: u64,
    answered_at: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: Option<u64>,
    /// Lengths: of the withheld fields and the varying ones, each name with a line end; of the key, the varying fields'
    /// values, the head and the body.
    lengths: [u64; 6],
}

impl Card {
    fn of(entry: &Entry, names: &[Vec<u8>; 2]) -> Self {
        let kept = &entry.kept;
        let parts = [
            &names[0][..],
            &names[1],
            &entry.key,
            &entry.vary_key,
            &entry.head,
            &entry.body,
        ];
        Self {
            sum: 0,
            status: kept.status,
            no_cache: kept.no_cache,
            never_stale: kept.never_stale,
            initial_age: kept.initial_age,
            answered_at: kept.answered_at,
            lifetime: kept.lifetime,
            stale_while_revalidate: kept.stale_while_revalidate,
            stale_if_error: kept.stale_if_error,
            lengths: parts.map(|part| part.len() as u64),
        }
    }

    /// All of it but the check sum.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.status.to_le_bytes());
        let flags = [
            self.no_cache,
            self.never_stale,
            self.stale_if_error.is_some(),
        ];
        out.push((0..3).map(|bit| u8::from(flags[bit]) << bit).sum());
        for number in [
            self.initial_age,
            self.answered_at,
            self.lifetime,
            self.stale_while_revalidate,
            self.stale_if_error.unwrap_or(0),
        ]
        .into_iter()
        .chain(self.lengths)
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < CARD {
            return None;
        }
        let sum = bytes.get_u32_le();
        let status = bytes.get_u16_le();
        let flags = bytes.get_u8();
        let mut number = || bytes.get_u64_le();
        Some(Self {
            sum,
            status,
            no_cache: flags & 1 != 0,
            never_stale: flags & 2 != 0,
            initial_age: number(),
            answered_at: number(),
            lifetime: number(),
            stale_while_revalidate: number(),
            stale_if_error: Some(number()).filter(|_| flags & 4 != 0),
            lengths: std::array::from_fn(|_| number()),
        })
    }

    /// Makes an entry of what follows the card, which `take` hands out piece by piece. Its body is still empty.
    fn entry<B: AsRef<[u8]>>(&self, mut take: impl FnMut(u64) -> Option<B>) -> Option<Entry> {
        let [withheld, vary, key, vary_key, head, _] = self.lengths;
        let names = |text: B| -> Option<Vec<String>> {
            let text = text.as_ref();
            if text.is_empty() {
                return Some(Vec::new());
            }
            let text = std::str::from_utf8(text).ok()?;
            Some(text.lines().map(str::to_owned).collect())
        };
        let kept = Kept {
            status: self.status,
            initial_age: self.initial_age,
            answered_at: self.answered_at,
            lifetime: self.lifetime,
            no_cache: self.no_cache,
            never_stale: self.never_stale,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            withheld: names(take(withheld)?)?,
            vary: names(take(vary)?)?,
        };
        Some(Entry {
            kept,
            key: take(key)?.as_ref().to_vec(),
            vary_key: take(vary_key)?.as_ref().to_vec(),
            head: take(head)?.as_ref().to_vec(),
            body: Bytes::new(),
            sent: AtomicBool::new(false),
            ready: Mutex::default(),
        })
    }
}

/// Writes a whole file.
pub(super) fn write(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let names = [&entry.kept.withheld, &entry.kept.vary].map(|names| {
        let lines = names.iter().map(|name| format!("{name}\n"));
        lines.collect::<String>().into_bytes()
    });
    let mut front = MAGIC.to_vec();
    front.extend_from_slice(&[0; 4]);
    let start = front.len();
    Card::of(entry, &names).write(&mut front);
    for part in [
        &names[0],
        &names[1],
        &entry.key,
        &entry.vary_key,
        &entry.head,
    ] {
        front.extend_from_slice(part);
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&front[start..]);
    sum.update(&entry.body);
    front[MAGIC.len()..start].copy_from_slice(&sum.finalize().to_le_bytes());
    out.write_all(&front)?;
    out.write_all(&entry.body)
}

/// Reads a whole file.
pub(super) fn decode(bytes: Vec<u8>) -> Option<Entry> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let card = Card::read(rest)?;
    if crc32fast::hash(&rest[4..]) != card.sum {
        return None;
    }
    let (mut at, end) = (MAGIC.len() + CARD, bytes.len());
    let all: u64 = card
        .lengths
        .iter()
        .try_fold(0u64, |sum, &length| sum.checked_add(length))?;
    if all != (end - at) as u64 {
        return None;
    }
    let body = end - usize::try_from(card.lengths[5]).ok()?;
    let take = |length: u64| {
        let from = at;
        at += usize::try_from(length).ok()?;
        bytes.get(from..at)
    };
    let mut entry = card.entry(take)?;
    entry.body = Bytes::from(bytes);
    // What is before the body stays in its memory, which saves copying the body.
    entry.body.advance(body);
    Some(entry)
}

/// Reads all but the body, which is left empty and is not checked.
pub(super) fn read_front(path: &Path) -> Option<Entry> {
    let mut file = io::BufReader::new(fs::File::open(path).ok()?);
    let mut front = [0; MAGIC.len() + CARD];
    file.read_exact(&mut front).ok()?;
    let card = Card::read(front.strip_prefix(MAGIC)?)?;
    let take = |length: u64| {
        let mut part = Vec::new();
        file.by_ref().take(length).read_to_end(&mut part).ok()?;
        (part.len() as u64 == length).then_some(part)
    };
    card.entry(take)
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
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(decode(other).is_none(), "{at}");
        }
    }
}
