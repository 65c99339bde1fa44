use super::*;
use crate::worker::exchange::Peer;
use crate::worker::trust::TrustedPeers;
use std::sync::Arc;
use trine_gateway::fastcgi::{
    Kind, Role, write_begin, write_end_stream, write_params, write_stream,
};

type Vars<'a> = &'a [(&'a str, &'a str)];

fn bytes<'a>(vars: Vars<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    vars.iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// A request on the wire.
fn wire(protocol: Protocol, vars: Vars<'_>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if protocol == Protocol::Uwsgi {
        uwsgi::write(&mut out, 0, 0, bytes(vars)).unwrap();
        out.extend_from_slice(body);
    } else {
        write_begin(&mut out, 1, Role::Responder, true);
        write_params(&mut out, 1, bytes(vars));
        write_stream(&mut out, Kind::STDIN, 1, body);
        write_end_stream(&mut out, Kind::STDIN, 1);
    }
    out
}

/// What a door makes of `input`, given in parts of `step` bytes.
fn pass(protocol: Protocol, input: &[u8], step: usize) -> String {
    let limits = Limits::default();
    let mut door = Door::new(protocol, &limits, 10).unwrap();
    let peer = Peer::new(
        &trine_sys::net::SockAddr::UnixUnnamed,
        &TrustedPeers::default(),
    );
    let mut exchange = Exchange::new(Arc::new(peer));
    let mut replies = Vec::new();
    for part in input.chunks(step) {
        door.raw.extend_from_slice(part);
        match door.pass(&mut exchange, &mut replies) {
            Ok(Passed::On) => {}
            Ok(other) => return format!("{other:?}"),
            Err(error) => return format!("{} {error}", error.status()),
        }
    }
    let more = if door.is_complete() { "" } else { " ..." };
    format!("{}{more}", exchange.buf.escape_ascii()).replace(r"\r\n", "|")
}

#[track_caller]
fn check(vars: Vars<'_>, body: &str, want: &str) {
    for protocol in [Protocol::Uwsgi, Protocol::Fastcgi] {
        let input = wire(protocol, vars, body.as_bytes());
        for step in [1, 7, input.len()] {
            assert_eq!(
                pass(protocol, &input, step),
                want,
                "{protocol:?} by {step}: {vars:?}"
            );
        }
    }
}

#[test]
fn variables_become_a_head() {
    check(
        &[
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/a%20b?x=1"),
            ("PATH_INFO", "/a b"),
            ("CONTENT_LENGTH", "2"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTP_HOST", "h"),
            ("HTTP_X_ONE", "1"),
            ("REMOTE_ADDR", "1.2.3.4"),
        ],
        "hi",
        "POST /a%20b?x=1 HTTP/1.1|CONTENT-LENGTH: 2|CONTENT-TYPE: text/plain|HOST: h|X-ONE: 1||hi",
    );
    check(
        &[
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/é %"),
            ("QUERY_STRING", "q"),
            ("CONTENT_LENGTH", ""),
        ],
        "",
        "GET /app/%C3%A9%20%25?q HTTP/1.0||",
    );
    check(
        &[("DOCUMENT_URI", "/d"), ("SCRIPT_NAME", "/d")],
        "",
        "GET /d HTTP/1.0||",
    );
}

#[test]
fn headers_about_the_connection_are_not_ours() {
    check(
        &[
            ("REQUEST_URI", "/"),
            ("HTTP_HOST", "h"),
            ("HTTP_CONNECTION", "close"),
            ("HTTP_TRANSFER_ENCODING", "chunked"),
            ("HTTP_CONTENT_LENGTH", "9"),
            ("HTTP_EXPECT", "100-continue"),
            ("HTTP_UPGRADE", "websocket"),
        ],
        "",
        "GET / HTTP/1.1|HOST: h||",
    );
}

#[test]
fn nothing_is_smuggled_into_the_head() {
    check(
        &[("HTTP_A", "b\r\nC: d")],
        "",
        "400 a line break or a NUL in a variable",
    );
    check(
        &[("REQUEST_URI", "/ HTTP/1.0\tX")],
        "",
        "400 REQUEST_METHOD or REQUEST_URI has a space or a control character",
    );
    check(
        &[("REQUEST_METHOD", "GET /x")],
        "",
        "400 REQUEST_METHOD or REQUEST_URI has a space or a control character",
    );
    check(
        &[("HTTP_A: b", "c")],
        "",
        "400 a variable name with other characters than letters, digits, - and _",
    );
}

#[test]
fn bodies() {
    let post: Vars<'_> = &[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "5")];
    let input = wire(Protocol::Fastcgi, post, b"hi");
    assert_eq!(
        pass(Protocol::Fastcgi, &input, input.len()),
        "400 the request body ended before its announced length"
    );
    let input = wire(Protocol::Fastcgi, post, b"hello!");
    assert_eq!(
        pass(Protocol::Fastcgi, &input, input.len()),
        "400 the request body is longer than was announced"
    );
    let input = wire(Protocol::Uwsgi, post, b"hi");
    assert_eq!(
        pass(Protocol::Uwsgi, &input, 3),
        "POST / HTTP/1.0|CONTENT-LENGTH: 5||hi ..."
    );
    let input = wire(Protocol::Uwsgi, post, b"hello and more");
    assert_eq!(
        pass(Protocol::Uwsgi, &input, 3),
        "POST / HTTP/1.0|CONTENT-LENGTH: 5||hello"
    );
}

#[test]
fn what_is_no_request() {
    let refused: [(Protocol, &[u8], &str); 6] = [
        (
            Protocol::Uwsgi,
            b"\x05\0\0\0",
            "501 a uwsgi packet with modifier1 5; only requests, 0, are served",
        ),
        (
            Protocol::Uwsgi,
            b"GET / HTTP/1.1\r\n",
            "501 a uwsgi packet with modifier1 71; only requests, 0, are served",
        ),
        (
            Protocol::Uwsgi,
            b"\0\x03\0\0\x01\0A",
            "400 a variable whose length goes beyond the end",
        ),
        (
            Protocol::Fastcgi,
            b"GET / HTTP/1.1\r\n",
            "400 a FastCGI record of version 71, expected 1",
        ),
        (
            Protocol::Fastcgi,
            b"\x01\x01\0\x01\0\x08\0\0\0\x03\0\0\0\0\0\0",
            "Close",
        ),
        (
            Protocol::Fastcgi,
            b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x02\0\x01\0\0\0\0",
            "Aborted",
        ),
    ];
    for (protocol, input, want) in refused {
        for step in [1, input.len()] {
            assert_eq!(
                pass(protocol, input, step),
                want,
                "{}",
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn what_goes_beside_the_head() {
    let vars: Vars<'_> = &[
        ("HTTP_HOST", "h"),
        ("HTTP_CONNECTION", "close"),
        ("REMOTE_ADDR", "1.2.3.4"),
        ("UWSGI_FILE", "/etc/passwd"),
        ("wsgi.url_scheme", "https"),
        ("DOCUMENT_ROOT", "/srv"),
        ("PATH_INFO", "/p"),
        ("SCRIPT_NAME", ""),
    ];
    let given = Given::read(bytes(vars).map(Ok), Wire::Uwsgi, &mut Vec::new()).unwrap();
    let others: Vec<_> = given
        .others()
        .map(|(name, _)| name.escape_ascii().to_string())
        .collect();
    assert_eq!(others, ["HTTP_CONNECTION", "REMOTE_ADDR", "DOCUMENT_ROOT"]);
    assert!(given.secure());
    assert_eq!((given.mount(), given.path()), (None, Some(&b"/p"[..])));
}
