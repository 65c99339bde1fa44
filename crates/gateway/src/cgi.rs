//! The head of an answer as CGI scripts write it (RFC 3875 section 6), which FastCGI, SCGI and uwsgi applications send
//! too. Lines end with LF or CRLF.
//! Not here: the body, and what a web server does with a local redirect.

use std::ops::Range;

use crate::Error;

/// How much a head may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head.
    pub bytes: usize,
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024,
            fields: 200,
        }
    }
}

/// How a head may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With fields only.
    Cgi,
    /// With fields, or with the status line of HTTP, as uwsgi applications write it.
    HttpOrCgi,
}

/// What an answer is (RFC 3875 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    Document,
    /// The web server is to serve this path instead. Other fields beside Location, which the RFC forbids and scripts
    /// send, do not count.
    LocalRedirect(&'a [u8]),
    /// The client is to go there.
    ClientRedirect(&'a [u8]),
}

/// A head as positions in the caller's buffer. Made to be used again.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The first line that is not known to be complete.
    line: usize,
    status: Option<(u16, Range<usize>)>,
    location: Option<Range<usize>>,
    content_length: Option<u64>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    lines: usize,
}

impl Head {
    /// Reads the head at the start of `buf`. `Ok(Some(n))`: it is complete and `n` bytes long. `Ok(None)`: more bytes
    /// are needed; call again with a buffer that begins with the same ones. After a complete head or an error the next
    /// call begins a new head.
    ///
    /// # Errors
    /// It is malformed, ambiguous, or beyond a limit.
    pub fn parse(
        &mut self,
        buf: &[u8],
        style: Style,
        limits: &Limits,
    ) -> Result<Option<usize>, Error> {
        if self.line == 0 {
            *self = Self {
                fields: std::mem::take(&mut self.fields),
                ..Self::default()
            };
            self.fields.clear();
        }
        let result = self.advance(buf, style, limits);
        if !matches!(result, Ok(None)) {
            self.line = 0;
        }
        result
    }

    fn advance(
        &mut self,
        buf: &[u8],
        style: Style,
        limits: &Limits,
    ) -> Result<Option<usize>, Error> {
        while let Some(len) = memchr::memchr(b'\n', buf.get(self.line..).unwrap_or_default()) {
            let start = self.line;
            self.line += len + 1;
            if self.line > limits.bytes {
                break;
            }
            let end = start + len;
            let end = if buf
                .get(start..end)
                .is_some_and(|line| line.ends_with(b"\r"))
            {
                end - 1
            } else {
                end
            };
            if start == end {
                return match self.lines {
                    0 => Err(Error::NoField),
                    _ => Ok(Some(self.line)),
                };
            }
            self.lines += 1;
            if start == 0 && style == Style::HttpOrCgi && self.status_line(buf, end)? {
                continue;
            }
            if self.fields.len() == limits.fields {
                return Err(Error::TooManyFields { max: limits.fields });
            }
            self.field(buf, start..end)?;
        }
        if buf.len() > limits.bytes {
            return Err(Error::HeadTooLarge { max: limits.bytes });
        }
        Ok(None)
    }

    /// `HTTP/1.1 200 OK`; `false` when the line is no such thing.
    fn status_line(&mut self, buf: &[u8], end: usize) -> Result<bool, Error> {
        let line = buf.get(..end).unwrap_or_default();
        let Some(version) = line.strip_prefix(b"HTTP/") else {
            return Ok(false);
        };
        match version {
            [b'0'..=b'9', b'.', b'0'..=b'9', b' ', ..] => {}
            _ => return Err(Error::Status),
        }
        self.set_status(buf, 9..end)?;
        Ok(true)
    }

    fn field(&mut self, buf: &[u8], line: Range<usize>) -> Result<(), Error> {
        let bytes = buf.get(line.clone()).unwrap_or_default();
        let colon = memchr::memchr(b':', bytes).ok_or(Error::HeaderName)?;
        let name = bytes.get(..colon).unwrap_or_default();
        if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
            return Err(Error::HeaderName);
        }
        let value = bytes.get(colon + 1..).unwrap_or_default();
        if value
            .iter()
            .any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            return Err(Error::HeaderValue);
        }
        let is_ows = |byte: &&u8| matches!(**byte, b' ' | b'\t');
        let front = value.iter().take_while(is_ows).count();
        let back = value.iter().rev().take_while(is_ows).count();
        let start = line.start + colon + 1 + front;
        let value = start..(line.end - back).max(start);
        let name = line.start..line.start + colon;
        match buf.get(name.clone()).unwrap_or_default() {
            name if name.eq_ignore_ascii_case(b"status") => return self.set_status(buf, value),
            name if name.eq_ignore_ascii_case(b"location") => self.set_location(value.clone())?,
            name if name.eq_ignore_ascii_case(b"content-length") => {
                self.set_length(buf.get(value.clone()).unwrap_or_default())?;
            }
            _ => {}
        }
        self.fields.push((name, value));
        Ok(())
    }

    fn set_location(&mut self, at: Range<usize>) -> Result<(), Error> {
        if at.is_empty() || self.location.replace(at).is_some() {
            return Err(Error::Location);
        }
        Ok(())
    }

    fn set_length(&mut self, digits: &[u8]) -> Result<(), Error> {
        let length = number(digits).ok_or(Error::ContentLength)?;
        if self.content_length.replace(length).is_some() {
            return Err(Error::ContentLength);
        }
        Ok(())
    }

    /// `200 OK`, the reason may be missing.
    fn set_status(&mut self, buf: &[u8], at: Range<usize>) -> Result<(), Error> {
        let text = buf.get(at.clone()).unwrap_or_default();
        let code = match text {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
                if rest.first().is_none_or(|&byte| byte == b' ') =>
            {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(Error::Status),
        };
        if text
            .iter()
            .any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            return Err(Error::Status);
        }
        let reason = (at.start + 4).min(at.end)..at.end;
        if self.status.replace((code, reason)).is_some() {
            return Err(Error::Status);
        }
        Ok(())
    }

    /// The view on the head that the last [`parse`](Self::parse) completed; `buf` must be what was parsed.
    #[must_use]
    pub fn on<'a>(&'a self, buf: &'a [u8]) -> Response<'a> {
        Response { head: self, buf }
    }
}

/// A parsed head together with the buffer it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    head: &'a Head,
    buf: &'a [u8],
}

impl<'a> Response<'a> {
    fn part(&self, range: &Range<usize>) -> &'a [u8] {
        self.buf.get(range.clone()).unwrap_or_default()
    }

    /// The status as given, else 302 for a redirect of the client, else 200.
    #[must_use]
    pub fn status(&self) -> u16 {
        match (&self.head.status, self.kind()) {
            (Some((code, _)), _) => *code,
            (None, Kind::ClientRedirect(_)) => 302,
            (None, Kind::Document | Kind::LocalRedirect(_)) => 200,
        }
    }

    /// The reason phrase as given; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        let given = self.head.status.as_ref();
        given.map_or(&[], |(_, reason)| self.part(reason))
    }

    #[must_use]
    pub fn kind(&self) -> Kind<'a> {
        match &self.head.location {
            Some(location) => match self.part(location) {
                path if path.starts_with(b"/") && self.head.status.is_none() => {
                    Kind::LocalRedirect(path)
                }
                target => Kind::ClientRedirect(target),
            },
            None => Kind::Document,
        }
    }

    /// How long the body is, if the application says so.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.head.content_length
    }

    /// All fields but Status, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let view = *self;
        view.head
            .fields
            .iter()
            .map(move |(name, value)| (view.part(name), view.part(value)))
    }
}

/// RFC 9110 section 5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
