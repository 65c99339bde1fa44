//! When an upstream connection fails: what is sent again, and what never is.

use crate::harness::{Client, Daemon, Link, Upstream, pair, pair_with, streaming_pair};

/// A connection that has served a request and is idle now.
fn idle_link(proxy: &Daemon, app: &Upstream) -> (Client, Link) {
    let mut client = proxy.client();
    client.get("/first");
    let mut link = app.accept();
    link.answer("first");
    assert_eq!(client.reply().text(), "first");
    (client, link)
}

const POST: &str = "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

#[test]
fn an_idle_connection_that_was_closed_is_not_used() {
    let (proxy, app) = pair();
    let (mut client, link) = idle_link(&proxy, &app);
    drop(link);
    client.send(POST);
    let mut link = app.accept();
    link.read_head();
    assert_eq!(link.read_exact(4), b"body");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn a_draining_worker_loses_no_request_of_any_method() {
    let (proxy, app) = pair();
    let (mut client, link) = idle_link(&proxy, &app);
    // Nobody reads any more: the write fails with nothing taken, so even a POST may go elsewhere.
    link.stop_reading();
    client.send(POST);
    let mut next = app.accept();
    assert!(next.read_head().starts_with("POST /post "));
    assert_eq!(next.read_exact(4), b"body");
    next.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn a_streamed_body_goes_elsewhere_too_if_nothing_of_it_was_taken() {
    let (proxy, app) = streaming_pair();
    let (mut client, link) = idle_link(&proxy, &app);
    link.stop_reading();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut next = app.accept();
    next.read_head();
    assert_eq!(next.read_exact(8), b"3\r\nabc\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(next.read_exact(5), b"0\r\n\r\n");
    next.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn idempotent_requests_are_sent_again_when_no_answer_began() {
    let (proxy, app) = pair();
    for method in ["GET", "DELETE", "OPTIONS"] {
        let (mut client, mut link) = idle_link(&proxy, &app);
        client.send(format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n"));
        link.read_head();
        drop(link);
        let mut next = app.accept();
        let head = next.answer("second try");
        assert!(head.starts_with(&format!("{method} /again ")), "{head}");
        assert_eq!(client.reply().text(), "second try");
        drop(next);
    }
    // A body that is still here goes along.
    let (mut client, mut link) = idle_link(&proxy, &app);
    client.send("PUT /again HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    link.read_head();
    link.read_exact(4);
    drop(link);
    let mut next = app.accept();
    next.read_head();
    assert_eq!(next.read_exact(4), b"body");
    next.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn what_might_have_been_done_is_not_done_again() {
    let (proxy, app) = streaming_pair();
    let (mut client, mut link) = idle_link(&proxy, &app);
    client.send(POST);
    link.read_head();
    drop(link);
    let reply = client.reply();
    assert_eq!(reply.status, 502);
    app.expect_untouched();
    proxy.wait_log("the upstream's fault: it closed the connection without an answer");

    // A body that is not here any more cannot be sent again, whatever the method.
    let mut client = proxy.client();
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        .send("x".repeat(400_000));
    let mut link = app.accept();
    link.read_head();
    link.read_exact(400_000);
    drop(link);
    assert_eq!(client.reply().status, 502);
    app.expect_untouched();
}

#[test]
fn nothing_is_sent_again_once_an_answer_began() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-");
    drop(link);
    assert_eq!(client.reply().status, 502);
    app.expect_untouched();
    proxy.wait_log("the upstream's fault: it closed the connection within the head of its answer");
    // An interim answer is one: the work has begun.
    client.get("/hinted");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 103 "));
    drop(link);
    assert_eq!(client.reply().status, 502);
    app.expect_untouched();
}

#[test]
fn a_request_that_kills_its_server_is_not_tried_for_ever() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/poison");
    for _ in 0..3 {
        let mut link = app.accept();
        link.read_head();
    }
    assert_eq!(client.reply().status, 502);
    app.expect_untouched();
}

#[test]
fn a_server_that_comes_back_in_time_is_waited_for() {
    let (proxy, app) = pair();
    let path = proxy.path("app.sock");
    // As when a supervisor replaces it: first nobody listens, then nothing is there, then it is back.
    drop(app);
    let mut client = proxy.client();
    client.send(POST);
    std::fs::remove_file(&path).unwrap();
    let app = Upstream::at(&path);
    let mut link = app.accept();
    link.read_head();
    link.read_exact(4);
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn a_server_that_does_not_come_back() {
    let (proxy, app) = pair_with("", "connect_timeout: 100ms");
    drop(app);
    let mut client = proxy.client();
    client.get("/");
    let reply = client.reply();
    assert_eq!((reply.status, reply.field("Connection")), (502, None));
    let line = proxy.wait_log("the upstream's fault: cannot connect: Connection refused");
    assert!(
        line.contains("upstream=http://unix:") && line.contains("request=\"GET / HTTP/1.1\""),
        "{line}"
    );
    assert_eq!(proxy.figure("upstream_failures"), 1);
}
