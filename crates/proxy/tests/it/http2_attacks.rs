//! HTTP/2 from clients that do not keep the rules: floods, and heads that would mean something else to an upstream.

use std::fs;
use std::process::Command;

use crate::harness::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GET, HEADERS, Http2,
    PING, PRIORITY, RST_STREAM, SETTINGS, block, frame,
};
use crate::harness::{Daemon, Proxy, Upstream};

fn start(server: &str) -> (Daemon, Upstream) {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "events {{}} http {{ access_log {dir}/access.log;
         server {{ listen unix:{dir}/front; http2 on; http2_max_concurrent_streams 100;
         location / {{ proxy_pass http://unix:{dir}/app.sock; }} {server} }}
         server {{ listen unix:{dir}/ready; location / {{ return 200 ready; }} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    (proxy.start_as(command), app)
}

/// Sends the same frames again and again, until the server has had enough. Another client is served all the while.
#[track_caller]
fn check_flood(what: &str, frames: impl Fn(u32) -> Vec<u8>, most: u32) {
    let (daemon, _app) = start("location /ok { return 200 ok; }");
    let mut other = Http2::connect(&daemon.path("front"));
    let mut client = Frames::connect(&daemon.path("front"));
    let mut sent = 0;
    while sent < most && client.try_send(frames(sent)).is_ok() {
        sent += 1;
    }
    let code = client.farewell();
    assert!(
        code.is_none_or(|code| code == ENHANCE_YOUR_CALM),
        "{what}: {code:?} after {sent}"
    );
    let asked = other.get("/ok");
    assert_eq!(other.reply(asked).text(), "ok", "{what}");
}

/// A GET that opens the stream of this number (they are odd).
fn get(number: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, number * 2 + 1, &block(fields))
}

#[test]
fn floods_end_the_connection() {
    check_flood("pings", |_| frame(PING, 0, 0, b"12345678"), 100_000);
    check_flood(
        "answers to pings",
        |_| frame(PING, 1, 0, b"12345678"),
        100_000,
    );
    check_flood("settings", |_| frame(SETTINGS, 0, 0, b""), 100_000);
    check_flood(
        "priorities",
        |number| frame(PRIORITY, 0, number * 2 + 1, b"\0\0\0\0\x10"),
        100_000,
    );
    // CVE-2023-44487.
    let reset = |number: u32| {
        let mut bytes = get(number, END_STREAM, &GET);
        bytes.extend(frame(RST_STREAM, 0, number * 2 + 1, b"\0\0\0\x08"));
        bytes
    };
    check_flood("requests taken back", reset, 100_000);
    let empty = |number: u32| match number {
        0 => get(0, 0, &GET),
        _ => frame(DATA, 0, 1, b""),
    };
    check_flood("empty content", empty, 100_000);
    let continued = |number: u32| match number {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-more", "and more")])),
    };
    check_flood("heads without an end", continued, 100_000);
    let empty = |number: u32| match number {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, b""),
    };
    check_flood("empty continuations", empty, 100_000);
    check_flood("unknown frames", |_| frame(0xbe, 0, 0, b"grease"), 100_000);
}

/// CVE-2025-8671: the client makes the server take requests back, by mistakes in them.
#[test]
fn mistakes_in_streams_are_counted() {
    check_flood(
        "windows that overflow",
        |number| {
            let mut bytes = get(number, 0, &GET);
            bytes.extend(frame(8, 0, number * 2 + 1, &0x7fff_ffff_u32.to_be_bytes()));
            bytes
        },
        100_000,
    );
}

#[test]
fn no_more_streams_than_allowed_are_open_at_once() {
    let (daemon, app) = start("");
    let mut client = Frames::connect(&daemon.path("front"));
    for number in 0..101 {
        client.send(get(number, END_STREAM, &GET));
    }
    let refused = client.wait(|frame| frame.kind == RST_STREAM);
    // REFUSED_STREAM: nothing was done with it, so that it may be sent again.
    assert_eq!((refused.stream, refused.code()), (201, 7));
    let mut links: Vec<_> = (0..100).map(|_| app.accept()).collect();
    links.iter_mut().for_each(|link| drop(link.answer("ok")));
    for _ in 0..100 {
        client.wait(|frame| frame.kind == DATA && frame.payload == b"ok");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (daemon, app) = start("");
    let mut client = Frames::connect(&daemon.path("front"));
    let long = "x".repeat(120);
    let mut fields = GET.to_vec();
    fields.extend((0..400).map(|_| ("x-field", long.as_str())));
    let bytes = block(&fields);
    let (first, rest) = bytes.split_at(16_000);
    client.send(frame(HEADERS, END_STREAM, 1, first));
    let pieces: Vec<_> = rest.chunks(16_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let last = index + 1 == pieces.len();
        let flags = if last { END_HEADERS } else { 0 };
        client.send(frame(CONTINUATION, flags, 1, piece));
    }
    // 431, whose first digit shows that it is no index of a success.
    let answer = client.wait(|frame| frame.kind == HEADERS || frame.kind == RST_STREAM);
    assert_ne!(answer.payload.first(), Some(&0x88));
    app.expect_untouched();
}

/// Whatever an upstream could take for something else is refused, and never gets there.
#[test]
fn ambiguous_requests_go_nowhere() {
    let (daemon, app) = start("");
    let with = |more: &[(&'static str, &'static str)]| {
        let mut fields = GET.to_vec();
        for (name, value) in more {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some(field) if name.starts_with(':') => field.1 = value,
                _ => fields.push((name, value)),
            }
        }
        fields
    };
    let cases: &[&[(&'static str, &'static str)]] = &[
        &[("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("connection", "x-secret")],
        &[("upgrade", "websocket")],
        &[("keep-alive", "1")],
        &[("proxy-connection", "close")],
        &[("te", "chunked")],
        &[("X-Upper", "case")],
        &[("x-split", "a\r\nx-smuggled: b")],
        &[("x-split", "a\nb")],
        &[("x-nul", "a\0b")],
        &[("x-name\r\nx-smuggled", "b")],
        &[("x name", "b")],
        &[("x:name", "b")],
        &[("", "b")],
        &[("host", "other.test")],
        &[("host", "site.test"), ("host", "site.test")],
        &[("content-length", "5")],
        &[("content-length", "0"), ("content-length", "7")],
        &[("content-length", "+0")],
        &[("content-length", "0x0")],
        &[("content-type", "a/b"), ("content-type", "c/d")],
        &[(":path", "")],
        &[(":path", "nothing")],
        &[(":path", "*")],
        &[(":path", "/a b")],
        &[(":path", "/a\r\nx: y")],
        &[(":path", "/a HTTP/1.1\r\nHost: x\r\n\r\nGET /admin")],
        &[(":path", "http://other.test/")],
        &[(":method", "GET /admin HTTP/1.1\r\n")],
        &[(":method", "get")],
        &[(":method", "")],
        &[(":method", "CONNECT")],
        &[(":method", "TRACE")],
        &[(":authority", "")],
        &[(":authority", "site.test/x")],
        &[(":authority", "user@site.test")],
        &[(":authority", "a b")],
        &[(":status", "200")],
        &[(":protocol", "websocket")],
    ];
    for &case in cases {
        let mut client = Frames::connect(&daemon.path("front"));
        client.send(get(0, END_STREAM, &with(case)));
        loop {
            match client.next() {
                None => break,
                Some(frame) if frame.kind == RST_STREAM || frame.kind == 7 => break,
                Some(frame) if frame.kind == HEADERS => {
                    // 400, or a status of an index that means none of 2xx and 3xx.
                    let refused = frame.payload.first() != Some(&0x88);
                    assert!(refused, "{case:?}: {:02x?}", frame.payload);
                    break;
                }
                Some(_) => {}
            }
        }
        app.expect_untouched();
    }
    // And a good one still is served.
    let mut client = Frames::connect(&daemon.path("front"));
    client.send(get(0, END_STREAM, &with(&[("te", "trailers")])));
    let mut link = app.accept();
    let head = link.answer("fine");
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: "), "{head}");
    client.wait(|frame| frame.kind == DATA && frame.payload == b"fine");
}

/// The body's frames and its length disagree: the upstream must not see a request that ends elsewhere.
#[test]
fn a_length_that_is_not_the_bodys_is_found_out() {
    for (body, ends) in [("12345", true), ("1234567890123", false)] {
        let (daemon, app) = start("");
        let mut client = Frames::connect(&daemon.path("front"));
        let mut fields = GET.to_vec();
        fields[0].1 = "POST";
        fields.push(("content-length", "10"));
        client.send(get(0, 0, &fields));
        let flags = if ends { END_STREAM } else { 0 };
        client.send(frame(DATA, flags, 1, body.as_bytes()));
        let reset = client.wait(|frame| frame.kind == RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (1, 1));
        if let Some(mut link) = app.try_accept() {
            let got = String::from_utf8(link.read_to_end()).unwrap();
            assert!(!got.contains("11234567890"), "{got}");
        }
    }
}

#[test]
fn without_http2_its_preface_is_no_request() {
    let (daemon, _app) = start("");
    let mut client = Frames::connect_silently(&daemon.path("ready"));
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut said = Vec::new();
    std::io::Read::read_to_end(client.socket(), &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 505"),
        "{said}"
    );
    // With it, a preface that goes on wrongly ends the connection.
    let mut client = Frames::connect_silently(&daemon.path("front"));
    client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.farewell().unwrap_or(1), 1);
}
