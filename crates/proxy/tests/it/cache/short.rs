//! What memory answers the short way, with a head that is kept ready, is what it would have answered the long way.

use nix::sys::signal::Signal;

use super::*;
use crate::harness::http2::Http2;

/// A head's lines in order, but for those that tell the time.
fn lines(reply: &Reply) -> Vec<&str> {
    let mut lines: Vec<_> = reply
        .head
        .lines()
        .filter(|line| !line.starts_with("Age: ") && !line.starts_with("Cache-Status: "))
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn heads_that_are_kept_ready() {
    let location = |name: &str, more: &str| {
        format!(
            "location /{name} {{ proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z; proxy_cache_key $arg_k; {more} }}"
        )
    };
    let daemon = start(
        "proxy_cache_path @dir@/kept keys_zone=z:10m inactive=1h;",
        &[
            location("plain", ""),
            location("bare", "proxy_hide_header X-Mine; proxy_hide_header Age;"),
            location("long", "add_header X-Was $upstream_cache_status;"),
        ]
        .concat(),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    for (key, fields) in [
        ("dated", "Date: Thu, 26 Nov 2026 01:02:03 GMT\r\n"),
        ("undated", ""),
    ] {
        let fields = format!("{fields}Cache-Control: max-age=2000000000\r\nX-Mine: 1\r\nAge: 5");
        let get = |name: &str, more: &str| {
            let request = format!("GET /{name}?k={key} {more}");
            send(&daemon, &request).reply()
        };
        let first = format!("GET /plain?k={key} HTTP/1.1");
        ask(&daemon, &app, &first, &answer(&fields, "hello"));
        // The first of them goes the long way, and by the second it is known that it pays to keep the head.
        let all: Vec<Reply> = (0..4).map(|_| get("plain", "HTTP/1.1")).collect();
        for reply in &all {
            assert_eq!((reply.status, reply.text()), (200, "hello"));
            assert_eq!(
                (reply.field("X-Mine"), reply.field("Content-Length")),
                (Some("1"), Some("5"))
            );
            assert!(reply.field("Date").is_some());
            if key == "dated" {
                assert_eq!(lines(reply), lines(&all[0]));
            }
            let number = |value: &str| value.parse::<u64>().unwrap();
            let told = reply.field("Cache-Status").unwrap();
            let left = number(told.strip_prefix("Trine; hit; ttl=").unwrap());
            assert_eq!(
                left + number(reply.field("Age").unwrap()),
                2_000_000_000,
                "{told}"
            );
        }
        // Each location has fields of its own, and so has what each client wants.
        for _ in 0..3 {
            let bare = get("bare", "HTTP/1.1");
            assert_eq!((bare.field("X-Mine"), bare.field("Age")), (None, None));
            assert_eq!(bare.text(), "hello");
        }
        assert_eq!(was(&get("long", "HTTP/1.1")), "HIT");
        for _ in 0..3 {
            assert_eq!(get("plain", "HTTP/1.1").field("X-Mine"), Some("1"));
        }
        let closing = get("plain", "HTTP/1.1\r\nConnection: close");
        assert_eq!(closing.field("Connection"), Some("close"));
        let old = get("plain", "HTTP/1.0\r\nConnection: keep-alive");
        assert_eq!(
            (old.field("Connection"), old.text()),
            (Some("keep-alive"), "hello")
        );
        assert_eq!(get("plain", "HTTP/1.1\r\nRange: bytes=1-2").text(), "el");
        let request = format!("HEAD /plain?k={key} HTTP/1.1");
        let head = send(&daemon, &request).reply_to("HEAD");
        assert_eq!(
            (head.status, head.field("Content-Length")),
            (200, Some("5"))
        );
    }
    // Another configuration has other heads.
    let file = daemon.path("nginx.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("http {", "http { add_header X-New yes;"),
    )
    .unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded; serving");
    assert_eq!(get(&daemon, "/plain?k=dated").field("X-New"), Some("yes"));
    app.expect_untouched();
}

const DATED: &str = "Date: Thu, 26 Nov 2026 01:02:03 GMT\r\n";

/// Locations that share one cache and its keys, and an answer in it whose head `/plain` keeps ready.
fn warm(http: &str, more: &str, fields: &str, body: &str) -> (Daemon, Upstream) {
    let shared = "proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z; proxy_cache_key k;";
    let daemon = start(
        &format!(
            "proxy_cache_path @dir@/kept keys_zone=z:10m inactive=1h; proxy_ignore_headers Set-Cookie; {http}"
        ),
        &format!(
            "location /plain {{ {shared} }} {}",
            more.replace("SHARED", shared)
        ),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let fields = format!("{fields}Cache-Control: max-age=2000000000");
    ask(&daemon, &app, "GET /plain HTTP/1.1", &answer(&fields, body));
    for _ in 0..3 {
        assert_eq!(get(&daemon, "/plain").text(), body);
    }
    (daemon, app)
}

#[test]
fn conditions_and_parts_of_what_is_ready() {
    let fields = "ETag: \"v\"\r\nLast-Modified: Thu, 26 Nov 2026 01:00:00 GMT\r\n";
    let (daemon, app) = warm("", "", fields, "hello");
    for (field, status, text) in [
        ("Range: bytes=1-2", 206, "el"),
        ("Range: bytes=9-", 416, ""),
        ("If-None-Match: \"v\"", 304, ""),
        ("If-None-Match: \"w\"", 200, "hello"),
        ("If-Modified-Since: Thu, 26 Nov 2026 01:00:00 GMT", 304, ""),
        (
            "If-Unmodified-Since: Thu, 26 Nov 2020 01:00:00 GMT",
            412,
            "",
        ),
        ("If-Match: \"w\"", 412, ""),
        ("Range: bytes=1-2\r\nIf-Range: \"v\"", 206, "el"),
        ("Range: bytes=1-2\r\nIf-Range: \"w\"", 200, "hello"),
        ("Cookie: a=b", 200, "hello"),
    ] {
        // What one of them gets is not kept for the next.
        for _ in 0..2 {
            let mut client = send(&daemon, &format!("GET /plain HTTP/1.1\r\n{field}"));
            let method = if status == 304 { "HEAD" } else { "GET" };
            let reply = client.reply_to(method);
            assert_eq!((reply.status, reply.text()), (status, text), "{field}");
        }
    }
    app.expect_untouched();
}

#[test]
fn heads_and_bodies_that_differ_are_made_anew() {
    let fields = "Content-Type: text/plain\r\nSet-Cookie: a=b; Domain=app.test\r\n";
    let (daemon, app) = warm(
        "",
        "location /add { SHARED add_header X-K $arg_v; }
         location /server { SHARED expires $arg_v; }
         location /cookie { SHARED proxy_cookie_domain app.test $arg_v; }
         location /body { SHARED sub_filter_types *; sub_filter hello $arg_v; }
         location /zip { SHARED gzip on; gzip_types *; gzip_min_length 1; gzip_vary on; }
         location /end { SHARED add_trailer X-End $arg_v; }",
        fields,
        "hello",
    );
    for value in ["1", "2", "3", "4"] {
        let field = |path: &str, name: &str| {
            let reply = get(&daemon, &format!("/{path}?v={value}"));
            reply.field(name).unwrap_or_default().to_owned()
        };
        assert_eq!(field("add", "X-K"), value);
        assert_eq!(field("server", "Cache-Control"), format!("max-age={value}"));
        let cookie = field("cookie", "Set-Cookie");
        assert_eq!(cookie.to_ascii_lowercase(), format!("a=b; domain={value}"));
        assert_eq!(get(&daemon, &format!("/body?v={value}")).text(), value);
        let packed = send(&daemon, "GET /zip HTTP/1.1\r\nAccept-Encoding: gzip").reply();
        assert_eq!(packed.field("Content-Encoding"), Some("gzip"));
        let plain = get(&daemon, "/zip");
        assert_eq!(
            (plain.field("Content-Encoding"), plain.text()),
            (None, "hello")
        );
        let mut client = send(&daemon, &format!("GET /end?v={value} HTTP/1.1"));
        let head = client.read_head();
        assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
        let end = format!("5\r\nhello\r\n0\r\nX-End: {value}\r\n\r\n");
        assert_eq!(client.read_exact(end.len()), end.as_bytes());
        // Nothing of that is in the head that all get.
        let plain = get(&daemon, "/plain");
        let names = [
            "X-K",
            "Expires",
            "Content-Encoding",
            "Vary",
            "Transfer-Encoding",
        ];
        assert_eq!(names.map(|name| plain.field(name)), [None; 5]);
        assert_eq!(plain.field("Set-Cookie"), Some("a=b; Domain=app.test"));
        assert_eq!(plain.text(), "hello");
    }
    app.expect_untouched();
}

#[test]
fn what_tells_the_time_goes_on() {
    let (daemon, app) = warm(
        "",
        "location /now { SHARED proxy_hide_header Date; }",
        DATED,
        "",
    );
    let stamp = |path: &str| {
        let reply = get(&daemon, path);
        let age = reply.field("Age").unwrap().to_owned();
        (reply.field("Date").unwrap().to_owned(), age)
    };
    let begun = Instant::now();
    let all: Vec<_> = (0..4).map(|_| stamp("/now")).collect();
    let first = &all[0];
    assert!(all.iter().all(|(date, _)| !DATED.contains(date.as_str())));
    loop {
        let (date, age) = stamp("/now");
        if date != first.0 && age != first.1 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{date} {age}");
        thread::sleep(Duration::from_millis(50));
    }
    let (date, age) = stamp("/plain");
    assert!(DATED.contains(&date), "{date}");
    assert_ne!(&age, &first.1);
    app.expect_untouched();
}

#[test]
fn rates_hold_for_what_is_ready() {
    let body = "x".repeat(40 << 10);
    let (daemon, app) = warm(
        "",
        "location /word { SHARED limit_rate 20k; }
         location /set { SHARED set $limit_rate $arg_rate; }",
        "",
        &body,
    );
    for path in ["/word", "/set", "/set", "/set?rate=20k"] {
        let begun = Instant::now();
        assert_eq!(get(&daemon, path).text().len(), body.len());
        if path.contains("set?") || path == "/word" {
            assert!(begun.elapsed() > Duration::from_millis(500), "{path}");
        }
    }
    app.expect_untouched();
}

#[test]
fn another_cache_behind_says_the_same() {
    let told = "Trine; hit; ttl=2000000000";
    let (daemon, app) = warm("", "", &format!("Cache-Status: {told}\r\n"), "hello");
    for _ in 0..3 {
        let reply = get(&daemon, "/plain");
        assert_eq!(
            reply.head.matches("Cache-Status: ").count(),
            2,
            "{}",
            reply.head
        );
        assert!(reply.head.contains(told), "{}", reply.head);
    }
    app.expect_untouched();
}

#[test]
fn http2_gets_what_is_ready() {
    let (daemon, app) = warm("http2 on;", "", DATED, "hello");
    let mut client = Http2::connect(&daemon.path("front"));
    for _ in 0..4 {
        let asked = client.get("/plain");
        let reply = client.reply(asked);
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        assert_eq!(reply.field("content-length"), Some("5"));
        assert_eq!(reply.field("connection"), None);
        assert!(DATED.contains(reply.field("date").unwrap()));
        let told = reply.field("cache-status").unwrap();
        assert!(told.starts_with("Trine; hit; ttl="), "{told}");
    }
    app.expect_untouched();
}

#[test]
fn a_client_is_not_kept_with_a_server_that_was_not_asked() {
    let shared = "proxy_pass http://u; proxy_cache z; proxy_cache_key k;";
    let daemon = start(
        "proxy_cache_path @dir@/kept keys_zone=z:10m; upstream u { server unix:@dir@/app.sock; sticky cookie at; }",
        &format!("location / {{ {shared} }}"),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let fresh = answer("Cache-Control: max-age=600", "hello");
    let (first, _) = ask(&daemon, &app, "GET / HTTP/1.1", &fresh);
    assert!(first.field("Set-Cookie").is_some());
    for _ in 0..4 {
        let reply = get(&daemon, "/");
        assert_eq!((reply.field("Set-Cookie"), reply.text()), (None, "hello"));
    }
    app.expect_untouched();
}
