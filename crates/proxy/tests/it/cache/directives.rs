//! What single directives of the cache do.

use std::time::{Duration, Instant};

use super::{answer, ask, cached, get, send, was};
use crate::harness::PATIENCE;

const STALE: &str = "Cache-Control: max-age=0\r\nETag: \"v\"";

#[test]
fn background_update_lets_nobody_wait() {
    let (daemon, app) = cached("proxy_cache_use_stale updating; proxy_cache_background_update on;");
    ask(
        &daemon,
        &app,
        "GET /a?b HTTP/1.1\r\nX-Mine: 1",
        &answer(STALE, "old"),
    );
    let reply = send(
        &daemon,
        "GET /a?b HTTP/1.1\r\nX-Mine: 2\r\nIf-None-Match: \"x\"",
    )
    .reply();
    assert_eq!((reply.text(), was(&reply)), ("old", "STALE"));
    let mut link = app.accept();
    let head = link.read_head();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("X-Mine: 2\r\n") && head.contains("If-None-Match: \"v\"\r\n"),
        "{head}"
    );
    let reply = get(&daemon, "/a?b");
    assert_eq!((reply.text(), was(&reply)), ("old", "UPDATING"));
    let body = "new".repeat(50_000);
    link.write(answer("Cache-Control: max-age=600", &body));
    drop(link);
    let end = Instant::now() + PATIENCE;
    loop {
        let reply = get(&daemon, "/a?b");
        match was(&reply) {
            "HIT" => break assert_eq!(reply.text(), body),
            "UPDATING" => assert!(Instant::now() < end),
            other => panic!("{other}"),
        }
    }
    app.expect_untouched();
}

#[test]
fn a_background_update_that_fails_is_tried_again() {
    let (daemon, app) = cached("proxy_cache_use_stale updating; proxy_cache_background_update on;");
    ask(&daemon, &app, "GET /a HTTP/1.1", &answer(STALE, "old"));
    for _ in 0..2 {
        let end = Instant::now() + PATIENCE;
        while was(&get(&daemon, "/a")) != "STALE" {
            assert!(Instant::now() < end);
        }
        let mut link = app.accept();
        link.read_head();
        drop(link);
    }
}

#[test]
fn updating_needs_no_lock() {
    let (daemon, app) = cached("proxy_cache_use_stale updating;");
    ask(&daemon, &app, "GET /a HTTP/1.1", &answer(STALE, "old"));
    let mut first = send(&daemon, "GET /a HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    for _ in 0..5 {
        let reply = get(&daemon, "/a");
        assert_eq!((reply.text(), was(&reply)), ("old", "UPDATING"));
    }
    link.write(answer("Cache-Control: max-age=600", "new"));
    drop(link);
    let reply = first.reply();
    assert_eq!((reply.text(), was(&reply)), ("new", "EXPIRED"));
    assert_eq!(was(&get(&daemon, "/a")), "HIT");
}

#[test]
fn lock_age_sends_another_after_one_who_is_stuck() {
    let (daemon, app) =
        cached("proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 300ms;");
    let mut first = send(&daemon, "GET /a HTTP/1.1");
    let mut stuck = app.accept();
    stuck.read_head();
    let mut second = send(&daemon, "GET /a HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    link.write(answer("Cache-Control: max-age=600", "from the second"));
    drop(link);
    assert_eq!(second.reply().text(), "from the second");
    assert_eq!(was(&get(&daemon, "/a")), "HIT");
    stuck.write(answer("Cache-Control: max-age=600", "at last"));
    drop(stuck);
    assert_eq!(first.reply().text(), "at last");
    app.expect_untouched();
}

#[test]
fn lock_timeout_sends_each_on_alone_and_keeps_nothing_of_theirs() {
    let (daemon, app) =
        cached("proxy_cache_lock on; proxy_cache_lock_timeout 300ms; proxy_cache_lock_age 60s;");
    let mut first = send(&daemon, "GET /a HTTP/1.1");
    let mut slow = app.accept();
    slow.read_head();
    let fresh = "Cache-Control: max-age=600";
    let begun = Instant::now();
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer(fresh, "alone"));
    assert_eq!(reply.text(), "alone");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    slow.write(answer(fresh, "kept"));
    drop(slow);
    assert_eq!(first.reply().text(), "kept");
    let reply = get(&daemon, "/a");
    assert_eq!((reply.text(), was(&reply)), ("kept", "HIT"));
}

#[test]
fn revalidation_can_be_turned_off() {
    for (word, asks) in [("on", true), ("off", false)] {
        let (daemon, app) = cached(&format!("proxy_cache_revalidate {word};"));
        ask(&daemon, &app, "GET /a HTTP/1.1", &answer(STALE, "old"));
        let (reply, head) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer(STALE, "new"));
        assert_eq!(head.contains("If-None-Match: \"v\"\r\n"), asks, "{head}");
        assert_eq!((reply.text(), was(&reply)), ("new", "EXPIRED"));
    }
}

#[test]
fn only_what_is_asked_for_often_enough_is_kept() {
    let (daemon, app) = cached("proxy_cache_min_uses 3;");
    for round in ["1", "2", "3"] {
        let fresh = answer("Cache-Control: max-age=600", round);
        let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &fresh);
        assert_eq!(was(&reply), "MISS");
    }
    let reply = get(&daemon, "/a");
    assert_eq!((reply.text(), was(&reply)), ("3", "HIT"));
}

#[test]
fn bypass_and_no_cache() {
    let (daemon, app) =
        cached("proxy_cache_bypass $http_x_past $arg_past; proxy_no_cache $http_x_unkept;");
    let fresh = |body: &str| answer("Cache-Control: max-age=600", body);
    let unkept = "GET /a HTTP/1.1\r\nX-Unkept: 1";
    for body in ["1", "2"] {
        let (reply, _) = ask(&daemon, &app, unkept, &fresh(body));
        assert_eq!((reply.text(), was(&reply)), (body, "MISS"));
    }
    ask(&daemon, &app, "GET /a HTTP/1.1", &fresh("3"));
    assert_eq!(get(&daemon, "/a").text(), "3");
    // What came past it takes the place of what was kept.
    let past = "GET /a HTTP/1.1\r\nX-Past: yes";
    let (reply, _) = ask(&daemon, &app, past, &fresh("4"));
    assert_eq!((reply.text(), was(&reply)), ("4", "BYPASS"));
    let reply = send(&daemon, "GET /a HTTP/1.1\r\nX-Past: 0").reply();
    assert_eq!((reply.text(), was(&reply)), ("4", "HIT"));
}

#[test]
fn head_becomes_get_unless_it_is_not_to() {
    let (daemon, app) = cached("");
    let body = "x".repeat(100_000);
    let fresh = answer("Cache-Control: max-age=600", &body);
    let mut client = send(&daemon, "HEAD /a HTTP/1.1");
    let mut link = app.accept();
    assert!(link.read_head().starts_with("GET /a HTTP/1.1\r\n"));
    link.write(&fresh);
    drop(link);
    let reply = client.reply_to("HEAD");
    assert_eq!(
        (reply.status, reply.field("Content-Length"), was(&reply)),
        (200, Some("100000"), "MISS")
    );
    // The connection goes on, and what HEAD has brought serves GET.
    client.send("GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.text(), was(&reply)), (body.as_str(), "HIT"));

    let (daemon, app) = cached("proxy_cache_convert_head off;");
    for _ in 0..2 {
        let mut client = send(&daemon, "HEAD /a HTTP/1.1");
        let mut link = app.accept();
        assert!(link.read_head().starts_with("HEAD /a HTTP/1.1\r\n"));
        link.write("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 9\r\nConnection: close\r\n\r\n");
        drop(link);
        assert_eq!(client.reply_to("HEAD").field("Content-Length"), Some("9"));
    }
}

#[test]
fn parts_far_in_are_passed_on() {
    let (daemon, app) = cached("proxy_cache_max_range_offset 1k;");
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2000-2001/5000\r\nCache-Control: max-age=60\r\n\
                Content-Length: 2\r\nConnection: close\r\n\r\nab";
    for range in ["bytes=2000-2001", "bytes=-5"] {
        let request = format!("GET /a HTTP/1.1\r\nRange: {range}");
        let (reply, head) = ask(&daemon, &app, &request, part);
        assert!(head.contains(&format!("Range: {range}\r\n")), "{head}");
        assert_eq!(
            (reply.status, reply.text(), was(&reply)),
            (206, "ab", "MISS")
        );
    }
    let whole = answer("Cache-Control: max-age=600", &"x".repeat(5000));
    let near = "GET /a HTTP/1.1\r\nRange: bytes=1000-1001";
    let (_, head) = ask(&daemon, &app, near, &whole);
    assert!(!head.contains("Range:"), "{head}");
    let reply = send(&daemon, "GET /a HTTP/1.1\r\nRange: bytes=2000-2001").reply();
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (206, "xx", "HIT")
    );
}

#[test]
fn the_application_orders_by_x_accel_expires() {
    let (daemon, app) = cached("proxy_cache_valid any 0;");
    let later = std::time::SystemTime::now() + Duration::from_secs(600);
    let later = later
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (path, order) in [("/a", "600".to_owned()), ("/b", format!("@{later}"))] {
        let fields = format!("X-Accel-Expires: {order}\r\nCache-Control: no-cache");
        let (reply, _) = ask(
            &daemon,
            &app,
            &format!("GET {path} HTTP/1.1"),
            &answer(&fields, path),
        );
        assert_eq!(reply.field("X-Accel-Expires"), None);
        assert_eq!(was(&get(&daemon, path)), "HIT", "{order}");
    }
    let (daemon, app) = cached("proxy_ignore_headers X-Accel-Expires;");
    let fields = "X-Accel-Expires: 600\r\nCache-Control: no-store";
    for body in ["1", "2"] {
        let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer(fields, body));
        assert_eq!(reply.text(), body);
    }
}

#[test]
fn what_the_cache_did_can_be_told() {
    let (daemon, app) = cached(
        "add_header X-Key $upstream_cache_key always; add_header X-Modified $upstream_cache_last_modified always;
         add_header X-Tag $upstream_cache_etag always; proxy_cache_key k$uri;",
    );
    let modified = "Thu, 26 Nov 2026 01:02:03 GMT";
    let fields = format!("Cache-Control: max-age=600\r\nETag: \"v\"\r\nLast-Modified: {modified}");
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer(&fields, "x"));
    assert_eq!(
        (reply.field("X-Key"), reply.field("X-Tag")),
        (Some("k/a"), None)
    );
    let reply = get(&daemon, "/a");
    assert_eq!(
        (
            reply.field("X-Key"),
            reply.field("X-Tag"),
            reply.field("X-Modified")
        ),
        (Some("k/a"), Some("\"v\""), Some(modified))
    );
}
