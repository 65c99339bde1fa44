use super::*;

const DATE: &[u8; 29] = b"Mon, 23 Nov 2026 10:00:00 GMT";

/// Plays one answer and renders the wire: `blocks` are what the application yields.
fn play(
    demand: Demand,
    status: &str,
    headers: &[(&str, &str)],
    total: Option<u64>,
    blocks: &[&str],
) -> (String, bool) {
    let mut reply = Reply::default();
    reply.begin(demand);
    reply.set_status(status.as_bytes()).unwrap();
    for (name, value) in headers {
        reply.add_header(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let mut out = Vec::new();
    reply.start(&mut out, total, DATE);
    for block in blocks {
        let allowed = reply.block(&mut out, block.len());
        out.extend_from_slice(&block.as_bytes()[..allowed]);
        if allowed > 0 {
            out.extend_from_slice(reply.block_end());
        }
    }
    let end = reply.end();
    out.extend_from_slice(end);
    let text = String::from_utf8(out).unwrap();
    let text = text.replace(
        "Server: trine-wsgi\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n",
        "",
    );
    (text.replace("\r\n", "|"), reply.keep_alive())
}

#[track_caller]
fn check(
    kind: &str,
    status: &str,
    headers: &[(&str, &str)],
    total: Option<u64>,
    blocks: &[&str],
    want: &str,
) {
    let demand = Demand {
        version: if kind.contains("1.0") {
            Version::Http10
        } else {
            Version::Http11
        },
        head_only: kind.contains("HEAD"),
        keep_alive: !kind.contains("close"),
        wire: match kind.split(' ').next_back() {
            Some("uwsgi") => Some(Wire::Uwsgi),
            Some("fastcgi") => Some(Wire::FastCgi { id: 1 }),
            _ => None,
        },
    };
    let (text, keep) = play(demand, status, headers, total, blocks);
    let got = format!("{text}{}", if keep { "" } else { " <closes>" });
    assert_eq!(got, want, "{kind} {status} {headers:?} {blocks:?}");
}

#[test]
fn lengths() {
    let cl = |n: &'static str| [("Content-Length", n)];
    check(
        "1.1",
        "200 OK",
        &cl("2"),
        None,
        &["hi"],
        "HTTP/1.1 200 OK|Content-Length: 2||hi",
    );
    check(
        "1.1",
        "200 OK",
        &[],
        Some(2),
        &["hi"],
        "HTTP/1.1 200 OK|Content-Length: 2||hi",
    );
    check(
        "1.1",
        "200 OK",
        &[],
        None,
        &["hi", "", "ho"],
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|2|ho|0||",
    );
    check(
        "1.1",
        "200 OK",
        &[],
        None,
        &[],
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0||",
    );
    check(
        "1.1",
        "200 OK",
        &cl("5"),
        None,
        &["hi"],
        "HTTP/1.1 200 OK|Content-Length: 5||hi <closes>",
    );
    check(
        "1.1",
        "200 OK",
        &cl("1"),
        None,
        &["hi", "x"],
        "HTTP/1.1 200 OK|Content-Length: 1||h",
    );
    check(
        "1.0",
        "200 OK",
        &[],
        None,
        &["hi"],
        "HTTP/1.0 200 OK|Connection: close||hi <closes>",
    );
    check(
        "1.0",
        "200 OK",
        &cl("2"),
        None,
        &["hi"],
        "HTTP/1.0 200 OK|Content-Length: 2|Connection: keep-alive||hi",
    );
    check(
        "1.1 close",
        "200 OK",
        &[],
        Some(0),
        &[],
        "HTTP/1.1 200 OK|Content-Length: 0|Connection: close|| <closes>",
    );
}

#[test]
fn no_body() {
    let cl = [("Content-Length", "2")];
    check(
        "1.1 HEAD",
        "200 OK",
        &cl,
        None,
        &["hi"],
        "HTTP/1.1 200 OK|Content-Length: 2||",
    );
    check(
        "1.1 HEAD",
        "200 OK",
        &[],
        None,
        &["hi"],
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||",
    );
    check("1.1 HEAD", "200 OK", &[], Some(0), &[], "HTTP/1.1 200 OK||");
    check(
        "1.1",
        "204 No Content",
        &cl,
        Some(2),
        &["hi"],
        "HTTP/1.1 204 No Content||",
    );
    check(
        "1.1",
        "304 Not Modified",
        &cl,
        None,
        &["hi"],
        "HTTP/1.1 304 Not Modified|Content-Length: 2||",
    );
    check(
        "1.1",
        "304 Not Modified",
        &[],
        Some(0),
        &[],
        "HTTP/1.1 304 Not Modified||",
    );
}

#[test]
fn fields() {
    let headers = [
        ("X-A", "1"),
        ("Connection", "X-A"),
        ("Transfer-Encoding", "chunked"),
        ("Server", "me"),
        ("Date", "now"),
        ("Keep-Alive", "5"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
        ("Upgrade", "x"),
    ];
    check(
        "1.1",
        "200 Ok",
        &headers,
        Some(0),
        &[],
        "HTTP/1.1 200 Ok|X-A: 1|Set-Cookie: a|Set-Cookie: b|Content-Length: 0||",
    );
    check(
        "1.1",
        "200 OK",
        &[("connection", "close")],
        Some(0),
        &[],
        "HTTP/1.1 200 OK|Content-Length: 0|Connection: close|| <closes>",
    );
    check(
        "1.1",
        "299",
        &[],
        Some(0),
        &[],
        "HTTP/1.1 299 |Content-Length: 0||",
    );
}

#[test]
fn refused() {
    let mut reply = Reply::default();
    reply.begin(Demand::default());
    for bad in ["", "20", "abc", "2000 x", "200OK", "200 a\r\nX: y", "099 x"] {
        assert_eq!(
            reply.set_status(bad.as_bytes()),
            Err(ReplyError::Status),
            "{bad:?}"
        );
    }
    reply.set_status(b"200 OK").unwrap();
    assert_eq!(reply.add_header(b"Set-Cookie", b" a=b; Path=/\t"), Ok(()));
    assert!(reply.head.ends_with(b"Set-Cookie: a=b; Path=/\r\n"));
    assert_eq!(reply.add_header(b"A b", b"1"), Err(ReplyError::HeaderName));
    assert_eq!(
        reply.add_header(b"A", b"1\r\nB: 2"),
        Err(ReplyError::HeaderValue)
    );
    assert_eq!(
        reply.add_header(b"Content-Length", b"+1"),
        Err(ReplyError::ContentLength)
    );
    reply.add_header(b"Content-Length", b"1").unwrap();
    assert_eq!(
        reply.add_header(b"Content-Length", b"1"),
        Err(ReplyError::ContentLength)
    );
}

#[test]
fn a_second_head_replaces_the_first() {
    let mut reply = Reply::default();
    reply.begin(Demand {
        keep_alive: true,
        ..Demand::default()
    });
    reply.set_status(b"200 OK").unwrap();
    reply.add_header(b"X-Old", b"1").unwrap();
    reply.add_header(b"Content-Length", b"7").unwrap();
    reply.set_status(b"500 Oops").unwrap();
    reply.add_header(b"X-New", b"1").unwrap();
    let mut out = Vec::new();
    reply.start(&mut out, Some(0), DATE);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 500 Oops\r\nX-New: 1\r\nServer:"),
        "{text}"
    );
    assert!(
        text.contains("Content-Length: 0\r\n") && !text.contains("X-Old"),
        "{text}"
    );
}
