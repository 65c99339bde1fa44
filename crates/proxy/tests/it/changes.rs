//! Reload: what is changed under way, and what nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::harness::{Client, Proxy, Upstream, pair};
use nix::sys::signal::Signal;

fn config(threads: usize, listen: &str, app: &str) -> String {
    format!(
        "control: proxy.sock\nthreads: {threads}\naccess_log: access.log\nservers:\n- listen: [{listen}]\n  \
         locations: [{{ path: /, proxy: 'unix:{app}' }}]\n"
    )
}

#[test]
fn requests_see_the_new_configuration_on_old_connections() {
    let proxy = Proxy::new();
    let (a, b) = (
        Upstream::at(&proxy.path("a")),
        Upstream::at(&proxy.path("b")),
    );
    let mut proxy = proxy.config(&config(1, "'127.0.0.1:0'", "a")).start();
    // One that is under way ends where it began.
    let mut busy = proxy.client();
    busy.get("/busy");
    let mut busy_link = a.accept();
    busy_link.read_head();
    let mut client = proxy.client();
    client.get("/1");
    let mut old = a.accept();
    old.answer("a");
    assert_eq!(client.reply().text(), "a");

    proxy.reload(&config(1, "'127.0.0.1:0'", "b"));
    client.get("/2");
    b.accept().answer("b");
    assert_eq!(client.reply().text(), "b");
    busy_link.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    assert_eq!(busy.reply().text(), "late");
    // Connections to servers that were removed are closed.
    old.expect_closed();
    busy_link.expect_closed();
}

#[test]
fn a_bad_file_is_refused_whole() {
    let (mut proxy, app) = pair();
    let addresses = proxy.addresses().to_vec();
    std::fs::write(
        proxy.path("proxy.yaml"),
        "servers: [{ listen: 127.0.0.1:0, loctions: [] }]\nthread: 1\n",
    )
    .unwrap();
    let (status, body) = proxy.control("POST", "/v1/reload?dry_run=true");
    assert_eq!(status, 422, "{body}");
    assert!(
        body.contains("did you mean \\\"locations\\\"?") && body.contains("thread"),
        "{body}"
    );
    let (status, body) = proxy.control("POST", "/v1/reload");
    assert_eq!(status, 422, "{body}");
    proxy.wait_log("cannot reload: ");
    proxy.signal(Signal::SIGHUP);
    proxy.wait_notified("RELOADING=1");
    proxy.wait_notified("READY=1");
    assert_eq!(proxy.addresses(), addresses);
    let mut client = proxy.client();
    client.get("/");
    app.accept().answer("still here");
    assert_eq!(client.reply().text(), "still here");
    let (_, body) = proxy.control("GET", "/v1/status");
    assert!(
        body.contains("\"generation\":1") && body.contains("\"ok\":false"),
        "{body}"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let (proxy, _app) = pair();
    let text = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    std::fs::write(proxy.path("proxy.yaml"), text.replace("1MiB", "2MiB")).unwrap();
    let (status, body) = proxy.control("POST", "/v1/reload?dry_run=true");
    assert_eq!(status, 200, "{body}");
    assert!(
        proxy
            .control("GET", "/v1/status")
            .1
            .contains("\"generation\":1")
    );
    let (status, _) = proxy.control("POST", "/v1/reload");
    assert_eq!(status, 200);
    assert!(
        proxy
            .control("GET", "/v1/status")
            .1
            .contains("\"generation\":2")
    );
}

#[test]
fn doors_are_opened_and_closed() {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("a"));
    let mut proxy = proxy
        .config(&config(1, "'127.0.0.1:0', 'unix:one.sock'", "a"))
        .start();
    let tcp = proxy.address().to_owned();
    let one = proxy.addresses()[1].clone();
    assert!(one.ends_with("one.sock"), "{one}");
    let mut busy = Client::connect(&one);
    busy.get("/busy");
    let mut busy_link = app.accept();
    busy_link.read_head();
    let mut idle = Client::connect(&one);
    idle.get("/");
    let mut link = app.accept();
    link.answer("one");
    idle.reply();

    let now = proxy.reload(&config(1, "'127.0.0.1:0', 'unix:two.sock'", "a"));
    assert_eq!(now[0], tcp, "a listener that stays is the same one");
    assert!(now[1].ends_with("two.sock"));
    // The door that was removed: idle connections end, busy ones end after their answer, nobody comes in.
    idle.expect_closed();
    busy_link.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    let reply = busy.reply();
    assert_eq!(
        (reply.text(), reply.field("Connection")),
        ("last", Some("close"))
    );
    assert!(!proxy.path("one.sock").exists());
    let mut client = Client::connect(&now[1]);
    client.get("/");
    // The connection that was given back last is used first.
    busy_link.answer("two");
    assert_eq!(client.reply().text(), "two");
}

#[test]
fn no_request_fails_under_load() {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("a"));
    let mut proxy = proxy.config(&config(2, "'127.0.0.1:0'", "a")).start();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let server = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            std::thread::scope(|scope| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(mut link) = app.try_accept() else {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                        continue;
                    };
                    // Ends when the proxy closes the connection.
                    scope.spawn(move || while link.answer_until_closed() {});
                }
            });
        })
    };
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (stop, answered, address) = (
                Arc::clone(&stop),
                Arc::clone(&answered),
                proxy.address().to_owned(),
            );
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(&address);
                    for _ in 0..=number * 10 {
                        client.get("/load");
                        assert_eq!(client.reply().text(), "loaded");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 0..10 {
        let before = answered.load(Ordering::Relaxed);
        let other = if round % 2 == 0 {
            "'127.0.0.1:0', 'unix:extra.sock'"
        } else {
            "'127.0.0.1:0'"
        };
        proxy.reload(&config(2, other, "a"));
        while answered.load(Ordering::Relaxed) < before + 50 {
            std::thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    drop(proxy);
    server.join().unwrap();
}

#[test]
fn logs_are_reopened() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/before");
    let mut link = app.accept();
    link.answer("x");
    client.reply();
    std::fs::rename(proxy.path("access.log"), proxy.path("old.log")).unwrap();
    proxy.signal(Signal::SIGUSR1);
    proxy.wait_log("reopened the logs");
    client.get("/after");
    link.answer("x");
    client.reply();
    assert!(
        proxy
            .wait_file("access.log", "/after")
            .contains("\"status\":200")
    );
    proxy.wait_file("old.log", "/before");
}

#[test]
fn metrics_and_events() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.get("/");
    app.accept().answer("x");
    client.reply();
    let (status, text) = proxy.control("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(
        text.contains("trine_proxy_requests_total{status=\"2xx\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("/app.sock\"} 1\n"), "{text}");
    for line in [
        "trine_proxy_request_seconds_count 1\n",
        "trine_proxy_first_byte_seconds_bucket{le=\"+Inf\"} 1\n",
        "trine_proxy_reload_failures_total 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert_eq!(proxy.figure("requests"), 1);
}
