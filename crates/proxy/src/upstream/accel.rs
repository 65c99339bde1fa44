//! What an upstream orders by `X-Accel-…` fields: another answer in place of its own, and how fast it goes out.
//!
//! Pure. Not here: carrying it out (`conn::serve`). `X-Accel-Buffering` is a matter of `ahead`, `X-Accel-Expires` of the
//! cache.

use trine_http1::{Response, write_header};

use crate::headers::media_type;

/// Fields of the first answer that the other one gets, as in nginx.
const CARRIED: [&str; 4] = [
    "set-cookie",
    "content-disposition",
    "cache-control",
    "expires",
];

/// `X-Accel-Redirect`: another location answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accel {
    pub(crate) target: Target,
    /// Lines of fields.
    pub(crate) carried: Vec<u8>,
    pub(crate) content_type: Option<Vec<u8>>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Path {
        path: Vec<u8>,
        args: Option<Vec<u8>>,
    },
    Named(String),
    /// It leads out, or is none: nobody answers.
    Unsafe,
}

/// What the answer's head orders.
pub(crate) fn redirect(answer: &Response<'_>) -> Option<Accel> {
    let target = answer.get("x-accel-redirect")?;
    let mut carried = Vec::new();
    for (name, value) in answer.headers() {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        if CARRIED.iter().any(is) {
            write_header(&mut carried, name, value);
        }
    }
    Some(Accel {
        target: read(target),
        carried,
        content_type: media_type(answer).map(<[u8]>::to_vec),
    })
}

/// `X-Accel-Limit-Rate`: bytes in a second, 0 for no limit.
pub(crate) fn rate(answer: &Response<'_>) -> Option<u64> {
    let text = std::str::from_utf8(answer.get("x-accel-limit-rate")?).ok()?;
    match text.trim() {
        "off" => Some(0),
        number => number.parse().ok(),
    }
}

fn read(uri: &[u8]) -> Target {
    if let Some(name) = uri.strip_prefix(b"@") {
        return Target::Named(String::from_utf8_lossy(name).into_owned());
    }
    let (path, args) = match memchr::memchr(b'?', uri) {
        Some(at) => (&uri[..at], Some(uri[at + 1..].to_vec())),
        None => (uri, None),
    };
    let path: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let leads_out = path.split(|&byte| byte == b'/').any(|name| name == b"..");
    if path.is_empty() || path.contains(&0) || leads_out {
        return Target::Unsafe;
    }
    Target::Path { path, args }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, want: &str) {
        let got = match read(uri.as_bytes()) {
            Target::Unsafe => "unsafe".to_owned(),
            Target::Named(name) => format!("@{name}"),
            Target::Path { path, args } => format!(
                "{} {}",
                path.escape_ascii(),
                args.map_or("-".to_owned(), |args| args.escape_ascii().to_string())
            ),
        };
        assert_eq!(got, want, "{uri}");
    }

    #[test]
    fn targets() {
        check("/protected/a.txt", "/protected/a.txt -");
        check("/p/a%20b?x=%20y", "/p/a b x=%20y");
        check("/p/a?", "/p/a ");
        check("@name", "@name");
        check("/a/../b", "unsafe");
        check("/a/%2e%2e/b", "unsafe");
        check("/a/..", "unsafe");
        check("../b", "unsafe");
        check("/a..b/...", "/a..b/... -");
        check("?x", "unsafe");
        check("/a%00b", "unsafe");
    }
}
