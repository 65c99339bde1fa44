//! What an unsafe request makes worthless (RFC 9111, 4.4). Not here: the store that forgets it.

use crate::fields::Fields;

/// Methods that change nothing (RFC 9110, 9.2.1). One that is not known may change anything.
const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// The paths, with their queries, whose stored answers are to be forgotten after this request: its own, and those that
/// Location and Content-Location name on the same origin (scheme, host, port: `origin`, as `https://example.org`).
#[must_use]
pub fn invalidated(
    method: &str,
    origin: &str,
    target: &str,
    status: u16,
    answer: Fields<'_>,
) -> Vec<String> {
    if SAFE.contains(&method) || !(200..400).contains(&status) {
        return Vec::new();
    }
    let mut paths = vec![target.to_owned()];
    for name in ["location", "content-location"] {
        let named = answer
            .first(name)
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|reference| resolve(origin, target, reference));
        if let Some(path) = named
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    paths
}

/// The path that a reference names on this origin (RFC 3986, 5.2); `None` if it names another origin.
fn resolve(origin: &str, target: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = origin.split_once("://")?;
    let has_scheme = reference
        .split(['/', '?'])
        .next()
        .is_some_and(|first| first.contains(':'));
    let (rest, absolute) = match reference.strip_prefix("//") {
        Some(rest) => (rest, true),
        None if has_scheme => {
            let (theirs, rest) = reference.split_once("://")?;
            if !theirs.eq_ignore_ascii_case(scheme) {
                return None;
            }
            (rest, true)
        }
        None => (reference, false),
    };
    let reference = if absolute {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (theirs, path) = rest.split_at(end);
        if !same_authority(scheme, theirs, authority) {
            return None;
        }
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        }
    } else {
        reference.to_owned()
    };
    let (base, base_query) = match target.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (target, None),
    };
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference.as_str(), None),
    };
    let (path, query) = if path.is_empty() {
        (base.to_owned(), query.or(base_query))
    } else if path.starts_with('/') {
        (without_dots(path), query)
    } else {
        let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
        (without_dots(&format!("{folder}{path}")), query)
    };
    Some(match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

fn same_authority(scheme: &str, one: &str, other: &str) -> bool {
    let port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |authority: &str| {
        let lower = authority.to_ascii_lowercase();
        lower
            .strip_suffix(port)
            .map_or(lower.clone(), str::to_owned)
    };
    plain(one) == plain(other)
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
