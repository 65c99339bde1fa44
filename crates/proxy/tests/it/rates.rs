//! Limits on how often, how many at a time and how fast. What nginx answers is compared in the end-to-end tests; here is
//! what takes time, measured from below only.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, PATIENCE, Upstream};
use crate::nginx_conf::{front, start};

const ZONES: &str =
    "limit_req_zone $arg_k zone=often:1m rate=2r/s; limit_req_zone $arg_k zone=seldom:1m rate=1r/m;
     limit_conn_zone $arg_k zone=many:1m;";

#[test]
fn a_burst_waits_for_its_turn() {
    let daemon = start(ZONES, "location / { limit_req zone=often burst=2; }");
    let socket = front(&daemon);
    let begun = Instant::now();
    for key in 0.. {
        let began = Instant::now();
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&socket)).collect();
        for client in &mut clients {
            client.get(&format!("/a.txt?k={key}"));
        }
        for client in &mut clients {
            assert_eq!(client.reply().status, 200);
        }
        // Half a second for each behind the first.
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(990), "{took:?}");
        let log = daemon.log();
        if log.contains("delaying request, excess: 1.") {
            break;
        }
        // The machine stood still between them, and nobody had to wait.
        assert!(begun.elapsed() < PATIENCE, "{log}");
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let daemon = start(
        ZONES,
        "access_log access.log; location / { limit_req zone=seldom burst=5; }",
    );
    let socket = front(&daemon);
    let mut first = Client::connect(&socket);
    assert_eq!(first.get("/a.txt?k=1").reply().status, 200);
    let mut second = Client::connect(&socket);
    second.get("/a.txt?k=1");
    // It was read, and waits for a minute.
    daemon.wait_log("delaying request");
    drop(second);
    daemon.wait_file("access.log", " 499 ");
}

#[test]
fn only_so_many_at_a_time() {
    let daemon = start(
        ZONES,
        "location / { limit_conn many 1; proxy_pass http://unix:@dir@/app.sock; }
         location /free { return 200 free; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let socket = front(&daemon);
    let mut first = Client::connect(&socket);
    first.get("/?k=1");
    let mut held = app.accept();
    held.read_head();
    let mut second = Client::connect(&socket);
    assert_eq!(second.get("/?k=1").reply().status, 503);
    assert_eq!(second.get("/free").reply().text(), "free");
    second.get("/?k=2");
    app.accept().answer("other");
    assert_eq!(second.reply().text(), "other");
    held.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(first.reply().status, 200);
    // The place is free again once the first is done with, which is when it can ask for something else.
    assert_eq!(first.get("/free").reply().text(), "free");
    second.get("/?k=1");
    app.accept().answer("again");
    assert_eq!(second.reply().text(), "again");
}

#[test]
fn a_reload_goes_on_counting() {
    let daemon = start(ZONES, "location / { limit_req zone=seldom; }");
    let socket = front(&daemon);
    let mut client = Client::connect(&socket);
    assert_eq!(client.get("/a.txt?k=1").reply().status, 200);
    let file = daemon.path("nginx.conf");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace(
        "limit_req zone=seldom;",
        "limit_req zone=seldom; add_header X-New yes always;",
    );
    fs::write(&file, changed).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded; ");
    let reply = client.get("/a.txt?k=1").reply();
    assert_eq!((reply.status, reply.field("X-New")), (503, Some("yes")));
    // A zone cannot go on with another key.
    fs::write(
        &file,
        text.replace(
            "limit_req_zone $arg_k zone=seldom",
            "limit_req_zone $host zone=seldom",
        ),
    )
    .unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log(
        "limit_req \"seldom\" uses the \"$host\" key while previously it used the \"$arg_k\" key",
    );
    assert_eq!(client.get("/a.txt?k=1").reply().status, 503);
}

#[test]
fn answers_go_out_slowly() {
    let daemon = start(
        "",
        "location /small { limit_rate 8k; alias @dir@/html/small; }
         location /large { limit_rate 64k; alias @dir@/html/large; }
         location /after { limit_rate 1k; limit_rate_after 1m; alias @dir@/html/large; }
         location /set { set $limit_rate 8k; alias @dir@/html/small; }
         location /app { limit_rate 8k; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    fs::write(daemon.path("html/small"), vec![b's'; 14 * 1024]).unwrap();
    fs::write(daemon.path("html/large"), vec![b'l'; 112 * 1024]).unwrap();
    let socket = front(&daemon);
    // The first second's worth goes out at once; what is left needs three quarters of a second more.
    let slow = Duration::from_millis(700);
    for (path, length) in [("/small", 14), ("/large", 112), ("/set", 14)] {
        let began = Instant::now();
        let reply = Client::connect(&socket).get(path).reply();
        assert_eq!(reply.body.len(), length * 1024);
        let took = began.elapsed();
        assert!(took >= slow, "{path}: {took:?}");
    }
    // A hundred seconds, were it not for what goes out first.
    let reply = Client::connect(&socket).get("/after").reply();
    assert_eq!(reply.body.len(), 112 * 1024);
    let began = Instant::now();
    let mut client = Client::connect(&socket);
    client.get("/app");
    app.accept().answer(&"a".repeat(14 * 1024));
    assert_eq!(client.reply().body.len(), 14 * 1024);
    let took = began.elapsed();
    assert!(took >= slow, "{took:?}");
}
