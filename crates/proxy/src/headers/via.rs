//! `Via`, which tells a message's way over proxies, and `Max-Forwards`, which bounds it (RFC 9110 sections 7.6.2 and
//! 7.6.3). Pure: values in, decisions and bytes out.
//!
//! Not here: when they are looked at (`conn::stage`), or the rest of a head (`upstream::head`, `upstream::dress`).

use std::borrow::Cow;

use trine_http1::{Request, Version};

use crate::config::Protocol;
use crate::conn::reply::write_number;

/// What a request that goes on is told of this hop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop<'a> {
    /// The name of this proxy.
    pub(crate) name: &'a str,
    /// The client's version of HTTP, as `1.1`.
    version: &'a [u8],
    /// How many hops may follow, if the client bounds them.
    forwards: Option<u64>,
}

/// `Max-Forwards` is not one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl<'a> Hop<'a> {
    pub(crate) fn new(name: &'a str, request: &Request<'a>) -> Self {
        let left = left(request).ok().flatten();
        Self {
            name,
            version: version(request),
            forwards: left.map(|left| left.saturating_sub(1)),
        }
    }

    /// Whether a field of the client is told anew.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        self.forwards.is_some() && name.eq_ignore_ascii_case(b"max-forwards")
    }

    /// Appends what this hop has to say, behind the client's own `Via`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write(out, self.version, self.name);
        if let Some(left) = self.forwards {
            write_number(out, b"Max-Forwards", left);
        }
    }

    /// The same as variables of gateways: the number, and the last entry of `Via`.
    pub(crate) fn max_forwards(&self) -> Option<u64> {
        self.forwards
    }

    pub(crate) fn entry(&self) -> Vec<u8> {
        [self.version, b" ", self.name.as_bytes()].concat()
    }
}

/// How often an OPTIONS may still be forwarded, if it says so. Other methods mean nothing by it.
pub(crate) fn left(request: &Request<'_>) -> Result<Option<u64>, Unreadable> {
    if request.method() != "OPTIONS" {
        return Ok(None);
    }
    let mut fields = request.get_all("max-forwards");
    let Some(value) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Unreadable);
    }
    // What is beyond us is as good as our most.
    let text = std::str::from_utf8(value).map_err(|_| Unreadable)?;
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

/// Whether the name can stand in `Via`: a pseudonym, or a host with or without a port.
pub(crate) fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte);
    !name.is_empty() && name.bytes().all(is_fit)
}

/// Whether one of the values of `Via` tells that the message has been with the proxy of this name.
pub(crate) fn names<'a>(mut values: impl Iterator<Item = &'a [u8]>, name: &str) -> bool {
    values.any(|value| {
        let value = without_comments(value);
        let by = |entry: &[u8]| {
            let words = entry.split(u8::is_ascii_whitespace);
            let mut words = words.filter(|word| !word.is_empty());
            words
                .nth(1)
                .is_some_and(|by| by.eq_ignore_ascii_case(name.as_bytes()))
        };
        value.split(|&byte| byte == b',').any(by)
    })
}

/// Comments stand in parentheses, also within one another, and may have commas in them.
fn without_comments(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'(') {
        return value.into();
    }
    let (mut out, mut depth, mut escaped) = (Vec::with_capacity(value.len()), 0_usize, false);
    for &byte in value {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if depth > 0 => escaped = true,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            byte if depth == 0 => out.push(byte),
            _ => {}
        }
    }
    out.into()
}

/// Appends the line of a message that came by this protocol.
fn write(out: &mut Vec<u8>, protocol: &[u8], name: &str) {
    out.extend_from_slice(b"Via: ");
    out.extend_from_slice(protocol);
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the line for an answer of an upstream. Scripts behind FastCGI and SCGI answer as CGI says (RFC 3875).
pub(crate) fn write_answered(out: &mut Vec<u8>, protocol: Protocol, version: Version, name: &str) {
    let by: &[u8] = match (protocol, version) {
        (Protocol::FastCgi | Protocol::Scgi, _) => b"CGI/1.1",
        (Protocol::Http1 | Protocol::Uwsgi, Version::Http10) => b"1.0",
        (Protocol::Http1 | Protocol::Uwsgi, Version::Http11) => b"1.1",
    };
    write(out, by, name);
}

/// The client's version without its protocol's name.
fn version<'a>(request: &Request<'a>) -> &'a [u8] {
    let text = request.version_text();
    text.strip_prefix(b"HTTP/").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_http1::{Limits, Policy, RequestHead};

    #[test]
    fn who_was_there() {
        let check = |values: &[&str], want: bool| {
            let values = values.iter().map(|value| value.as_bytes());
            let shown: Vec<_> = values.clone().map(<[u8]>::escape_ascii).collect();
            assert_eq!(names(values, "edge.test:80"), want, "{shown:?}");
        };
        check(&[], false);
        check(&["1.1 edge.test:80"], true);
        check(&["1.1 other", "1.0 a, HTTP/2.0 Edge.Test:80 (trine)"], true);
        check(&["1.1\t edge.test:80\t,1.1 b"], true);
        check(
            &["1.1 edge.test", "edge.test:80 1.1", "edge.test:80"],
            false,
        );
        // Comments say nothing, whatever is in them.
        check(&["1.1 a (x, 1.1 edge.test:80)"], false);
        check(
            &[r"1.1 a (x (y\), 1.1 edge.test:80), 1.1 edge.test:80)"],
            false,
        );
        check(&["1.1 a (x, (y)), 1.1 edge.test:80"], true);
        check(&["1.1 a ), 1.1 edge.test:80"], true);
        check(&["1.1 a (never closed, 1.1 edge.test:80"], false);
    }

    #[test]
    fn names_of_proxies() {
        for name in ["trine", "edge.example.org:8443", "[::1]:80", "a_b~1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a,b", "a(b)", "ä", "a\r\nb", "a/b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn hops() {
        let check = |head: &str, want: Result<Option<u64>, Unreadable>, line: &str| {
            let (first, fields) = head.split_once('\n').unwrap_or((head, "X: y"));
            let fields = fields.replace('\n', "\r\n");
            let bytes = format!("{first} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let mut parsed = RequestHead::default();
            parsed
                .parse(bytes.as_bytes(), &Limits::default(), &Policy::default())
                .unwrap()
                .unwrap();
            let request = parsed.on(bytes.as_bytes());
            assert_eq!(left(&request), want, "{head}");
            let mut out = Vec::new();
            Hop::new("me", &request).write(&mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("Via: 1.1 me\r\n{line}")
            );
        };
        check("GET /", Ok(None), "");
        check("GET /\nMax-Forwards: 0", Ok(None), "");
        check("OPTIONS /", Ok(None), "");
        check(
            "OPTIONS /\nMax-Forwards: 0",
            Ok(Some(0)),
            "Max-Forwards: 0\r\n",
        );
        check(
            "OPTIONS /\nmax-forwards: 10",
            Ok(Some(10)),
            "Max-Forwards: 9\r\n",
        );
        let most = "OPTIONS /\nMax-Forwards: 99999999999999999999999";
        check(
            most,
            Ok(Some(u64::MAX)),
            "Max-Forwards: 18446744073709551614\r\n",
        );
        for bad in ["-1", "+1", "1.5", "x", "1, 2", "", "1\nMax-Forwards: 1"] {
            check(
                &format!("OPTIONS /\nMax-Forwards: {bad}"),
                Err(Unreadable),
                "",
            );
        }
    }
}
