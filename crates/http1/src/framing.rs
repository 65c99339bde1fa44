//! The fields that decide about the body's length and the connection's life, the same in both
//! directions.
//! Not here: fields that only requests have (see `request`).

use crate::body::BodyLength;
use crate::error::FramingError;
use crate::syntax::{Version, connection_options, is_token, is_word, trim_ows};

/// What Content-Length, Transfer-Encoding, Connection and Upgrade say, gathered field by field.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framing {
    pub(crate) content_length: Option<u64>,
    codings: Codings,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// What all Transfer-Encoding fields together list.
#[derive(Clone, Copy, Debug, Default)]
struct Codings {
    fields: u32,
    count: u32,
    chunked: u32,
    /// The last one is `chunked`.
    ends_chunked: bool,
    /// An element is empty or not a token.
    malformed: bool,
    /// A coding that RFC 9112 section 7 does not name.
    unknown: bool,
}

impl Framing {
    /// Takes note of one field; all others are ignored.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), FramingError> {
        match name.len() {
            10 if is_word(name, b"connection") => self.connection(value),
            14 if is_word(name, b"content-length") => {
                let length = parse_content_length(value).ok_or(FramingError::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(FramingError::ContentLengthTwice);
                }
            }
            17 if is_word(name, b"transfer-encoding") => self.codings.note(value),
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        if is_word(value, b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for option in connection_options(value) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => self.upgrade |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
    }

    /// The announced length, or `None` when neither field is there.
    pub(crate) fn length(&self, version: Version) -> Result<Option<BodyLength>, FramingError> {
        if self.codings.fields == 0 {
            return Ok(self.content_length.map(BodyLength::Known));
        }
        if version == Version::Http10 {
            return Err(FramingError::TransferEncodingOnHttp10);
        }
        if self.content_length.is_some() {
            return Err(FramingError::BothLengths);
        }
        self.codings.check().map(|()| Some(BodyLength::Chunked))
    }

    /// Whether the sender wants the connection to stay (RFC 9112 section 9.3).
    pub(crate) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Whether the Upgrade field counts: it is listed in Connection, and HTTP/1.0 has none (RFC
    /// 9110 section 7.8).
    pub(crate) fn upgrades(&self, version: Version) -> bool {
        self.upgrade && version == Version::Http11
    }
}

impl Codings {
    fn note(&mut self, value: &[u8]) {
        self.fields += 1;
        for coding in value.split(|&byte| byte == b',').map(trim_ows) {
            self.count += 1;
            self.ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += u32::from(self.ends_chunked);
            self.malformed |= !is_token(coding);
            self.unknown |= !self.ends_chunked
                && ![
                    &b"gzip"[..],
                    b"x-gzip",
                    b"deflate",
                    b"compress",
                    b"x-compress",
                    b"identity",
                ]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known));
        }
    }

    fn check(&self) -> Result<(), FramingError> {
        let Self {
            count,
            chunked,
            ends_chunked,
            malformed,
            unknown,
            ..
        } = *self;
        if count == 1 && ends_chunked {
            Ok(())
        } else if !malformed && chunked <= 1 && (unknown || ends_chunked) {
            Err(FramingError::UnsupportedCoding)
        } else {
            Err(FramingError::TransferEncoding)
        }
    }
}

/// Digits only, within 64 bits (RFC 9110 section 8.6).
fn parse_content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}
