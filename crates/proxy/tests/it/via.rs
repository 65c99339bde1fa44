//! The way of messages over proxies: `Via` in both directions, loops, and `Max-Forwards` (RFC 9110 section 7.6).

use crate::fastcgi;
use crate::harness::http2::Http2;
use crate::harness::{Client, Proxy, Upstream, pair_with};
use crate::nginx_conf::{front, start};

/// The values of `Via` in a head, in order.
fn way(head: &str) -> Vec<String> {
    let lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    let via = lines.filter(|(name, _)| name.eq_ignore_ascii_case("via"));
    via.map(|(_, value)| value.to_owned()).collect()
}

const APP: &str = "proxy_pass http://unix:@dir@/app.sock;";

#[test]
fn both_directions_tell_the_way() {
    let daemon = start(
        "early_hints 1;",
        &format!("http2 on; via edge-1; location / {{ {APP} }} location /off {{ via off; {APP} }}"),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred, 1.1 p.example (x)\r\nVia: 1.1 q\r\nConnection: Via\r\n\r\n");
    let mut link = app.accept();
    let head = link.read_head();
    let told = ["1.0 fred, 1.1 p.example (x)", "1.1 q", "1.1 edge-1"];
    assert_eq!(way(&head), told, "{head}");
    link.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 2\r\n\r\nok");
    let hint = client.read_head();
    assert!(hint.starts_with("HTTP/1.1 103 "), "{hint}");
    assert_eq!(way(&hint), ["1.1 edge-1"]);
    let reply = client.reply();
    assert_eq!(way(&reply.head), ["1.1 inner", "1.1 edge-1"]);

    client.get("/off");
    assert_eq!(way(&link.answer("off")), [""; 0]);
    assert_eq!(way(&client.reply().head), [""; 0]);
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(way(&link.read_head()), ["1.0 edge-1"]);
    link.write("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(way(&client.reply().head), ["1.0 edge-1"]);

    let mut client = Http2::connect(&daemon.path("front"));
    let asked = client.get("/");
    let mut link = app.accept();
    assert_eq!(way(&link.answer("two")), ["2.0 edge-1"]);
    let reply = client.reply(asked);
    assert_eq!(
        (reply.field("via"), reply.text()),
        (Some("1.1 edge-1"), "two")
    );
}

#[test]
fn yaml_says_it_by_the_same_word() {
    let (daemon, app) = pair_with("via: edge.example:8080", "");
    let mut client = daemon.client();
    client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nVia: 1.1 q\r\nMax-Forwards: 7\r\n\r\n");
    let mut link = app.accept();
    let head = link.answer("ok");
    assert_eq!(way(&head), ["1.1 q", "1.1 edge.example:8080"]);
    assert_eq!(head.matches("Max-Forwards").count(), 1, "{head}");
    assert!(head.contains("\r\nMax-Forwards: 6\r\n"), "{head}");
    assert_eq!(way(&client.reply().head), ["1.1 edge.example:8080"]);

    let proxy = Proxy::new().config("servers: [{ listen: 'unix:front', via: 'a b' }]");
    let (code, said) = proxy.run(&["-t"]);
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("\"a b\" cannot be a proxy's name in Via"),
        "{said}"
    );
}

#[test]
fn without_the_word_nothing_is_told() {
    let daemon = start("", &format!("location / {{ {APP} }}"));
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nVia: 1.1 trine\r\nMax-Forwards: 0\r\n\r\n");
    let head = app.accept().answer("ok");
    assert_eq!(way(&head), ["1.1 trine"]);
    assert!(head.contains("\r\nMax-Forwards: 0\r\n"), "{head}");
    assert_eq!(way(&client.reply().head), [""; 0]);
}

#[test]
fn two_proxies_that_forward_to_each_other() {
    let meeting = tempfile::tempdir().unwrap();
    let at = meeting.path().display();
    let between = |own: &str, other: &str| {
        start(
            "",
            &format!(
                "listen unix:{at}/{own}; via {own}; location / {{ proxy_pass http://unix:{at}/{other}; }}"
            ),
        )
    };
    let (one, two) = (between("one", "two"), between("two", "one"));
    let mut client = Client::connect(&front(&one));
    let reply = client.get("/round?x").reply();
    assert_eq!(reply.status, 508, "{}", reply.head);
    assert!(reply.head.starts_with("HTTP/1.1 508 Loop Detected\r\n"));
    assert_eq!(way(&reply.head), ["1.1 two", "1.1 one"]);
    one.wait_log("the request comes round again: its Via names \"one\", which is this proxy; see where the upstream's address leads");
    assert!(!two.log().contains("comes round again"));
    // How far it may go ends it before that.
    for (most, way_back) in [
        ("0", &[][..]),
        ("1", &["1.1 one"]),
        ("2", &["1.1 two", "1.1 one"]),
    ] {
        client.send(format!(
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {most}\r\n\r\n"
        ));
        let reply = client.reply();
        let want = if most == "2" { 508 } else { 200 };
        assert_eq!(
            (reply.status, &way(&reply.head)[..]),
            (
                want,
                way_back
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .as_slice()
            )
        );
    }
}

#[test]
fn how_far_a_request_may_go() {
    let daemon = start(
        "",
        &format!("http2 on; via edge; location / {{ {APP} }} location /own {{ return 200 own; }}"),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let mut ask = |line: &str, fields: &str| {
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        client.reply()
    };
    let reply = ask("OPTIONS /x", "Max-Forwards: 0\r\n");
    assert_eq!((reply.status, reply.text()), (200, ""));
    let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    assert_eq!(reply.field("Allow"), Some(methods));
    assert_eq!(way(&reply.head), [""; 0]);
    // TRACE would show what it is told, cookies included, whatever the number.
    for most in ["", "Max-Forwards: 0\r\n", "Max-Forwards: 5\r\n"] {
        assert_eq!(ask("TRACE /x", most).status, 405);
    }
    for bad in ["-1", "1.0", "a", "", "1, 2", "1\r\nMax-Forwards: 1"] {
        let reply = ask("OPTIONS /x", &format!("Max-Forwards: {bad}\r\n"));
        assert_eq!(reply.status, 400, "{bad:?}");
    }
    // Who has been here is told so, over and over, and nobody is asked.
    for via in ["1.1 edge", "1.1 a, 2.0 EDGE (x)"] {
        assert_eq!(ask("GET /x", &format!("Via: {via}\r\n")).status, 508);
    }
    // What we answer ourselves is not forwarded.
    assert_eq!(ask("GET /own", "Via: 1.1 edge\r\n").text(), "own");
    app.expect_untouched();
    // Names within comments or of others are no loop; other methods may go as far as they like.
    client.send("GET /x HTTP/1.1\r\nHost: a\r\nVia: 1.1 edge.test (1.1 a, 1.1 edge)\r\nMax-Forwards: 0\r\n\r\n");
    let mut link = app.accept();
    let head = link.answer("far");
    assert!(head.contains("\r\nMax-Forwards: 0\r\n"), "{head}");
    assert_eq!(client.reply().text(), "far");
    client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 99999999999999999999\r\n\r\n");
    let head = link.answer("beyond");
    assert!(
        head.contains("\r\nMax-Forwards: 18446744073709551614\r\n"),
        "{head}"
    );
    assert_eq!(client.reply().text(), "beyond");

    let mut client = Http2::connect(&daemon.path("front"));
    let request = |method: &str, most: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri("http://site.test/x");
        request.header("max-forwards", most).body(()).unwrap()
    };
    let asked = client.ask(request("OPTIONS", "0"), true);
    assert_eq!(client.reply(asked).field("allow"), Some(methods));
    let asked = client.ask(request("OPTIONS", "3"), true);
    let head = link.answer("two");
    assert!(head.contains("\r\nMax-Forwards: 2\r\n"), "{head}");
    assert_eq!(client.reply(asked).text(), "two");
}

#[test]
fn kept_answers_have_come_the_same_way() {
    let daemon = start(
        "proxy_cache_path @dir@/cache keys_zone=c:1m;",
        &format!("via edge; location / {{ proxy_cache c; proxy_cache_valid 1h; {APP} }}"),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.get("/");
    let mut link = app.accept();
    assert_eq!(way(&link.read_head()), ["1.1 edge"]);
    link.write("HTTP/1.1 200 OK\r\nVia: 1.0 inner\r\nContent-Length: 4\r\n\r\nkept");
    // From the application, from the cache, and twice by the short way.
    for turn in 0..4 {
        let reply = if turn == 0 {
            client.reply()
        } else {
            client.get("/").reply()
        };
        assert_eq!(reply.text(), "kept");
        assert_eq!(way(&reply.head), ["1.0 inner", "1.1 edge"], "turn {turn}");
    }
    app.expect_untouched();
}

#[test]
fn applications_that_speak_no_http() {
    let daemon = start(
        "",
        "via edge; location / { fastcgi_pass unix:@dir@/app.sock; }
         location /s { scgi_pass unix:@dir@/scgi.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    for (fields, via, most) in [
        ("", "1.1 edge", None),
        (
            "Via: 1.0 a\r\nX: y\r\nvia: 1.1 b\r\nMax-Forwards: 4\r\n",
            "1.0 a, 1.1 b, 1.1 edge",
            Some("3"),
        ),
    ] {
        let mut client = Client::connect(&front(&daemon));
        client.send(format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let mut link = app.accept();
        let asked = fastcgi::read(&mut link);
        assert_eq!(asked.param("HTTP_VIA"), Some(via));
        assert_eq!(asked.param("HTTP_MAX_FORWARDS"), most);
        link.write(
            [
                fastcgi::stdout("Content-Type: text/plain\r\n\r\nhello"),
                fastcgi::end(0),
            ]
            .concat(),
        );
        let reply = client.reply();
        assert_eq!(reply.text(), "hello");
        assert_eq!(way(&reply.head), ["CGI/1.1 edge"]);
    }
    let scgi = Upstream::at(&daemon.path("scgi.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.get("/s");
    let mut link = scgi.accept();
    let mut seen = Vec::new();
    while !seen.ends_with(b"HTTP_VIA\x001.1 edge\0,") {
        seen.extend(link.read_exact(1));
    }
    link.write("Content-Type: text/plain\r\n\r\nscgi");
    drop(link);
    let reply = client.reply();
    assert_eq!(
        (reply.text(), way(&reply.head)),
        ("scgi", vec!["CGI/1.1 edge".to_owned()])
    );
}

#[test]
fn a_switch_of_protocols_tells_the_way() {
    let daemon = start("", &format!("via edge; location / {{ {APP} }}"));
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut link = app.accept();
    assert_eq!(way(&link.read_head()), ["1.1 edge"]);
    link.write("HTTP/1.1 101 Switching Protocols\r\nVia: 1.1 b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(way(&head), ["1.1 b", "1.1 edge"]);
    assert_eq!(client.read_exact(5), b"hello");
}
