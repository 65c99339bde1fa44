//! HTTP/2 as clients that keep the rules see it: the same answers as over HTTP/1, many at once, and a polite end.

use std::fs;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use nix::sys::signal::Signal;

use crate::harness::http2::Http2;
use crate::harness::{Client, Daemon, Proxy, Upstream};

/// A daemon with these directives in its only server, which listens on a Unix socket and proxies `/app/`.
fn start(server: &str) -> (Daemon, Upstream) {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    fs::create_dir_all(proxy.path("html")).unwrap();
    fs::write(proxy.path("html/a.txt"), "0123456789").unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    fs::write(proxy.path("html/big.bin"), big).unwrap();
    let text = format!(
        "events {{}} http {{ types {{ text/plain txt; }}
         log_format f '$request $status $http2 $connection_requests';
         server {{ listen unix:{dir}/front http2; root {dir}/html; access_log {dir}/access.log f;
         location /app/ {{ proxy_pass http://unix:{dir}/app.sock; }}
         location /told {{ return 200 '$request_method $server_protocol $http2 $scheme $host'; }}
         {server} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    (proxy.start_as(command), app)
}

fn connect(daemon: &Daemon) -> Http2 {
    Http2::connect(&daemon.path("front"))
}

#[test]
fn answers_are_those_of_http1() {
    let (daemon, _app) = start("error_page 404 /a.txt; client_max_body_size 10;");
    let mut client = connect(&daemon);
    let asked = client.get("/told");
    let answer = client.reply(asked);
    assert_eq!(
        (answer.status, answer.text()),
        (200, "GET HTTP/2.0 h2c http site.test")
    );

    let asked = client.get("/a.txt");
    let answer = client.reply(asked);
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    assert_eq!(answer.field("connection"), None);
    let etag = answer.field("etag").unwrap().to_owned();

    let request = |method: &str, target: &str| {
        Request::builder()
            .method(method)
            .uri(format!("http://site.test{target}"))
    };
    let asked = client.ask(request("HEAD", "/a.txt").body(()).unwrap(), true);
    let answer = client.reply(asked);
    assert_eq!(
        (answer.status, answer.field("content-length")),
        (200, Some("10"))
    );
    assert!(answer.body.is_empty());
    let head = request("GET", "/a.txt").header("range", "bytes=2-4");
    let asked = client.ask(head.body(()).unwrap(), true);
    let answer = client.reply(asked);
    assert_eq!((answer.status, answer.text()), (206, "234"));
    let head = request("GET", "/a.txt").header("if-none-match", etag);
    let asked = client.ask(head.body(()).unwrap(), true);
    assert_eq!(client.reply(asked).status, 304);
    let asked = client.get("/none");
    let answer = client.reply(asked);
    assert_eq!((answer.status, answer.text()), (404, "0123456789"));

    // A body that is too large is refused by its length, or when it has become so.
    let head = request("POST", "/app/").header("content-length", "11");
    let mut asked = client.ask(head.body(()).unwrap(), false);
    client.upload(&mut asked.upload, b"12345678901", true);
    assert_eq!(client.reply(asked).status, 413);
    let mut asked = client.ask(request("POST", "/app/").body(()).unwrap(), false);
    client.upload(&mut asked.upload, b"12345678901", true);
    assert_eq!(client.reply(asked).status, 413);

    // Two hosts in one request mean something else to everybody.
    let head = request("GET", "/told").header("host", "other.test");
    let asked = client.ask(head.body(()).unwrap(), true);
    assert_eq!(client.reply(asked).status, 400);
    let head = request("GET", "/told").header("host", "site.test");
    let asked = client.ask(head.body(()).unwrap(), true);
    assert_eq!(client.reply(asked).status, 200);

    // The same address still speaks HTTP/1.
    let mut old = Client::connect(&format!("unix:{}", daemon.path("front").display()));
    old.get("/told");
    assert_eq!(old.reply().text(), "GET HTTP/1.1  http test");
    daemon.wait_access("GET /told HTTP/2.0 200 h2c 1");
    daemon.wait_access("GET /none HTTP/2.0 404 h2c 6");
}

#[test]
fn large_bodies_go_both_ways_at_once() {
    let (daemon, app) = start("client_max_body_size 0; proxy_request_buffering off;");
    let mut client = connect(&daemon);
    let big = fs::read(daemon.path("html/big.bin")).unwrap();
    // The one that waits for nobody, and the one in front of it that waits for the application.
    let url = "http://site.test/app/echo";
    let mut echo = client.ask(Request::post(url).body(()).unwrap(), false);
    let file = client.get("/big.bin");
    let thread = std::thread::spawn(move || {
        let mut link = app.accept();
        let head = link.read_head();
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut length = 0;
        loop {
            let chunk = link.read_chunk();
            length += chunk.len();
            link.write(format!("{:x}\r\n", chunk.len()));
            link.write(&chunk).write("\r\n");
            if chunk.is_empty() {
                return length;
            }
        }
    });
    assert!(client.reply(file).body == big);
    let upload = &mut echo.upload;
    client.upload(upload, &big[..100_000], false);
    client.upload(upload, &big[100_000..900_000], true);
    assert!(client.reply(echo).body == big[..900_000]);
    assert_eq!(thread.join().unwrap(), 900_000);
}

#[test]
fn requests_that_are_taken_back_are_cancelled() {
    let (daemon, app) = start("");
    let mut client = connect(&daemon);
    let mut asked = client.get("/app/slow");
    let mut link = app.accept();
    link.read_head();
    asked.upload.send_reset(h2::Reason::CANCEL);
    link.expect_closed();
    daemon.wait_access("GET /app/slow HTTP/2.0 499");
    // The connection is none the worse for it.
    let asked = client.get("/told");
    assert_eq!(client.reply(asked).status, 200);
}

#[test]
fn an_answer_that_breaks_off_does_not_look_complete() {
    let (daemon, app) = start("");
    let mut client = connect(&daemon);
    let asked = client.get("/app/cut");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let mut answering = client.head_of(asked).unwrap();
    assert_eq!(client.piece(&mut answering).unwrap().unwrap(), "hello");
    drop(link);
    let error = client.piece(&mut answering).unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    let asked = client.get("/told");
    assert_eq!(client.reply(asked).status, 200);
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_but_itself() {
    let (daemon, _app) = start("send_timeout 1s;");
    let mut client = Http2::connect_with(&daemon.path("front"), 1000);
    let asked = client.get("/big.bin");
    let mut stalled = client.head_of(asked).unwrap();
    // It has room for the connection's other streams, and none for this one.
    let asked = client.get("/told");
    assert_eq!(client.reply(asked).status, 200);
    let mut got = 0;
    let error = loop {
        match client.wait(stalled.body.data()) {
            Some(Ok(piece)) => got += piece.len(),
            Some(Err(error)) => break error,
            None => panic!("it was complete"),
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    assert_eq!(got, 1000);
    daemon.wait_access("GET /big.bin HTTP/2.0 200");
}

#[test]
fn draining_finishes_what_is_there_and_takes_no_more() {
    let (mut daemon, app) = start("");
    let mut client = connect(&daemon);
    let asked = client.get("/app/slow");
    let mut link = app.accept();
    link.read_head();
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_notified("STOPPING=1");
    // Told to go elsewhere; what is under way is answered.
    client.wait_refused();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    assert_eq!(client.reply(asked).text(), "done");
    assert_eq!(daemon.wait_exit().code(), Some(0));
}

#[test]
fn a_reload_keeps_the_connection() {
    let (mut daemon, _app) = start("location /which { return 200 old; }");
    let mut client = connect(&daemon);
    let asked = client.get("/which");
    assert_eq!(client.reply(asked).text(), "old");
    let text = fs::read_to_string(daemon.path("nginx.conf")).unwrap();
    fs::write(
        daemon.path("nginx.conf"),
        text.replace("200 old", "200 new"),
    )
    .unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_notified("READY=1");
    let asked = client.get("/which");
    assert_eq!(client.reply(asked).text(), "new");
}

#[test]
fn connections_end_with_their_number_of_requests() {
    let (daemon, _app) = start("keepalive_requests 2;");
    let mut client = connect(&daemon);
    for _ in 0..2 {
        let asked = client.get("/told");
        assert_eq!(client.reply(asked).status, 200);
    }
    client.wait_refused();
    let mut old = Client::connect(&format!("unix:{}", daemon.path("front").display()));
    assert_eq!(old.get("/told").reply().field("Connection"), None);
    assert_eq!(old.get("/told").reply().field("Connection"), Some("close"));
    old.expect_closed();
}

#[test]
fn interim_answers_and_trailers_fields_pass() {
    let (daemon, app) = start("");
    let mut client = connect(&daemon);
    let head = Request::get("http://site.test/app/x")
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("x_real_ip", "6.6.6.6")
        .header("cookie", "b=2");
    let asked = client.ask(head.body(()).unwrap(), true);
    let mut link = app.accept();
    let head = link.read_head();
    assert!(head.contains("cookie: a=1; b=2\r\n"), "{head}");
    assert!(
        !head.contains("6.6.6.6") && !head.contains("te: "),
        "{head}"
    );
    link.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: 5\r\n\r\nok");
    let answer = client.reply(asked);
    assert_eq!((answer.text(), answer.field("keep-alive")), ("ok", None));
    // Another one beside it, to see that nothing is left over.
    let asked = client.get("/told");
    assert_eq!(
        client.reply(asked).body,
        Bytes::from("GET HTTP/2.0 h2c http site.test")
    );
}

#[test]
fn bodies_of_other_locations_go_around_an_answer() {
    let (daemon, app) = start(
        "error_log stderr; addition_types text/plain;
         location = /head { return 200 'head '; }
         location = /around { try_files /a.txt =404; add_before_body /head; add_after_body /app/foot; }
         location = /long { try_files /a.txt =404; add_before_body /big.bin; add_after_body /head; }
         location = /cut { try_files /a.txt =404; add_before_body /head; add_after_body /app/cut; }",
    );
    let mut client = connect(&daemon);
    let asked = client.get("/around");
    let mut link = app.accept();
    let head = link.read_head();
    assert!(head.starts_with("GET /app/foot HTTP/1."), "{head}");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n foot");
    let answer = client.reply(asked);
    assert_eq!(
        (answer.status, answer.text()),
        (200, "head 0123456789 foot")
    );
    assert_eq!(answer.field("content-length"), None);
    // What is too long is left out, and the log says why; so is what breaks off.
    let asked = client.get("/long");
    let answer = client.reply(asked);
    assert_eq!((answer.status, answer.text()), (200, "0123456789head "));
    daemon.wait_log("/big.bin is not added: its answer has more than 1 MiB");
    let asked = client.get("/cut");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n fo");
    drop(link);
    let answer = client.reply(asked);
    assert_eq!((answer.status, answer.text()), (200, "head 0123456789"));
    daemon.wait_log("/app/cut is not added: its answer is not whole");
    let asked = client.get("/told");
    assert_eq!(client.reply(asked).status, 200);
}
