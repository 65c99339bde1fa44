//! A thousand clients that send a part of a request and no more, or one byte now and then: others do not notice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use harness::Server;

const CLIENTS: usize = 1000;

/// What each of them sends at once, and what it goes on with, byte by byte.
const PARTS: [(&str, &str); 5] = [
    ("", "GET /pid HTTP/1.1\r\n"),
    ("GET /pid HT", "TP/1.1\r\nHost: h\r\n"),
    (
        "GET /pid HTTP/1.1\r\nHost: h\r\nX-Slow: ",
        "aaaaaaaaaaaaaaaaaaaaaaa",
    ),
    (
        "POST /legal_echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nab",
        "cdefghijklmnopqrstuvw",
    ),
    (
        "POST /legal_echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nab",
        "cdefghijklmnopqrstuvw",
    ),
];

#[track_caller]
fn serves(server: &Server, pid: &str) {
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(server.get("/pid"), pid);
        // Far from any deadline, even on a loaded machine.
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_thousand_half_open_clients_leave_the_others_alone() {
    for kind in [&["pep:app"][..], &["--threads", "2", "pep:app"]] {
        let server = Server::start(kind);
        let pid = server.get("/pid");
        let mut clients: Vec<UnixStream> = Vec::new();
        for index in 0..CLIENTS {
            let mut stream = server.connect();
            let (first, _) = PARTS[index % PARTS.len()];
            stream.write_all(first.as_bytes()).unwrap();
            clients.push(stream);
        }
        serves(&server, &pid);
        for step in 0..10 {
            for (index, stream) in clients.iter_mut().enumerate() {
                let (_, rest) = PARTS[index % PARTS.len()];
                let _ = stream.write_all(&rest.as_bytes()[step..=step]);
            }
            serves(&server, &pid);
        }
        // Those that come to an end are served as anybody. The last ones were not given up for newer ones.
        let mut last = clients.pop().unwrap();
        last.write_all(&[b'x'; 1000 - 12]).unwrap();
        last.write_all(b"\r\n0\r\n\r\n").unwrap();
        let mut status = [0; 15];
        last.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK");
        drop((last, clients));
        server.stop();
    }
}
