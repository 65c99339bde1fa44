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

/// One byte, eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The top bits of the bytes that are letters or dashes.
const fn letters(bytes: u64) -> u64 {
    const TOPS: u64 = eight(0x80);
    // Without top bits, sums stay within their bytes, and a top bit tells what a byte is no less than.
    let low = bytes & !TOPS;
    let lower = low | eight(0x20);
    let letter = (lower + eight(0x80 - b'a')) & !(lower + eight(0x7f - b'z'));
    let dash = !((low ^ eight(b'-')) + eight(0x7f));
    (letter | dash) & TOPS & !bytes
}

/// How many bytes at the start of `bytes` may stand in a token. Most are letters and dashes, which are looked at eight at
/// a time.
pub(crate) fn token_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        while let Some(chunk) = bytes[at..].first_chunk::<8>() {
            let others = letters(u64::from_le_bytes(*chunk)) ^ eight(0x80);
            if others != 0 {
                at += others.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(&byte) if is_token_byte(byte) => at += 1,
            _ => return at,
        }
    }
}

/// Whether all of `text` is letters and dashes, as most names are.
#[must_use]
pub fn is_letters(text: &[u8]) -> bool {
    let (chunks, rest) = text.as_chunks();
    chunks
        .iter()
        .all(|chunk| letters(u64::from_le_bytes(*chunk)) == eight(0x80))
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

/// Whether `text` is `lower` but for the case of its letters. `lower` must be lowercase letters, digits and dashes, and
/// `text` a part of a head that was parsed: without control characters.
#[must_use]
#[inline]
pub fn is_word(text: &[u8], lower: &[u8]) -> bool {
    debug_assert!(
        lower
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    );
    if text.len() != lower.len() {
        return false;
    }
    // One bit tells the cases apart, and nothing else that is printed becomes one of these by it.
    let is = |text: &[u8; 8], lower: &[u8; 8]| {
        u64::from_le_bytes(*text) | eight(0x20) == u64::from_le_bytes(*lower)
    };
    if let (Some(text_end), Some(lower_end)) = (text.last_chunk(), lower.last_chunk()) {
        let (texts, _) = text.as_chunks();
        let (lowers, _) = lower.as_chunks();
        // What does not fill eight bytes is in the last ones, which may be looked at twice.
        return is(text_end, lower_end)
            && texts
                .iter()
                .zip(lowers)
                .all(|(text, lower)| is(text, lower));
    }
    text.iter()
        .zip(lower)
        .all(|(text, lower)| text | 0x20 == *lower)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of 19 bytes that are like `text` but for one byte.
    fn changed(text: &[u8; 19]) -> impl Iterator<Item = (usize, u8, [u8; 19])> {
        (0..19).flat_map(move |at| {
            (0..=255).map(move |byte| {
                let mut changed = *text;
                changed[at] = byte;
                (at, byte, changed)
            })
        })
    }

    #[test]
    fn tokens_end_at_the_first_other_byte() {
        for (at, byte, text) in changed(b"Proxy-Authorization") {
            let want = if is_token_byte(byte) { 19 } else { at };
            assert_eq!(token_bytes(&text), want, "{byte} at {at}");
            assert_eq!(token_bytes(&text[..at]), at);
            let letter = byte.is_ascii_alphabetic() || byte == b'-';
            assert_eq!(is_letters(&text), letter, "{byte} at {at}");
            assert!(is_letters(&text[..at]));
        }
    }

    #[test]
    fn words_are_the_same_in_any_case() {
        let lower = b"x1-xy-authorization";
        for (at, byte, text) in changed(b"X1-XY-Authorization") {
            if byte.is_ascii_control() {
                // No part of a head has them.
                continue;
            }
            for start in 0..19 {
                let (text, lower) = (&text[start..], &lower[start..]);
                let want = text.eq_ignore_ascii_case(lower);
                assert_eq!(is_word(text, lower), want, "{byte} at {at}, from {start}");
            }
        }
        assert!(!is_word(b"Te", b"t") && !is_word(b"", b"t") && is_word(b"", b""));
    }
}
