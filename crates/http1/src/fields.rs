//! Header fields as offsets into the head: no lifetimes, so that a head can be kept and used again.
//! Not here: which fields mean what.

use smallvec::SmallVec;

use crate::error::HeadError;
use crate::syntax::{is_ows, trim_ows};

/// A part of the head, in bytes from its buffer's start. Heads are smaller than 4 GiB (see `scan`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `whole`, which it is a slice of.
    pub(crate) fn locate(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(start + part.len() <= whole.len(), "not a part of it");
        Self {
            start: start as u32,
            end: (start + part.len()) as u32,
        }
    }

    /// The bytes; none when `whole` is not the buffer that was parsed.
    pub(crate) fn of(self, whole: &[u8]) -> &[u8] {
        whole
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// How field lines may deviate from the grammar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leniency {
    /// A folded field reads as one line.
    pub(crate) unfold: bool,
    /// White space before the colon is removed.
    pub(crate) strip_name_spaces: bool,
}

/// The fields of one head or of trailers. Used again, it allocates no more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    list: Vec<Field>,
    /// The field lines as they should have been, when they had to be changed to be read; else
    /// empty.
    rewritten: Vec<u8>,
}

impl Fields {
    /// Reads `count` fields out of `lines`, a part of `buf` that ends with the empty line. `folded`
    /// says that some line continues the one before.
    pub(crate) fn parse(
        &mut self,
        buf: &[u8],
        lines: &[u8],
        count: usize,
        folded: bool,
        leniency: Leniency,
    ) -> Result<(), HeadError> {
        self.rewritten.clear();
        if folded {
            if !leniency.unfold {
                return Err(HeadError::Folded);
            }
            unfold(lines, &mut self.rewritten);
        }
        match self.parse_lines(buf, lines, count) {
            Err(HeadError::HeaderName) if leniency.strip_name_spaces => {
                self.rewritten = strip_name_spaces(if folded { &self.rewritten } else { lines });
                self.parse_lines(buf, lines, count)
            }
            result => result,
        }
    }

    fn parse_lines(&mut self, buf: &[u8], lines: &[u8], count: usize) -> Result<(), HeadError> {
        let Self { list, rewritten } = self;
        let (whole, lines) = if rewritten.is_empty() {
            (buf, lines)
        } else {
            (&rewritten[..], &rewritten[..])
        };
        list.clear();
        // Filled in place: `from_elem` would build a kilobyte and then move it.
        let mut parsed: SmallVec<[httparse::Header<'_>; 32]> = SmallVec::new();
        parsed.resize(count, httparse::EMPTY_HEADER);
        match httparse::parse_headers(lines, &mut parsed) {
            Ok(httparse::Status::Complete((_, found))) => {
                list.extend(found.iter().map(|header| Field {
                    name: Span::locate(header.name.as_bytes(), whole),
                    value: Span::locate(header.value, whole),
                }));
                Ok(())
            }
            Err(httparse::Error::HeaderValue | httparse::Error::NewLine) => {
                Err(HeadError::HeaderValue)
            }
            // The empty line is there and the fields are counted, so that only a bad name is left.
            Ok(httparse::Status::Partial) | Err(_) => Err(HeadError::HeaderName),
        }
    }

    /// The fields, when `buf` is the buffer that was parsed.
    pub(crate) fn iter<'a>(&'a self, buf: &'a [u8]) -> Headers<'a> {
        Headers {
            fields: self.list.iter(),
            bytes: self.bytes(buf),
        }
    }

    /// The value of one field by its position in [`iter`](Self::iter).
    pub(crate) fn value<'a>(&'a self, buf: &'a [u8], index: usize) -> Option<&'a [u8]> {
        self.list
            .get(index)
            .map(|field| field.value.of(self.bytes(buf)))
    }

    fn bytes<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        if self.rewritten.is_empty() {
            buf
        } else {
            &self.rewritten
        }
    }
}

/// Copies field lines with every fold, and the white space around it, replaced by one space (RFC
/// 9112 section 5.2).
fn unfold(lines: &[u8], out: &mut Vec<u8>) {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        if line.first().is_some_and(|&first| is_ows(first)) {
            let before = out.strip_suffix(b"\r\n").unwrap_or(out);
            let kept = before
                .iter()
                .rposition(|&byte| !is_ows(byte))
                .map_or(0, |last| last + 1);
            out.truncate(kept);
            out.push(b' ');
            out.extend_from_slice(trim_ows(line));
        } else {
            out.extend_from_slice(line);
        }
    }
}

/// Copies field lines without the spaces and tabs that stand before a colon.
fn strip_name_spaces(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let (name, rest) = line.split_at(memchr::memchr(b':', line).unwrap_or(0));
        let kept = name
            .iter()
            .rposition(|&byte| !is_ows(byte))
            .map_or(0, |last| last + 1);
        out.extend_from_slice(&name[..kept]);
        out.extend_from_slice(rest);
    }
    out
}

/// The fields of a head or of trailers in the order they came: names as received, values without
/// outer white space.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    fields: std::slice::Iter<'a, Field>,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The values of the fields of this name, in any case, in the order they came.
    pub fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(move |(found, value)| {
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.fields.next()?;
        Some((field.name.of(self.bytes), field.value.of(self.bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Headers<'_> {}
