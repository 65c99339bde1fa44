//! Requests there, answers back: heads, bodies, connections, and what happens when one side leaves.

use crate::harness::{pair, pair_with, streaming_pair};

#[test]
fn one_connection_serves_many_requests() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/one");
    let mut link = app.accept();
    let head = link.answer("first");
    assert!(
        head.starts_with("GET /one HTTP/1.1\r\nHost: test\r\n"),
        "{head}"
    );
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (200, "first"));
    assert_eq!(reply.field("Connection"), None);
    assert_eq!(reply.field("Server"), Some("trine"));
    assert!(reply.field("Date").is_some());
    for number in 0..3 {
        client.get(&format!("/{number}"));
        let head = link.answer("again");
        assert!(head.starts_with(&format!("GET /{number} ")), "{head}");
        assert_eq!(client.reply().text(), "again");
    }
    // Another client gets the same upstream connection.
    drop(client);
    let mut other = proxy.client();
    other.get("/other");
    link.answer("shared");
    assert_eq!(other.reply().text(), "shared");
    app.expect_untouched();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(format!(
        "{}{}{}",
        get("/1"),
        "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        get("/3")
    ));
    let mut link = app.accept();
    assert!(link.answer("one").starts_with("GET /1 "));
    assert!(link.read_head().starts_with("POST /2 "));
    assert_eq!(link.read_exact(3), b"abc");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
    assert!(link.answer("three").starts_with("GET /3 "));
    for want in ["one", "two", "three"] {
        assert_eq!(client.reply().text(), want);
    }
}

#[test]
fn heads_are_cleaned_both_ways() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send(
        "GET /a?b=%20c HTTP/1.1\r\nHost: Example.org:81\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nCookie: a=b\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nProxy: evil\r\nTE: trailers\r\nUser_Agent: x\r\n\r\n",
    );
    let mut link = app.accept();
    let head = link.read_head();
    assert!(
        head.starts_with("GET /a?b=%20c HTTP/1.1\r\nHost: Example.org:81\r\nCookie: a=b\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n"),
        "{head}"
    );
    for gone in ["6.6.6.6", "evil", "X-Hop", "Connection", "TE:", "_"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    link.write(
        "HTTP/1.1 200 Fine\r\nConnection: X-Secret\r\nX-Secret: 1\r\nServer: gunicorn\r\nKeep-Alive: timeout=5\r\n\
         X-Accel-Expires: 60\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let reply = client.reply();
    assert!(
        reply.head.starts_with("HTTP/1.1 200 Fine\r\n"),
        "{}",
        reply.head
    );
    assert_eq!(reply.field("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(reply.field("Server"), Some("trine"));
    assert_eq!(reply.head.matches("Set-Cookie").count(), 2);
    for gone in ["X-Secret", "gunicorn", "Keep-Alive", "X-Accel"] {
        assert!(!reply.head.contains(gone), "{gone} in {}", reply.head);
    }
}

#[test]
fn answers_without_a_body() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let reply = client.reply_to("HEAD");
    assert_eq!(reply.field("Content-Length"), Some("1000"));

    client.get("/304");
    link.read_head();
    link.write("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.field("ETag")), (304, Some("\"x\"")));

    client.get("/204");
    link.read_head();
    link.write("HTTP/1.1 204 No Content\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.field("Content-Length")), (204, None));
    client.get("/next");
    link.answer("next");
    assert_eq!(client.reply().text(), "next");
}

#[test]
fn streams_answers_as_they_come() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(
        client
            .read_head()
            .contains("\r\nTransfer-Encoding: chunked\r\n")
    );
    link.write("5\r\nhello\r\n");
    assert_eq!(client.read_chunk(), b"hello");
    link.write("1\r\n,\r\n6;ext=1\r\n world\r\n");
    let mut got = client.read_chunk();
    if got.len() < 7 {
        got.extend(client.read_chunk());
    }
    assert_eq!(got, b", world");
    link.write("0\r\nX-Trailer: dropped\r\n\r\n");
    assert_eq!(client.read_chunk(), b"");
    // Nothing is left on either connection.
    client.get("/next");
    link.answer("next");
    assert_eq!(client.reply().text(), "next");
}

#[test]
fn an_answer_that_ends_with_its_connection() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.0 200 OK\r\n\r\nuntil");
    assert!(
        client
            .read_head()
            .contains("\r\nTransfer-Encoding: chunked\r\n")
    );
    assert_eq!(client.read_chunk(), b"until");
    link.write(" close");
    assert_eq!(client.read_chunk(), b" close");
    drop(link);
    assert_eq!(client.read_chunk(), b"");
    client.get("/next");
    app.accept().answer("next");
    assert_eq!(client.reply().text(), "next");
}

#[test]
fn old_clients() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut link = app.accept();
    let head = link.answer("ten");
    assert!(
        head.starts_with("GET / HTTP/1.1\r\nHost: localhost\r\n"),
        "{head}"
    );
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        ("ten", Some("close"))
    );
    client.expect_closed();

    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    link.answer("kept");
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        ("kept", Some("keep-alive"))
    );
    // A chunked answer is one that lasts until the close for them.
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        ("abc", Some("close"))
    );
}

#[test]
fn absolute_targets_win_over_host() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send("GET http://right.example/a?b HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    let head = app.accept().answer("ok");
    assert!(
        head.starts_with("GET /a?b HTTP/1.1\r\nHost: right.example\r\n"),
        "{head}"
    );
    assert!(!head.contains("wrong"), "{head}");
}

#[test]
fn uploads_are_streamed() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        .send("x".repeat(40000));
    let mut link = app.accept();
    assert!(link.read_head().contains("\r\nContent-Length: 100000\r\n"));
    assert_eq!(link.read_exact(40000).len(), 40000);
    client.send("y".repeat(60000));
    assert_eq!(link.read_exact(60000), [b'y'; 60000]);
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");

    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(
        link.read_head()
            .contains("\r\nTransfer-Encoding: chunked\r\n")
    );
    client.send("3\r\nabc\r\n");
    assert_eq!(link.read_exact(8), b"3\r\nabc\r\n");
    client.send(
        "2;x=y\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(link.read_exact(12), b"2\r\nde\r\n0\r\n\r\n");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    assert!(link.answer("next").starts_with("GET /next "));
    assert_eq!(client.reply().text(), "next");
}

/// The last bytes wait for the connection's end, which a client's bytes that nobody reads would make a reset of.
#[test]
fn who_says_more_than_asked_for_has_the_answer_all_the_same() {
    let (proxy, app) = pair();
    let mut links = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut link = app.accept();
        link.read_head();
        client.send("GET /more HTTP/1.1\r\nHost: a\r\n\r\n");
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let reply = client.reply();
        assert_eq!(
            (reply.field("Connection"), reply.text()),
            (Some("close"), "ok")
        );
        links.push(link);
    }
}

#[test]
fn both_directions_at_once() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n");
    let mut link = app.accept();
    link.read_head();
    assert_eq!(link.read_exact(9), b"4\r\nping\r\n");
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npong\r\n");
    assert!(client.read_head().contains("\r\nConnection: close\r\n"));
    assert_eq!(client.read_chunk(), b"pong");
    client.send("5\r\nagain\r\n0\r\n\r\n");
    assert_eq!(link.read_exact(15), b"5\r\nagain\r\n0\r\n\r\n");
    link.write("3\r\nend\r\n0\r\n\r\n");
    assert_eq!(client.read_chunk(), b"end");
    assert_eq!(client.read_chunk(), b"");
    client.expect_closed();
}

#[test]
fn large_bodies_both_ways() {
    let (proxy, app) = pair_with("", "");
    let body: Vec<u8> = (0..900_000u32).map(|number| (number % 251) as u8).collect();
    let sent = body.clone();
    let address = proxy.address().to_owned();
    let uploader = std::thread::spawn(move || {
        let mut client = crate::harness::Client::connect(&address);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        client.send(&sent);
        client.reply()
    });
    let mut link = app.accept();
    link.read_head();
    let got = link.read_exact(body.len());
    assert!(got == body);
    link.write(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ))
    .write(&body);
    let reply = uploader.join().unwrap();
    assert!(reply.body == body);
}

#[test]
fn expect_continue_is_answered_when_somebody_takes_the_body() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let mut link = app.accept();
    assert!(!link.read_head().contains("Expect"));
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(link.read_exact(5), b"hello");
    link.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    // Too much is refused without asking for it.
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.reply().status, 413);
    client.expect_closed();
    app.expect_untouched();
}

#[test]
fn interim_answers() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n");
    assert_eq!(
        client.read_head(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    );
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    // HTTP/1.0 knows none.
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    link.read_head();
    link.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn a_cut_answer_never_looks_complete() {
    let (proxy, app) = pair();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
            let mut link = app.accept();
            link.read_head();
            link.write(answer);
            client.read_head();
            drop(link);
            client.expect_reset();
        }
    }
    proxy.wait_log("the upstream's fault: it closed the connection within the body of its answer");
}

#[test]
fn bytes_behind_an_answer_spoil_the_connection() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/1");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert_eq!(client.reply().text(), "ok");
    link.expect_closed();
    // The same, when they come later.
    client.get("/2");
    let mut link = app.accept();
    link.answer("ok");
    assert_eq!(client.reply().text(), "ok");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    client.get("/3");
    let mut fresh = app.accept();
    fresh.answer("clean");
    assert_eq!(client.reply().text(), "clean");
    link.expect_closed();
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        .send("x".repeat(100_000));
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.text(), reply.field("Connection")),
        (403, "no", Some("close"))
    );
    link.read_to_end();
    // What is still sent is taken and forgotten, so that no reset destroys the answer.
    client.send("x".repeat(800_000));
    client.expect_closed();
}

#[test]
fn an_answer_from_an_upstream_that_stopped_reading() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        .send("x".repeat(100_000));
    let mut link = app.accept();
    link.read_head();
    link.stop_reading();
    link.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    link.finish_sending();
    assert_eq!(client.reply().text(), "no");
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client.get("/left");
    let mut link = app.accept();
    link.read_head();
    drop(client);
    link.expect_closed();
    let line = proxy.wait_access("/left");
    assert!(line.contains("\"status\":499"), "{line}");
    proxy.wait_log("the client's fault: the client went away");

    // While it uploads.
    let mut client = proxy.client();
    client
        .send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        .send("x".repeat(50_000));
    let mut link = app.accept();
    link.read_head();
    link.read_exact(50_000);
    drop(client);
    link.expect_closed();
    assert!(proxy.wait_access("/upload").contains("\"status\":499"));

    // While it downloads.
    let mut client = proxy.client();
    client.get("/download");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    client.read_head();
    client.read_chunk();
    drop(client);
    link.expect_closed();
    assert!(proxy.wait_access("/download").contains("\"status\":499"));
}

#[test]
fn several_servers_take_turns_and_a_dead_one_is_skipped() {
    use crate::harness::{Proxy, Upstream};
    let proxy = Proxy::new();
    let apps = ["a", "b", "dead"].map(|name| Upstream::at(&proxy.path(name)));
    let proxy = proxy
        .config(
            "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /, proxy: app }]\n\
             upstreams:\n  app: { servers: ['unix:a', 'unix:b', 'unix:dead'], keepalive: 0 }\n",
        )
        .start();
    let [a, b, dead] = apps;
    drop(dead);
    let mut client = proxy.client();
    for app in [&a, &b, &a] {
        client.get("/");
        let head = app.accept().answer("ok");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(client.reply().text(), "ok");
    }
}

#[test]
fn the_client_of_a_trusted_proxy_is_believed() {
    let (proxy, app) = pair_with("trusted_proxies: 127.0.0.1", "");
    let mut client = proxy.client();
    client.send(
        "GET /far HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.5\r\nX-Forwarded-Proto: https\r\n\r\n",
    );
    let head = app.accept().answer("ok");
    assert!(
        head.contains("\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.5, 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nX-Real-IP: 203.0.113.5\r\n"), "{head}");
    assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
    assert!(
        proxy
            .wait_access("/far")
            .contains("\"client\":\"203.0.113.5\"")
    );
}
