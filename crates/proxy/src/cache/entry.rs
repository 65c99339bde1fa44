//! One kept answer. Not here: where it lies (`zone`, `disk`).

use trine_cache::Kept;

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
}

impl Entry {
    /// The bytes that it takes, roughly.
    pub(crate) fn cost(&self) -> usize {
        256 + self.key.len() + self.vary_key.len() + self.head.len() + self.body.len()
    }

    pub(crate) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        lines(&self.head)
            .skip(1)
            .filter_map(|line| {
                let colon = memchr::memchr(b':', line)?;
                Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
            })
            .collect()
    }

    pub(crate) fn status_line(&self) -> &[u8] {
        lines(&self.head).next().unwrap_or_default()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let fields = self.fields();
        let found = fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| *value)
    }
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}
