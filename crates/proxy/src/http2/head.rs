//! Heads between HTTP/2 and HTTP/1: a request's becomes bytes that the strict parser judges, an answer's becomes fields.
//!
//! Pure. Not here: the parser (`trine-http1`), or frames (`h2`).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, request};
use trine_http1::{Headers, is_hop_by_hop};

/// Whether a body of unknown length follows, which HTTP/1 sends in chunks.
pub(super) fn is_chunked(parts: &request::Parts, has_body: bool) -> bool {
    has_body && !parts.headers.contains_key(CONTENT_LENGTH)
}

/// Appends a request's head as HTTP/1 would write it, but for the version. One that names two hosts (RFC 9113 section
/// 8.3.1) has both of them in it, which the parser refuses.
pub(super) fn write_request(out: &mut Vec<u8>, parts: &request::Parts, chunked: bool) {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let target = if parts.method == Method::CONNECT {
        authority
    } else {
        parts.uri.path_and_query().map(|target| target.as_str())
    };
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.unwrap_or_default().as_bytes());
    out.extend_from_slice(b" HTTP/2.0\r\n");
    let authority = authority.unwrap_or_default().as_bytes();
    if !authority.is_empty() {
        line(out, b"host", authority);
    }
    let is_only = parts.headers.get_all(HOST).iter().nth(1).is_none();
    for (name, value) in &parts.headers {
        let again = is_only && *name == HOST && value.as_bytes().eq_ignore_ascii_case(authority);
        if !again && *name != COOKIE {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    // They may come in pieces, which HTTP/1 does not know (RFC 9113 section 8.2.3).
    let mut cookies = parts.headers.get_all(COOKIE).into_iter();
    if let Some(first) = cookies.next() {
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(first.as_bytes());
        for cookie in cookies {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(cookie.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    if chunked {
        line(out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields of an answer. They lie in `bytes`, which the values share. Those of a single connection stay behind.
pub(super) fn fields(headers: Headers<'_>, bytes: &Bytes) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(16);
    for (name, value) in headers.filter(|(name, _)| !is_hop_by_hop(name)) {
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value));
        // Both were checked when they were written; what cannot be a field is none.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_http1::{Limits, Policy, RequestHead, ResponseHead};

    #[track_caller]
    fn check(request: http::request::Builder, has_body: bool, want: &str) {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        let chunked = is_chunked(&parts, has_body);
        write_request(&mut out, &parts, chunked);
        let got = String::from_utf8(out).unwrap().replace("\r\n", "|");
        assert_eq!(got, want);
    }

    #[test]
    fn requests() {
        let get = || http::Request::get("https://a.test:8443/x?y=1");
        check(get(), false, "GET /x?y=1 HTTP/2.0|host: a.test:8443||");
        check(
            get().header("host", "A.test:8443").header("accept", "*/*"),
            false,
            "GET /x?y=1 HTTP/2.0|host: a.test:8443|accept: */*||",
        );
        check(
            get().header("host", "b.test"),
            false,
            "GET /x?y=1 HTTP/2.0|host: a.test:8443|host: b.test||",
        );
        check(
            http::Request::get("/")
                .header("host", "a")
                .header("host", "b"),
            false,
            "GET / HTTP/2.0|host: a|host: b||",
        );
        check(
            http::Request::get("/").header("host", "a"),
            false,
            "GET / HTTP/2.0|host: a||",
        );
        check(http::Request::get("/"), false, "GET / HTTP/2.0||");
        check(
            get()
                .header("cookie", "a=1")
                .header("x", "y")
                .header("cookie", "b=2"),
            false,
            "GET /x?y=1 HTTP/2.0|host: a.test:8443|x: y|cookie: a=1; b=2||",
        );
        check(
            http::Request::put("https://a/f"),
            true,
            "PUT /f HTTP/2.0|host: a|transfer-encoding: chunked||",
        );
        check(
            http::Request::put("https://a/f").header("content-length", "3"),
            true,
            "PUT /f HTTP/2.0|host: a|content-length: 3||",
        );
        check(
            http::Request::connect("a.test:443"),
            false,
            "CONNECT a.test:443 HTTP/2.0|host: a.test:443||",
        );
    }

    #[test]
    fn the_parser_reads_the_version_as_it_is() {
        let (parts, ()) = http::Request::get("https://a/")
            .body(())
            .unwrap()
            .into_parts();
        let mut out = Vec::new();
        write_request(&mut out, &parts, false);
        let mut head = RequestHead::default();
        let policy = Policy {
            permit_unconventional_http_version: true,
            ..Policy::default()
        };
        head.parse(&out, &Limits::default(), &policy)
            .unwrap()
            .unwrap();
        assert_eq!(head.on(&out).version_text(), b"HTTP/2.0");
        assert!(head.on(&out).keep_alive());
    }

    #[test]
    fn answers() {
        let bytes = Bytes::from_static(
            b"HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a\r\nConnection: close\r\nset-cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let mut head = ResponseHead::default();
        let limits = Limits::default();
        head.parse(&bytes, &limits).unwrap().unwrap();
        let map = fields(head.on(&bytes).headers(), &bytes);
        let lines: Vec<_> = map
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(lines, ["server=x", "set-cookie=a", "set-cookie=b"]);
    }
}
