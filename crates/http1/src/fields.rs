//! Header fields as offsets into the head: no lifetimes, so that a head can be kept and used again.
//! Not here: which fields mean what.

use crate::error::HeadError;
use crate::limits::Limits;
use crate::scan::Extent;
use crate::syntax::{field_bytes, is_ows, token_bytes, trim_ows};

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
    /// Fields with visible characters in their names that no token may have are left out.
    pub(crate) drop_odd_names: bool,
}

/// The fields of one head or of trailers. Used again, it allocates no more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    list: Vec<Field>,
    /// The field lines as they should have been, when they had to be changed to be read; else
    /// empty.
    rewritten: Vec<u8>,
    /// The marks of all names, so that most names that are asked for and not there need no search.
    marks: u64,
}

/// One bit of 64, the same for a name in any case.
fn mark(name: &[u8]) -> u64 {
    let Some(&first) = name.first() else {
        return 0;
    };
    // The middle tells apart what begins alike (`x-accel-…`).
    let middle = name[name.len() / 2];
    let mixed = usize::from(first | 0x20) * 5 + usize::from(middle | 0x20) + name.len() * 11;
    1 << (mixed % 64)
}

impl Fields {
    /// Reads the fields out of `lines`, a part of `buf` that ends with the empty line. `folded`
    /// says that some line continues the one before.
    pub(crate) fn parse(
        &mut self,
        buf: &[u8],
        lines: &[u8],
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
        // `Scan` has seen to the limits.
        let mut result = self.parse_lines(buf, lines, usize::MAX, usize::MAX);
        if leniency.strip_name_spaces && matches!(result, Err(HeadError::HeaderName)) {
            self.rewritten = strip_name_spaces(if folded { &self.rewritten } else { lines });
            result = self.parse_lines(buf, lines, usize::MAX, usize::MAX);
        }
        if leniency.drop_odd_names && matches!(result, Err(HeadError::HeaderName)) {
            let rewritten = !self.rewritten.is_empty();
            self.rewritten = drop_odd_names(if rewritten { &self.rewritten } else { lines });
            result = self.parse_lines(buf, lines, usize::MAX, usize::MAX);
        }
        // What came before the fault is of no use.
        result.map(drop).inspect_err(|_| self.list.clear())
    }

    /// Reads a head in one pass, if all of it is there and nothing about it is unusual: else `Scan` finds out what is
    /// missing or wrong.
    pub(crate) fn parse_whole(&mut self, buf: &[u8], limits: &Limits) -> Option<Extent> {
        let fields = memchr::memchr(b'\n', buf)? + 1;
        let first_line = buf[..fields].strip_suffix(b"\r\n")?;
        if first_line.is_empty() || first_line.len() > limits.request_line {
            return None;
        }
        self.rewritten.clear();
        let (longest, most) = (limits.header_line, limits.header_count);
        let length = self.parse_lines(buf, &buf[fields..], longest, most).ok()?;
        let end = fields + length;
        (end <= limits.head.min(u32::MAX as usize)).then_some(Extent {
            start: 0,
            fields,
            end,
            field_count: self.list.len(),
            folded: false,
        })
    }

    /// Reads field lines without a first line before them: how long they are, if all is there and nothing about them is
    /// unusual.
    pub(crate) fn parse_bare(&mut self, buf: &[u8], limits: &Limits) -> Option<usize> {
        self.rewritten.clear();
        let (longest, most) = (limits.header_line, limits.header_count);
        let length = self.parse_lines(buf, buf, longest, most).ok()?;
        (length <= limits.head.min(u32::MAX as usize) && !self.list.is_empty()).then_some(length)
    }

    /// Takes one field out, by its position in [`iter`](Self::iter): its value's place, when no line had to be changed.
    pub(crate) fn remove(&mut self, index: usize) -> Span {
        self.list.remove(index).value
    }

    /// Reads field lines up to an empty one: how long they are with that. No line may be longer than `longest`, and
    /// there may be `most` of them.
    fn parse_lines(
        &mut self,
        buf: &[u8],
        lines: &[u8],
        longest: usize,
        most: usize,
    ) -> Result<usize, HeadError> {
        let Self {
            list,
            rewritten,
            marks,
        } = self;
        let (whole, lines) = if rewritten.is_empty() {
            (buf, lines)
        } else {
            (&rewritten[..], &rewritten[..])
        };
        list.clear();
        *marks = 0;
        let mut rest = lines;
        while !rest.starts_with(b"\r\n") {
            let (name, after) = rest.split_at(token_bytes(rest));
            let after = match after {
                [b':', after @ ..] if !name.is_empty() => after,
                // A bare CR is always told the same way.
                [b'\r', ..] if name.is_empty() => return Err(HeadError::HeaderValue),
                _ => return Err(HeadError::HeaderName),
            };
            let (value, after) = after.split_at(field_bytes(after));
            // Anything but the line's end is a control character, which no value may have.
            let [b'\r', b'\n', after @ ..] = after else {
                return Err(HeadError::HeaderValue);
            };
            if rest.len() - after.len() - 2 > longest {
                return Err(HeadError::HeaderLineTooLong { limit: longest });
            }
            if list.len() == most {
                return Err(HeadError::TooManyHeaders { limit: most });
            }
            *marks |= mark(name);
            list.push(Field {
                name: Span::locate(name, whole),
                value: Span::locate(trim_ows(value), whole),
            });
            rest = after;
        }
        Ok(lines.len() - rest.len() + 2)
    }

    /// The fields that may have this name: none, if it is known that none has.
    pub(crate) fn likely<'a>(&'a self, buf: &'a [u8], name: &str) -> Headers<'a> {
        let known = self.marks & mark(name.as_bytes()) != 0;
        let list: &[Field] = if known { &self.list } else { &[] };
        Headers {
            fields: list.iter(),
            bytes: self.bytes(buf),
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

/// Copies field lines but those whose names are visible, and yet no tokens.
fn drop_odd_names(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let parts = memchr::memchr(b':', line).map(|colon| (&line[..colon], &line[colon + 1..]));
        let is_odd = parts.is_some_and(|(name, value)| {
            let is_visible = |&byte: &u8| byte > b' ' && byte != 0x7f;
            token_bytes(line) < name.len()
                && name.iter().all(is_visible)
                && value[field_bytes(value)..] == *b"\r\n"
        });
        if !is_odd {
            out.extend_from_slice(line);
        }
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

#[cfg(test)]
mod tests;
