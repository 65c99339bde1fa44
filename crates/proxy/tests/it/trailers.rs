//! Fields that follow an answer's content: those of upstreams, and those that locations add, to both kinds of clients.
//!
//! What nginx 1.22 does of this is in the differential.

use std::fs;

use crate::harness::http2::Http2;
use crate::harness::{Client, Link, Upstream};
use crate::nginx_conf::{front, start};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-App: yes\r\nTransfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\nX-Sum: 42\r\nX-Accel-Own: ours\r\n\r\n";

/// Answers, and returns what was asked.
fn answer(link: &mut Link) -> String {
    let head = link.read_head();
    link.write(format!("{ANSWER}2\r\nok\r\n{END}"));
    head
}

#[test]
fn those_of_upstreams_go_on_where_they_may() {
    let daemon = start(
        "log_format t '$uri $status $upstream_trailer_x_sum $sent_trailer_x_sum'; access_log @dir@/access.log t;
         gzip_types text/plain; gzip_min_length 1;",
        "http2 on; add_trailer_inherit off;
         location / { proxy_pass http://unix:@dir@/app.sock; }
         location /pass { proxy_pass_trailers on; proxy_pass http://unix:@dir@/app.sock; }
         location /both { add_trailer X-Own '$upstream_trailer_x_sum $body_bytes_sent'; proxy_pass_trailers on; proxy_pass http://unix:@dir@/app.sock; }
         location /zip { gzip on; proxy_pass_trailers on; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.get("/");
    let mut link = app.accept();
    assert!(!answer(&mut link).contains("TE: "));
    client.read_head();
    assert_eq!(client.read_exact(12), b"2\r\nok\r\n0\r\n\r\n");
    daemon.wait_access("/ 200 42 -");
    client.get("/pass");
    let asked = answer(&mut link);
    assert!(
        asked.contains("\r\nTE: trailers\r\nConnection: TE\r\n"),
        "{asked}"
    );
    client.read_head();
    // What is for us stays here.
    assert_eq!(client.read_exact(23), b"2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n");
    daemon.wait_access("/pass 200 42 42");
    client.get("/both");
    answer(&mut link);
    let head = client.read_head();
    assert!(head.contains("X-App: yes"), "{head}");
    let rest = client.read_exact(b"2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Own: 42 0\r\n\r\n".len());
    assert_eq!(
        String::from_utf8(rest).unwrap(),
        "2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Own: 42 0\r\n\r\n"
    );
    // Behind a body that was changed, too.
    client.send("GET /zip HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    answer(&mut link);
    let head = client.read_head();
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    assert!(!client.read_chunk().is_empty());
    assert_eq!(client.read_exact(16), b"0\r\nX-Sum: 42\r\n\r\n");
    // A client of HTTP/1.0 has no chunks.
    let mut old = Client::connect(&front(&daemon));
    old.send("GET /both HTTP/1.0\r\nHost: a\r\n\r\n");
    answer(&mut link);
    assert_eq!(old.reply().text(), "ok");

    let mut client = Http2::connect(&daemon.path("front"));
    for (path, sum, own) in [
        ("/", None, None),
        ("/pass", Some("42"), None),
        ("/both", Some("42"), Some("42 0")),
    ] {
        let asked = client.get(path);
        answer(&mut link);
        let reply = client.reply(asked);
        let trailer = |name: &str| Some(reply.trailers.get(name)?.to_str().unwrap());
        assert_eq!(reply.text(), "ok", "{path}");
        assert_eq!((trailer("x-sum"), trailer("x-own")), (sum, own), "{path}");
    }
}

#[test]
fn those_of_locations_over_http2() {
    let daemon = start(
        "proxy_cache_path @dir@/cache keys_zone=c:1m;",
        "http2 on; add_trailer X-End '$status $sent_http_content_type'; add_trailer X-Always yes always;
         location /short { return 200 short; }
         location /bad { return 404; }
         location /none { return 204; }
         location /merged { add_trailer_inherit merge; add_trailer X-More more; return 200 merged; }
         location /app { proxy_cache c; proxy_cache_valid 1h; proxy_pass http://unix:@dir@/app.sock; }",
    );
    fs::write(daemon.path("html/big.txt"), vec![b'x'; 300_000]).unwrap();
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Http2::connect(&daemon.path("front"));
    let plain = Some("200 text/plain");
    let mut kept = false;
    for (path, length, end, always, more) in [
        ("/short", 5, plain, Some("yes"), None),
        ("/a.txt", 4, plain, Some("yes"), None),
        ("/big.txt", 300_000, plain, Some("yes"), None),
        ("/none", 0, None, None, None),
        ("/merged", 6, plain, Some("yes"), Some("more")),
        ("/app", 2, plain, Some("yes"), None),
        // From the cache.
        ("/app", 2, plain, Some("yes"), None),
    ] {
        let asked = client.get(path);
        if path == "/app" && !std::mem::replace(&mut kept, true) {
            answer(&mut app.accept());
        }
        let reply = client.reply(asked);
        let trailer = |name: &str| Some(reply.trailers.get(name)?.to_str().unwrap());
        assert_eq!(reply.body.len(), length, "{path}");
        assert_eq!(trailer("x-end"), end, "{path}");
        assert_eq!(
            (trailer("x-always"), trailer("x-more")),
            (always, more),
            "{path}"
        );
    }
    let asked = client.get("/bad");
    let reply = client.reply(asked);
    assert_eq!(reply.status, 404);
    assert!(reply.trailers.get("x-end").is_none());
    assert_eq!(reply.trailers["x-always"], "yes");
}

#[test]
fn logs_tell_fields_of_answers() {
    let daemon = start(
        "log_format t '$uri [$sent_http_content_type] [$sent_http_x_own] [$upstream_http_x_app]'; access_log @dir@/access.log t;",
        "add_header X-Own own;
         location /short { return 200 short; }
         location /app { proxy_hide_header X-App; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    for path in ["/short", "/a.txt"] {
        assert_eq!(client.get(path).reply().status, 200);
        daemon.wait_access(&format!("{path} [text/plain] [own] [-]"));
    }
    client.get("/app");
    answer(&mut app.accept());
    assert_eq!(client.reply().field("X-App"), None);
    daemon.wait_access("/app [text/plain] [own] [yes]");
}
