//! Connections that switch protocols: WebSocket and any other.

use nix::sys::signal::Signal;

use crate::harness::{Client, Daemon, Link, Upstream, pair, pair_with};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

fn tunnel(proxy: &Daemon, app: &Upstream) -> (Client, Link) {
    let mut client = proxy.client();
    client.send(ASK);
    let mut link = app.accept();
    let head = link.read_head();
    assert!(
        head.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nSec-WebSocket-Key: k\r\n"), "{head}");
    link.write(SWITCH);
    let head = client.read_head();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
        "{head}"
    );
    (client, link)
}

#[test]
fn bytes_go_both_ways_until_both_sides_have_ended() {
    let (proxy, app) = pair();
    let (mut client, mut link) = tunnel(&proxy, &app);
    client.send("\x01\x02ping");
    assert_eq!(link.read_exact(6), b"\x01\x02ping");
    link.write("pong");
    assert_eq!(client.read_exact(4), b"pong");
    assert_eq!(proxy.figure("tunnels"), 1);
    // Half-close: the client is done, the upstream is not.
    client.send("last");
    client.finish_sending();
    assert_eq!(link.read_to_end(), b"last");
    link.write("still here");
    assert_eq!(client.read_exact(10), b"still here");
    drop(link);
    client.expect_closed();
    proxy.wait_figure("tunnels", 0);
    let line = proxy.wait_access("/ws");
    assert!(
        line.contains("\"status\":101") && line.contains("\"body_bytes\":14"),
        "{line}"
    );
}

#[test]
fn bytes_that_come_with_the_heads_are_not_lost() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send(format!("{ASK}early"));
    let mut link = app.accept();
    link.read_head();
    link.write(format!("{SWITCH}hello"));
    client.read_head();
    assert_eq!(client.read_exact(5), b"hello");
    assert_eq!(link.read_exact(5), b"early");
}

#[test]
fn large_amounts() {
    let (proxy, app) = pair();
    let (mut client, mut link) = tunnel(&proxy, &app);
    let bytes: Vec<u8> = (0..3_000_000u32)
        .map(|number| (number % 253) as u8)
        .collect();
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        link.write(&sent);
        link.finish_sending();
        link
    });
    assert!(client.read_exact(bytes.len()) == bytes);
    drop(sender.join().unwrap());
    client.expect_closed();
}

#[test]
fn http_goes_on_unless_the_upstream_switches() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut link = app.accept();
    link.read_head();
    // What follows the head stays HTTP, not raw bytes for the upstream.
    link.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (426, "no"));
    let head = link.answer("next");
    assert!(
        head.starts_with("GET /next HTTP/1.1\r\n") && head.contains("X-Forwarded-For"),
        "{head}"
    );
    assert_eq!(client.reply().text(), "next");
}

#[test]
fn nobody_switches_to_clear_text_http2() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    let head = app.accept().answer("plain");
    assert!(
        !head.to_lowercase().contains("upgrade") && !head.contains("HTTP2"),
        "{head}"
    );
    assert_eq!(client.reply().text(), "plain");
}

#[test]
fn an_idle_tunnel_ends() {
    let (proxy, app) = pair_with("", "read_timeout: 200ms");
    let (mut client, mut link) = tunnel(&proxy, &app);
    link.write("x");
    assert_eq!(client.read_exact(1), b"x");
    client.expect_closed();
    link.expect_closed();
}

#[test]
fn tunnels_survive_a_reload_and_are_waited_for_in_a_drain() {
    let (mut proxy, app) = pair();
    let (mut client, mut link) = tunnel(&proxy, &app);
    let config = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    proxy.reload(&config.replace("max_body: 1MiB", "max_body: 2MiB"));
    client.send("after reload");
    assert_eq!(link.read_exact(12), b"after reload");
    proxy.signal(Signal::SIGTERM);
    proxy.wait_notified("STOPPING=1");
    link.write("draining");
    assert_eq!(client.read_exact(8), b"draining");
    drop((client, link));
    assert_eq!(proxy.wait_exit().code(), Some(0));
}
