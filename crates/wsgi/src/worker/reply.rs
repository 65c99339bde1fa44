//! The answer to one request as pure framing: what `start_response` said becomes a head, blocks become bytes on the wire.
//!
//! Rules kept here: hop-by-hop fields of the application are dropped, Content-Length is counted, a body that must not
//! be there is not sent, HTTP/1.1 without a length is chunked, and whatever leaves the framing in doubt closes the
//! connection afterwards.
//! Not here: Python, sockets, or when bytes are flushed.

use std::sync::OnceLock;

use trine_http1::{
    CHUNK_END, LAST_CHUNK, Version, check_header_name, check_header_value, connection_options,
    is_hop_by_hop, trim_ows, write_chunk_head, write_header,
};

use super::gateway::Wire;

/// What the request demands of its answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand {
    pub version: Version,
    /// HEAD: the same head as GET, no body.
    pub head_only: bool,
    /// The client, and we, are willing to use the connection again.
    pub keep_alive: bool,
    /// It did not come by HTTP.
    pub wire: Option<Wire>,
}

/// Why an answer of the application cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("the status must be three digits, a space and a reason")]
    Status,
    #[error("a header name is not a token")]
    HeaderName,
    #[error("a header value has a control character or a line break")]
    HeaderValue,
    #[error("Content-Length is not a number, or is given twice")]
    ContentLength,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Framing {
    /// The head is not out yet.
    #[default]
    Undecided,
    /// No body may follow: HEAD, 1xx, 204, 304.
    Bodyless,
    /// As many bytes as are left may follow.
    Length {
        left: u64,
    },
    Chunked,
    /// HTTP/1.0 without a length: the end of the connection ends the body.
    UntilClose,
    /// The gateway protocol itself says where the body ends.
    Records,
}

/// The answer under construction. Kept from request to request for its memory.
#[derive(Debug, Default)]
pub struct Reply {
    demand: Demand,
    /// Status line and the application's fields, as they go out.
    head: Vec<u8>,
    status: u16,
    declared: Option<u64>,
    wants_close: bool,
    framing: Framing,
    /// Body bytes given to the wire, without framing.
    body_bytes: u64,
    /// More was produced than Content-Length allows; told once in the log.
    overrun: bool,
    ended: bool,
}

const OUR_NAME: &[u8] = b"Server: trine-wsgi\r\nDate: ";
/// Set once, before the first answer.
static SERVER: OnceLock<Vec<u8>> = OnceLock::new();

impl Reply {
    /// Starts over for a new request.
    pub fn begin(&mut self, demand: Demand) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        *self = Self {
            demand,
            head,
            ..Self::default()
        };
    }

    /// Takes a status as given to `start_response`; whatever head was there before is forgotten.
    pub fn set_status(&mut self, status: &[u8]) -> Result<(), ReplyError> {
        let code = match status {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
                if rest.first().is_none_or(|&byte| byte == b' ') =>
            {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(ReplyError::Status),
        };
        if status
            .iter()
            .any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            return Err(ReplyError::Status);
        }
        self.head.clear();
        self.declared = None;
        self.wants_close = false;
        self.status = code;
        self.head
            .extend_from_slice(self.demand.version.as_str().as_bytes());
        self.head.push(b' ');
        self.head.extend_from_slice(status);
        if status.len() == 3 {
            self.head.push(b' ');
        }
        self.head.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Adds one field of the application after [`Self::set_status`].
    pub fn add_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), ReplyError> {
        check_header_name(name).map_err(|_| ReplyError::HeaderName)?;
        // Django hands its cookies over with a space in front.
        let value = trim_ows(value);
        check_header_value(value).map_err(|_| ReplyError::HeaderValue)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => return Ok(()),
            6 if name.eq_ignore_ascii_case(b"server") => return Ok(()),
            7 if name.eq_ignore_ascii_case(b"trailer") => return Ok(()),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.wants_close |=
                    connection_options(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value).ok_or(ReplyError::ContentLength)?;
                if self.declared.replace(length).is_some() {
                    return Err(ReplyError::ContentLength);
                }
                // Written by `start`, which knows whether the status allows one.
                return Ok(());
            }
            _ if is_hop_by_hop(name) => return Ok(()),
            _ => {}
        }
        write_header(&mut self.head, name, value);
        Ok(())
    }

    /// Takes the head back, so that the next [`Self::set_status`] begins with nothing: a call of `start_response`
    /// that failed half-way must not leave half a head behind.
    pub fn forget(&mut self) {
        self.head.clear();
        self.status = 0;
        self.declared = None;
    }

    /// Whether there is a head to send.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.status != 0
    }

    /// Whether the head is out, so that nothing about it can be changed any more.
    #[must_use]
    pub fn started(&self) -> bool {
        self.framing != Framing::Undecided
    }

    /// Puts the head into `out` and settles the framing. `total` is the body's length when it is known already.
    pub fn start(&mut self, out: &mut Vec<u8>, total: Option<u64>, date: &[u8; 29]) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(SERVER.get().map_or(OUR_NAME, |line| line));
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
        let no_length = self.status < 200 || self.status == 204;
        let length = match (self.declared, total) {
            _ if no_length => None,
            (Some(declared), _) => Some(declared),
            // A framework that strips the body of a HEAD answer leaves nothing to measure, and what is given with a 304
            // need not be what a 200 would have.
            (None, Some(0)) if self.demand.head_only => None,
            (None, _) if self.status == 304 => None,
            (None, total) => total,
        };
        if let Some(length) = length {
            out.extend_from_slice(b"Content-Length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        let bodyless = no_length || self.status == 304 || self.demand.head_only;
        let in_http = self.demand.wire.is_none();
        if in_http && self.demand.head_only && !no_length && length.or(total).is_none() {
            // What GET would say; not after a measured nothing, which only says that the framework stripped the body.
            if self.demand.version == Version::Http11 && self.status != 304 {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
        }
        self.framing = match (length, self.demand.version) {
            _ if bodyless => Framing::Bodyless,
            (Some(left), _) => Framing::Length { left },
            (None, _) if !in_http => match self.demand.wire {
                Some(Wire::FastCgi { .. }) => Framing::Records,
                _ => Framing::UntilClose,
            },
            (None, Version::Http11) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Framing::Chunked
            }
            (None, _) => Framing::UntilClose,
        };
        let keep = self.keep_alive();
        out.extend_from_slice(match (keep, self.demand.version) {
            // Those are about a connection that is none of the web server's client.
            _ if matches!(self.demand.wire, Some(Wire::FastCgi { .. })) => b"\r\n",
            (true, Version::Http11) => b"\r\n",
            (true, _) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
    }

    /// The part of a block of `len` bytes that may be sent; its framing in front is put into `out`. What follows the
    /// data is [`Self::block_end`].
    pub fn block(&mut self, out: &mut Vec<u8>, len: usize) -> usize {
        if len == 0 {
            return 0;
        }
        let allowed = match &mut self.framing {
            Framing::Undecided | Framing::Bodyless => 0,
            Framing::Length { left } => {
                let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(len);
                *left -= allowed as u64;
                self.overrun |= allowed < len;
                allowed
            }
            Framing::Chunked => {
                write_chunk_head(out, len);
                len
            }
            Framing::UntilClose | Framing::Records => len,
        };
        self.body_bytes += allowed as u64;
        allowed
    }

    /// What comes after the data of a block.
    #[must_use]
    pub fn block_end(&self) -> &'static [u8] {
        match self.framing {
            Framing::Chunked => CHUNK_END,
            Framing::Undecided
            | Framing::Bodyless
            | Framing::Length { .. }
            | Framing::UntilClose
            | Framing::Records => b"",
        }
    }

    /// Ends the body properly; returns what goes out last.
    #[must_use]
    pub fn end(&mut self) -> &'static [u8] {
        self.ended = true;
        match self.framing {
            Framing::Chunked => LAST_CHUNK,
            Framing::Undecided
            | Framing::Bodyless
            | Framing::Length { .. }
            | Framing::UntilClose
            | Framing::Records => b"",
        }
    }

    /// Every byte that the client waits for has been produced, though the application may go on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self.framing {
            Framing::Undecided | Framing::Chunked | Framing::UntilClose | Framing::Records => false,
            Framing::Bodyless => true,
            Framing::Length { left } => left == 0,
        }
    }

    /// The head is out and no body may follow, so that asking the application for more is of no use.
    #[must_use]
    pub fn is_bodyless(&self) -> bool {
        self.framing == Framing::Bodyless
    }

    /// How many bytes the body may still have, when that is known.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        match self.framing {
            Framing::Length { left } => Some(left),
            Framing::Bodyless => Some(0),
            Framing::Undecided | Framing::Chunked | Framing::UntilClose | Framing::Records => None,
        }
    }

    /// Whether the connection may carry another request. After the end this says so for good: an answer that was cut
    /// off or is shorter than announced does not.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        let framed = match self.framing {
            Framing::UntilClose => false,
            Framing::Length { left } => !self.ended || left == 0,
            Framing::Undecided | Framing::Bodyless | Framing::Chunked | Framing::Records => true,
        };
        framed && self.demand.keep_alive && !self.wants_close && self.status != 101
    }

    /// Whether the client got everything that the head promised.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ended && !matches!(self.framing, Framing::Length { left } if left > 0)
    }

    /// Content-Length as the application gave it.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Whether the connection may be used again, which is only known once the body has come.
    pub fn set_keep_alive(&mut self, keep_alive: bool) {
        self.demand.keep_alive = keep_alive;
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Body bytes that were let through.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The application produced more than it had announced.
    #[must_use]
    pub fn overran(&self) -> bool {
        self.overrun
    }

    /// Status line and the application's fields, for the access log.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    #[must_use]
    pub fn demand(&self) -> Demand {
        self.demand
    }
}

/// Has answers carry another name than ours. What cannot stand in a header is not taken.
pub fn name_server(name: &str) {
    if name
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        SERVER.get_or_init(|| format!("Server: {name}\r\nDate: ").into_bytes());
    }
}

/// A whole answer of our own: an error page as gunicorn's, after which the connection closes.
#[must_use]
pub fn error_page(
    version: Version,
    status: u16,
    reason: &str,
    text: &str,
    head_only: bool,
) -> Vec<u8> {
    let body = format!(
        "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    <h1><p>{reason}</p></h1>\n    {text}\n  </body>\n</html>\n"
    );
    let mut page = format!(
        "{version} {status} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    if !head_only {
        page.push_str(&body);
    }
    page.into_bytes()
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
