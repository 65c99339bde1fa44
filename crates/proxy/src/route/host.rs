//! Host names: which server answers for the name in a request.
//!
//! Not here: whether a `Host` field is valid at all (`trine_http1` refuses those that are not).

use crate::config::{Config, HostPattern};
use crate::pattern::Captures;

/// The name in a `Host` field or an authority: without port and final dot. Case is left as it is.
pub(crate) fn name_of(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => memchr::memchr(b']', authority).map_or(authority.len(), |close| close + 1),
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let name = &authority[..end];
    name.strip_suffix(b".").unwrap_or(name)
}

/// The port of an authority, if it names one.
pub(crate) fn port_of(authority: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memrchr(b':', authority)?;
    let port = &authority[colon + 1..];
    // What is in brackets is an address.
    (!port.is_empty() && !port.contains(&b']')).then_some(port)
}

/// The server for `authority` among `servers` (indices into the configuration, the default first): an exact name, else
/// the longest wildcard in front, else the longest behind, else the first expression, else the default.
pub(crate) fn find(
    config: &Config,
    servers: &[usize],
    authority: Option<&[u8]>,
) -> Option<(usize, Option<Captures>)> {
    find_by(servers, |index| &config.servers[index].names, authority)
}

/// The same for servers with other rules, by what their names are.
pub(crate) fn find_by<'a>(
    servers: &[usize],
    names_of: impl Fn(usize) -> &'a [HostPattern],
    authority: Option<&[u8]>,
) -> Option<(usize, Option<Captures>)> {
    let (&default, others) = servers.split_first()?;
    let has_regex = |index: usize| {
        names_of(index)
            .iter()
            .any(|name| matches!(name, HostPattern::Regex(_)))
    };
    if others.is_empty() && !has_regex(default) {
        return Some((default, None));
    }
    // Without a name, nginx looks for the server whose name is empty.
    let name = authority.map_or(&b""[..], name_of);
    let mut best: Option<(bool, usize, usize)> = None;
    for &index in servers {
        for pattern in names_of(index) {
            let found = match pattern {
                HostPattern::Exact(exact) if name.eq_ignore_ascii_case(exact.as_bytes()) => {
                    return Some((index, None));
                }
                HostPattern::Suffix(suffix) if ends_with(name, suffix.as_bytes()) => {
                    (true, suffix.len(), index)
                }
                HostPattern::Prefix(prefix) if begins_with(name, prefix.as_bytes()) => {
                    (false, prefix.len(), index)
                }
                HostPattern::Exact(_)
                | HostPattern::Suffix(_)
                | HostPattern::Prefix(_)
                | HostPattern::Regex(_) => continue,
            };
            if best.is_none_or(|(front, length, _)| (front, length) < (found.0, found.1)) {
                best = Some(found);
            }
        }
    }
    if let Some((_, _, index)) = best {
        return Some((index, None));
    }
    let lower = name.to_ascii_lowercase();
    for &index in servers {
        for pattern in names_of(index) {
            if let HostPattern::Regex(pattern) = pattern
                && let Some(captures) = pattern.captures(&lower)
            {
                return Some((index, Some(captures)));
            }
        }
    }
    Some((default, None))
}

/// `prefix` ends with a dot, and at least one byte has to stand behind it.
fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    name.len() > prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// `suffix` starts with a dot, and at least one byte has to stand before it.
fn ends_with(name: &[u8], suffix: &[u8]) -> bool {
    name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    #[test]
    fn names() {
        for (authority, want) in [
            ("example.org", "example.org"),
            ("example.org.", "example.org"),
            ("Example.org:8080", "Example.org"),
            ("example.org.:80", "example.org"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(
                name_of(authority.as_bytes()),
                want.as_bytes(),
                "{authority}"
            );
        }
    }

    #[test]
    fn ports() {
        for (authority, want) in [
            ("example.org", None),
            ("example.org:", None),
            ("example.org:8080", Some("8080")),
            ("[::1]:80", Some("80")),
            ("[::1]", None),
            ("", None),
        ] {
            let got = port_of(authority.as_bytes());
            assert_eq!(got, want.map(str::as_bytes), "{authority}");
        }
    }

    #[test]
    fn servers() {
        let config = config(
            "servers:\n\
             - { listen: 8000, names: [first.example], locations: [{path: /, proxy: '127.0.0.1:1'}] }\n\
             - { listen: 8000, names: ['*.example.org'], locations: [{path: /, proxy: '127.0.0.1:1'}] }\n\
             - { listen: 8000, names: ['*.b.example.org', exact.example.org], locations: [{path: /, proxy: '127.0.0.1:1'}] }\n",
        );
        let find = |name: &str| {
            let servers = &config.listens[0].servers;
            super::find(&config, servers, Some(name.as_bytes())).map(|(index, _)| index)
        };
        assert_eq!(find("first.example"), Some(0));
        assert_eq!(find("unknown"), Some(0));
        assert_eq!(
            find("example.org"),
            Some(0),
            "the wildcard wants a label in front"
        );
        assert_eq!(find("a.example.org"), Some(1));
        assert_eq!(find("A.EXAMPLE.ORG.:8000"), Some(1));
        assert_eq!(find("a.b.example.org"), Some(2), "the longest wildcard");
        assert_eq!(find("EXACT.example.org"), Some(2));
        assert_eq!(
            super::find(&config, &config.listens[0].servers, None).map(|(index, _)| index),
            Some(0)
        );
    }
}
