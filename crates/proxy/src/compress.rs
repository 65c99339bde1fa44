//! Answers compressed by gzip on their way: whether one is, and doing it.
//!
//! The rules are nginx's `gzip_…` directives; `Vary` and weak validators are RFC 9110's. Not here: ready-made `.gz` files.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use trine_http1::{Request, Version};

use crate::config::GzipRules;

/// What compression does to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Nothing.
    Plain,
    /// Nothing, but for another client it might: caches have to know.
    PlainButVaries,
    Gzip,
}

impl Coding {
    /// Whether caches have to be told that the answer depends on what the client accepts.
    pub(crate) fn varies(self, rules: &GzipRules) -> bool {
        rules.vary && self != Self::Plain
    }
}

/// What an answer is like, before it is compressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a [u8],
    /// If it is known.
    pub(crate) length: Option<u64>,
    /// It has a `Content-Encoding` already.
    pub(crate) encoded: bool,
}

/// Whether and how an answer is compressed.
pub(crate) fn coding(rules: &GzipRules, request: &Request<'_>, answer: &Answer<'_>) -> Coding {
    let fits = matches!(answer.status, 200 | 403 | 404)
        && !answer.encoded
        && answer
            .length
            .is_none_or(|length| length >= rules.min_length)
        && is_listed(rules, answer.content_type);
    if !fits {
        return Coding::Plain;
    }
    let old = request.version() == Version::Http10 && !rules.http10;
    let proxied = request.get("via").is_some() && !rules.proxied;
    if old || proxied || !accepts(request, "gzip") {
        return Coding::PlainButVaries;
    }
    Coding::Gzip
}

fn is_listed(rules: &GzipRules, content_type: &[u8]) -> bool {
    let kind = content_type.split(|&byte| byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"text/html")
        || rules
            .types
            .iter()
            .any(|known| known == "*" || kind.eq_ignore_ascii_case(known.as_bytes()))
}

/// RFC 9110 section 12.5.3: the coding or `*`, with a weight above nothing.
pub(crate) fn accepts(request: &Request<'_>, wanted_coding: &str) -> bool {
    let mut any = None;
    for field in request.get_all("accept-encoding") {
        for item in field.split(|&byte| byte == b',') {
            let mut parts = item.split(|&byte| byte == b';');
            let coding = parts.next().unwrap_or_default().trim_ascii();
            let weight = parts.find_map(|part| {
                let part = part.trim_ascii();
                let value = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="))?;
                std::str::from_utf8(value).ok()?.parse::<f32>().ok()
            });
            let wanted = weight.is_none_or(|weight| weight > 0.0);
            let is_old_name = wanted_coding == "gzip" && coding.eq_ignore_ascii_case(b"x-gzip");
            if coding.eq_ignore_ascii_case(wanted_coding.as_bytes()) || is_old_name {
                return wanted;
            }
            if coding == b"*" {
                any = Some(wanted);
            }
        }
    }
    any.unwrap_or(false)
}

/// A body that is compressed piece by piece.
pub(crate) struct Gzip(GzEncoder<Vec<u8>>);

impl Gzip {
    pub(crate) fn new(rules: &GzipRules) -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::new(rules.level)))
    }

    /// Compresses a piece so that the client can read all of it, whatever comes later.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(bytes)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    /// Compresses the last piece.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub(crate) fn last(mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(bytes)?;
        self.0.finish()
    }
}

impl std::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gzip")
    }
}

/// All of a body at once.
///
/// # Errors
/// None in practice: it writes to memory.
pub(crate) fn whole(rules: &GzipRules, bytes: &[u8]) -> io::Result<Vec<u8>> {
    Gzip::new(rules).last(bytes)
}

/// A strong entity tag made weak: the compressed answer is another representation.
pub(crate) fn weak(etag: &[u8]) -> Vec<u8> {
    if etag.starts_with(b"W/") {
        etag.to_vec()
    } else {
        [b"W/", etag].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use trine_http1::{Limits, Policy, RequestHead};

    use super::*;

    fn rules() -> GzipRules {
        GzipRules {
            types: vec!["application/json".to_owned()],
            level: 1,
            min_length: 20,
            vary: true,
            http10: false,
            proxied: false,
        }
    }

    #[track_caller]
    fn check(fields: &str, answer: &Answer<'_>, want: Coding) {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        head.parse(bytes.as_bytes(), &Limits::default(), &Policy::default())
            .unwrap()
            .unwrap();
        assert_eq!(
            coding(&rules(), &head.on(bytes.as_bytes()), answer),
            want,
            "{fields}"
        );
    }

    #[test]
    fn which_answers() {
        let json = Answer {
            status: 200,
            content_type: b"application/json; charset=utf-8",
            length: Some(20),
            encoded: false,
        };
        let gzip = "Accept-Encoding: br, gzip\r\n";
        check(gzip, &json, Coding::Gzip);
        check("", &json, Coding::PlainButVaries);
        check(
            "Accept-Encoding: gzip;q=0\r\n",
            &json,
            Coding::PlainButVaries,
        );
        check("Accept-Encoding: *\r\n", &json, Coding::Gzip);
        check(
            "Accept-Encoding: *, gzip; q=0\r\n",
            &json,
            Coding::PlainButVaries,
        );
        check(
            "Accept-Encoding: gzip\r\nVia: 1.1 x\r\n",
            &json,
            Coding::PlainButVaries,
        );
        check(
            gzip,
            &Answer {
                length: Some(19),
                ..json
            },
            Coding::Plain,
        );
        check(
            gzip,
            &Answer {
                length: None,
                ..json
            },
            Coding::Gzip,
        );
        check(
            gzip,
            &Answer {
                status: 206,
                ..json
            },
            Coding::Plain,
        );
        check(
            gzip,
            &Answer {
                encoded: true,
                ..json
            },
            Coding::Plain,
        );
        check(
            gzip,
            &Answer {
                content_type: b"image/png",
                ..json
            },
            Coding::Plain,
        );
        check(
            gzip,
            &Answer {
                content_type: b"text/HTML",
                ..json
            },
            Coding::Gzip,
        );
    }

    #[test]
    fn pieces_make_one_body() {
        let mut gzip = Gzip::new(&rules());
        let mut all = gzip.piece(b"hello ").unwrap();
        // What has come can be read already.
        let mut start = Vec::new();
        let _ = flate2::read::GzDecoder::new(&all[..]).read_to_end(&mut start);
        assert_eq!(start, b"hello ");
        all.extend(gzip.last(b"world").unwrap());
        let mut body = String::new();
        flate2::read::GzDecoder::new(&all[..])
            .read_to_string(&mut body)
            .unwrap();
        assert_eq!(body, "hello world");
    }
}
