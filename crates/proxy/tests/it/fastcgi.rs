//! FastCGI to scripted applications, record by record: what they get, and what becomes of what they do.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Daemon, Link, PATIENCE, Upstream};
use crate::nginx_conf::{front, start};

/// A record of request 1.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [a, b] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, a, b, 0, 0], content].concat()
}

pub(crate) fn stdout(text: &str) -> Vec<u8> {
    record(6, text.as_bytes())
}

fn stderr(text: &str) -> Vec<u8> {
    record(7, text.as_bytes())
}

/// The end of the request, with its protocol status.
pub(crate) fn end(status: u8) -> Vec<u8> {
    record(3, &[0, 0, 0, 0, status, 0, 0, 0])
}

fn hello() -> Vec<u8> {
    [stdout("Content-Type: text/plain\r\n\r\nhello"), end(0)].concat()
}

/// What an application was sent.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    keep: bool,
    params: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn length(bytes: &mut &[u8]) -> usize {
    let first = bytes[0];
    if first < 128 {
        *bytes = &bytes[1..];
        return first.into();
    }
    let four: [u8; 4] = bytes[..4].try_into().unwrap();
    *bytes = &bytes[4..];
    (u32::from_be_bytes(four) & 0x7fff_ffff) as usize
}

/// Reads a record of request 1: its type and content.
#[track_caller]
fn read_record(link: &mut Link) -> (u8, Vec<u8>) {
    let head = link.read_exact(8);
    assert_eq!((head[0], head[3]), (1, 1), "version and number: {head:?}");
    let content = link.read_exact(u16::from_be_bytes([head[4], head[5]]).into());
    link.read_exact(head[6].into());
    (head[1], content)
}

/// Reads a whole request.
#[track_caller]
pub(crate) fn read(link: &mut Link) -> Asked {
    let mut asked = Asked::default();
    let mut params = Vec::new();
    loop {
        let (kind, content) = read_record(link);
        match (kind, content.len()) {
            (1, _) => {
                assert_eq!(content[..2], [0, 1], "a responder");
                asked.keep = content[2] & 1 == 1;
            }
            (4, 0) => {
                let mut rest = &params[..];
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                while !rest.is_empty() {
                    let (name, value) = (length(&mut rest), length(&mut rest));
                    let pair = (text(&rest[..name]), text(&rest[name..name + value]));
                    asked.params.push(pair);
                    rest = &rest[name + value..];
                }
            }
            (4, _) => params.extend(content),
            (5, 0) => return asked,
            (5, _) => asked.body.extend(content),
            (kind, _) => panic!("a record of type {kind}"),
        }
    }
}

/// A proxy with this server, and the application on `app.sock`.
fn pair(http: &str, location: &str) -> (Daemon, Upstream) {
    let daemon = start(
        http,
        &format!(
            "location / {{ fastcgi_pass unix:@dir@/app.sock; fastcgi_param REQUEST_METHOD $request_method;
             fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param A \"\"; fastcgi_param B '' if_not_empty;
             fastcgi_param C $arg_c if_not_empty; {location} }}"
        ),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    (daemon, app)
}

fn get(daemon: &Daemon, target: &str) -> Client {
    let mut client = Client::connect(&front(daemon));
    client.send(format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n"));
    client
}

#[test]
fn variables_and_fields() {
    let (daemon, app) = pair("", "fastcgi_param HTTP_OWN mine;");
    let mut client = Client::connect(&front(&daemon));
    let long = "l".repeat(300);
    client.send(format!(
        "GET /a?c=d HTTP/1.1\r\nHost: site.test\r\nX-Twice: 1\r\nCookie: a=b\r\nx-twice: 2\r\nCookie: c=d\r\n\
         Own: theirs\r\nProxy: http://evil\r\nX_Under: 1\r\nX-Long: {long}\r\n\r\n"
    ));
    let mut link = app.accept();
    let asked = read(&mut link);
    let want = [
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_LENGTH", ""),
        ("A", ""),
        ("C", "d"),
        ("HTTP_OWN", "mine"),
        ("HTTP_HOST", "site.test"),
        ("HTTP_X_TWICE", "1, 2"),
        ("HTTP_COOKIE", "a=b; c=d"),
        ("HTTP_X_LONG", &long),
    ];
    let got: Vec<_> = asked
        .params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(got, want);
    assert!(!asked.keep);
    link.write(hello());
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    link.expect_closed();
}

/// nginx fails where they do not fit into one record.
#[test]
fn variables_fill_several_records() {
    let (one, two) = ("x".repeat(60_000), "y".repeat(60_000));
    let (daemon, app) = pair(
        "",
        &format!("fastcgi_param ONE {one}; fastcgi_param TWO {two}; fastcgi_param END z;"),
    );
    let mut client = get(&daemon, "/");
    let mut link = app.accept();
    let asked = read(&mut link);
    assert!(asked.param("ONE") == Some(&*one) && asked.param("TWO") == Some(&*two));
    assert_eq!(asked.param("END"), Some("z"));
    assert_eq!(asked.param("HTTP_HOST"), Some("site.test"));
    link.write(hello());
    assert_eq!(client.reply().text(), "hello");
}

#[test]
fn bodies_of_every_kind() {
    let (daemon, app) = pair("client_max_body_size 1m;", "");
    let large = "x".repeat(200_000);
    let chunked = format!("{:x}\r\n{large}\r\n3\r\nend\r\n0\r\n\r\n", large.len());
    let large_with_end = format!("{large}end");
    for (fields, sent, want) in [
        ("Content-Length: 5", "small", "small"),
        ("Content-Length: 200000", large.as_str(), large.as_str()),
        ("Transfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n", "ab"),
        ("Transfer-Encoding: chunked", &chunked, &large_with_end),
        ("Content-Length: 0", "", ""),
    ] {
        let mut client = Client::connect(&front(&daemon));
        let sender = thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let mut link = app.accept();
                let asked = read(&mut link);
                link.write(hello());
                asked
            });
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n\r\n{sent}"
            ));
            asked.join().unwrap()
        });
        assert!(
            sender.body == want.as_bytes(),
            "{fields}: {} bytes",
            sender.body.len()
        );
        let length = want.len().to_string();
        assert_eq!(
            sender.param("CONTENT_LENGTH"),
            Some(length.as_str()),
            "{fields}"
        );
        assert_eq!(sender.param("HTTP_TRANSFER_ENCODING"), None);
        assert_eq!(client.reply().status, 200);
    }
}

#[test]
fn a_kept_connection_serves_again() {
    let (daemon, app) = pair("", "fastcgi_keep_conn on;");
    let mut client = get(&daemon, "/");
    let mut link = app.accept();
    assert!(read(&mut link).keep);
    link.write(hello());
    assert_eq!(client.reply().status, 200);
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
        assert!(read(&mut link).keep);
        // The end comes after all of the answer has gone out.
        link.write(stdout("Content-Length: 5\r\n\r\nhello"));
        assert_eq!(client.reply().text(), "hello");
        link.write(end(0));
    }
    // What is said after the end makes it useless.
    client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    read(&mut link);
    link.write([hello(), stderr("what?")].concat());
    assert_eq!(client.reply().status, 200);
    link.expect_closed();
}

#[test]
fn standard_error_goes_to_the_log() {
    let (daemon, app) = pair("", "fastcgi_catch_stderr Fatal;");
    let mut client = get(&daemon, "/logged");
    let mut link = app.accept();
    read(&mut link);
    link.write([stderr("a warning\n"), stdout("X: y\r\n\r\nfirst ")].concat());
    let line = daemon.wait_log("FastCGI sent in stderr: \"a warning\"");
    assert!(
        line.contains("while reading response header from upstream"),
        "{line}"
    );
    assert!(line.contains("request: \"GET /logged HTTP/1.1\""), "{line}");
    assert!(line.contains("upstream: \"fastcgi://unix:"), "{line}");
    assert!(line.contains("request_id: "), "{line}");
    link.write(stderr("another one"));
    daemon.wait_log("\"another one\" while reading upstream");
    link.write([stdout("last"), end(0)].concat());
    assert_eq!(client.reply().text(), "first last");
    // One that says the word has failed.
    let mut client = get(&daemon, "/caught");
    let mut link = app.accept();
    read(&mut link);
    link.write([stderr("PHP Fatal error"), hello()].concat());
    assert_eq!(client.reply().status, 502);
    link.expect_closed();
}

#[test]
fn who_has_too_much_to_do_is_left_for_another() {
    let daemon = start(
        "upstream app { server unix:@dir@/a.sock max_fails=0; server unix:@dir@/b.sock max_fails=0; }",
        "location / { fastcgi_pass app; fastcgi_param X y; }",
    );
    let (busy, free) = (
        Upstream::at(&daemon.path("a.sock")),
        Upstream::at(&daemon.path("b.sock")),
    );
    let mut client = Client::connect(&front(&daemon));
    // What was declined was not done, so that a POST goes on too.
    client.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nbody");
    let mut link = busy.accept();
    assert_eq!(read(&mut link).body, b"body");
    link.write(end(2));
    let mut link = free.accept();
    assert_eq!(read(&mut link).body, b"body");
    link.write(hello());
    assert_eq!(client.reply().text(), "hello");
    // When all of them have, the client is told.
    client.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    for _ in 0..2 {
        let mut link = either(&busy, &free);
        read(&mut link);
        link.write(end(2));
    }
    assert_eq!(client.reply().status, 503);
}

/// Waits for a connection to one of the two.
#[track_caller]
fn either(one: &Upstream, other: &Upstream) -> Link {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(link) = one.try_accept().or_else(|| other.try_accept()) {
            return link;
        }
        assert!(Instant::now() < until, "nobody connected");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn answers_that_break_off() {
    let (daemon, app) = pair("", "");
    for (answer, want) in [
        (stdout("Content-Type: te"), 502),
        ([stdout("Content-Type: te"), end(0)].concat(), 502),
        (end(0), 502),
        (end(3), 502),
        (stdout("no field\r\n\r\n"), 502),
        (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), 502),
        (stderr("only words"), 502),
        (Vec::new(), 502),
    ] {
        let mut client = Client::connect(&front(&daemon));
        // Not one that may be sent again.
        client.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        let mut link = app.accept();
        read(&mut link);
        link.write(&answer);
        drop(link);
        assert_eq!(client.reply().status, want, "{}", answer.escape_ascii());
    }
    // Within the body: the client must not take it for a whole one.
    for (answer, cut) in [
        (stdout("X: y\r\n\r\nhalf"), true),
        (stdout("Content-Length: 9\r\n\r\nhalf"), true),
        (
            [stdout("Content-Length: 9\r\n\r\nhalf"), end(0)].concat(),
            true,
        ),
        (hello(), false),
    ] {
        let mut client = Client::connect(&front(&daemon));
        client.send("GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
        let mut link = app.accept();
        read(&mut link);
        link.write(&answer);
        drop(link);
        let whole = client
            .read_to_end()
            .is_ok_and(|bytes| bytes.ends_with(b"0\r\n\r\n"));
        assert_eq!(whole, !cut, "{}", answer.escape_ascii());
    }
}

/// Closing says it; no ABORT_REQUEST goes before.
#[test]
fn a_client_that_leaves_takes_its_request_along() {
    for keep in ["off", "on"] {
        let (daemon, app) = pair(
            "access_log @dir@/access.log;",
            &format!("fastcgi_keep_conn {keep};"),
        );
        let gone = |path: &str, client: Client, mut link: Link| {
            drop(client);
            link.expect_closed();
            daemon.wait_access(&format!("{path} HTTP/1.1\" 499"));
        };
        let client = get(&daemon, "/waiting");
        let mut link = app.accept();
        read(&mut link);
        gone("GET /waiting", client, link);

        let mut client = get(&daemon, "/download");
        let mut link = app.accept();
        read(&mut link);
        link.write(stdout("Content-Type: text/plain\r\n\r\npart"));
        client.read_head();
        assert_eq!(client.read_chunk(), b"part");
        gone("GET /download", client, link);

        // Nothing of theirs is left for who comes next.
        let mut client = get(&daemon, "/next");
        let mut link = app.accept();
        read(&mut link);
        link.write(hello());
        assert_eq!(client.reply().text(), "hello");
    }
}

#[test]
fn scripts_and_what_follows_them() {
    let daemon = start(
        "",
        "location ~ \\.php(/|$) {
             fastcgi_split_path_info ^(.+?\\.php)(/.*)$; fastcgi_pass unix:@dir@/app.sock;
             fastcgi_param SCRIPT $fastcgi_script_name; fastcgi_param INFO $fastcgi_path_info; }
         location / { fastcgi_index index.php; fastcgi_pass unix:@dir@/app.sock;
             fastcgi_param SCRIPT $fastcgi_script_name; fastcgi_param INFO $fastcgi_path_info; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    for (path, script, info) in [
        ("/a.php", "/a.php", ""),
        ("/a.php/b/c.php/d", "/a.php", "/b/c.php/d"),
        ("/a/", "/a/index.php", ""),
        ("/a", "/a", ""),
        ("/a%20b/", "/a b/index.php", ""),
    ] {
        let mut client = get(&daemon, path);
        let mut link = app.accept();
        let asked = read(&mut link);
        assert_eq!(
            (asked.param("SCRIPT"), asked.param("INFO")),
            (Some(script), Some(info)),
            "{path}"
        );
        link.write(hello());
        assert_eq!(client.reply().status, 200);
    }
}

#[test]
fn answers_are_kept_and_validated() {
    let (daemon, app) = pair(
        "fastcgi_cache_path @dir@/kept keys_zone=kept:1m;",
        "fastcgi_cache kept; fastcgi_cache_key $request_uri;",
    );
    let mut client = get(&daemon, "/kept");
    let mut link = app.accept();
    read(&mut link);
    let fields = "Cache-Control: max-age=600\r\nETag: \"one\"\r\n";
    link.write([stdout(&format!("{fields}\r\nhello")), end(0)].concat());
    assert_eq!(client.reply().text(), "hello");
    client.send("GET /kept HTTP/1.1\r\nHost: site.test\r\n\r\n");
    assert_eq!(client.reply().text(), "hello");
    app.expect_untouched();
    // One that is old at once is asked for again, by what it was told apart by.
    client.send("GET /old HTTP/1.1\r\nHost: site.test\r\nIf-None-Match: \"theirs\"\r\n\r\n");
    let mut link = app.accept();
    read(&mut link);
    let fields = "Cache-Control: max-age=600\r\nAge: 600\r\nETag: \"two\"\r\n";
    link.write([stdout(&format!("{fields}\r\nold")), end(0)].concat());
    assert_eq!(client.reply().text(), "old");
    client.send("GET /old HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let mut link = app.accept();
    assert_eq!(read(&mut link).param("HTTP_IF_NONE_MATCH"), Some("\"two\""));
    link.write([stdout("Status: 304\r\nETag: \"two\"\r\n\r\n"), end(0)].concat());
    let reply = client.reply();
    assert_eq!((reply.status, reply.text()), (200, "old"));
}
