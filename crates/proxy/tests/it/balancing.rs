//! Several servers: who is asked, what is known about those that fail, and who waits when all are busy.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Daemon, Proxy, Upstream, pair_with};
use crate::nginx_conf::{front, start};

/// A daemon with an upstream `app` of the servers `a.sock` and `b.sock`, each with what is said about it.
fn two(http: &str, a: &str, b: &str, more: &str, server: &str) -> (Daemon, Upstream, Upstream) {
    let http = format!(
        "{http} log_format up '$uri [$upstream_addr] [$upstream_status]';\n\
         upstream app {{ {more} server unix:@dir@/a.sock {a}; server unix:@dir@/b.sock {b}; }}"
    );
    let server =
        format!("access_log @dir@/access.log up; location / {{ proxy_pass http://app; {server} }}");
    let daemon = start(&http, &server);
    let a = Upstream::at(&daemon.path("a.sock"));
    let b = Upstream::at(&daemon.path("b.sock"));
    (daemon, a, b)
}

fn client(daemon: &Daemon) -> Client {
    Client::connect(&front(daemon))
}

/// Asks, and has whoever is asked answer its name.
fn ask(daemon: &Daemon, target: &str, a: &Upstream, b: &Upstream) -> &'static str {
    let mut client = client(daemon);
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ));
    let (is_b, mut link) = a.accept_either(b);
    let who = if is_b { "b" } else { "a" };
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    who
}

#[test]
fn weights_are_kept() {
    let (daemon, a, b) = two("", "weight=3", "", "", "");
    let order: String = (0..8).map(|_| ask(&daemon, "/", &a, &b)).collect();
    assert_eq!(order, "aabaaaba");
}

#[test]
fn a_key_keeps_its_server() {
    let (daemon, a, b) = two("", "", "", "hash $arg_k consistent;", "");
    let mut seen = std::collections::BTreeSet::new();
    // Where the points of two sockets lie depends on the folder's name: a few keys may all be of one.
    for key in 0..64 {
        let first = ask(&daemon, &format!("/?k={key}"), &a, &b);
        seen.insert(first);
        assert_eq!(ask(&daemon, &format!("/?k={key}"), &a, &b), first);
    }
    assert_eq!(seen.len(), 2, "the keys go to both");
}

#[test]
fn the_least_busy_is_asked() {
    let (daemon, a, b) = two("", "", "", "least_conn;", "");
    let mut busy = client(&daemon);
    busy.get("/held");
    let mut held = a.accept();
    held.read_head();
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "/", &a, &b), "b");
    }
    held.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(busy.reply().text(), "ok");
}

#[test]
fn the_quickest_is_asked() {
    // What b takes here, unless the machine stands still meanwhile: then nothing is known, and it is done again.
    let quick = Duration::from_secs(1);
    for mode in ["header", "last_byte inflight"] {
        let told = || {
            let (daemon, a, b) = two("", "", "", &format!("least_time {mode};"), "");
            let mut slow = client(&daemon);
            slow.send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut link = a.accept();
            link.read_head();
            // Far more than that.
            thread::sleep(quick * 2);
            link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            assert_eq!(slow.reply().text(), "ok");
            slow.expect_closed();
            // Both are idle, and in turn it would be a's every other time.
            let begun = Instant::now();
            let asked: String = (0..6).map(|_| ask(&daemon, "/", &a, &b)).collect();
            (begun.elapsed() < quick).then_some(asked)
        };
        let asked = (0..10).find_map(|_| told());
        assert_eq!(asked.as_deref(), Some("bbbbbb"), "{mode}");
    }
}

#[test]
fn a_server_that_breaks_off_is_passed_over_and_put_aside() {
    let (daemon, a, b) = two("", "", "", "", "");
    let mut one = client(&daemon);
    one.get("/one");
    let mut link = a.accept();
    link.read_head();
    drop(link);
    let mut link = b.accept();
    assert!(link.answer("from b").starts_with("GET /one "));
    assert_eq!(one.reply().text(), "from b");
    daemon.wait_file("access.log", "b.sock] [502, 200]");
    daemon.wait_log("temporarily disabled");
    for _ in 0..3 {
        one.get("/again");
        link.answer("b again");
        assert_eq!(one.reply().text(), "b again");
    }
    a.expect_untouched();
    // What is not safe to repeat is not repeated, and a lone server left is not spared.
    one.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    link.read_head();
    drop(link);
    assert_eq!(one.reply().status, 502);
    a.expect_untouched();
}

#[test]
fn statuses_lead_to_the_next_server() {
    let (daemon, a, b) = two("", "", "", "", "proxy_next_upstream error http_503;");
    let mut client = client(&daemon);
    client.get("/one");
    let mut link = a.accept();
    link.read_head();
    link.write("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let mut other = b.accept();
    other.answer("ok");
    assert_eq!(client.reply().text(), "ok");
    daemon.wait_file("access.log", "b.sock] [503, 200]");
    // A POST stays where it is, and its answer is passed on.
    client.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    other.read_head();
    other.read_exact(1);
    other.write("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (503, "busy"));
}

#[test]
fn a_silent_server_is_left_for_another() {
    // Long enough for the other one, on a machine that stands still for a while.
    let (daemon, a, b) = two("", "", "", "", "proxy_read_timeout 6s;");
    let mut client = client(&daemon);
    client.get("/one");
    let mut link = a.accept();
    link.read_head();
    b.accept().answer("ok");
    assert_eq!(client.reply().text(), "ok");
    daemon.wait_file("access.log", "b.sock] [504, 200]");
}

#[test]
fn off_leads_nowhere() {
    let (daemon, a, b) = two("", "", "", "", "proxy_next_upstream off;");
    let mut client = client(&daemon);
    client.get("/one");
    let mut link = a.accept();
    link.read_head();
    drop(link);
    assert_eq!(client.reply().status, 502);
    b.expect_untouched();
}

#[test]
fn backups_and_those_that_are_down() {
    let (daemon, a, b) = two("", "down", "", "", "");
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "/", &a, &b), "b");
    }
    let (daemon, a, b) = two("", "max_fails=1 fail_timeout=60s", "backup", "", "");
    assert_eq!(ask(&daemon, "/", &a, &b), "a");
    let mut client = client(&daemon);
    client.get("/one");
    let mut link = a.accept();
    link.read_head();
    drop(link);
    b.accept().answer("backup");
    assert_eq!(client.reply().text(), "backup");
    daemon.wait_log("temporarily disabled");
    assert_eq!(ask(&daemon, "/", &a, &b), "b");
}

#[test]
fn no_more_connections_than_are_allowed() {
    let (daemon, a, b) = two("", "max_conns=1", "max_conns=1", "", "");
    let mut clients: Vec<_> = (0..3).map(|_| client(&daemon)).collect();
    clients[0].get("/0");
    let mut first = a.accept();
    first.read_head();
    clients[1].get("/1");
    let mut second = b.accept();
    second.read_head();
    clients[2].get("/2");
    assert_eq!(clients[2].reply().status, 502);
    daemon.wait_log("no live upstreams");
    for (client, link) in clients.iter_mut().zip([&mut first, &mut second]) {
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.reply().text(), "ok");
    }
}

#[test]
fn a_queue_holds_requests_in_order() {
    let (daemon, a) = pair_with(
        "",
        "servers: ['unix:app.sock max_conns=1'], queue: [2, timeout=1m]",
    );
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    clients[0].get("/0");
    let mut link = a.accept();
    link.read_head();
    for (number, client) in clients.iter_mut().enumerate().skip(1).take(2) {
        client.get(&format!("/{number}"));
        daemon.wait_figure("waiting_requests", number as u64);
    }
    clients[3].get("/3");
    assert_eq!(clients[3].reply().status, 502, "the line is full");
    for (number, client) in clients.iter_mut().enumerate().take(3) {
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.reply().text(), "ok");
        if number < 2 {
            let head = link.read_head();
            assert!(head.starts_with(&format!("GET /{} ", number + 1)), "{head}");
        }
    }
    daemon.wait_figure("waiting_requests", 0);
    a.expect_untouched();
}

#[test]
fn a_client_that_leaves_the_line_is_not_served() {
    let (daemon, a, _b) = two("", "max_conns=1", "down", "queue 5 timeout=30s;", "");
    let mut first = client(&daemon);
    first.get("/0");
    let mut link = a.accept();
    link.read_head();
    let mut left = client(&daemon);
    left.get("/left");
    drop(left);
    daemon.wait_file("access.log", "/left");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(first.reply().text(), "ok");
    first.get("/next");
    assert!(link.answer("ok").starts_with("GET /next "));
    assert_eq!(first.reply().text(), "ok");
}

#[test]
fn a_line_has_a_deadline() {
    let (daemon, a, _b) = two("", "max_conns=1", "down", "queue 5 timeout=100ms;", "");
    let mut first = client(&daemon);
    first.get("/0");
    let mut link = a.accept();
    link.read_head();
    let mut second = client(&daemon);
    second.get("/1");
    assert_eq!(second.reply().status, 502);
    daemon.wait_log("no server had a connection to spare");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(first.reply().text(), "ok");
}

#[test]
fn the_same_in_yaml() {
    let proxy = Proxy::new();
    let a = Upstream::at(&proxy.path("a.sock"));
    let b = Upstream::at(&proxy.path("b.sock"));
    let daemon = proxy
        .config(
            "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations:\n  - { path: /, proxy: app, \
             proxy_next_upstream: [error, http_503], proxy_next_upstream_tries: 2 }\n\
             upstreams:\n  app:\n    servers: ['unix:a.sock weight=2 max_conns=9', 'unix:b.sock']\n    \
             least_conn: true\n    queue: [10, timeout=5s]\n",
        )
        .start();
    let mut client = daemon.client();
    client.get("/");
    let mut link = a.accept();
    link.read_head();
    link.write("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    b.accept().answer("ok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn nobody_listening_is_an_answer_at_once_with_nginx_conf() {
    let daemon = start(
        "upstream app { server unix:@dir@/none.sock; server unix:@dir@/a.sock; }",
        "location / { proxy_pass http://app; } location /lone { proxy_pass http://unix:@dir@/none.sock:; }",
    );
    let a = Upstream::at(&daemon.path("a.sock"));
    let began = std::time::Instant::now();
    for _ in 0..5 {
        let mut client = client(&daemon);
        client.get("/lone");
        assert_eq!(client.reply().status, 502);
    }
    // Waited for, each would take five seconds.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let mut client = client(&daemon);
    client.get("/");
    a.accept().answer("ok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn connections_come_from_where_they_should() {
    use std::net::TcpListener;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = start(
        "",
        &format!(
            "location / {{ proxy_bind 127.0.0.$arg_n; proxy_socket_keepalive on; proxy_pass http://127.0.0.1:{port}; }}"
        ),
    );
    let mut client = client(&daemon);
    let mut answer = |target: &str| {
        use std::io::{Read as _, Write as _};
        client.get(target);
        let (mut stream, from) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        assert_eq!(client.reply().text(), "ok");
        (from.ip().to_string(), stream)
    };
    // The connection of the first is kept, and is not good for the second.
    let (first, _kept) = answer("/?n=7");
    let (second, _kept) = answer("/?n=8");
    assert_eq!((&*first, &*second), ("127.0.0.7", "127.0.0.8"));
    let (any, _kept) = answer("/?n=x");
    assert_eq!(any, "127.0.0.1");
    daemon.wait_log("invalid local address");
}
