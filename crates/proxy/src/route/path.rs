//! The one path normaliser: what a request's path means for routing and for files.
//!
//! Percent-escapes are decoded first, then slashes are merged and dot segments removed, as nginx does.
//! Not here: choosing a location, or opening anything. The upstream still gets the path as the client sent it.

use std::borrow::Cow;

/// A decoded path without `//`, `.` and `..`; it always starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Normalised<'a> {
    /// Raw bytes: what was percent-encoded need not be UTF-8.
    pub(crate) path: Cow<'a, [u8]>,
    /// The path hid a separator: an encoded slash, or a backslash in either form. Files refuse these.
    pub(crate) hidden_separator: bool,
}

/// Why a path cannot be served at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("the path does not start with a slash")]
    NotAbsolute,
    #[error("a percent sign without two hexadecimal digits in the path")]
    BadEscape,
    #[error("a NUL byte in the path")]
    Nul,
    #[error("the path climbs above the root")]
    AboveRoot,
}

/// Normalises the path part of a request target (no query). `merge` says whether slashes are merged.
pub(crate) fn normalise(raw: &[u8], merge: bool) -> Result<Normalised<'_>, PathError> {
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(raw) || (!merge && is_plain_but_for_slashes(raw)) {
        return Ok(Normalised {
            path: Cow::Borrowed(raw),
            hidden_separator: false,
        });
    }
    let (decoded, hidden_separator) = decode(raw)?;
    Ok(Normalised {
        path: Cow::Owned(remove_dots(&decoded, merge)?),
        hidden_separator,
    })
}

/// Whether nothing would change: by far the most common case, decided in one pass.
fn is_plain(raw: &[u8]) -> bool {
    let mut before = 0u8;
    for &byte in raw {
        match byte {
            b'%' | b'\\' | 0 => return false,
            b'/' | b'.' if before == b'/' => return false,
            _ => before = byte,
        }
    }
    true
}

fn is_plain_but_for_slashes(raw: &[u8]) -> bool {
    !raw.iter().any(|byte| matches!(byte, b'%' | b'\\' | 0))
        && !raw.windows(2).any(|pair| pair == b"/.")
}

fn decode(raw: &[u8]) -> Result<(Vec<u8>, bool), PathError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut hidden = false;
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let decoded = if byte == b'%' {
            let (&[high, low], tail) = rest.split_first_chunk::<2>().ok_or(PathError::BadEscape)?;
            rest = tail;
            let value = hex(high).zip(hex(low)).ok_or(PathError::BadEscape)?;
            value.0 << 4 | value.1
        } else {
            byte
        };
        match decoded {
            0 => return Err(PathError::Nul),
            b'/' if byte == b'%' => hidden = true,
            b'\\' => hidden = true,
            _ => {}
        }
        out.push(decoded);
    }
    Ok((out, hidden))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Merges slashes if asked to, and resolves `.` and `..`. `decoded` starts with a slash.
fn remove_dots(decoded: &[u8], merge: bool) -> Result<Vec<u8>, PathError> {
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|&byte| byte == b'/').peekable();
    segments.next(); // what stands before the first slash: nothing
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" if !merge && !last => {
                out.push(b'/');
                continue;
            }
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &out).ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        // An empty or dot segment at the end names a folder.
        if last {
            out.push(b'/');
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

/// Writes `path` so that it can stand in a `Location` field or an HTML page: everything odd is percent-encoded.
pub(crate) fn encode(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, want: &str) {
        let got = match normalise(raw.as_bytes(), true) {
            Ok(done) if done.hidden_separator => format!("{} hidden", done.path.escape_ascii()),
            Ok(done) => done.path.escape_ascii().to_string(),
            Err(error) => format!("error: {error:?}"),
        };
        assert_eq!(got, want, "path: {raw}");
    }

    #[test]
    fn unchanged() {
        for path in [
            "/", "/a", "/a/", "/a/b.c", "/a..b", "/a./b", "/a;p=1/b", "/~x/y+z", "/a b",
        ] {
            check(path, path);
            assert!(
                matches!(
                    normalise(path.as_bytes(), true).unwrap().path,
                    Cow::Borrowed(_)
                ),
                "{path}"
            );
        }
    }

    #[test]
    fn dots_and_slashes() {
        check("//", "/");
        check("///a//b///", "/a/b/");
        check("/.", "/");
        check("/./a/./b/.", "/a/b/");
        check("/a/..", "/");
        check("/a/b/..", "/a/");
        check("/a/b/../", "/a/");
        check("/a/b/../../c", "/c");
        check("/a/../../b", "error: AboveRoot");
        check("/..", "error: AboveRoot");
        check("/../x", "error: AboveRoot");
        check("/a/.../b", "/a/.../b");
        check("/.hidden/x", "/.hidden/x");
    }

    #[test]
    fn slashes_may_be_kept() {
        let path = |raw: &str| normalise(raw.as_bytes(), false).unwrap().path.into_owned();
        assert_eq!(path("//a///b/"), b"//a///b/");
        assert_eq!(path("/a//../b"), b"/a/b");
    }

    #[test]
    fn escapes() {
        check("/%61bc", "/abc");
        check("/a%20b", "/a b");
        check("/%e2%82%ac", "/\\xe2\\x82\\xac");
        check("/a/%2e%2e/b", "/b");
        check("/a/%2E%2E/%2e./b", "error: AboveRoot");
        check("/a%2fb", "/a/b hidden");
        check("/a%2f..%2f..%2fetc", "error: AboveRoot");
        check("/a%5cb", "/a\\\\b hidden");
        check("/a\\b", "/a\\\\b hidden");
        check("/%2561", "/%61");
        check("/a%00b", "error: Nul");
        check("/a%", "error: BadEscape");
        check("/a%4", "error: BadEscape");
        check("/a%zz", "error: BadEscape");
        check("/%+1", "error: BadEscape");
    }

    #[test]
    fn not_absolute() {
        check("", "error: NotAbsolute");
        check("a/b", "error: NotAbsolute");
        check("*", "error: NotAbsolute");
    }

    #[test]
    fn never_leaves_a_dot_segment() {
        // Every string of up to six of the troublesome pieces.
        let pieces = ["/", ".", "%2e", "%2f", "a", "%5c"];
        let mut paths = vec![String::from("/")];
        for _ in 0..5 {
            let longer: Vec<_> = paths
                .iter()
                .flat_map(|path| pieces.map(|piece| format!("{path}{piece}")))
                .collect();
            for path in &longer {
                if let Ok(done) = normalise(path.as_bytes(), true) {
                    let text = done.path.escape_ascii().to_string();
                    assert!(
                        text.starts_with('/') && !text.contains("//"),
                        "{path} -> {text}"
                    );
                    assert!(
                        !text
                            .split('/')
                            .any(|segment| segment == "." || segment == ".."),
                        "{path} -> {text}"
                    );
                }
            }
            paths = longer;
        }
    }

    #[test]
    fn encoding_is_the_inverse() {
        let mut out = Vec::new();
        encode(b"/a b/\xe2\x82\xac?#%\"<x>", &mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            "/a%20b/%E2%82%AC%3F%23%25%22%3Cx%3E"
        );
        assert_eq!(
            normalise(&out, true).unwrap().path,
            &b"/a b/\xe2\x82\xac?#%\"<x>"[..]
        );
    }
}
