//! Requests that two parsers might read differently: each is refused, and no upstream hears of it.

use crate::harness::{Client, Upstream, pair, streaming_pair};
use crate::nginx_conf::{front, start};

/// A request and the status that refuses it.
const TABLE: &[(&str, u16)] = &[
    // Two lengths, or a length that is none.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        400,
    ),
    // Transfer codings that are not exactly `chunked`.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    // Lines that end, begin or go on in odd ways.
    ("GET / HTTP/1.1\nHost: a\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400),
    ("GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\r\n\r\n", 400),
    ("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", 400),
    // Versions, methods, targets.
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET a.example:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
    (
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
];

/// Chunked bodies that are broken: the upstream may hear of the request, but of nothing behind it.
const CHUNKS: &[&str] = &[
    "5 \r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
];

#[test]
fn refused_before_any_upstream_hears_of_it() {
    let (proxy, app) = pair();
    for (bytes, want) in TABLE {
        let mut client = proxy.client();
        // A second request behind the first one must not be looked at.
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        client.send(format!("{bytes}{smuggled}"));
        let reply = client.reply();
        assert_eq!(reply.status, *want, "{}", bytes.escape_default());
        assert_eq!(
            reply.field("Connection"),
            Some("close"),
            "{}",
            bytes.escape_default()
        );
        client.expect_closed();
        app.expect_untouched();
    }
}

#[test]
fn requests_that_are_well_framed_but_unwanted_keep_the_connection() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    for (target, want) in [
        ("/../x", 400),
        ("/%2e%2e/x", 400),
        ("/a%00b", 400),
        ("/a%zz", 400),
    ] {
        client.get(target);
        assert_eq!(client.reply().status, want, "{target}");
    }
    client.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.status, 405);
    assert!(reply.field("Allow").is_some());
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply().status, 204);
    app.expect_untouched();
}

#[test]
fn broken_chunks_end_the_connection() {
    let (proxy, app) = pair();
    for body in CHUNKS {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = proxy.client();
        client.send(format!(
            "{head}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let reply = client.reply();
        assert_eq!(reply.status, 400, "{}", body.escape_default());
        assert_eq!(reply.field("Connection"), Some("close"));
        client.expect_closed();
        app.expect_untouched();
    }
}

#[test]
fn a_chunk_that_breaks_later_reaches_no_upstream_whole() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let mut link = app.accept();
    assert!(
        link.read_head()
            .contains("\r\nTransfer-Encoding: chunked\r\n")
    );
    assert_eq!(link.read_exact(10), b"5\r\nhello\r\n");
    client.send("zz\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    client.expect_closed();
    // No last chunk: the upstream knows that the body is not all there.
    link.expect_closed();
    app.expect_untouched();
}

/// What no chunk needs may not grow without an end either.
#[test]
fn chunks_with_too_much_beside_their_content() {
    let (proxy, app) = pair();
    let long = "x".repeat(17_000);
    let many: String = (0..101)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    for (body, want) in [
        (format!("5;{long}\r\nhello\r\n0\r\n\r\n"), 400),
        (format!("5\r\nhello\r\n0\r\nX: {long}\r\n\r\n"), 431),
        (format!("5\r\nhello\r\n0\r\n{many}\r\n"), 431),
    ] {
        let mut client = proxy.client();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        // It may have been told off before it was done.
        let _ = client.try_send(format!("{head}{body}"));
        assert_eq!(client.reply().status, want, "{}", &body[..20]);
        client.expect_closed();
    }
    app.expect_untouched();
}

/// A host longer than names can be, and what may stand before and in a target.
#[test]
fn names_lines_and_letters_at_their_limits() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    let host = "h".repeat(256);
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(client.reply().status, 400);
    app.expect_untouched();
    let mut client = proxy.client();
    let host = "h".repeat(255);
    client.send(format!("\r\nGET /1 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let mut link = app.accept();
    assert!(link.answer("1").contains(&format!("\r\nHost: {host}\r\n")));
    assert_eq!(client.reply().text(), "1");
}

/// However a path is written, the rules for it are those of the path that it means.
#[test]
fn rules_hold_for_every_spelling_of_a_path() {
    let daemon = start(
        "",
        "location / { proxy_pass http://unix:@dir@/app.sock; }
         location /admin { deny all; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    for target in [
        "/admin",
        "//admin",
        "/%61dmin",
        "/%61%64%6d%69%6e/x",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x%2f..%2fadmin",
        "/./admin",
        "/%2f/admin",
        "http://b/admin",
    ] {
        assert_eq!(client.get(target).reply().status, 403, "{target}");
    }
    app.expect_untouched();
    // What means another path is for the application, which gets it as it was written.
    let mut link = None;
    for target in ["/%2561dmin", "/x;/..;/admin", "/ADMIN", "/x/admin"] {
        client.get(target);
        let link = link.get_or_insert_with(|| app.accept());
        assert!(
            link.answer("other")
                .starts_with(&format!("GET {target} HTTP/1.1\r\n"))
        );
        assert_eq!(client.reply().text(), "other", "{target}");
    }
}

/// nginx leaves fields out whose names are visible and no tokens. So do we with its files; in YAML, and whatever else is
/// wrong with a name, the request is refused.
#[test]
fn odd_names_are_left_out_as_nginx_does() {
    let (strict, untouched) = pair();
    let daemon = start("", "location / { proxy_pass http://unix:@dir@/app.sock; }");
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut link = None;
    for name in [
        "A@B",
        "A(B)",
        "\"A\"",
        "A,B",
        "A[B]",
        "A/B",
        "Content@Length",
        "A\u{e4}",
    ] {
        let ask = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: x\r\nGood: y\r\n\r\n");
        let mut client = Client::connect(&front(&daemon));
        client.send(&ask);
        let link = link.get_or_insert_with(|| app.accept());
        let head = link.answer("ok");
        assert!(
            !head.contains(name) && head.contains("\r\nGood: y\r\n"),
            "{head}"
        );
        assert_eq!(client.reply().text(), "ok");
        let mut client = strict.client();
        client.send(&ask);
        assert_eq!(client.reply().status, 400, "{name}");
        client.expect_closed();
    }
    untouched.expect_untouched();
    for line in [
        "A B: x",
        "A : x",
        "Transfer-Encoding : chunked",
        "Content-Length\t: 5",
        "Transfer Encoding: chunked",
        " A@B: x",
        "A@B : x",
        "A@\x01: x",
        "A@B: x\ry",
        "A@B",
        ": x",
        "A@B: x\r\n folded",
    ] {
        let mut client = Client::connect(&front(&daemon));
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
        assert_eq!(client.reply().status, 400, "{}", line.escape_default());
        client.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn answers_are_made_plain() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/folded");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nX-Folded: a\r\n \t b\r\n\tc\r\nContent-Length: 2\r\n\r\nok");
    let reply = client.reply();
    assert_eq!(
        (reply.field("X-Folded"), reply.text()),
        (Some("a b c"), "ok")
    );
    // What has no body has no length, whatever is said.
    client.get("/none");
    link.read_head();
    link.write("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(
        client.read_head(),
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    );
    let reply = client.reply();
    assert_eq!((reply.status, reply.field("Content-Length")), (204, None));
    assert_eq!(reply.field("Transfer-Encoding"), None);
}

#[test]
fn answers_that_two_parsers_might_read_differently_are_not_passed_on() {
    let (proxy, app) = pair();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.get("/");
        let mut link = app.accept();
        link.read_head();
        link.write(answer);
        assert_eq!(client.reply().status, 502, "{}", answer.escape_default());
        link.expect_closed();
    }
    proxy.wait_log("the upstream's fault: its answer is not HTTP");
}
