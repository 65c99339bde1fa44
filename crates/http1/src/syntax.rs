//! The small grammar that parsing, encoding and the daemons share: versions, tokens, white space,
//! lists.
//! Not here: anything that needs a whole head.

use std::fmt;

/// The versions of the HTTP/1 family (RFC 9112 section 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `HTTP/1.0`: no chunked coding, connections close by default.
    Http10,
    /// `HTTP/1.1`.
    #[default]
    Http11,
}

impl Version {
    /// The name on the wire, `HTTP/1.0` or `HTTP/1.1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
                | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether `bytes` is a token: not empty and of token bytes only (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a field value: no control character except tab, no DEL (RFC 9110
/// section 5.5).
pub(crate) const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// How many bytes at the start of `bytes` may stand in a token.
pub(crate) fn token_bytes(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_token_byte(byte))
        .unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` may stand in a field value. Looks at eight at a time.
pub(crate) fn field_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let mut at = 0;
    loop {
        while let Some(eight) = bytes[at..].first_chunk::<8>() {
            let eight = u64::from_le_bytes(*eight);
            // A byte's top bit is set where that byte is below a space, or is DEL. What a borrow adds comes behind one
            // that is set rightly, and the first one is what counts.
            let low = eight.wrapping_sub(ONES * 0x20) & !eight;
            let del = eight ^ (ONES * 0x7f);
            let del = del.wrapping_sub(ONES) & !del;
            let odd = (low | del) & TOPS;
            if odd != 0 {
                at += odd.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(&byte) if is_field_byte(byte) => at += 1,
            _ => return at,
        }
    }
}

/// `bytes` without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
#[must_use]
pub fn trim_ows(bytes: &[u8]) -> &[u8] {
    let Some(first) = bytes.iter().position(|&byte| !is_ows(byte)) else {
        return &bytes[..0];
    };
    let last = bytes
        .iter()
        .rposition(|&byte| !is_ows(byte))
        .unwrap_or(first);
    &bytes[first..=last]
}

pub(crate) const fn is_ows(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The elements of a comma-separated field value, trimmed; empty elements are left out
/// (RFC 9110 section 5.6.1.2). Quoted strings are not looked into.
///
/// Made for `Connection`, whose elements name the fields that belong to this hop, but right for
/// every list of tokens.
pub fn connection_options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim_ows)
        .filter(|option| !option.is_empty())
}

/// Whether a field of this name belongs to one connection and is never forwarded as it is
/// (RFC 9110 section 7.6.1). Fields listed in `Connection` come on top: see [`connection_options`].
///
/// `Trailer` and `Expect` are not among them.
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let known: &[u8] = match name.len() {
        2 => b"te",
        7 => b"upgrade",
        10 => {
            return name.eq_ignore_ascii_case(b"connection")
                || name.eq_ignore_ascii_case(b"keep-alive");
        }
        14 => b"http2-settings",
        16 => b"proxy-connection",
        17 => b"transfer-encoding",
        18 => b"proxy-authenticate",
        19 => b"proxy-authorization",
        _ => return false,
    };
    name.eq_ignore_ascii_case(known)
}
