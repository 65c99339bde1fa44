//! Stopping: what is under way is finished, what is idle ends, and nothing takes for ever.

use nix::sys::signal::Signal;

use crate::harness::{Client, Proxy, Upstream, pair, pair_with};

#[test]
fn a_request_under_way_is_finished() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let (mut proxy, app) = pair();
        let mut idle = proxy.client();
        idle.get("/idle");
        let mut link = app.accept();
        link.answer("idle");
        idle.reply();
        let mut busy = proxy.client();
        busy.get("/busy");
        link.read_head();

        proxy.signal(signal);
        proxy.wait_notified("STOPPING=1");
        idle.expect_closed();
        assert!(
            proxy
                .control("GET", "/v1/status")
                .1
                .contains("\"phase\":\"draining\"")
        );
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        let reply = busy.reply();
        assert_eq!(
            (reply.text(), reply.field("Connection")),
            ("done", Some("close"))
        );
        assert_eq!(proxy.wait_exit().code(), Some(0));
        assert!(!proxy.path("proxy.sock").exists());
        proxy.wait_access("/busy");
    }
}

/// A client that is about to send its next request does not lose it.
#[test]
fn idle_connections_may_be_kept_for_a_while() {
    let (mut proxy, app) = pair_with("keepalive_min_timeout: 60s", "");
    let mut idle = proxy.client();
    idle.get("/first");
    app.accept().answer("first");
    idle.reply();

    proxy.signal(Signal::SIGTERM);
    proxy.wait_notified("STOPPING=1");
    idle.get("/second");
    app.accept().answer("second");
    let reply = idle.reply();
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        ("second", Some("close"))
    );
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn the_deadline_cuts() {
    let (mut proxy, app) = pair_with("timeouts: { shutdown: 200ms }", "");
    let mut client = proxy.client();
    client.get("/never");
    let mut link = app.accept();
    link.read_head();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()));
    link.expect_closed();
    proxy.wait_log("ended with 1 connections open");
}

#[test]
fn a_second_signal_ends_it_now() {
    let (mut proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/never");
    let mut link = app.accept();
    link.read_head();
    proxy.signal(Signal::SIGTERM);
    proxy.wait_notified("STOPPING=1");
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit().code(), Some(0));
    link.expect_closed();
}

#[test]
fn interrupt_is_quick() {
    let (mut proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/never");
    let mut link = app.accept();
    link.read_head();
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.wait_exit().code(), Some(0));
    link.expect_closed();
}

#[test]
fn drain_by_the_control_api() {
    let (mut proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/busy");
    let mut link = app.accept();
    link.read_head();
    assert_eq!(proxy.control("POST", "/v1/drain").0, 202);
    proxy.wait_notified("STOPPING=1");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    assert_eq!(client.reply().text(), "done");
    assert_eq!(proxy.wait_exit().code(), Some(0));

    let (mut proxy, _app) = pair();
    assert_eq!(proxy.control("POST", "/v1/stop").0, 202);
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn what_waits_in_the_queue_is_served() {
    // A proxy that is held up cannot accept; what connected meanwhile is in the kernel's queue.
    let (mut proxy, app) = pair();
    proxy.signal(Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.get("/queued");
    }
    proxy.signal(Signal::SIGTERM);
    proxy.signal(Signal::SIGCONT);
    for _ in &clients {
        app.accept().answer("served");
    }
    for client in &mut clients {
        // Some may have been accepted before the order to drain arrived, and were not told to close.
        assert_eq!(client.reply().text(), "served");
        client.expect_closed();
    }
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_unix_socket_file_goes_with_the_daemon() {
    let proxy = Proxy::new();
    let _app = Upstream::at(&proxy.path("a"));
    let config = "threads: 1\nservers:\n- listen: unix:front.sock\n  locations: [{ path: /, proxy: 'unix:a' }]\n";
    let mut proxy = proxy.config(config).start();
    assert!(proxy.path("front.sock").exists());
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(!proxy.path("front.sock").exists());
}
