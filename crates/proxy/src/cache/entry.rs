//! One kept answer. Not here: where it lies (`zone`, `disk`).

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use trine_cache::Kept;

use super::ready::Ready;

/// An answer as it is sent again and again.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    /// What the request's varying fields were.
    pub(crate) vary_key: Vec<u8>,
    pub(crate) kept: Kept,
    /// The status line and the fields, each with its line end, without those of framing and connection.
    pub(crate) head: Vec<u8>,
    pub(crate) body: bytes::Bytes,
    /// It has been sent from memory.
    pub(super) sent: AtomicBool,
    /// The head as one location sends it, once it has been sent twice.
    pub(super) ready: Mutex<Option<Ready>>,
}

impl Entry {
    /// The bytes that it takes, roughly.
    pub(crate) fn cost(&self) -> usize {
        // Its head may be kept once more (`ready`).
        256 + self.key.len() + self.vary_key.len() + 2 * self.head.len() + self.body.len()
    }

    pub(crate) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        self.each_field().collect()
    }

    pub(super) fn each_field(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines(&self.head).skip(1).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
        })
    }

    /// The words by which it may be purged: those of `Surrogate-Key`, and of `Cache-Tag` with its commas.
    pub(super) fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let names: [&[u8]; 2] = [b"surrogate-key", b"cache-tag"];
        self.each_field()
            .filter(move |(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
            .flat_map(|(_, value)| value.split(|byte| b", \t".contains(byte)))
            .filter(|tag| !tag.is_empty())
    }

    pub(crate) fn status_line(&self) -> &[u8] {
        lines(&self.head).next().unwrap_or_default()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.each_field()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    let mut next = move || {
        let end = memchr::memchr(b'\n', rest)?;
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    };
    std::iter::from_fn(move || next().filter(|line| !line.is_empty()))
}

/// An answer for tests, good for a minute.
#[cfg(test)]
pub(super) fn sample(key: &str, request: &[(&[u8], &[u8])], vary: &str, body: &[u8]) -> Entry {
    use trine_cache::store::{Exchange, judge};
    use trine_cache::{Fields, Lifetime, Rules};

    let answer: [(&[u8], &[u8]); 2] = [
        (b"cache-control", b"max-age=60"),
        (b"vary", vary.as_bytes()),
    ];
    let exchange = Exchange {
        method: "GET",
        request: Fields(request),
        status: 200,
        answer: Fields(&answer),
        asked_at: 1,
        answered_at: 1,
    };
    let kept = judge(&exchange, Lifetime::Said, Rules::default()).unwrap();
    Entry {
        key: key.into(),
        vary_key: kept.vary_key(Fields(request)),
        kept,
        head: b"HTTP/1.1 200 OK\r\nA: b\r\n".to_vec(),
        body: body.to_vec().into(),
        sent: AtomicBool::new(false),
        ready: Mutex::default(),
    }
}
