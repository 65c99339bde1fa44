//! The PROXY protocol in front of HTTP: who the client is, and who may say so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use harness::{Server, shown};

const KEYS: &str = "REMOTE_ADDR,REMOTE_PORT,PROXY_PROTOCOL,PROXY_ADDR,PROXY_PORT";

fn request(preamble: &[u8]) -> Vec<u8> {
    let request = format!("GET /shows?{KEYS} HTTP/1.1\r\nHost: h\r\n\r\n");
    [preamble, request.repeat(2).as_bytes()].concat()
}

/// Both requests of a connection see the same, whole or byte by byte.
#[track_caller]
fn check(server: &Server, preamble: &[u8], want: &str) {
    let bytes = request(preamble);
    for step in [bytes.len(), 1] {
        let got = shown(&server.ask_in_steps(&bytes, step));
        let got: Vec<&str> = got
            .split("HTTP/1.1 200 OK|")
            .filter_map(|answer| answer.split_once("||"))
            .map(|(_, body)| body)
            .collect();
        assert_eq!(
            got,
            [want; 2],
            "{}\n{}",
            preamble.escape_ascii(),
            server.log()
        );
    }
}

const V1: &[u8] = b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 443\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x04\x57\x01\xbb";
const TOLD: &str = r"\'1.2.3.4\'~\'1111\'~\'TCP4\'~\'5.6.7.8\'~\'443\'";
const UNTOLD: &str = r"\'\'~None~None~None~None";

#[test]
fn a_preamble_says_who_the_client_is() {
    for kind in [&[][..], &["--threads", "2"]] {
        let server = Server::start(&[kind, &["--proxy-protocol", "auto", "pep:app"]].concat());
        check(&server, V1, TOLD);
        check(&server, V2, TOLD);
        check(
            &server,
            b"PROXY TCP6 ::1 2001:db8::2 1 2\r\n",
            r"\'::1\'~\'1\'~\'TCP6\'~\'2001:db8::2\'~\'2\'",
        );
        // None, and one that says nothing.
        check(&server, b"", UNTOLD);
        check(&server, b"PROXY UNKNOWN\r\n", UNTOLD);
        for bad in [
            &b"PROXY TCP4 1.2.3.4\r\n"[..],
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
        ] {
            let got = shown(&server.ask(&request(bad)));
            assert!(got.starts_with("HTTP/1.1 400 Bad Request|"), "{got}");
        }
        // Only at the start of a connection.
        let twice = [&request(b"")[..], V1, &request(b"")[..]].concat();
        let got = shown(&server.ask(&twice));
        assert!(got.contains("HTTP/1.1 400 Bad Request|"), "{got}");
        server.stop();
    }
}

#[test]
fn only_the_version_that_is_asked_for() {
    for (mode, good, bad) in [("v1", V1, V2), ("v2", V2, V1)] {
        let server = Server::start(&["--proxy-protocol", mode, "pep:app"]);
        check(&server, good, TOLD);
        let got = shown(&server.ask(&request(bad)));
        assert!(
            got.starts_with("HTTP/1.1 400 Bad Request|"),
            "{mode}: {got}"
        );
        server.stop();
    }
    let server = Server::start(&["pep:app"]);
    let got = shown(&server.ask(&request(V1)));
    assert!(got.starts_with("HTTP/1.1 400 Bad Request|"), "{got}");
    server.stop();
}

#[test]
fn not_everybody_may_send_one() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (allowed, status) in [("127.0.0.1", "200 OK"), ("10.0.0.0/8", "403 Forbidden")] {
        let bind = port.to_string();
        let args = [
            "-b",
            &bind,
            "--proxy-protocol",
            "auto",
            "--proxy-allow-from",
            allowed,
            "pep:app",
        ];
        let server = Server::start(&args);
        for (preamble, status) in [(V1, status), (b"", "200 OK")] {
            let mut stream = TcpStream::connect(port).unwrap();
            stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            let get = b"GET /legal_length HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(&[preamble, get].concat()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{allowed}: {answer}"
            );
        }
        server.stop();
    }
}
