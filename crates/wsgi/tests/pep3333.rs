//! PEP 3333 and HTTP at the boundary: raw requests to the real server, raw answers compared. Each table runs on both
//! kinds of worker; the applications are in `apps/pep.py`, wrapped in `wsgiref.validate` where they are legal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use harness::{Server, shown};

const KINDS: [&[&str]; 2] = [&["pep:app"], &["--threads", "3", "pep:app"]];

fn on_both(story: impl Fn(&Server)) {
    for kind in KINDS {
        let server = Server::start(kind);
        story(&server);
        server.stop();
    }
}

/// A request with `|` as line end; Host is added, and the empty line.
fn raw(request: &str) -> Vec<u8> {
    let (head, body) = request.split_once("||").unwrap_or((request, ""));
    let host = if head.contains("HTTP/1.0") || head.contains("Host:") {
        ""
    } else {
        "|Host: h"
    };
    format!("{}||{body}", head.to_owned() + host)
        .replace('|', "\r\n")
        .into_bytes()
}

/// `want` is the whole answer with `|` as line end; `...` stands for anything.
#[track_caller]
fn check(server: &Server, request: &str, want: &str) {
    for step in [usize::MAX, 1] {
        let bytes = raw(request);
        let got = shown(&server.ask_in_steps(&bytes, step.min(bytes.len())));
        let fits = match want.split_once("...") {
            Some((start, end)) => {
                got.starts_with(start) && got.ends_with(end) && got.len() >= want.len() - 3
            }
            None => got == want,
        };
        assert!(
            fits,
            "{request} in steps of {step}\nwant {want}\ngot  {got}\n{}",
            server.log()
        );
    }
}

const OK: &str = "HTTP/1.1 200 OK|Content-Type: text/plain|";
const ERROR_500: &str =
    "HTTP/1.1 500 Internal Server Error|Connection: close|Content-Type: text/html|...</html>~";

#[test]
fn output() {
    on_both(|server| {
        let check = |request: &str, want: &str| check(server, request, &want.replace("@", OK));
        check(
            "GET /legal_list HTTP/1.1",
            "@Transfer-Encoding: chunked||3|one|3|two|0||",
        );
        check(
            "GET /legal_generator HTTP/1.1",
            "@Transfer-Encoding: chunked||3|one|3|two|0||",
        );
        check(
            "GET /legal_late HTTP/1.1",
            "@X-Late: yes|Transfer-Encoding: chunked||4|late|0||",
        );
        check(
            "GET /late HTTP/1.1",
            "@Transfer-Encoding: chunked||4|late|0||",
        );
        check(
            "GET /legal_write HTTP/1.1",
            "@Transfer-Encoding: chunked||6|first |7|second |5|third|0||",
        );
        check("GET /legal_length HTTP/1.1", "@Content-Length: 5||hello");
        check(
            "GET /getitem HTTP/1.1",
            "@Transfer-Encoding: chunked||1|a|1|b|0||",
        );
        check("GET /single HTTP/1.1", "@Content-Length: 6||single");
        check("GET /pid HTTP/1.1", "@Content-Length: ...");
        check(
            "GET /mutates HTTP/1.1",
            "@Transfer-Encoding: chunked||3|one|3|two|0||",
        );
        check("GET /legal_empty HTTP/1.1", "HTTP/1.1 204 No Content||");
        check(
            "GET /legal_not_modified HTTP/1.1",
            "HTTP/1.1 304 Not Modified|ETag: \\\"x\\\"||",
        );
        check(
            "GET /legal_replaced HTTP/1.1",
            "HTTP/1.1 500 Replaced|Content-Type: text/plain|X-New: 1|Transfer-Encoding: chunked||5|sorry|0||",
        );
        check(
            "GET /legal_cookies HTTP/1.1|Cookie: a=1|Cookie: b=2",
            "HTTP/1.1 200 Ok|Content-Type: text/plain|Set-Cookie: a=1|Set-Cookie: b=2|X-Latin: \\xe9|Transfer-Encoding: chunked||8|a=1; b=2|0||",
        );
        check("GET /hop_by_hop HTTP/1.1", "@Content-Length: 2||ok");
        check(
            "GET /asks_to_close HTTP/1.1",
            "@Content-Length: 2|Connection: close||ok",
        );
        check(
            "GET /hints HTTP/1.1",
            "HTTP/1.1 103 Early Hints|Link: </x.css>; rel=preload||HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 2||ok",
        );
    });
}

#[test]
fn methods_and_versions() {
    on_both(|server| {
        let check = |request: &str, want: &str| check(server, request, want);
        let ok10 = "HTTP/1.0 200 OK|Content-Type: text/plain|";
        check(
            "HEAD /legal_generator HTTP/1.1",
            &format!("{OK}Transfer-Encoding: chunked||"),
        );
        check(
            "HEAD /legal_length HTTP/1.1",
            &format!("{OK}Content-Length: 5||"),
        );
        check("HEAD /pid HTTP/1.1", &format!("{OK}Content-Length: ...||"));
        check(
            "GET /late HTTP/1.0",
            &format!("{ok10}Connection: close||late"),
        );
        check(
            "GET /late HTTP/1.0|Connection: keep-alive",
            &format!("{ok10}Connection: close||late"),
        );
        check(
            "GET /single HTTP/1.0|Connection: keep-alive",
            &format!("{ok10}Content-Length: 6|Connection: keep-alive||single"),
        );
        check(
            "GET /single HTTP/1.0",
            &format!("{ok10}Content-Length: 6|Connection: close||single"),
        );
        check(
            "GET /single HTTP/1.1|Connection: close",
            &format!("{OK}Content-Length: 6|Connection: close||single"),
        );
        check(
            "GET /hints HTTP/1.0",
            &format!("{ok10}Content-Length: 2|Connection: close||ok"),
        );
        check(
            "PROPFIND /legal_list HTTP/1.0",
            &format!("{ok10}Connection: close||onetwo"),
        );
    });
}

#[test]
fn failures_are_seen_and_end_nothing_else() {
    on_both(|server| {
        let pid = server.get("/pid");
        let check = |request: &str, want: &str| {
            check(
                server,
                request,
                &want.replace("@", OK).replace("ERROR", ERROR_500),
            )
        };
        for wrong in [
            "/twice",
            "/never",
            "/never_empty",
            "/raises",
            "/raises_first",
            "/text_block",
            "/exits?exit",
            "/exits?interrupt",
            "/exits?generator",
            "/injects?value",
            "/injects?name",
            "/injects?unicode",
            "/injects?bytes",
            "/injects?length",
            "/injects?pair",
            "/injects?status",
            "/no_such_app",
        ] {
            check(&format!("GET {wrong} HTTP/1.1"), "ERROR");
        }
        check(
            "HEAD /raises HTTP/1.1",
            "HTTP/1.1 500 Internal Server Error|Connection: close|Content-Type: text/html|Content-Length: ...||",
        );
        // What has begun cannot be an error page any more; the missing end shows that it was cut.
        check(
            "GET /raises_midway HTTP/1.1",
            "@Transfer-Encoding: chunked||5|begun|",
        );
        check(
            "GET /text_midway HTTP/1.1",
            "@Transfer-Encoding: chunked||5|bytes|",
        );
        check(
            "GET /exc_info_after_output HTTP/1.1",
            "@Transfer-Encoding: chunked||5|begun|",
        );
        check("GET /short HTTP/1.1", "@Content-Length: 10||short");
        check("GET /over HTTP/1.1", "@Content-Length: 4||over");
        check("GET /raises_in_close HTTP/1.1", "@Content-Length: 2||ok");
        assert_eq!(server.get("/pid"), pid, "the same worker serves on");
        let log = server.log();
        for told in [
            "on purpose",
            "did not call start_response",
            "must yield bytes, not str",
            "SystemExit: 3",
            "Response headers already set",
        ] {
            assert!(log.contains(told), "{told} is not in the log: {log}");
        }
    });
}

#[test]
fn every_iterable_is_closed_once_on_its_thread() {
    for kind in [&["pep:app"][..], &["--threads", "2", "pep:app"]] {
        let server = Server::start(kind);
        for (path, name) in [
            ("/legal_length", "length"),
            ("/raises_midway", "midway"),
            ("/over", "over"),
            ("/large_blocks", "large"),
        ] {
            for method in ["GET", "HEAD"] {
                server.ask(&raw(&format!("{method} {path} HTTP/1.1")));
                assert_eq!(server.get("/was_closed"), name, "{method} {path}");
            }
        }
        // The client leaves in the middle.
        let mut stream = server.connect();
        std::io::Write::write_all(&mut stream, &raw("GET /large_blocks HTTP/1.1")).unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 1000]).unwrap();
        drop(stream);
        harness::wait_for("close()", || {
            (server.get("/was_closed") == "large").then_some(())
        });
        server.stop();
    }
}

#[test]
fn files() {
    on_both(|server| {
        let check = |request: &str, want: &str| check(server, request, &want.replace("@", OK));
        check(
            "GET /legal_file HTTP/1.1",
            "@Transfer-Encoding: chunked||6|456789|0||",
        );
        check(
            "GET /legal_memory_file HTTP/1.1",
            "@Transfer-Encoding: chunked||4|in m|4|emor|1|y|0||",
        );
        check("GET /file_with_length HTTP/1.1", "@Content-Length: 4||0123");
        check("GET /empty_file HTTP/1.1", "@Content-Length: 0||");
        check("HEAD /file_with_length HTTP/1.1", "@Content-Length: 4||");
        check(
            "GET /file_with_length HTTP/1.0",
            "HTTP/1.0 200 OK|Content-Type: text/plain|Content-Length: 4|Connection: close||0123",
        );
    });
}

#[test]
fn large_answers_to_slow_readers() {
    on_both(|server| {
        for path in ["/large_list", "/large_file", "/large_blocks"] {
            let mut slow = server.connect();
            std::io::Write::write_all(&mut slow, &raw(&format!("GET {path} HTTP/1.1"))).unwrap();
            std::io::Read::read_exact(&mut slow, &mut [0; 10]).unwrap();
            if path != "/large_blocks" {
                // It has everything it needs; others are served meanwhile.
                assert!(!server.get("/pid").is_empty());
            }
            let _ = slow.shutdown(std::net::Shutdown::Write);
            let rest = server.read_all(slow);
            let body = rest.iter().filter(|&&byte| byte == b'x').count();
            // The head has an x of its own: text/plain.
            assert_eq!(body, 3_000_001, "{path}");
        }
    });
}

#[test]
fn input() {
    on_both(|server| {
        for (expression, want) in [
            ("body.read()", r"b'one\\ntwo\\nthree'"),
            ("body.read(-1)", r"b'one\\ntwo\\nthree'"),
            ("body.read(None)", r"b'one\\ntwo\\nthree'"),
            (
                "[body.read(2),body.read(2),body.read(),body.read(),body.read(5)]",
                r"[b'on', b'e\\n', b'two\\nthree', b'', b'']",
            ),
            (
                "[body.readline(),body.readline(2),body.readline(-1),body.readline()]",
                r"[b'one\\n', b'tw', b'o\\n', b'three']",
            ),
            ("body.readlines()", r"[b'one\\n', b'two\\n', b'three']"),
            ("body.readlines(1)", r"[b'one\\n']"),
            ("list(body)", r"[b'one\\n', b'two\\n', b'three']"),
            (
                "[body.read(1),next(body),body.read(0),body.readline(0),list(body),list(body)]",
                r"[b'o', b'ne\\n', b'', b'', [b'two\\n', b'three'], []]",
            ),
        ] {
            let want = want.replace('\'', "\\'");
            for framing in [
                "Content-Length: 13||one~two~three",
                "Transfer-Encoding: chunked||3|one|a|~two~three|0||",
            ] {
                let framing = framing
                    .replace("~three", "\nthree")
                    .replace("one~", "one\n")
                    .replace("|~two", "|\ntwo");
                let request = format!("POST /reads?{expression} HTTP/1.1|{framing}");
                let got = shown(&server.ask(&raw(&request)));
                assert!(
                    got.ends_with(&format!("||{want}")),
                    "{request:?}\nwant {want}\ngot  {got}\n{}",
                    server.log()
                );
            }
        }
        check(
            server,
            "POST /legal_echo HTTP/1.1|Content-Length: 5||hello",
            &format!("{OK}X-Method: POST|Transfer-Encoding: chunked||5|hello|0||"),
        );
        check(
            server,
            "POST /legal_echo HTTP/1.1|Content-Length: 0",
            &format!("{OK}X-Method: POST|Content-Length: 0||"),
        );
    });
}

#[test]
fn environ() {
    on_both(|server| {
        let shows = |request: &str, keys: &str, want: &str| {
            let (target, rest) = request.split_once(' ').unwrap_or((request, ""));
            let (line, fields) = rest.split_once('|').unwrap_or((rest, ""));
            let fields = if fields.is_empty() {
                String::new()
            } else {
                format!("|{fields}")
            };
            let version = if line.is_empty() { "HTTP/1.1" } else { line };
            check(
                server,
                &format!("GET {target}?{keys} {version}{fields}"),
                &format!("...||{want}"),
            );
        };
        shows(
            "/shows",
            "REQUEST_METHOD,SCRIPT_NAME,PATH_INFO,SERVER_PROTOCOL",
            r"\'GET\'~\'\'~\'/shows\'~\'HTTP/1.1\'",
        );
        shows(
            "/shows HTTP/1.0",
            "SERVER_PROTOCOL,SERVER_NAME,SERVER_PORT",
            r"\'HTTP/1.0\'~\'localhost\'~\'80\'",
        );
        shows(
            "/shows HTTP/1.1|Host: a.example:81",
            "SERVER_NAME,SERVER_PORT,HTTP_HOST",
            r"\'a.example\'~\'81\'~\'a.example:81\'",
        );
        shows(
            "/shows HTTP/1.1|X-Forwarded-Proto: https",
            "wsgi.url_scheme",
            r"\'https\'",
        );
        shows(
            "/shows HTTP/1.1|X-A: 1|x-a: 2|X_A: 3",
            "HTTP_X_A",
            r"\'1,2\'",
        );
        shows(
            "/shows HTTP/1.1|X-Latin: \u{e9}",
            "HTTP_X_LATIN",
            r"\'\xc3\x83\xc2\xa9\'",
        );
        shows(
            "/shows",
            "wsgi.version,wsgi.run_once,wsgi.multiprocess,wsgi.input_terminated,REMOTE_ADDR,HOME",
            r"(1, 0)~False~False~True~\'\'~None",
        );
        shows("/shows", "RAW_URI", r"\'/shows?RAW_URI\'");
        check(
            server,
            "GET http://other/types HTTP/1.1",
            &format!("{OK}Content-Length: 5||fresh"),
        );
        check(
            server,
            "GET /types HTTP/1.1",
            &format!("{OK}Content-Length: 5||fresh"),
        );
        check(
            server,
            "GET /errors HTTP/1.1",
            &format!("{OK}Content-Length: 2||ok"),
        );
        assert!(server.log().contains("and more"), "{}", server.log());
        check(
            server,
            "GET /shows HTTP/1.1|X-Forwarded-Proto: https|X-Forwarded-SSL: off",
            "HTTP/1.1 400 Bad Request|...</html>~",
        );
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_both(|server| {
        let one = raw("POST /legal_echo HTTP/1.1|Content-Length: 3||one");
        let two = raw("GET /legal_length HTTP/1.1");
        let three = raw("POST /legal_echo HTTP/1.1|Transfer-Encoding: chunked||5|three|0||");
        let all = [one, two, three].concat();
        for step in [all.len(), 1, 7, 50] {
            let got = shown(&server.ask_in_steps(&all.repeat(5), step));
            let want = format!(
                "{OK}X-Method: POST|Transfer-Encoding: chunked||3|one|0||{OK}Content-Length: 5||hello{OK}X-Method: POST|Transfer-Encoding: chunked||5|three|0||"
            );
            assert_eq!(got, want.repeat(5), "in steps of {step}");
        }
    });
}

#[test]
fn framing_attacks_are_refused() {
    on_both(|server| {
        for (request, status) in [
            (
                "POST /legal_echo HTTP/1.1|Content-Length: 3|Transfer-Encoding: chunked||0||",
                400,
            ),
            (
                "POST /legal_echo HTTP/1.1|Content-Length: 3|Content-Length: 3||abc",
                400,
            ),
            ("POST /legal_echo HTTP/1.1|Content-Length: +3||abc", 400),
            ("GET / HTTP/1.1|Host : h", 400),
            ("GET / HTTP/1.1|X: a| b", 400),
            ("GET / HTTP/1.1|Host: a|Host: b", 400),
            ("POST / HTTP/1.1|Transfer-Encoding: xchunked", 501),
            (
                "POST / HTTP/1.1|Transfer-Encoding: chunked||0x3|abc|0||",
                400,
            ),
            ("POST / HTTP/1.1|Expect: other|Content-Length: 1||a", 417),
        ] {
            let bytes = raw(request);
            for step in [bytes.len(), 1] {
                let got = shown(&server.ask_in_steps(&bytes, step));
                assert!(
                    got.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{request}: {got}"
                );
                assert!(got.contains("|Connection: close|"), "{request}: {got}");
            }
        }
        let no_host = shown(&server.ask(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(no_host.starts_with("HTTP/1.1 400 "), "{no_host}");
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000));
        assert!(shown(&server.ask(long.as_bytes())).starts_with("HTTP/1.1 414 "));
    });
}

#[test]
fn a_client_that_expects_it_is_told_to_continue() {
    on_both(|server| {
        let mut stream = server.connect();
        let head = raw("POST /legal_echo HTTP/1.1|Expect: 100-continue|Content-Length: 5");
        std::io::Write::write_all(&mut stream, &head).unwrap();
        let mut said = [0; 25];
        std::io::Read::read_exact(&mut stream, &mut said).unwrap();
        assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let got = shown(&server.read_all(stream));
        assert!(got.ends_with("|5|hello|0||"), "{got}");
        // Who sends the body at once needs no telling.
        check(
            server,
            "POST /legal_echo HTTP/1.0|Expect: 100-continue|Content-Length: 5||hello",
            "HTTP/1.0 200 OK|...hello",
        );
    });
}

/// Sends a head that expects to be told to go on, and gives the connection.
fn expect_continue(server: &Server, path: &str, framing: &str) -> std::os::unix::net::UnixStream {
    let mut stream = server.connect();
    let head = raw(&format!(
        "POST {path} HTTP/1.1|Expect: 100-continue|{framing}"
    ));
    std::io::Write::write_all(&mut stream, &head).unwrap();
    stream
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[track_caller]
fn read_continue(stream: &mut std::os::unix::net::UnixStream) {
    let mut said = [0; CONTINUE.len()];
    std::io::Read::read_exact(stream, &mut said).unwrap();
    assert_eq!(said, CONTINUE);
}

#[test]
fn to_continue_is_said_at_the_first_read() {
    on_both(|server| {
        for (framing, body, want) in [
            (
                "Content-Length: 10",
                "one~two~th",
                "[b'one', b'\\\\n', b'two\\\\nth']",
            ),
            (
                "Transfer-Encoding: chunked",
                "4|one~|6|two~th|0||",
                "[b'one', b'\\\\n', b'two\\\\nth']",
            ),
        ] {
            let mut stream = expect_continue(server, "/reads_late", framing);
            read_continue(&mut stream);
            let body = body.replace('|', "\r\n").replace('~', "\n");
            let (first, rest) = body.split_at(3);
            std::io::Write::write_all(&mut stream, first.as_bytes()).unwrap();
            // Another request behind the body: the connection goes on.
            let next = raw("GET /legal_length HTTP/1.1|Connection: close");
            let rest = [rest.as_bytes(), &next[..]].concat();
            std::io::Write::write_all(&mut stream, &rest).unwrap();
            let got = shown(&server.read_all(stream));
            let want = want.replace('\'', "\\'");
            assert!(got.contains(&format!("||{want}HTTP/1.1 200 OK|")), "{got}");
            assert!(got.ends_with("||hello"), "{got}");
        }
    });
}

#[test]
fn who_does_not_read_does_not_ask_for_the_body() {
    on_both(|server| {
        let mut stream = expect_continue(server, "/reads_not", "Content-Length: 5");
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut got).unwrap();
        let got = shown(&got);
        assert!(
            got.starts_with("HTTP/1.1 403 Forbidden|") && got.contains("|Connection: close|"),
            "{got}"
        );
        // An answer that has begun is not interrupted by an interim one.
        let mut stream = expect_continue(server, "/reads_after_start", "Content-Length: 5");
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        let got = shown(&server.read_all(stream));
        assert!(
            got.starts_with("HTTP/1.1 200 OK") && got.contains("|hello|"),
            "{got}"
        );
    });
}

#[test]
fn a_body_that_ends_early_raises() {
    on_both(|server| {
        for (framing, part) in [
            ("Content-Length: 10", &b"short"[..]),
            ("Transfer-Encoding: chunked", b"5\r\nsh"),
            ("Transfer-Encoding: chunked", b"5\r\nshort\r\n"),
        ] {
            let mut stream = expect_continue(server, "/reads_late", framing);
            read_continue(&mut stream);
            std::io::Write::write_all(&mut stream, part).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let got = shown(&server.read_all(stream));
            assert!(
                got.ends_with(r"||[\'ConnectionResetError\', True]"),
                "{got}"
            );
            assert!(got.contains("|Connection: close|"), "{got}");
            // Who does not look at it gets nothing of it, and neither does the client.
            let mut stream = expect_continue(server, "/reads_blindly", framing);
            read_continue(&mut stream);
            std::io::Write::write_all(&mut stream, part).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let got = shown(&server.read_all(stream));
            assert!(got.starts_with("HTTP/1.1 400 Bad Request|"), "{got}");
            // Without the expectation it is the same.
            for (path, start, end) in [
                (
                    "/reads_late",
                    "HTTP/1.1 200 ",
                    r"||[\'ConnectionResetError\', True]",
                ),
                ("/reads_blindly", "HTTP/1.1 400 Bad Request|", "</html>~"),
                ("/reads_not", "HTTP/1.1 403 ", "||no"),
            ] {
                let request = format!("POST {path} HTTP/1.1|{framing}||");
                for step in [1, 1000] {
                    let got = server.ask_in_steps(&[&raw(&request)[..], part].concat(), step);
                    let got = shown(&got);
                    assert!(
                        got.starts_with(start) && got.ends_with(end),
                        "{path}: {got}"
                    );
                    assert!(got.contains("|Connection: close|"), "{got}");
                }
            }
        }
        // What is there can be read by every method, what is missing by none.
        for (expression, want) in [
            (
                "[body.read(4),body.readline(),body.readline(2)]",
                Some(r"[b'one\\n', b'two\\n', b'th']"),
            ),
            ("body.read(11)", Some(r"b'one\\ntwo\\nthr'")),
            ("body.read()", None),
            ("body.read(20)", None),
            ("body.read(12)", None),
            ("[body.readline(),body.readline(),body.readline()]", None),
            ("body.readlines()", None),
            ("list(body)", None),
        ] {
            for framing in [
                "Content-Length: 20||one~two~thr",
                "Transfer-Encoding: chunked||3|one|8|~two~thr|",
            ] {
                let bytes = format!("POST /reads?{expression} HTTP/1.1|{framing}");
                let (head, body) = bytes.split_once("||").unwrap();
                let body = body.replace('|', "\r\n").replace('~', "\n");
                let got =
                    shown(&server.ask(&[&raw(&format!("{head}||"))[..], body.as_bytes()].concat()));
                match want.map(|want| want.replace('\'', "\\'")) {
                    Some(want) => assert!(got.ends_with(&format!("||{want}")), "{bytes}: {got}"),
                    None => assert!(got.starts_with("HTTP/1.1 400 "), "{bytes}: {got}"),
                }
            }
        }
        // A large one, which lies in a file.
        let head = raw("POST /reads_late HTTP/1.1|Content-Length: 3000000||");
        let got = shown(&server.ask(&[&head[..], &[b'x'; 2_000_000]].concat()));
        assert!(
            got.ends_with(r"||[\'ConnectionResetError\', True]"),
            "{got}"
        );
        // A chunk that is none.
        let mut stream = expect_continue(server, "/reads_blindly", "Transfer-Encoding: chunked");
        read_continue(&mut stream);
        std::io::Write::write_all(&mut stream, b"x\r\n").unwrap();
        let got = shown(&server.read_all(stream));
        assert!(got.starts_with("HTTP/1.1 400 Bad Request|"), "{got}");
    });
}

#[test]
fn a_client_that_is_told_and_does_not_send_holds_nobody_up_twice() {
    on_both(|server| {
        // Each holds a thread for some seconds; those that come later are told by the loop, and hold none.
        let silent: Vec<_> = (0..40)
            .map(|_| expect_continue(server, "/reads_blindly", "Content-Length: 5"))
            .collect();
        assert_eq!(server.get("/legal_length"), "hello");
        assert_eq!(server.get("/legal_length"), "hello");
        let mut told = expect_continue(server, "/reads_late", "Content-Length: 5");
        read_continue(&mut told);
        assert_eq!(server.get("/legal_length"), "hello");
        drop(silent);
    });
}

#[test]
fn an_application_can_take_the_connection_over() {
    on_both(|server| {
        let mut stream = server.connect();
        let head = raw("GET /takes_over HTTP/1.1|Connection: Upgrade|Upgrade: echo");
        std::io::Write::write_all(&mut stream, &head).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", shown(&answer));
        for word in ["one", "two"] {
            std::io::Write::write_all(&mut stream, word.as_bytes()).unwrap();
            let mut echo = [0; 3];
            std::io::Read::read_exact(&mut stream, &mut echo).unwrap();
            assert_eq!(echo, word.to_uppercase().as_bytes());
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read_all(stream), b"");
        // What has been taken away goes on after the request.
        let mut stream = server.connect();
        std::io::Write::write_all(&mut stream, &raw("GET /takes_away HTTP/1.1")).unwrap();
        let mut taken = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut taken).unwrap();
        assert_eq!(&taken, b"taken");
        for _ in 0..3 {
            assert_eq!(server.get("/legal_length"), "hello");
            std::io::Write::write_all(&mut stream, b"more").unwrap();
            let mut echo = [0; 4];
            std::io::Read::read_exact(&mut stream, &mut echo).unwrap();
            assert_eq!(&echo, b"MORE");
        }
        drop(stream);
        assert_eq!(
            server.ask(&raw("GET /breaks_over HTTP/1.1")),
            b"mine",
            "no error page behind the application's own words"
        );
        assert!(server.log().contains("after the take-over"));
        check(
            server,
            "GET /looks_at_socket HTTP/1.1",
            &format!("{OK}Content-Length: 13|Connection: close||looked at str"),
        );
        assert_eq!(server.get("/keeps_socket"), "kept");
        let later = server.get("/keeps_socket");
        assert!(later.starts_with("this "), "{later}");
    });
}

#[test]
fn a_kept_callable_is_of_no_use_later() {
    let server = Server::start(&["pep:app"]);
    assert_eq!(server.get("/keeps"), "kept");
    assert_eq!(server.get("/keeps"), "this request has ended");
    assert_eq!(server.get("/legal_length"), "hello");
    server.stop();
}
