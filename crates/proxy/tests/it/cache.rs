//! `proxy_cache`: what is kept, for how long, who waits for whom, and what survives a restart.
//!
//! `directives` has what single directives do, `faults` broken disks and crowds, `forgetting` purges and unsafe methods,
//! `gateways` the same of FastCGI, uwsgi and SCGI, `slices` what is fetched in pieces, `short` answers whose heads are kept
//! ready, `strangers` what clients try.

mod directives;
mod faults;
mod forgetting;
mod gateways;
mod short;
mod slices;
mod strangers;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Daemon, Link, PATIENCE, Reply, Upstream};
use crate::nginx_conf::{front, start};

/// A daemon that caches what the scripted upstream answers.
fn cached(location: &str) -> (Daemon, Upstream) {
    let daemon = start(
        "proxy_cache_path @dir@/kept levels=1:2 keys_zone=z:10m inactive=1h max_size=1g;",
        &format!(
            "location / {{ proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z;
               add_header X-Was $upstream_cache_status always; {location} }}"
        ),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    (daemon, app)
}

fn send(daemon: &Daemon, request: &str) -> Client {
    let mut client = Client::connect(&front(daemon));
    client.send(format!(
        "{}\r\nHost: site.test\r\n\r\n",
        request.trim_end_matches("\r\n")
    ));
    client
}

#[track_caller]
fn get(daemon: &Daemon, path: &str) -> Reply {
    send(daemon, &format!("GET {path} HTTP/1.1")).reply()
}

#[track_caller]
fn was(reply: &Reply) -> &str {
    reply.field("X-Was").unwrap_or_default()
}

/// Asks, lets the upstream answer with these fields, and returns the client's reply and what the upstream was asked.
#[track_caller]
fn ask(daemon: &Daemon, app: &Upstream, request: &str, answer: &str) -> (Reply, String) {
    let mut client = send(daemon, request);
    let mut link = app.accept();
    let head = link.read_head();
    link.write(answer);
    drop(link);
    (client.reply(), head)
}

fn answer(fields: &str, body: &str) -> String {
    let end = if fields.is_empty() { "" } else { "\r\n" };
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n{fields}{end}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn a_second_request_does_not_reach_the_upstream() {
    let (daemon, app) = cached("");
    let request = "GET /a?q HTTP/1.1\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"";
    let fresh = answer(
        "Cache-Control: max-age=600\r\nETag: \"one\"\r\nX-Mine: 1\r\nAge: 5",
        "hello",
    );
    let (reply, asked) = ask(&daemon, &app, request, &fresh);
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (206, "he", "MISS")
    );
    assert_eq!(
        reply.field("Cache-Status"),
        Some("Trine; fwd=uri-miss; stored")
    );
    for gone in ["Range", "If-None-Match"] {
        assert!(!asked.contains(gone), "{asked}");
    }
    let reply = get(&daemon, "/a?q");
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (200, "hello", "HIT")
    );
    assert_eq!(reply.field("X-Mine"), Some("1"));
    assert!(reply.field("Age").unwrap().parse::<u32>().unwrap() >= 5);
    let told = reply.field("Cache-Status").unwrap();
    assert!(told.starts_with("Trine; hit; ttl=59"), "{told}");

    let part = send(&daemon, "GET /a?q HTTP/1.1\r\nRange: bytes=1-2").reply();
    assert_eq!((part.status, part.text()), (206, "el"));
    assert_eq!(part.field("Content-Range"), Some("bytes 1-2/5"));
    let beyond = send(&daemon, "GET /a?q HTTP/1.1\r\nRange: bytes=9-").reply();
    assert_eq!(beyond.status, 416);
    let same = send(&daemon, "GET /a?q HTTP/1.1\r\nIf-None-Match: \"one\"").reply_to("HEAD");
    assert_eq!((same.status, same.field("ETag")), (304, Some("\"one\"")));
    let head = send(&daemon, "HEAD /a?q HTTP/1.1").reply_to("HEAD");
    assert_eq!(
        (head.status, head.field("Content-Length")),
        (200, Some("5"))
    );
    // Another query, host or method is another matter.
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer("", "other"));
    assert_eq!((reply.text(), was(&reply)), ("other", "MISS"));
    app.expect_untouched();
}

#[test]
fn what_must_not_be_kept_is_not() {
    let (daemon, app) = cached("");
    let cases = [
        ("GET /1 HTTP/1.1", "Cache-Control: no-store"),
        ("GET /2 HTTP/1.1", "Cache-Control: private, max-age=60"),
        (
            "GET /3 HTTP/1.1",
            "Cache-Control: max-age=60\r\nSet-Cookie: a=b",
        ),
        (
            "GET /4 HTTP/1.1",
            "Cache-Control: max-age=60\r\nVary: Accept, *",
        ),
        (
            "GET /5 HTTP/1.1\r\nAuthorization: Basic x",
            "Cache-Control: max-age=60",
        ),
        ("GET /6 HTTP/1.1", "Expires: Thu, 01 Jan 1970 00:00:00 GMT"),
        ("GET /7 HTTP/1.1", ""),
        (
            "GET /8 HTTP/1.1",
            "X-Accel-Expires: 0\r\nCache-Control: max-age=60",
        ),
        (
            "POST /9 HTTP/1.1\r\nContent-Length: 0",
            "Cache-Control: max-age=60",
        ),
    ];
    for (request, fields) in cases {
        for body in ["one", "two"] {
            let (reply, _) = ask(&daemon, &app, request, &answer(fields, body));
            assert_eq!(reply.text(), body, "{request} {fields}");
        }
    }
}

#[test]
fn variants_and_lifetimes_of_the_configuration() {
    let (daemon, app) =
        cached("proxy_cache_valid 200 10m; proxy_cache_valid any 1m; proxy_ignore_headers Vary;");
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer("", "silent"));
    assert_eq!(was(&reply), "MISS");
    assert_eq!(get(&daemon, "/a").text(), "silent");
    let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone";
    ask(&daemon, &app, "GET /b HTTP/1.1", gone);
    let reply = get(&daemon, "/b");
    assert_eq!((reply.status, was(&reply)), (404, "HIT"));

    let (daemon, app) = cached("");
    let vary = "Cache-Control: max-age=60\r\nVary: Accept";
    for kind in ["a", "b"] {
        let request = format!("GET / HTTP/1.1\r\nAccept: {kind}");
        ask(&daemon, &app, &request, &answer(vary, kind));
    }
    for kind in ["a", "b"] {
        let reply = send(&daemon, &format!("GET / HTTP/1.1\r\nAccept: {kind}")).reply();
        assert_eq!((reply.text(), was(&reply)), (kind, "HIT"));
    }
    app.expect_untouched();
}

#[test]
fn a_stale_answer_is_validated_and_covers_for_a_broken_upstream() {
    let (daemon, app) =
        cached("proxy_cache_use_stale error timeout http_500; proxy_connect_timeout 500ms;");
    let fields = "Cache-Control: max-age=0\r\nETag: \"v1\"";
    ask(&daemon, &app, "GET /a HTTP/1.1", &answer(fields, "body"));
    let good = "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nX-New: 2\r\nConnection: close\r\n\r\n";
    let (reply, asked) = ask(&daemon, &app, "GET /a HTTP/1.1", good);
    assert!(asked.contains("\r\nIf-None-Match: \"v1\"\r\n"), "{asked}");
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (200, "body", "REVALIDATED")
    );
    assert_eq!(reply.field("X-New"), Some("2"));
    // A HEAD renews it as well.
    let mut client = send(&daemon, "HEAD /a HTTP/1.1");
    let mut link = app.accept();
    assert!(link.read_head().contains("\r\nIf-None-Match: \"v1\"\r\n"));
    link.write(good);
    drop(link);
    let reply = client.reply_to("HEAD");
    assert_eq!(
        (reply.status, was(&reply), reply.field("Content-Length")),
        (200, "REVALIDATED", Some("4"))
    );
    let broken = "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad";
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", broken);
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (200, "body", "STALE")
    );
    // 503 is not among those that it covers for.
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&daemon, &app, "GET /a HTTP/1.1", busy).0.status, 503);
    // Another validator: the whole is asked for without conditions.
    let mut client = send(&daemon, "GET /a HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 304 Not Modified\r\nETag: \"other\"\r\nConnection: close\r\n\r\n");
    drop(link);
    let mut link = app.accept();
    assert!(!link.read_head().contains("If-None-Match"));
    link.write(answer("Cache-Control: max-age=0\r\nETag: \"v2\"", "newer"));
    drop(link);
    assert_eq!(client.reply().text(), "newer");
    drop(app);
    fs::remove_file(daemon.path("app.sock")).unwrap();
    let reply = get(&daemon, "/a");
    assert_eq!((reply.text(), was(&reply)), ("newer", "STALE"));
}

#[test]
fn one_asks_for_all_that_wait() {
    let (daemon, app) = cached("proxy_cache_lock on; proxy_cache_lock_timeout 30s;");
    let clients: Vec<Client> = (0..50).map(|_| send(&daemon, "GET /a HTTP/1.1")).collect();
    let mut link: Link = app.accept();
    link.read_head();
    // All the others are there by now, or come when the answer is kept: neither asks.
    thread::sleep(Duration::from_millis(50));
    link.write(answer("Cache-Control: max-age=60", "shared"));
    drop(link);
    for mut client in clients {
        assert_eq!(client.reply().text(), "shared");
    }
    app.expect_untouched();

    // What cannot be kept makes nobody queue behind another for long.
    let mut first = send(&daemon, "GET /private HTTP/1.1");
    let mut second = send(&daemon, "GET /private HTTP/1.1");
    for _ in 0..2 {
        let mut link = app.accept();
        link.read_head();
        link.write(answer("Cache-Control: private", "own"));
    }
    assert_eq!(
        (first.reply().text(), second.reply().text()),
        ("own", "own")
    );
    let (mut third, mut fourth) = (
        send(&daemon, "GET /private HTTP/1.1"),
        send(&daemon, "GET /private HTTP/1.1"),
    );
    let mut links = [app.accept(), app.accept()];
    for link in &mut links {
        link.read_head();
        link.write(answer("Cache-Control: private", "own"));
    }
    assert_eq!(
        (third.reply().text(), fourth.reply().text()),
        ("own", "own")
    );
}

#[test]
fn answers_outlive_the_daemon_and_half_ones_are_not_kept() {
    let (mut daemon, app) = cached("");
    let big = "x".repeat(300_000);
    let fields = "Cache-Control: max-age=600";
    let (reply, _) = ask(&daemon, &app, "GET /big HTTP/1.1", &answer(fields, &big));
    assert_eq!(reply.text().len(), big.len());
    let cut = format!(
        "HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf"
    );
    let mut client = send(&daemon, "GET /cut HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    link.write(cut);
    drop(link);
    // However it learns of it: broken off in the middle.
    let _half = client.read_to_end();
    let (reply, _) = ask(&daemon, &app, "GET /cut HTTP/1.1", &answer(fields, "whole"));
    assert_eq!((reply.text(), was(&reply)), ("whole", "MISS"));
    let folder = daemon.path("kept");
    let kept = || {
        let mut files = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        files
    };
    let whole = |path: &PathBuf| !path.to_str().unwrap().contains("new.");
    let end = Instant::now() + PATIENCE;
    while kept().len() != 2 || !kept().iter().all(whole) {
        assert!(Instant::now() < end, "{:?}", kept());
        thread::sleep(Duration::from_millis(5));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(daemon.path("nginx.conf"));
    daemon.kill_and_start(command);
    for path in ["/big", "/cut"] {
        assert_eq!(was(&get(&daemon, path)), "HIT", "{path}");
    }
    app.expect_untouched();
}
