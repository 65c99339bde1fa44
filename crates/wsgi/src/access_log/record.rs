//! What one line of the access log, or of the slow-request log, is made from.
//!
//! Not here: how it is written.

use std::borrow::Cow;
use std::time::Duration;

use trine_http1::Request;

use crate::worker::environ::decode_path;
use crate::worker::gateway::Given;

/// An answered request.
#[derive(Debug)]
pub struct Record<'a> {
    pub request: Request<'a>,
    /// What a web server said beside it; its word is what the application saw.
    pub given: Option<&'a Given>,
    /// Who sent it; empty for a Unix socket.
    pub peer: &'a str,
    pub status: u16,
    pub body_bytes: u64,
    /// Status line and fields of the answer.
    pub answer: &'a [u8],
    /// Content-Length as the application gave it.
    pub content_length: Option<u64>,
    /// Values of `environ` that the format asks for.
    pub environ: &'a [Option<Vec<u8>>],
    pub took: Duration,
    /// How long it waited for the application.
    pub queued: Duration,
}

impl<'a> Record<'a> {
    fn said(&self, name: &str) -> Option<&'a [u8]> {
        self.given?.get(name)
    }

    /// REMOTE_ADDR.
    #[must_use]
    pub fn remote_addr(&self) -> &'a [u8] {
        self.said("REMOTE_ADDR").unwrap_or(self.peer.as_bytes())
    }

    /// SERVER_PROTOCOL.
    #[must_use]
    pub fn protocol(&self) -> &'a [u8] {
        self.said("SERVER_PROTOCOL")
            .unwrap_or(self.request.version().as_str().as_bytes())
    }

    /// QUERY_STRING.
    #[must_use]
    pub fn query(&self) -> &'a [u8] {
        self.said("QUERY_STRING")
            .or_else(|| self.request.query())
            .unwrap_or_default()
    }

    /// The path, decoded.
    #[must_use]
    pub fn path(&self) -> Cow<'a, [u8]> {
        if let Some(path) = self.given.and_then(Given::path) {
            return Cow::Borrowed(path);
        }
        let path = self.request.path();
        let mut scratch = Vec::new();
        if decode_path(path, &mut scratch).len() == path.len() {
            return Cow::Borrowed(path);
        }
        Cow::Owned(scratch)
    }

    /// The last value of a header, as gunicorn has it. Names with an underscore were not let through.
    #[must_use]
    pub fn request_field(&self, name: &str) -> Option<&'a [u8]> {
        if name.contains('_') {
            return None;
        }
        self.request.get_all(name).last()
    }

    /// The last field of this name in the answer.
    #[must_use]
    pub fn answer_field(&self, name: &str) -> Option<&'a [u8]> {
        let lines = self.answer.split(|&byte| byte == b'\n').skip(1);
        let values = lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (found, value) = line.split_at_checked(colon)?;
            found
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| trine_http1::trim_ows(value.get(1..).unwrap_or_default().trim_ascii_end()))
        });
        values.last()
    }
}

/// The user of `Basic dXNlcjpwdw==`.
pub(super) fn basic_user(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = decode_base64(rest.trim_ascii())?;
    let user = decoded.split(|&byte| byte == b':').next()?;
    // A name that is no UTF-8 is none to gunicorn; ours are written as latin-1, so it is brought into that.
    let user = std::str::from_utf8(user).ok()?;
    user.chars()
        .map(|letter| u8::try_from(letter).ok())
        .collect()
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text.iter().take_while(|&&byte| byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}
