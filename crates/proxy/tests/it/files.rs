//! Files as clients see them: conditions, ranges, folders, and what must not be seen.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Daemon, Proxy, Reply};

fn site() -> Daemon {
    let proxy = Proxy::new();
    let root = proxy.path("static");
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join(".well-known")).unwrap();
    fs::create_dir_all(root.join("we ird")).unwrap();
    fs::write(proxy.path("secret"), "secret").unwrap();
    fs::write(root.join("hello.txt"), "hello world").unwrap();
    fs::write(root.join("empty.css"), "").unwrap();
    fs::write(root.join("dir/index.html"), "<h1>index</h1>").unwrap();
    fs::write(root.join(".git/config"), "secret").unwrap();
    fs::write(root.join(".env"), "secret").unwrap();
    fs::write(root.join("views.py"), "secret").unwrap();
    fs::write(root.join(".well-known/security.txt"), "contact").unwrap();
    fs::write(root.join("we ird/ä?.html"), "odd").unwrap();
    fs::write(root.join("big.bin"), big()).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("hello.txt", root.join("link.txt")).unwrap();
    let config = "control: proxy.sock\nthreads: 1\naccess_log: access.log\nservers:\n- listen: 127.0.0.1:0\n  locations:\n  \
         - { path: /static/, files: static }\n";
    proxy.config(config).start()
}

fn big() -> Vec<u8> {
    (0..300_000u32).map(|number| (number % 251) as u8).collect()
}

#[track_caller]
fn ask(proxy: &Daemon, method: &str, target: &str, fields: &str) -> Reply {
    let mut client = proxy.client();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
    ));
    client.reply_to(method)
}

#[track_caller]
fn get(proxy: &Daemon, target: &str) -> Reply {
    ask(proxy, "GET", target, "")
}

#[test]
fn whole_files() {
    let proxy = site();
    let reply = get(&proxy, "/static/hello.txt");
    assert_eq!((reply.status, reply.text()), (200, "hello world"));
    assert_eq!(
        reply.field("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
    let etag = reply.field("ETag").unwrap();
    assert!(etag.ends_with("-b\"") && etag.starts_with('"'), "{etag}");
    assert!(reply.field("Last-Modified").is_some());
    let head = ask(&proxy, "HEAD", "/static/hello.txt", "");
    assert_eq!(
        (
            head.status,
            head.field("Content-Length"),
            head.field("ETag")
        ),
        (200, Some("11"), Some(etag))
    );
    assert_eq!(get(&proxy, "/static/empty.css").text(), "");
    assert!(get(&proxy, "/static/big.bin").body == big());
    assert_eq!(get(&proxy, "/static/link.txt").text(), "hello world");
    assert_eq!(
        get(&proxy, "/static/we%20ird/%C3%A4%3F.html?v=1").text(),
        "odd"
    );
    assert_eq!(
        get(&proxy, "/static/.well-known/security.txt").text(),
        "contact"
    );
    assert_eq!(
        get(&proxy, "/x/../static/./dir//../hello.txt").text(),
        "hello world"
    );
    proxy.wait_access("\"GET /static/hello.txt HTTP/1.1\" 200 11 \"-\" \"-\"");
}

#[test]
fn many_on_one_connection() {
    let proxy = site();
    let mut client = proxy.client();
    for _ in 0..5 {
        client
            .get("/static/hello.txt")
            .get("/static/big.bin")
            .get("/static/none");
        assert_eq!(client.reply().text(), "hello world");
        assert!(client.reply().body == big());
        assert_eq!(client.reply().status, 404);
    }
    client.send("POST /static/hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("Allow")),
        (405, Some("GET, HEAD"))
    );
    client.get("/static/hello.txt");
    assert_eq!(client.reply().text(), "hello world");
    assert_eq!(proxy.figure("open_connections"), 1);
    assert_eq!(proxy.figure("open_files"), 2);
}

#[test]
fn what_must_not_be_seen() {
    let proxy = site();
    for target in [
        "/static/none",
        "/static/out",
        "/static/etc/passwd",
        "/static/.env",
        "/static/.git/config",
        "/static/dir/../.env",
        "/static/%2eenv",
        "/static/views.py",
        "/static/hello.txt/",
        "/static/hello.txt/x",
        "/static/..%2fsecret",
        "/static/dir%2f..%2f..%2fsecret",
        "/static/dir%5c..%5chello.txt",
        "/static/dir\\index.html",
        "/static../secret",
        "/static/%252e%252e/secret",
        "/secret",
        "/",
    ] {
        let reply = get(&proxy, target);
        assert_eq!(reply.status, 404, "{target}");
        assert!(!reply.text().contains("secret"), "{target}");
    }
    for target in [
        "/static/../../secret",
        "/static/%2e%2e/%2e%2e/secret",
        "/static/..%2f..%2fsecret",
    ] {
        assert_eq!(get(&proxy, target).status, 400, "{target}");
    }
    assert_eq!(get(&proxy, "/static/").status, 403);
    assert_eq!(get(&proxy, "/static/dir/sub/").status, 403);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let reply = ask(&proxy, method, "/static/hello.txt", "");
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.field("Allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn folders() {
    let proxy = site();
    let reply = get(&proxy, "/static/dir/");
    assert_eq!(reply.text(), "<h1>index</h1>");
    assert_eq!(
        reply.field("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    for (target, want) in [
        ("/static/dir", "/static/dir/"),
        ("/static/dir?a=b", "/static/dir/?a=b"),
        ("/static", "/static/"),
        ("//static//dir", "/static/dir/"),
        ("/static/we%20ird", "/static/we%20ird/"),
        ("http://evil.example/static/dir", "/static/dir/"),
    ] {
        let reply = get(&proxy, target);
        assert_eq!(
            (reply.status, reply.field("Location")),
            (301, Some(want)),
            "{target}"
        );
    }
}

#[test]
fn conditions() {
    let proxy = site();
    let first = get(&proxy, "/static/hello.txt");
    let (etag, date) = (
        first.field("ETag").unwrap(),
        first.field("Last-Modified").unwrap(),
    );
    let check = |fields: String, want: u16| {
        let reply = ask(&proxy, "GET", "/static/hello.txt", &fields);
        assert_eq!(reply.status, want, "{fields}");
        if want == 304 {
            assert_eq!(
                (reply.field("ETag"), reply.field("Last-Modified")),
                (Some(etag), Some(date))
            );
            assert_eq!(reply.field("Content-Length"), None);
        }
    };
    check(format!("If-None-Match: {etag}\r\n"), 304);
    check(format!("If-None-Match: W/{etag}, \"x\"\r\n"), 304);
    check("If-None-Match: \"x\"\r\n".to_owned(), 200);
    check(
        format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"),
        200,
    );
    check(format!("If-Modified-Since: {date}\r\n"), 304);
    check(
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(),
        200,
    );
    check(format!("If-Match: {etag}\r\n"), 200);
    check("If-Match: \"x\"\r\n".to_owned(), 412);
    check(
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(),
        412,
    );
}

#[test]
fn ranges() {
    let proxy = site();
    let check = |range: &str, status: u16, content: Option<&str>, body: &str| {
        let reply = ask(
            &proxy,
            "GET",
            "/static/hello.txt",
            &format!("Range: {range}\r\n"),
        );
        assert_eq!(
            (reply.status, reply.field("Content-Range")),
            (status, content),
            "{range}"
        );
        if status != 416 {
            assert_eq!(reply.text(), body, "{range}");
        }
    };
    check("bytes=0-4", 206, Some("bytes 0-4/11"), "hello");
    check("bytes=6-", 206, Some("bytes 6-10/11"), "world");
    check("bytes=-5", 206, Some("bytes 6-10/11"), "world");
    check("bytes=11-", 416, Some("bytes */11"), "");
    check("bytes=5-1", 200, None, "hello world");
    check("lines=0-1", 200, None, "hello world");

    let reply = ask(
        &proxy,
        "GET",
        "/static/big.bin",
        "Range: bytes=100000-199999\r\n",
    );
    assert_eq!(reply.status, 206);
    assert!(reply.body == big()[100_000..200_000]);
    // Not for HEAD, and not when the file has changed.
    assert_eq!(
        ask(&proxy, "HEAD", "/static/hello.txt", "Range: bytes=0-4\r\n").status,
        200
    );
    assert_eq!(
        ask(
            &proxy,
            "GET",
            "/static/hello.txt",
            "Range: bytes=0-4\r\nIf-Range: \"x\"\r\n"
        )
        .status,
        200
    );

    for (target, whole) in [
        ("/static/hello.txt", b"hello world".to_vec()),
        ("/static/big.bin", big()),
    ] {
        let reply = ask(&proxy, "GET", target, "Range: bytes=0-1, -2\r\n");
        assert_eq!(reply.status, 206);
        let kind = reply.field("Content-Type").unwrap();
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let size = whole.len();
        let part = |range: &str, bytes: &[u8]| {
            let mut part = format!("\r\n--{boundary}\r\n").into_bytes();
            let kind = if size == 11 {
                "text/plain; charset=utf-8"
            } else {
                "application/octet-stream"
            };
            part.extend(
                format!("Content-Type: {kind}\r\nContent-Range: bytes {range}/{size}\r\n\r\n")
                    .bytes(),
            );
            part.extend(bytes);
            part
        };
        let last = format!("{}-{}", size - 2, size - 1);
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        let want = [
            part("0-1", &whole[..2]),
            part(&last, &whole[size - 2..]),
            end,
        ]
        .concat();
        assert!(
            reply.body == want,
            "{}",
            String::from_utf8_lossy(&reply.body)
        );
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent() {
    let proxy = site();
    let path = proxy.path("static/shrinking.bin");
    fs::write(&path, vec![b'x'; 50_000_000]).unwrap();
    let mut client = proxy.client();
    client.get("/static/shrinking.bin");
    client.read_head();
    client.read_exact(100_000);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1000)
        .unwrap();
    client.expect_reset();
    proxy.wait_log("the file became shorter while it was sent");
}

#[test]
fn a_new_version_shows_within_a_second_or_so() {
    let proxy = site();
    assert_eq!(get(&proxy, "/static/hello.txt").text(), "hello world");
    fs::write(proxy.path("static/new"), "new").unwrap();
    fs::rename(proxy.path("static/new"), proxy.path("static/hello.txt")).unwrap();
    let start = std::time::Instant::now();
    while get(&proxy, "/static/hello.txt").text() != "new" {
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    fs::remove_file(proxy.path("static/hello.txt")).unwrap();
    while get(&proxy, "/static/hello.txt").status != 404 {
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
