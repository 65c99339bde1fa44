//! How long clients may take, by location, and how fast they have to be.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, pair_with};
use crate::nginx_conf::{front, start};

const POST: &str = "HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegun";

#[test]
fn bodies_by_location() {
    let daemon = start(
        "proxy_request_buffering off;",
        "location / { proxy_pass http://unix:@dir@/nobody; }
         location /short { client_body_timeout 300ms; proxy_pass http://unix:@dir@/app.sock; }
         location /long { client_body_timeout 1h; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = crate::harness::Upstream::at(&daemon.path("app.sock"));
    let socket = front(&daemon);
    let mut long = Client::connect(&socket);
    long.send(format!("POST /long {POST}"));
    let mut held = app.accept();
    held.read_head();
    let mut short = Client::connect(&socket);
    short.send(format!("POST /short {POST}"));
    assert_eq!(short.reply().status, 408);
    assert!(long.is_silent());
    daemon.wait_log("the client sent nothing of its body for 300ms");
}

#[test]
fn answers_by_location() {
    let daemon = start(
        "",
        "location /short/ { send_timeout 300ms; alias @dir@/html/; }
         location /long/ { send_timeout 1h; alias @dir@/html/; }",
    );
    fs::write(daemon.path("html/big"), vec![b'x'; 50_000_000]).unwrap();
    let socket = front(&daemon);
    let mut long = Client::connect(&socket);
    long.get("/long/big");
    long.read_head();
    let mut short = Client::connect(&socket);
    short.get("/short/big");
    short.read_head();
    daemon.wait_log("the client took nothing of the answer for 300ms");
    // The other one still gets all of it.
    assert!(long.read_exact(49_000_000).iter().all(|byte| *byte == b'x'));
}

#[test]
fn connections_by_location() {
    let daemon = start(
        "",
        "location / { return 200 kept; }
         location /once { keepalive_timeout 0; return 200 once; }
         location /short { keepalive_timeout 200ms; alias @dir@/html/a.txt; }",
    );
    let socket = front(&daemon);
    let mut client = Client::connect(&socket);
    assert_eq!(client.get("/").reply().text(), "kept");
    assert_eq!(client.get("/short").reply().text(), "text");
    client.expect_closed();
    let mut client = Client::connect(&socket);
    let reply = client.get("/once").reply();
    assert_eq!(reply.field("Connection"), Some("close"));
    client.expect_closed();
}

#[test]
fn a_body_that_drips() {
    let (proxy, app) = pair_with(
        "timeouts: { body_rate: 64KiB }\nproxy_request_buffering: false",
        "",
    );
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let mut held = app.accept();
    held.read_head();
    // Each byte alone is in time.
    while client.is_silent() {
        let _ = client.try_send("x");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.reply().status, 408);
    proxy.wait_log("the client sent its body slower than 65536 bytes in a second");
}

#[test]
fn the_status_page_counts_over_all_cores() {
    let proxy = crate::harness::Proxy::new();
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "worker_processes 2; error_log stderr; events {{}} http {{ server {{ listen unix:{dir}/front;\n\
         location / {{ return 200 x; }} location /status {{ stub_status; }} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    let daemon = proxy.start_as(command);
    let socket = front(&daemon);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&socket)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").reply().text(), "x");
    }
    let mut asking = Client::connect(&socket);
    let end = std::time::Instant::now() + Duration::from_secs(30);
    // A client has its answer a moment before its connection counts as waiting.
    for asked in 11.. {
        let page = asking.get("/status").reply().text().to_owned();
        let counts =
            format!("Active connections: 11 \nserver accepts handled requests\n 11 11 {asked} \n");
        assert!(page.starts_with(&counts), "{page}");
        if page.ends_with("Reading: 0 Writing: 1 Waiting: 10 \n") {
            break;
        }
        assert!(std::time::Instant::now() < end, "{page}");
    }
    drop(clients);
    loop {
        let page = asking.get("/status").reply().text().to_owned();
        if page.starts_with("Active connections: 1 \n") {
            break;
        }
        assert!(std::time::Instant::now() < end, "{page}");
    }
}

#[test]
fn connections_are_counted_by_variables() {
    let daemon = start(
        "",
        "location / { return 200 '$connections_active|$connections_reading|$connections_writing|$connections_waiting|$connection_time'; }",
    );
    let begun = Instant::now();
    let mut client = Client::connect(&front(&daemon));
    // Until the start's own connections are gone, and then until there are others that wait.
    for want in ["1|0|1|0|", "3|0|1|2|"] {
        let others =
            (0..2 * usize::from(want.starts_with('3'))).map(|_| Client::connect(&front(&daemon)));
        let _others: Vec<Client> = others.collect();
        loop {
            client.get("/");
            let text = client.reply().text().to_owned();
            if let Some(time) = text.strip_prefix(want) {
                let time: f64 = time.parse().unwrap();
                assert!(
                    (0.0..=begun.elapsed().as_secs_f64()).contains(&time),
                    "{text}"
                );
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_late_client_may_be_reset() {
    let top = "reset_timedout_connection: true\ntimeouts: { header: 300ms, body: 300ms }";
    let (proxy, _app) = pair_with(top, "");
    let mut client = proxy.client();
    client.send("GET / HTT");
    client.expect_reset();
    proxy.wait_log("reset the client's connection: it did not finish its request's head in time");
    let mut client = proxy.client();
    client.send(format!("POST / {POST}"));
    client.expect_reset();
    proxy.wait_log("the client sent nothing of its body for 300ms");
    proxy.wait_access("\"status\":408");
}

#[test]
fn a_client_without_an_answer_may_be_reset() {
    for (on, resets) in [("true", true), ("false", false)] {
        let top = format!("reset_timedout_connection: {on}\nscript: [{{ return: 444 }}]");
        let proxy = crate::harness::Proxy::new()
            .config(&format!(
                "servers:\n- listen: 127.0.0.1:0\n  {}\n",
                top.replace('\n', "\n  ")
            ))
            .start();
        let mut client = proxy.client();
        client.get("/");
        if resets {
            client.expect_reset();
        } else {
            client.expect_closed();
        }
    }
}

#[test]
fn an_answer_that_is_sipped() {
    let proxy = crate::harness::Proxy::new();
    fs::create_dir(proxy.path("html")).unwrap();
    fs::write(proxy.path("html/big"), vec![b'x'; 50_000_000]).unwrap();
    // What the kernel takes at once buys a moment, no more.
    let daemon = proxy
        .config(
            "timeouts: { send_rate: 100MiB }\n\
             servers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /, files: html }]\n",
        )
        .start();
    let mut client = daemon.client();
    client.get("/big");
    client.read_head();
    let mut taken = 0;
    // Some is always taken: it is the rate that is too low.
    while let Ok(count) = client.sip(10_000) {
        assert!(count > 0, "a clean end after {taken} bytes");
        taken += count;
        assert!(taken < 40_000_000, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.wait_log("the client took its answer slower than 104857600 bytes in a second");
}
