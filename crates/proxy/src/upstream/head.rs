//! The head of the request that an upstream gets. Pure: the client's head in, bytes out.
//!
//! Not here: which fields are dropped (see `headers`), or sending it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trine_http1::{
    BodyLength, Request, TargetForm, Version, is_word, write_header, write_request_line,
};

use crate::cache::Fetch;
use crate::conn::reply::{push_number, write_number};
use crate::headers::via::Hop;
use crate::headers::{FieldNames, Listed, RequestField, added, request_field};
use crate::template::{Scene, Template};

/// What the proxy knows about a request beside its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The address of the socket's other end.
    pub(crate) peer: &'a str,
    /// The client's address, as far as the trusted proxies in front of us tell.
    pub(crate) real_ip: &'a str,
    /// What the peer says about earlier hops is believed.
    pub(crate) trusted: bool,
    pub(crate) port: u16,
    pub(crate) scheme: &'a str,
    pub(crate) id: &'a str,
    pub(crate) now: SystemTime,
    /// How the body is sent on.
    pub(crate) body: BodyLength,
    /// The protocol the client asks for, if it may have it.
    pub(crate) upgrade: Option<&'a [u8]>,
    /// The connection is not to be kept.
    pub(crate) close: bool,
    /// The answer is for the cache: its conditions stand in the place of the client's.
    pub(crate) fetch: Option<&'a Fetch>,
    /// The way over proxies is told.
    pub(crate) hop: Option<Hop<'a>>,
}

/// The protocol a client wants to switch to. Clear-text HTTP/2 is none: requests in it would go past the proxy.
pub(crate) fn wanted_upgrade<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let protocols = request.upgrade()?;
    let h2c = protocols.split(|&byte| byte == b',').any(|one| {
        let name = one.trim_ascii();
        name.get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"h2c"))
            || name.eq_ignore_ascii_case(b"http/2.0")
    });
    (!h2c).then_some(protocols)
}

/// The target as the client wrote it, without scheme and host.
pub(crate) fn origin_form<'a>(request: &Request<'a>) -> Cow<'a, [u8]> {
    if request.target_form() != TargetForm::Absolute {
        return Cow::Borrowed(request.target());
    }
    let mut target = request.path().to_vec();
    if let Some(query) = request.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    Cow::Owned(target)
}

pub(crate) fn write(
    out: &mut Vec<u8>,
    method: &str,
    target: &[u8],
    request: &Request<'_>,
    facts: &Facts<'_>,
) {
    out.clear();
    write_request_line(out, method, target, Version::Http11);
    // Only HTTP/1.0 may come without, and HTTP/1.1 must not go on without.
    let host = request.authority().unwrap_or(b"localhost");
    write_header(out, b"Host", host);
    fields(out, request, facts);
    forwarded(out, request, facts, host);
    if let Some(hop) = &facts.hop {
        hop.write(out);
    }
    conditions(out, facts.fetch);
    framing(out, facts.body);
    connection(out, facts.upgrade, facts.close);
    out.extend_from_slice(b"\r\n");
}

/// What `proxy_set_header` and its neighbours say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) fields: &'a [(String, Template)],
    /// Which names the client's fields may have.
    pub(crate) names: FieldNames,
    /// Fields behind an answer's content are welcome.
    pub(crate) passes_trailers: bool,
    /// The client's own fields go on.
    pub(crate) passes_fields: bool,
    pub(crate) body: BodyLength,
    pub(crate) close: bool,
    pub(crate) fetch: Option<&'a Fetch>,
    pub(crate) hop: Option<Hop<'a>>,
}

/// The head as a configuration orders it: its own fields first, then those of the client that it does not replace.
pub(crate) fn write_set(
    out: &mut Vec<u8>,
    method: &str,
    target: &[u8],
    request: &Request<'_>,
    order: &Order<'_>,
    scene: &Scene<'_>,
) {
    out.clear();
    write_request_line(out, method, target, Version::Http11);
    let mut close = order.close;
    let mut has_host = false;
    for (name, value) in order.fields {
        let value = value.value(scene);
        if !added::is_clean(&value) {
            continue;
        }
        // Framing and the connection are ours; an upgrade goes on by itself.
        if name.eq_ignore_ascii_case("connection") {
            close |= value.eq_ignore_ascii_case(b"close");
        } else if !is_ours(name.as_bytes())
            && !order.hop.is_some_and(|hop| hop.replaces(name.as_bytes()))
            && !value.is_empty()
        {
            has_host |= name.eq_ignore_ascii_case("host");
            write_header(out, name.as_bytes(), &value);
        }
    }
    if !has_host {
        write_header(out, b"Host", request.authority().unwrap_or(b"localhost"));
    }
    let listed = Listed::new(request.get_all("connection"));
    for (name, value) in request.headers().filter(|_| order.passes_fields) {
        let set = |(set, _): &(String, Template)| name.eq_ignore_ascii_case(set.as_bytes());
        let hidden = !order.names.take(name);
        let ours = is_ours(name)
            || order.hop.is_some_and(|hop| hop.replaces(name))
            || is_word(name, b"host")
            || order.fetch.is_some_and(|fetch| fetch.withholds(name));
        if !hidden && !ours && !listed.contains(name) && !order.fields.iter().any(set) {
            write_header(out, name, value);
        }
    }
    if let Some(hop) = &order.hop {
        hop.write(out);
    }
    conditions(out, order.fetch);
    framing(out, order.body);
    connection(out, wanted_upgrade(request), close);
    if order.passes_trailers {
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that this connection and its framing need, and `Proxy`, which CGI-like gateways take for HTTP_PROXY.
fn is_ours(name: &[u8]) -> bool {
    let ours: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        5 => &[b"proxy"],
        6 => &[b"expect"],
        7 => &[b"trailer", b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length", b"http2-settings"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => &[],
    };
    ours.iter().any(|ours| is_word(name, ours))
}

fn conditions(out: &mut Vec<u8>, fetch: Option<&Fetch>) {
    if let Some(fetch) = fetch {
        fetch.conditions(out);
    }
}

fn framing(out: &mut Vec<u8>, body: BodyLength) {
    match body {
        BodyLength::Empty | BodyLength::UntilClose => {}
        BodyLength::Known(length) => write_number(out, b"Content-Length", length),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn connection(out: &mut Vec<u8>, upgrade: Option<&[u8]>, close: bool) {
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_header(out, b"Upgrade", protocol);
    } else if close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

/// The client's own fields, as far as they go on.
fn fields(out: &mut Vec<u8>, request: &Request<'_>, facts: &Facts<'_>) {
    let listed = Listed::new(request.get_all("connection"));
    for (name, value) in request.headers() {
        let passes = match request_field(name) {
            RequestField::Pass => {
                let withheld = facts.fetch.is_some_and(|fetch| fetch.withholds(name))
                    || facts.hop.is_some_and(|hop| hop.replaces(name));
                !withheld && !listed.contains(name)
            }
            RequestField::FromTrusted => facts.trusted,
            RequestField::Drop | RequestField::ForwardedFor => false,
        };
        if passes {
            write_header(out, name, value);
        }
    }
}

/// What the application may believe about the client. A trusted peer's own words went on already.
fn forwarded(out: &mut Vec<u8>, request: &Request<'_>, facts: &Facts<'_>, host: &[u8]) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if facts.trusted {
        for value in request
            .get_all("x-forwarded-for")
            .filter(|value| !value.is_empty())
        {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(facts.peer.as_bytes());
    out.extend_from_slice(b"\r\n");
    write_header(out, b"X-Real-IP", facts.real_ip.as_bytes());
    let told = |name: &str| facts.trusted && request.get(name).is_some();
    if !told("x-forwarded-proto") {
        write_header(out, b"X-Forwarded-Proto", facts.scheme.as_bytes());
    }
    if !told("x-forwarded-host") {
        write_header(out, b"X-Forwarded-Host", host);
    }
    if !told("x-forwarded-port") && facts.port != 0 {
        write_number(out, b"X-Forwarded-Port", u64::from(facts.port));
    }
    if !told("x-request-id") {
        write_header(out, b"X-Request-Id", facts.id.as_bytes());
    }
    stamp(out, facts.now);
}

/// When the request came in, in seconds, so that the application can tell how long it waited.
fn stamp(out: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    out.extend_from_slice(b"X-Request-Start: t=");
    push_number(out, since.as_secs());
    let millis = since.subsec_millis();
    let digit = |scale: u32| b'0' + u8::try_from(millis / scale % 10).unwrap_or(0);
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'\r', b'\n']);
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_http1::{Limits, Policy, RequestHead};

    fn facts() -> Facts<'static> {
        Facts {
            peer: "192.0.2.1",
            real_ip: "192.0.2.1",
            trusted: false,
            port: 8000,
            scheme: "http",
            id: "0123",
            now: UNIX_EPOCH + Duration::from_millis(1_700_000_000_042),
            body: BodyLength::Empty,
            upgrade: None,
            close: false,
            fetch: None,
            hop: None,
        }
    }

    #[track_caller]
    fn check(head: &str, facts: &Facts<'_>, want: &[&str]) {
        let bytes = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
        let mut parsed = RequestHead::default();
        parsed
            .parse(bytes.as_bytes(), &Limits::default(), &Policy::default())
            .unwrap()
            .unwrap();
        let mut out = b"old".to_vec();
        let request = parsed.on(bytes.as_bytes());
        write(
            &mut out,
            request.method(),
            &origin_form(&request),
            &request,
            &Facts {
                upgrade: wanted_upgrade(&request),
                ..*facts
            },
        );
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        let lines: Vec<_> = text.trim_end().split("\r\n").collect();
        assert_eq!(lines, want);
    }

    const OURS: [&str; 7] = [
        "X-Forwarded-For: 192.0.2.1",
        "X-Real-IP: 192.0.2.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a.example:80",
        "X-Forwarded-Port: 8000",
        "X-Request-Id: 0123",
        "X-Request-Start: t=1700000000.042",
    ];

    fn with_ours(before: &[&'static str], after: &[&'static str]) -> Vec<&'static str> {
        [before, &OURS, after].concat()
    }

    #[test]
    fn plain() {
        let want = with_ours(
            &[
                "GET /a?b HTTP/1.1",
                "Host: a.example:80",
                "Accept: */*",
                "Cookie: x",
            ],
            &[],
        );
        check(
            "GET /a?b HTTP/1.1\nAccept: */*\nHost: a.example:80\nCookie:  x ",
            &facts(),
            &want,
        );
        let want = with_ours(&["GET /?q HTTP/1.1", "Host: a.example:80"], &[]);
        check(
            "GET http://a.example:80?q HTTP/1.1\nHost: other",
            &facts(),
            &want,
        );
    }

    #[test]
    fn spoofed_fields_are_replaced() {
        let spoofed = "GET / HTTP/1.1\nHost: a.example:80\nX-Forwarded-For: 1.2.3.4\nX_Forwarded_For: 1.2.3.4\nX-Real-IP: 1.2.3.4\n\
             X-Forwarded-Proto: https\nX-Forwarded-Prefix: /admin\nX-Request-ID: evil\nForwarded: for=1.2.3.4\nProxy: http://evil\n\
             X-Forwarded-Host: evil\nX-Forwarded_Host: evil\nX-Accel-Redirect: /x\nX-Request-Start: t=0";
        check(
            spoofed,
            &facts(),
            &with_ours(&["GET / HTTP/1.1", "Host: a.example:80"], &[]),
        );
    }

    #[test]
    fn trusted_peers_are_continued() {
        let head = "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 203.0.113.5\nX-Forwarded-Proto: https\nX-Request-Id: abc\nX-Forwarded-For: 10.0.0.1\nX-Real-IP: 1.2.3.4";
        let facts = Facts {
            trusted: true,
            real_ip: "203.0.113.5",
            port: 0,
            ..facts()
        };
        let want = [
            "GET / HTTP/1.1",
            "Host: a",
            "X-Forwarded-Proto: https",
            "X-Request-Id: abc",
            "X-Forwarded-For: 203.0.113.5, 10.0.0.1, 192.0.2.1",
            "X-Real-IP: 203.0.113.5",
            "X-Forwarded-Host: a",
            "X-Request-Start: t=1700000000.042",
        ];
        check(head, &facts, &want);
    }

    #[test]
    fn hop_by_hop() {
        let head = "GET / HTTP/1.1\nHost: a.example:80\nConnection: close, X-Hop, Cookie\nX-Hop: 1\nCookie: c\nKeep-Alive: 5\nTE: trailers\nUpgrade: websocket";
        check(
            head,
            &facts(),
            &with_ours(&["GET / HTTP/1.1", "Host: a.example:80", "Cookie: c"], &[]),
        );
    }

    #[test]
    fn bodies_and_upgrades() {
        let facts = Facts {
            body: BodyLength::Chunked,
            close: true,
            ..facts()
        };
        let want = with_ours(
            &["PUT / HTTP/1.1", "Host: a.example:80"],
            &["Transfer-Encoding: chunked", "Connection: close"],
        );
        check(
            "PUT / HTTP/1.1\nHost: a.example:80\nTransfer-Encoding: chunked\nExpect: 100-continue",
            &facts,
            &want,
        );
        let facts = Facts {
            body: BodyLength::Known(10),
            close: false,
            ..facts
        };
        let want = with_ours(
            &["PUT / HTTP/1.1", "Host: a.example:80"],
            &[
                "Content-Length: 10",
                "Connection: upgrade",
                "Upgrade: websocket",
            ],
        );
        check(
            "PUT / HTTP/1.1\nHost: a.example:80\nContent-Length: 10\nConnection: Upgrade\nUpgrade: websocket",
            &facts,
            &want,
        );
        let facts = Facts {
            body: BodyLength::Empty,
            ..facts
        };
        let want = with_ours(&["GET / HTTP/1.1", "Host: a.example:80"], &[]);
        check(
            "GET / HTTP/1.1\nHost: a.example:80\nConnection: Upgrade, HTTP2-Settings\nUpgrade: websocket, H2C\nHTTP2-Settings: x",
            &facts,
            &want,
        );
    }
}
