//! `slice`: a file is fetched in pieces that are kept one by one; and the part that a client wants of what was not kept yet.

use super::{answer, ask, cached, get, send, was};
use crate::harness::http2::Http2;
use crate::harness::{Daemon, Upstream};
use crate::nginx_conf::start;

const FILE: &str = "0123456789abcdefghijklmnopqrstuvw";

/// Slices of ten bytes, kept for an hour.
fn sliced() -> (Daemon, Upstream) {
    cached(
        "slice 10; proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1h;",
    )
}

/// What an origin answers to a request for the slice that begins there.
fn slice(start: usize, tag: &str) -> String {
    let end = FILE.len().min(start + 10);
    format!(
        "HTTP/1.1 206 Partial Content\r\nETag: \"{tag}\"\r\nContent-Type: text/plain\r\n\
         Content-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        end - 1,
        FILE.len(),
        end - start,
        &FILE[start..end]
    )
}

/// Answers the next request, which has to be for that slice.
#[track_caller]
fn serve(app: &Upstream, start: usize, tag: &str) {
    let mut link = app.accept();
    let head = link.read_head();
    let want = format!("Range: bytes={start}-{}\r\n", start + 9);
    assert!(head.contains(&want), "{head}");
    assert_eq!(head.matches("Range:").count(), 1, "{head}");
    link.write(slice(start, tag));
}

#[test]
fn slices_are_fetched_and_kept_one_by_one() {
    let (daemon, app) = sliced();
    let mut client = send(&daemon, "GET /f HTTP/1.1\r\nRange: bytes=12-14");
    serve(&app, 10, "v");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (206, "cde"));
    assert_eq!(reply.field("Content-Range"), Some("bytes 12-14/33"));
    assert_eq!(was(&reply), "MISS");
    // The slice that is kept is not asked for again.
    let mut client = send(&daemon, "GET /f HTTP/1.1\r\nRange: bytes=15-25");
    serve(&app, 20, "v");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (206, "fghijklmnop"));
    assert_eq!(was(&reply), "HIT");
    let mut client = send(&daemon, "GET /f HTTP/1.1");
    serve(&app, 0, "v");
    serve(&app, 30, "v");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (200, FILE));
    assert_eq!(reply.field("Content-Length"), Some("33"));
    assert_eq!(reply.field("Content-Range"), None);
    assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
    for (fields, status, text) in [
        ("", 200, FILE),
        ("\r\nRange: bytes=-3", 206, "uvw"),
        ("\r\nRange: bytes=31-", 206, "vw"),
        ("\r\nRange: bytes=9-10", 206, "9a"),
        ("\r\nIf-None-Match: \"v\"", 304, ""),
        ("\r\nRange: bytes=1-2\r\nIf-Range: \"w\"", 200, FILE),
    ] {
        let reply = send(&daemon, &format!("GET /f HTTP/1.1{fields}")).reply();
        assert_eq!((reply.status, reply.text()), (status, text), "{fields}");
        assert_eq!(was(&reply), "HIT", "{fields}");
    }
    let mut client = send(&daemon, "HEAD /f HTTP/1.1");
    assert_eq!(client.reply_to("HEAD").field("Content-Length"), Some("33"));
    app.expect_untouched();
}

#[test]
fn a_slice_of_another_version_ends_the_answer() {
    let (daemon, app) = sliced();
    let mut client = send(&daemon, "GET /f HTTP/1.1");
    serve(&app, 0, "old");
    serve(&app, 10, "new");
    let head = client.read_head();
    assert!(head.contains("Content-Length: 33\r\n"), "{head}");
    assert_eq!(client.read_exact(10), FILE.as_bytes()[..10]);
    client.expect_closed();
    daemon.wait_log("etag mismatch in slice response");
}

#[test]
fn what_is_no_slice_is_passed_on_or_refused() {
    let (daemon, app) = sliced();
    // An origin that knows no ranges.
    let (reply, _) = ask(&daemon, &app, "GET /whole HTTP/1.1", &answer("", FILE));
    assert_eq!((reply.status, reply.text()), (200, FILE));
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone";
    let (reply, _) = ask(&daemon, &app, "GET /missing HTTP/1.1", missing);
    assert_eq!((reply.status, reply.text()), (404, "none"));
    let beyond = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */33\r\nContent-Length: 0\r\n\
                  Connection: close\r\n\r\n";
    let request = "GET /f HTTP/1.1\r\nRange: bytes=90-";
    let (reply, _) = ask(&daemon, &app, request, beyond);
    assert_eq!(reply.status, 416);
    let empty = beyond.replace("/33", "/0");
    let (reply, _) = ask(&daemon, &app, "GET /empty HTTP/1.1", &empty);
    assert_eq!((reply.status, reply.text()), (200, ""));
    let (reply, _) = ask(&daemon, &app, "GET /f HTTP/1.1", &slice(20, "v"));
    assert_eq!(reply.status, 502);
    daemon.wait_log("unexpected range in slice response: 20-29");
    let bare = slice(0, "v").replace("/33", "/*");
    let (reply, _) = ask(&daemon, &app, "GET /g HTTP/1.1", &bare);
    assert_eq!(reply.status, 502);
    daemon.wait_log("no complete length in slice response");
    // One that does not speak HTTP is told of as ever.
    let mut client = send(&daemon, "GET /gone HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    link.write("nonsense\r\n\r\n");
    drop(link);
    assert_eq!(client.reply().status, 502);
}

#[test]
fn slices_without_a_cache_and_from_a_slow_origin() {
    let daemon = start(
        "",
        "location / { proxy_pass http://unix:@dir@/app.sock:/; slice 10; proxy_set_header Range $slice_range; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = send(&daemon, "GET /f HTTP/1.1");
    let mut link = app.accept();
    link.read_head();
    let whole = slice(0, "v");
    let (front, last) = whole.split_at(whole.len() - 5);
    link.write(front);
    client.read_head();
    // What has come is not held back until the slice is whole.
    assert_eq!(client.read_exact(5), FILE.as_bytes()[..5]);
    link.write(last);
    drop(link);
    serve(&app, 10, "v");
    // One that breaks off in a slice is not taken for its end.
    let mut link = app.accept();
    link.read_head();
    let cut = slice(20, "v");
    link.write(&cut[..cut.len() - 2]);
    drop(link);
    assert_eq!(client.read_exact(23), FILE.as_bytes()[5..28]);
    client.expect_closed();
}

#[test]
fn a_part_of_what_was_not_kept_yet_comes_of_the_whole() {
    let (daemon, app) = cached("");
    let fields = "Cache-Control: max-age=600\r\nETag: \"v\"";
    for (path, condition, status, text) in [
        ("/a", "Range: bytes=3-5", 206, "345"),
        ("/b", "Range: bytes=-2", 206, "vw"),
        ("/c", "If-None-Match: \"v\"", 304, ""),
        ("/d", "If-None-Match: \"w\"", 200, FILE),
        ("/e", "If-Match: \"w\"", 412, ""),
        ("/f", "Range: bytes=3-5\r\nIf-Range: \"v\"", 206, "345"),
        ("/g", "Range: bytes=3-5\r\nIf-Range: \"w\"", 200, FILE),
        ("/h", "Range: bytes=99-", 416, ""),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{condition}");
        let (reply, head) = ask(&daemon, &app, &request, &answer(fields, FILE));
        for name in ["Range:", "If-Range:", "If-None-Match:", "If-Match:"] {
            assert!(!head.contains(name), "{head}");
        }
        assert_eq!(reply.status, status, "{path}");
        if status < 400 {
            assert_eq!(reply.text(), text, "{path}");
        }
        // All of it is kept.
        let reply = get(&daemon, path);
        assert_eq!((reply.text(), was(&reply)), (FILE, "HIT"), "{path}");
    }
    app.expect_untouched();
}

#[test]
fn ranges_can_be_forced() {
    let daemon = start(
        "",
        "location / { proxy_pass http://unix:@dir@/app.sock:/; proxy_force_ranges on; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let request = "GET /a HTTP/1.1\r\nRange: bytes=3-5";
    let (reply, head) = ask(&daemon, &app, request, &answer("", FILE));
    assert!(head.contains("Range: bytes=3-5\r\n"), "{head}");
    assert_eq!((reply.status, reply.text()), (206, "345"));
    assert_eq!(reply.field("Content-Range"), Some("bytes 3-5/33"));
    // What the upstream makes itself stays as it is.
    let (reply, _) = ask(&daemon, &app, request, &slice(0, "v"));
    assert_eq!((reply.status, reply.text()), (206, "0123456789"));
    assert_eq!(reply.field("Content-Range"), Some("bytes 0-9/33"));
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer("", FILE));
    assert_eq!((reply.status, reply.text()), (200, FILE));
}

#[test]
fn a_client_that_leaves_ends_the_parts() {
    let daemon = start(
        "access_log @dir@/access.log;",
        "location / { proxy_pass http://unix:@dir@/app.sock:/; slice 10; proxy_set_header Range $slice_range; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    // While the origin thinks, and while it sends.
    for begun in ["", "abc"] {
        let mut client = send(&daemon, "GET /f HTTP/1.1");
        serve(&app, 0, "v");
        let mut link = app.accept();
        link.read_head();
        if !begun.is_empty() {
            let whole = slice(10, "v");
            link.write(&whole[..whole.len() - 10 + begun.len()]);
        }
        client.read_head();
        assert_eq!(
            client.read_exact(10 + begun.len()),
            FILE.as_bytes()[..10 + begun.len()]
        );
        drop(client);
        link.expect_closed();
    }
    daemon.wait_access("\"GET /f HTTP/1.1\" 499");
    // Nobody asks for the slices behind it.
    app.expect_untouched();
}

#[test]
fn slices_over_http2() {
    let daemon = start(
        "proxy_cache_path @dir@/kept keys_zone=z:10m inactive=1h;",
        "http2 on; location / { proxy_pass http://unix:@dir@/app.sock:/; slice 10; proxy_cache z;
         proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1h; }
         location /plain/ { proxy_pass http://unix:@dir@/app.sock:/; slice 10; proxy_set_header Range $slice_range; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Http2::connect(&daemon.path("front"));
    let part = http::Request::get("http://site.test/f").header("range", "bytes=12-14");
    let asked = client.ask(part.body(()).unwrap(), true);
    serve(&app, 10, "v");
    let reply = client.reply(asked);
    assert_eq!((reply.status, reply.text()), (206, "cde"));
    assert_eq!(reply.field("content-range"), Some("bytes 12-14/33"));
    let asked = client.get("/f");
    for start in [0, 20, 30] {
        serve(&app, start, "v");
    }
    let reply = client.reply(asked);
    assert_eq!((reply.status, reply.text()), (200, FILE));
    assert_eq!(reply.field("content-length"), Some("33"));
    // What goes wrong in the middle ends its stream and no other.
    let broken = client.get("/g");
    serve(&app, 0, "v");
    serve(&app, 10, "w");
    let kept = client.get("/f");
    assert!(client.try_reply(broken).is_err());
    assert_eq!(client.reply(kept).text(), FILE);
    // Who gives a stream up ends the slice that is on its way, if nobody keeps it.
    let asked = client.get("/plain/h");
    serve(&app, 0, "v");
    let mut link = app.accept();
    link.read_head();
    drop(client.head_of(asked).unwrap());
    link.expect_closed();
    let asked = client.get("/f");
    assert_eq!(client.reply(asked).text(), FILE);
    app.expect_untouched();
}
