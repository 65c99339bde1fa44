//! Response heads as a client or gateway receives them: parsing, and the view on a parsed one.
//! Not here: what a gateway forwards, and when it may use the connection again.

use crate::body::BodyLength;
use crate::encode::default_reason;
use crate::error::ResponseError;
use crate::fields::{Fields, Headers, Leniency, Span};
use crate::framing::Framing;
use crate::limits::Limits;
use crate::scan::Scan;
use crate::syntax::{Version, field_bytes, is_hop_by_hop, is_word};

/// What every response starts with.
const PROTOCOL: &[u8] = b"HTTP/";

/// A response head as positions in the caller's buffer. Made to be used again: it then allocates no
/// more.
///
/// Folded fields are read as one line with a space for each fold (RFC 9112 section 5.2).
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    scan: Scan,
    version: Version,
    status: u16,
    reason: Span,
    /// It came without a reason, and the usual one stands in.
    usual_reason: bool,
    fields: Fields,
    framing: Framing,
    length: Option<BodyLength>,
    /// Position among the fields.
    upgrade: Option<usize>,
}

impl ResponseHead {
    /// Reads the head at the start of `buf`. `Ok(Some(n))`: it is complete and `n` bytes long.
    /// `Ok(None)`: more bytes are needed.
    ///
    /// To go on, call again with a buffer that begins with the same bytes; only the new ones are
    /// searched. After a complete head (an interim one too, see [`Response::is_interim`]) or an
    /// error the next call begins a new head.
    ///
    /// # Errors
    /// The head is malformed, ambiguous or beyond a limit. An error may come before the head is
    /// complete.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ResponseError> {
        let result = self.advance(buf, limits);
        if !matches!(result, Ok(None)) {
            self.scan = Scan::default();
        }
        result
    }

    /// Reads a head as CGI scripts write it (RFC 3875 section 6): fields without a status line, `Status` perhaps among
    /// them; with `lined` also one of HTTP. Returns its length if all of it is there and it is plain: it ends its lines
    /// as HTTP does, leads nowhere else and says nothing about the connection. For any other, good or bad, `None` leaves
    /// it to a reader of such heads.
    ///
    /// The view shows a head of HTTP/1.1, with the usual reason where none was given.
    pub fn parse_script(&mut self, buf: &[u8], limits: &Limits, lined: bool) -> Option<usize> {
        self.scan = Scan::default();
        let has_line = lined && buf.starts_with(PROTOCOL);
        let length = if has_line {
            let extent = self.fields.parse_whole(buf, limits)?;
            self.parse_status_line(buf, extent.first_line(buf)).ok()?;
            self.usual_reason = self.reason.of(buf).is_empty();
            extent.end
        } else {
            let length = self.fields.parse_bare(buf, limits)?;
            (self.status, self.usual_reason) = (200, true);
            length
        };
        let mut status = None;
        for (index, (name, _)) in self.fields.iter(buf).enumerate() {
            if name.len() == 6 && name.eq_ignore_ascii_case(b"status") {
                if has_line || status.is_some() {
                    return None;
                }
                status = Some(index);
            } else if is_hop_by_hop(name)
                || name.eq_ignore_ascii_case(b"location")
                || name.eq_ignore_ascii_case(b"trailer")
            {
                return None;
            }
        }
        if let Some(index) = status {
            let value = self.fields.remove(index).of(buf);
            self.parse_script_status(buf, value)?;
        }
        self.version = Version::Http11;
        (self.status >= 200 && self.interpret(buf).is_ok()).then_some(length)
    }

    /// The value of a `Status` field: three digits, and a reason perhaps.
    fn parse_script_status(&mut self, buf: &[u8], value: &[u8]) -> Option<()> {
        let (digits, reason) = value.split_first_chunk::<3>()?;
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] => reason,
            _ => return None,
        };
        if !matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']) {
            return None;
        }
        self.status = digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        self.reason = Span::locate(reason, buf);
        self.usual_reason = reason.is_empty();
        Some(())
    }

    /// Forgets a head that was not completed, so that the next [`parse`](Self::parse) begins a new
    /// one.
    pub fn clear(&mut self) {
        self.scan = Scan::default();
    }

    /// The view on the head that the last [`parse`](Self::parse) completed. `buf` must be the
    /// buffer that was parsed (longer is fine); with another one the values are meaningless, but
    /// nothing panics.
    #[must_use]
    pub fn on<'a>(&'a self, buf: &'a [u8]) -> Response<'a> {
        Response { head: self, buf }
    }

    fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ResponseError> {
        // Tell a peer that does not speak HTTP before it has sent a line end. Empty lines are not
        // skipped: on an upstream connection they would be left over from the response before.
        if !PROTOCOL
            .iter()
            .zip(buf)
            .all(|(expected, byte)| expected == byte)
        {
            return Err(ResponseError::StatusLine);
        }
        if self.scan.is_new()
            && let Some(extent) = self.fields.parse_whole(buf, limits)
        {
            self.parse_status_line(buf, extent.first_line(buf))?;
            self.interpret(buf)?;
            return Ok(Some(extent.end));
        }
        let Some(extent) = self.scan.advance(buf, limits, 0)? else {
            return Ok(None);
        };
        self.parse_status_line(buf, extent.first_line(buf))?;
        let leniency = Leniency {
            unfold: true,
            strip_name_spaces: false,
            drop_odd_names: false,
        };
        let lines = &buf[extent.fields..extent.end];
        self.fields.parse(buf, lines, extent.folded, leniency)?;
        self.interpret(buf)?;
        Ok(Some(extent.end))
    }

    /// `HTTP/1.x SP 3DIGIT [SP reason]`; the space before an absent reason may be missing (RFC 9112
    /// section 4).
    fn parse_status_line(&mut self, buf: &[u8], line: &[u8]) -> Result<(), ResponseError> {
        let Some((version, rest)) = line.split_first_chunk::<8>() else {
            return Err(ResponseError::StatusLine);
        };
        self.version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(ResponseError::UnsupportedVersion);
            }
            _ => return Err(ResponseError::StatusLine),
        };
        let (digits, reason) = match rest {
            [b' ', a, b, c] => ([*a, *b, *c], &rest[4..]),
            [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(ResponseError::StatusLine),
        };
        let valid = matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
        if !valid || field_bytes(reason) != reason.len() {
            return Err(ResponseError::StatusLine);
        }
        self.status = digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        self.reason = Span::locate(reason, buf);
        self.usual_reason = false;
        Ok(())
    }

    /// Reads the fields that decide about framing and connection.
    fn interpret(&mut self, buf: &[u8]) -> Result<(), ResponseError> {
        let mut framing = Framing::default();
        let mut upgrade = None;
        for (index, (name, value)) in self.fields.iter(buf).enumerate() {
            if is_word(name, b"upgrade") {
                upgrade = upgrade.or(Some(index));
            } else {
                framing.note(name, value)?;
            }
        }
        self.length = framing.length(self.version)?;
        self.upgrade = upgrade.filter(|_| self.status == 101 && framing.upgrades(self.version));
        self.framing = framing;
        Ok(())
    }
}

/// A parsed response head together with the buffer it lies in. All values are slices of the two.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    head: &'a ResponseHead,
    buf: &'a [u8],
}

impl<'a> Response<'a> {
    /// 100 to 999. RFC 9110 section 15 tells to treat a code of 600 or more as a 5xx.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Whether another head follows on the connection for the same request: a 1xx other than 101,
    /// which ends HTTP on it (RFC 9110 section 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.head.status < 200 && self.head.status != 101
    }

    /// The reason phrase as received, possibly empty; may have tabs and bytes beyond ASCII, no
    /// control characters.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        if self.head.usual_reason {
            default_reason(self.head.status).as_bytes()
        } else {
            self.head.reason.of(self.buf)
        }
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// All fields in the order they came, names as received, values without outer white space.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.head.fields.iter(self.buf)
    }

    /// The first value of a field, by its name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of a name in any case, in the order they came.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.head.fields.likely(self.buf, name).named(name)
    }

    /// How the body that follows is framed (RFC 9112 section 6.3), given the method of the request
    /// it answers: nothing follows the head of 1xx, 204 and 304, of an answer to HEAD, or of a 2xx
    /// to CONNECT, whatever its fields say. Without a length the body lasts until the connection is
    /// closed.
    #[must_use]
    pub fn body(&self, request_method: &str) -> BodyLength {
        match self.head.status {
            ..200 | 204 | 304 => BodyLength::Empty,
            _ if request_method == "HEAD" => BodyLength::Empty,
            200..300 if request_method == "CONNECT" => BodyLength::Empty,
            _ => self.head.length.unwrap_or(BodyLength::UntilClose),
        }
    }

    /// The Content-Length field. For HEAD and 304 it tells the length of a body that does not come.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.head.framing.content_length
    }

    /// Whether the connection may be used again when the body has come to its end and no further
    /// byte is waiting.
    ///
    /// Besides what Connection and the version say (RFC 9112 section 9.3), this is false for 101
    /// and for a 204 that announces a body it must not have. After [`BodyLength::UntilClose`] the
    /// connection is gone in any case.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        let bodiless_doubt = self.head.status == 204
            && !matches!(
                self.head.length,
                None | Some(BodyLength::Empty | BodyLength::Known(0))
            );
        self.head.status != 101
            && !bodiless_doubt
            && self.head.framing.keep_alive(self.head.version)
    }

    /// What the connection was switched to: the first Upgrade field of a 101 whose Connection lists
    /// `upgrade` (RFC 9110 section 7.8). A 101 without it is not a valid answer.
    #[must_use]
    pub fn upgrade(&self) -> Option<&'a [u8]> {
        self.head
            .upgrade
            .and_then(|index| self.head.fields.value(self.buf, index))
    }
}
