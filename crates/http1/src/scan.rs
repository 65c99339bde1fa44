//! Finds the end of a head line by line and keeps the limits. Every byte is looked at once, however
//! often the caller comes back with more.
//! Not here: what the lines mean; only their ends, lengths, number, and whether a line continues
//! the one before.

use crate::error::HeadError;
use crate::limits::Limits;
use crate::syntax::is_ows;

/// The state between calls with a growing buffer. Positions count from the start of that buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Everything before was searched for line ends.
    searched: usize,
    empty_lines: usize,
    /// Where the line being read starts.
    line: usize,
    /// Where the field of the line before starts, which a continuation line adds to.
    field: usize,
    /// As much as is known of it.
    extent: Extent,
}

/// The parts of a complete head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// Where the first line starts, behind tolerated empty lines.
    pub(crate) start: usize,
    /// Where the field lines start, behind the first line's CRLF; 0 until that is complete.
    pub(crate) fields: usize,
    /// Where the head ends, behind the empty line's CRLF.
    pub(crate) end: usize,
    pub(crate) field_count: usize,
    /// Some field is continued on a further line.
    pub(crate) folded: bool,
}

impl Extent {
    /// The first line without its CRLF.
    pub(crate) fn first_line<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.start..self.fields - 2]
    }
}

impl Scan {
    /// Nothing was searched yet.
    pub(crate) fn is_new(&self) -> bool {
        self.searched == 0
    }

    /// Where the first line starts, as far as the search has come.
    pub(crate) fn start(&self) -> usize {
        self.extent.start
    }

    /// Goes on where the last call stopped. `buf` starts where it did then; a shorter one is taken
    /// for a new head.
    pub(crate) fn advance(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        max_empty_lines: usize,
    ) -> Result<Option<Extent>, HeadError> {
        if buf.len() < self.searched {
            *self = Self::default();
        }
        let head_limit = limits.head.min(u32::MAX as usize);
        let offset = self.searched;
        for found in memchr::memchr_iter(b'\n', &buf[offset..]) {
            let next = offset + found + 1;
            let Some(line) = buf[self.line..next].strip_suffix(b"\r\n") else {
                return Err(HeadError::BareLineFeed);
            };
            let ends_head = line.is_empty() && self.extent.fields != 0;
            if self.extent.fields == 0 {
                self.first_line(line, next, limits, max_empty_lines)?;
            } else if !ends_head {
                self.field_line(line, limits)?;
            }
            if next > head_limit {
                return Err(HeadError::TooLarge { limit: head_limit });
            }
            if ends_head {
                self.extent.end = next;
                return Ok(Some(self.extent));
            }
            self.line = next;
        }
        self.searched = buf.len();
        self.open_line(&buf[self.line..], limits)?;
        if buf.len() > head_limit {
            return Err(HeadError::TooLarge { limit: head_limit });
        }
        Ok(None)
    }

    fn first_line(
        &mut self,
        line: &[u8],
        next: usize,
        limits: &Limits,
        max_empty_lines: usize,
    ) -> Result<(), HeadError> {
        if line.is_empty() {
            self.empty_lines += 1;
            self.extent.start = next;
            if self.empty_lines > max_empty_lines {
                return Err(HeadError::EmptyLines);
            }
            return Ok(());
        }
        self.extent.fields = next;
        check_first_line(line.len(), limits)
    }

    fn field_line(&mut self, line: &[u8], limits: &Limits) -> Result<(), HeadError> {
        let continues = is_ows(line[0]);
        if continues {
            if self.extent.field_count == 0 {
                return Err(HeadError::HeaderName);
            }
            self.extent.folded = true;
        } else {
            self.field = self.line;
        }
        check_header_line(self.line + line.len() - self.field, limits)?;
        if !continues {
            self.extent.field_count += 1;
            if self.extent.field_count > limits.header_count {
                return Err(HeadError::TooManyHeaders {
                    limit: limits.header_count,
                });
            }
        }
        Ok(())
    }

    /// Refuses a line that is too long before its end has come.
    fn open_line(&self, line: &[u8], limits: &Limits) -> Result<(), HeadError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => Ok(()),
            Some(_) if self.extent.fields == 0 => check_first_line(line.len(), limits),
            Some(&first) if is_ows(first) => {
                check_header_line(self.line + line.len() - self.field, limits)
            }
            Some(_) => check_header_line(line.len(), limits),
        }
    }
}

fn check_first_line(len: usize, limits: &Limits) -> Result<(), HeadError> {
    let limit = limits.request_line;
    if len > limit {
        Err(HeadError::FirstLineTooLong { limit })
    } else {
        Ok(())
    }
}

fn check_header_line(len: usize, limits: &Limits) -> Result<(), HeadError> {
    let limit = limits.header_line;
    if len > limit {
        Err(HeadError::HeaderLineTooLong { limit })
    } else {
        Ok(())
    }
}
