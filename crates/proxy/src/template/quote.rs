//! How groups of an expression stand in what `rewrite` makes: nginx's rules for queries and redirects. Pure.
//!
//! Not here: paths (`route::path`).

use std::io::Write as _;

/// Appends a text as a part of a query.
pub(crate) fn arguments(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        let hides = matches!(byte, 0..=b' ' | b'#' | b'%' | b'&' | b'+' | b';' | b'?' | 0x7f..);
        if hides {
            // Writing to memory cannot fail.
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(byte);
        }
    }
}

/// Takes escapes back that the path of a redirect needs not have: those of printable characters behind `%`, up to a question
/// mark.
pub(crate) fn settle(url: &mut Vec<u8>) {
    let mut settled = Vec::with_capacity(url.len());
    let mut rest = &url[..];
    while let [first, behind @ ..] = rest {
        rest = behind;
        let escaped = (*first == b'%').then(|| byte(behind)).flatten();
        match (first, escaped) {
            (b'?', _) | (_, Some(b'?')) => {
                settled.push(b'?');
                rest = &rest[if escaped.is_some() { 2 } else { 0 }..];
                break;
            }
            (_, Some(byte)) if byte > b'%' && byte < 0x7f => {
                settled.push(byte);
                rest = &rest[2..];
            }
            (other, _) => settled.push(*other),
        }
    }
    settled.extend_from_slice(rest);
    *url = settled;
}

/// The byte that two digits stand for.
fn byte(text: &[u8]) -> Option<u8> {
    let digits = text.get(..2)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_in_queries() {
        for (text, want) in [
            ("plain=1", "plain=1"),
            ("a b&c+d;e?f#g%", "a%20b%26c%2Bd%3Be%3Ff%23g%25"),
            ("\u{e9}\u{7f}\n", "%C3%A9%7F%0A"),
        ] {
            let mut out = Vec::new();
            arguments(&mut out, text.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn redirects() {
        for (url, want) in [
            ("/plain", "/plain"),
            ("/a%20b%26c%41", "/a%20b&cA"),
            ("/%C3%A9%3Fx%41", "/%C3%A9?x%41"),
            ("/a?b%41", "/a?b%41"),
            ("/%25%4", "/%25%4"),
            ("/%zz%", "/%zz%"),
        ] {
            let mut out = url.as_bytes().to_vec();
            settle(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
