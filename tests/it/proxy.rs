//! trine-proxy alone: under the LISTEN_FDS and NOTIFY_SOCKET protocol, draining, upgrades, refusals.

mod asking;
mod bodies;
mod cache;
mod clients;
mod datagrams;
mod differential;
mod guide;
mod layer4;
mod life;
mod sessions_tls;
mod stream;

use std::net::SocketAddr;
use std::thread;

use e2e::client::{Client, Request, ask, get};
use e2e::control::Control;
use e2e::daemon::{self, Daemon, Launch};
use e2e::folder::Folder;
use e2e::refusal::{self, wrong};
use e2e::upstream::Upstream;
use e2e::{port, websocket};
use nix::sys::signal::Signal;

/// A proxy on a handed-down socket, with the given locations; its control socket is `proxy.sock`.
#[track_caller]
fn start(folder: &Folder, locations: &str) -> (Daemon, SocketAddr) {
    folder.write(
        "proxy.yaml",
        format!(
            "control: proxy.sock
threads: 2
access_log: {{ path: access.log }}
servers:
  - listen: ['fd:http']
    locations:
{locations}
upstreams:
  nobody: {{ servers: ['{}'], connect_timeout: 200ms }}
",
            port::free()
        ),
    );
    let (addr, socket) = port::listening();
    let launch = Launch::trine("trine-proxy")
        .args(["-c", "proxy.yaml"])
        .listener("http", socket);
    (launch.notify().start(folder).wait_ready(), addr)
}

fn everything_to(upstream: &Upstream) -> String {
    format!("      - {{ path: /, proxy: '{}' }}\n", upstream.addr())
}

#[test]
fn requests_inside_are_answered_before_the_proxy_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let folder = Folder::new();
        let app = Upstream::holding_requests();
        let (mut proxy, addr) = start(&folder, &everything_to(&app));
        let control = Control::new(folder.join("proxy.sock"));
        assert_eq!(control.phase().as_deref(), Some("ready"));

        let waiting = thread::spawn(move || get(addr, "/slow"));
        app.wait_until_holding(1);
        proxy.signal(signal);
        proxy.wait_notified("STOPPING=1");
        control.wait_phase("draining");
        app.release_all();
        let reply = waiting.join().unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "released\n"));
        assert_eq!(proxy.exit_code(), 0, "{}", proxy.output());
        proxy.assert_nothing_left();
        assert!(
            folder
                .read("access.log")
                .contains("\"GET /slow HTTP/1.1\" 200")
        );
        assert!(
            !folder.join("proxy.sock").exists(),
            "its own control socket is gone"
        );
    }
}

#[test]
fn a_second_signal_ends_the_proxy_now() {
    let folder = Folder::new();
    let app = Upstream::holding_requests();
    let (mut proxy, addr) = start(&folder, &everything_to(&app));
    let waiting = thread::spawn(move || Client::connect(addr).try_ask(&Request::get("/slow")));
    app.wait_until_holding(1);
    proxy.terminate();
    proxy.wait_notified("STOPPING=1");
    proxy.terminate();
    let _code = proxy.exit_code();
    proxy.assert_nothing_left();
    assert!(
        waiting
            .join()
            .unwrap()
            .map_or(true, |reply| reply.status >= 500),
        "the request was cut, not answered"
    );
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let folder = Folder::new();
    let app = Upstream::answering();
    let (mut proxy, addr) = start(&folder, &everything_to(&app));
    let mut idle = Client::connect(addr);
    assert_eq!(idle.ask(&Request::get("/")).status, 200);
    let _never_spoke = Client::connect(addr);
    proxy.terminate();
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(idle.read_to_end().unwrap(), b"");
}

#[test]
fn a_websocket_passes_and_the_upstream_sees_who_came() {
    let folder = Folder::new();
    let echo = Upstream::websocket_echo();
    let (proxy, addr) = start(&folder, &everything_to(&echo));
    let mut client = Client::connect(addr);
    websocket::upgrade(&mut client, "/chat?room=1");
    for number in 0..50 {
        let text = format!("message {number}");
        websocket::send_text(&mut client, &text).unwrap();
        assert_eq!(websocket::read_text(&mut client).unwrap(), text);
    }
    assert_eq!(echo.seen()[0].target, "/chat?room=1");
    assert_eq!(
        ask(addr, &Request::get("/")).status,
        426,
        "an answer that is no upgrade passes as it is"
    );
    drop(client);
    proxy.stop();
}

#[test]
fn spoofed_and_hop_by_hop_headers_do_not_reach_the_upstream() {
    let folder = Folder::new();
    let app = Upstream::answering();
    let (proxy, addr) = start(&folder, &everything_to(&app));
    let request = Request::get("/x")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "for=203.0.113.9")
        .header("X-Real-IP", "203.0.113.9")
        .header("Connection", "X-Private")
        .header("X-Private", "for this hop")
        .header("X-Other", "kept");
    assert_eq!(ask(addr, &request).status, 200);
    let seen = &app.seen()[0];
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("127.0.0.1"),
        "{seen:?}"
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{seen:?}");
    assert_eq!(seen.header("host"), Some("test.example"), "{seen:?}");
    assert_eq!(seen.header("x-private"), None);
    assert_eq!(seen.header("x-other"), Some("kept"));
    let all = format!("{:?}", seen.headers);
    assert!(!all.contains("203.0.113.9"), "{all}");
    proxy.stop();
}

#[test]
fn an_upstream_that_breaks_off_or_is_not_there_is_a_bad_gateway() {
    let folder = Folder::new();
    let broken = Upstream::start(|_, conversation| conversation.break_off());
    let half = Upstream::start(|_, conversation| {
        conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        conversation.break_off()
    });
    let (proxy, addr) = start(
        &folder,
        &format!(
            "      - {{ path: /broken, proxy: '{}' }}\n      - {{ path: /half, proxy: '{}' }}\n      - {{ path: /, proxy: nobody }}",
            broken.addr(),
            half.addr()
        ),
    );
    assert_eq!(ask(addr, &Request::post("/broken", "body")).status, 502);
    assert!(matches!(get(addr, "/").status, 502 | 504));
    let cut = Client::connect(addr).try_ask(&Request::get("/half"));
    assert!(cut.is_err(), "half an answer must not look whole: {cut:?}");
    proxy.stop();
}

#[test]
fn bad_requests_are_refused_and_never_forwarded() {
    let folder = Folder::new();
    let app = Upstream::answering();
    let (proxy, addr) = start(&folder, &everything_to(&app));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut client = Client::connect(addr);
        client.write(bytes.as_bytes()).unwrap();
        let reply = client.read_reply("GET").unwrap();
        assert_eq!(reply.status, status, "{bytes:?}");
        assert!(!reply.keep_alive, "{bytes:?}");
    }
    assert!(app.seen().is_empty(), "{:?}", app.seen());
    proxy.stop();
}

#[test]
fn a_bad_config_is_told_whole_and_starts_nothing() {
    refusal::check(
        "trine-proxy",
        &["-c", "proxy.yaml"],
        "proxy.yaml",
        "control: run.sock
thread: 2
timeouts: { header: 5 parsecs }
servers:
  - listen: ['127.0.0.1:99999']
    max_body: []
    locations:
      - { path: /, proxy: nowhere }
      - { path: static/, files: ./static }
upstreams:
  app: { servers: ['unix:app.sock'], keepalive: many }
",
        &[
            wrong(2, "thread"),
            wrong(3, "timeouts.header"),
            wrong(5, "99999"),
            wrong(6, "max_body"),
            wrong(8, "nowhere"),
            wrong(9, "static/"),
            wrong(9, "no folder"),
            wrong(11, "keepalive"),
        ],
    );
    let folder = Folder::new();
    folder.write("proxy.yaml", "servers:\n  - listen: ['127.0.0.1:0'\n");
    let (code, output) = daemon::run(
        Launch::trine("trine-proxy").args(["-t", "-c", "proxy.yaml"]),
        &folder,
    );
    assert_eq!(code, 78, "{output}");
    assert!(
        output.contains("proxy.yaml:2:13: "),
        "where the bracket was opened: {output}"
    );
    refusal::check_missing("trine-proxy", &["-c", "none.yaml"], "none.yaml");
}

#[test]
fn an_address_in_use_is_named_and_may_be_tried_again() {
    let folder = Folder::new();
    let (addr, _holder) = port::listening();
    let app = Upstream::answering();
    let location = everything_to(&app);
    folder.write(
        "proxy.yaml",
        format!("servers:\n  - listen: ['{addr}']\n    locations:\n{location}"),
    );
    let (code, output) = daemon::run(
        Launch::trine("trine-proxy").args(["-c", "proxy.yaml"]),
        &folder,
    );
    assert_eq!(code, 75, "{output}");
    assert!(output.contains(&addr.to_string()), "{output}");
}
