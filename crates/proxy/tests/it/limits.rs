//! Slow, endless and oversized: what clients and upstreams may not do.

use std::time::{Duration, Instant};

use crate::harness::{Client, pair, pair_with, streaming_pair};
use crate::nginx_conf::{front, start};

#[test]
fn heads_that_are_too_large() {
    let (proxy, app) = pair();
    let long = "x".repeat(9000);
    let many: String = (0..101)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    let total: String = (0..5)
        .map(|number| format!("X-{number}: {}\r\n", "y".repeat(8000)))
        .collect();
    for (bytes, want) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{total}\r\n"), 431),
        // Without an end in sight.
        (format!("GET /{long}{long}"), 414),
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        let reply = client.reply();
        assert_eq!(reply.status, want);
        client.expect_closed();
    }
    app.expect_untouched();
}

#[test]
fn a_head_of_the_largest_size_passes() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    let fields: String = (0..4)
        .map(|number| format!("X-{number}: {}\r\n", "y".repeat(7000)))
        .collect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let head = app.accept().answer("ok");
    assert!(head.len() > 28_000);
    assert_eq!(client.reply().text(), "ok");
}

/// The words of nginx for the size of a head, and its default number of fields.
#[test]
fn heads_as_large_as_nginx_conf_allows() {
    let fields = |count: usize, size: usize| -> String {
        let value = "y".repeat(size);
        (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect()
    };
    let small = "large_client_header_buffers 2 1k; max_headers 5; location / { return 200 ok; }";
    let large = "large_client_header_buffers 4 64k; location / { return 200 ok; }";
    let first = "client_header_buffer_size 20k; location / { return 200 ok; }";
    let usual = "location / { return 200 ok; }";
    for (server, target, fields, want) in [
        (small, "x".repeat(1000), String::new(), 200),
        (small, "x".repeat(1024), String::new(), 414),
        (small, String::new(), fields(1, 1000), 200),
        (small, String::new(), fields(1, 1024), 431),
        (small, String::new(), fields(3, 900), 431),
        (small, String::new(), fields(4, 1), 200),
        (small, String::new(), fields(5, 1), 431),
        (large, "x".repeat(60_000), fields(2, 60_000), 200),
        (first, "x".repeat(20_000), String::new(), 200),
        (usual, String::new(), fields(999, 1), 200),
        (usual, String::new(), fields(1000, 1), 431),
        (usual, String::new(), fields(2, 9000), 431),
    ] {
        let daemon = start("", server);
        let mut client = Client::connect(&front(&daemon));
        client.send(format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(client.reply().status, want, "{server} {}", fields.len());
    }
}

#[test]
fn heads_that_do_not_end() {
    let (proxy, app) = pair_with("timeouts: { header: 200ms }", "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHos");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("Connection")),
        (408, Some("close"))
    );
    client.expect_closed();
    // One that trickles is not given more time for each byte.
    let mut client = proxy.client();
    for byte in
        "GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n".bytes()
    {
        // It is told off long before its last byte.
        let _ = client.try_send([byte]);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.reply().status, 408);
    // One that says nothing is not told anything.
    proxy.client().expect_closed();
    app.expect_untouched();
}

#[test]
fn idle_connections_end() {
    let (proxy, app) = pair_with("timeouts: { keepalive: 100ms }", "");
    let mut client = proxy.client();
    client.get("/");
    app.accept().answer("ok");
    client.reply();
    client.expect_closed();
}

#[test]
fn bodies_that_stop_coming() {
    let (proxy, app) = pair_with(
        "timeouts: { body: 200ms }\nproxy_request_buffering: false",
        "",
    );
    // A small one: the upstream is not bothered.
    let mut client = proxy.client();
    client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.reply().status, 408);
    client.expect_closed();
    app.expect_untouched();
    // A large one: the upstream has it half and is left.
    let mut client = proxy.client();
    client.send("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nhalf");
    let mut link = app.accept();
    link.read_head();
    assert_eq!(link.read_exact(4), b"half");
    assert_eq!(client.reply().status, 408);
    link.expect_closed();
    proxy.wait_log("the client's fault: the client sent nothing of its body");
    // One that nobody wants.
    let mut client = proxy.client();
    client.send("POST /../x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.reply().status, 400);
    client.expect_closed();
}

#[test]
fn bodies_that_are_too_large() {
    let (proxy, app) = streaming_pair();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(client.reply().status, 413);
    // The rest is taken for a while, so that the client gets to read the answer.
    client.send("x".repeat(500_000));
    client.finish_sending();
    client.expect_closed();
    app.expect_untouched();
    // Without a length it shows later.
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut link = app.accept();
    link.read_head();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    for _ in 0..16 {
        client.send(&chunk);
        link.read_exact(65536);
    }
    client.send(&chunk);
    assert_eq!(client.reply().status, 413);
    let rest = link.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[test]
fn unread_bodies_of_moderate_size_do_not_cost_the_connection() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send("POST /../x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    client.send("x".repeat(50_000)).get("/next");
    app.accept().answer("next");
    assert_eq!(client.reply().text(), "next");
    client.send(format!(
        "POST /../x HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{}",
        "x".repeat(70_000)
    ));
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("Connection")),
        (400, Some("close"))
    );
}

#[test]
fn upstreams_that_are_silent() {
    let (proxy, app) = pair_with("", "read_timeout: 200ms");
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    let reply = client.reply();
    assert_eq!(reply.status, 504);
    link.expect_closed();
    proxy.wait_log("the upstream's fault: it sent nothing for 200ms");
    // In the middle of an answer all that can be done is to break off.
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.read_head();
    client.expect_reset();
    link.expect_closed();
}

#[test]
fn upstreams_that_do_not_read() {
    let (proxy, app) = pair_with("", "send_timeout: 200ms");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    let body = vec![b'x'; 1_048_576];
    let address = proxy.address().to_owned();
    drop(address);
    let sender = std::thread::spawn(move || {
        // The proxy stops taking it.
        let _ = client.try_send(&body);
        client
    });
    let link = app.accept();
    proxy.wait_log("the upstream's fault: it took nothing of the request for 200ms");
    drop(link);
    assert_eq!(sender.join().unwrap().reply().status, 504);
}

#[test]
fn clients_that_do_not_read() {
    let (proxy, app) = pair_with("timeouts: { send: 200ms }", "");
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    let _ = link.try_write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let block = vec![b'x'; 1_000_000];
    for _ in 0..100 {
        if link.try_write(&block).is_err() {
            break;
        }
    }
    proxy.wait_log("the client's fault: the client took nothing of the answer for 200ms");
    link.read_to_end();
}

#[test]
fn requests_that_take_too_long_in_all() {
    let (proxy, app) = pair_with("timeouts: { total: 300ms }", "");
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    assert_eq!(client.reply().status, 504);
    proxy.wait_log("over the limit: the request took longer than 300ms in all");
    // However lively they are.
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    let start = Instant::now();
    while link.try_write("x").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    let (proxy, app) = pair_with("", "total_timeout: 200ms");
    let mut client = proxy.client();
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    assert_eq!(client.reply().status, 504);
    link.expect_closed();
}

#[test]
fn a_full_backlog_means_busy() {
    use crate::harness::Proxy;
    use std::os::fd::AsRawFd as _;
    let proxy = Proxy::new();
    let listener = std::os::unix::net::UnixListener::bind(proxy.path("app.sock")).unwrap();
    // One connection may wait in the queue; a second listen(2) only changes that number.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    assert!(listener.as_raw_fd() > 0);
    let waiting = std::os::unix::net::UnixStream::connect(proxy.path("app.sock")).unwrap();
    let config = "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /, proxy: app }]\n\
         upstreams:\n  app: { servers: ['unix:app.sock'], connect_timeout: 300ms }\n";
    let proxy = proxy.config(config).start();
    let mut client = proxy.client();
    client.get("/");
    assert_eq!(client.reply().status, 503);
    proxy.wait_log("the upstream's fault: it is busy");
    // As soon as there is room the request goes through.
    client.get("/patient");
    drop(waiting);
    let first = listener.accept().unwrap();
    let (mut link, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let count = std::io::Read::read(&mut link, &mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"GET /patient "));
    std::io::Write::write_all(&mut link, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert_eq!(client.reply().text(), "ok");
    drop(first);
}

/// Two thousand clients that do this and no more, or as many as the test may have open.
#[track_caller]
fn check_slow(what: &str, send: &str) {
    use crate::harness::{Proxy, Upstream};
    use nix::sys::resource::Resource::RLIMIT_NOFILE;
    const COUNT: usize = 2000;
    let _ = trine_sys::limits::raise(RLIMIT_NOFILE, 3 * COUNT as u64);
    let (allowed, _) = trine_sys::limits::get(RLIMIT_NOFILE).unwrap();
    let count = COUNT.min(usize::try_from(allowed).unwrap() / 3);

    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    std::fs::create_dir(proxy.path("files")).unwrap();
    std::fs::write(proxy.path("files/big"), vec![b'x'; 8 << 20]).unwrap();
    let config = "control: proxy.sock\nthreads: 1\ntimeouts: { header: 4s, body: 4s, send: 4s }\n\
         servers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /files/, files: files }, { path: /, proxy: app }]\n\
         upstreams:\n  app: { servers: ['unix:app.sock'] }\n";
    let proxy = proxy.config(config).start();
    let mut slow: Vec<_> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut slow {
        // The first may have had their time already.
        let _ = client.try_send(send);
    }
    let mut client = proxy.client();
    client.get("/");
    app.accept().answer("quick");
    assert_eq!(client.reply().text(), "quick", "{what}");
    drop(client);
    app.expect_untouched();
    // All of them are got rid of, and nobody waits for that.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while proxy.figure("open_connections") > 0 {
        assert!(
            std::time::Instant::now() < end,
            "{what}: they are still there"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(slow);
}

#[test]
fn two_thousand_slow_heads_hold_nobody_up() {
    check_slow("head", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
}

#[test]
fn two_thousand_slow_bodies_hold_nobody_up() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nslow";
    check_slow("body", head);
}

#[test]
fn two_thousand_that_do_not_read_hold_nobody_up() {
    check_slow("reading", "GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn when_descriptors_are_short_idle_connections_go_first() {
    use crate::harness::{Proxy, Upstream};
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let config = "control: proxy.sock\nthreads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /, proxy: app }]\n\
         upstreams:\n  app: { servers: ['unix:app.sock'] }\n";
    let proxy = proxy.config(config);
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_trine-proxy"),
        "-c",
    ]);
    command.arg(proxy.path("proxy.yaml"));
    let proxy = proxy.start_as(command);
    let mut clients: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    let mut last = proxy.client();
    last.get("/");
    proxy.wait_log("descriptors are short");
    let mut link = app.accept();
    link.answer("served");
    assert_eq!(last.reply().text(), "served");
    clients[0].expect_closed();
    // Nothing spins while the rest of them waits: of two seconds the daemon needs little.
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap());
        ticks.sum::<u64>() * 10
    };
    let before = used();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let millis = used() - before;
    assert!(millis < 1000, "{millis} ms of CPU time in two seconds");
}
