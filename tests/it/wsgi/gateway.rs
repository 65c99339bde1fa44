//! uwsgi and FastCGI spoken badly: what is refused and how, what is called off, and who may speak at all.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use e2e::client::{Address, Stream};
use e2e::daemon::Daemon;
use e2e::folder::Folder;
use e2e::{port, tools, wait};
use trine_gateway::fastcgi::{
    Answer, Client, Kind, ProtocolStatus, Role, write_abort, write_begin, write_end_stream,
    write_params, write_stream,
};
use trine_gateway::uwsgi;

use super::start;

const VARS: [(&[u8], &[u8]); 3] = [
    (b"REQUEST_METHOD", b"GET"),
    (b"PATH_INFO", b"/pid"),
    (b"HTTP_HOST", b"h"),
];

fn serve(venv: &PathBuf, folder: &Folder, protocol: &str, threads: &str) -> (Daemon, PathBuf) {
    let args = ["--protocol", protocol, "--threads", threads, "rooms:app"];
    let (server, _) = start(venv, folder, &args);
    (server, folder.join("app.sock"))
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream
}

/// Sends all of it and reads to the end.
fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = connect(socket);
    // It may be refused before it was all sent.
    let _sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn malformed_uwsgi_is_refused_and_the_server_serves_on() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let (server, socket) = serve(&venv, &folder, "uwsgi", "1");
    let mut good = vec![];
    uwsgi::write(&mut good, 0, 0, VARS).unwrap();
    let mut injected = vec![];
    let vars: [(&[u8], &[u8]); 1] = [(b"HTTP_X", b"a\r\nHost: evil")];
    uwsgi::write(&mut injected, 0, 0, vars).unwrap();
    let mut chunked = vec![];
    let vars: [(&[u8], &[u8]); 2] = [(b"CONTENT_LENGTH", b"1x"), (b"HTTP_HOST", b"h")];
    uwsgi::write(&mut chunked, 0, 0, vars).unwrap();
    let table: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "501"),
        (b"\x05\x00\x00\x00", "501"),
        (b"\x00\x03\x00\x00\x01\x00A", "400"),
        (b"\x00\x05\x00\x00\x00\x00\x01\x00b", "400"),
        (&injected, "400"),
        (&chunked, "400"),
    ];
    for (bytes, status) in table {
        let answer = say(&socket, bytes);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}: {answer:?}",
            bytes.escape_ascii()
        );
        let answer = say(&socket, &good);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
    server.stop();
}

/// A request in records.
fn request(id: u16, keep: bool, path: &str, length: &str) -> Vec<u8> {
    let mut out = vec![];
    write_begin(&mut out, id, Role::Responder, keep);
    let vars = [
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", path),
        ("CONTENT_LENGTH", length),
    ];
    write_params(
        &mut out,
        id,
        vars.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    out
}

/// Reads one answer; the end of the connection counts as an end too.
fn answer(stream: &mut UnixStream, id: u16) -> (String, Option<ProtocolStatus>) {
    let mut client = Client::new(id);
    let (mut pending, mut out) = (vec![], vec![]);
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).unwrap();
        pending.extend_from_slice(&part[..count]);
        loop {
            let (answer, used) = client.advance(&pending).unwrap();
            match answer {
                Answer::More => break,
                Answer::Stdout(data) => out.extend_from_slice(data),
                Answer::Stderr(_) | Answer::Values(_) => {}
                Answer::End { status, .. } => {
                    assert_eq!(used, pending.len(), "something follows the end");
                    return (String::from_utf8(out).unwrap(), Some(status));
                }
            }
            pending.drain(..used);
        }
        if count == 0 {
            return (String::from_utf8(out).unwrap(), None);
        }
    }
}

#[test]
fn fastcgi_on_one_connection() {
    let Some(venv) = tools::venv() else { return };
    for threads in ["1", "3"] {
        let folder = Folder::new();
        let (server, socket) = serve(&venv, &folder, "fastcgi", threads);
        let mut stream = connect(&socket);
        // Called off while its body is awaited: the connection serves on.
        stream.write_all(&request(1, true, "/digest", "5")).unwrap();
        let mut abort = vec![];
        write_abort(&mut abort, 1);
        stream.write_all(&abort).unwrap();
        let (out, ended) = answer(&mut stream, 1);
        assert_eq!((out.as_str(), ended), ("", Some(ProtocolStatus::Complete)));
        // A second one beside the first is refused as the specification has it; the first is answered.
        let mut two = request(7, true, "/digest", "2");
        two.extend(request(8, true, "/pid", ""));
        stream.write_all(&two).unwrap();
        let (_, ended) = answer(&mut stream, 8);
        assert_eq!(ended, Some(ProtocolStatus::CannotMultiplex));
        let mut rest = vec![];
        write_stream(&mut rest, Kind::STDIN, 7, b"hi");
        write_end_stream(&mut rest, Kind::STDIN, 7);
        stream.write_all(&rest).unwrap();
        let (out, ended) = answer(&mut stream, 7);
        assert!(
            out.starts_with("Status: 200 OK\r\n") && out.contains("\r\n\r\n2 8f434346"),
            "{out}"
        );
        assert!(
            !out.contains("Connection:") && !out.contains("Transfer-Encoding"),
            "{out}"
        );
        assert_eq!(ended, Some(ProtocolStatus::Complete));
        // An error is an answer like others.
        for (path, status) in [("/broken", "500"), ("/pid", "200")] {
            let mut asked = request(3, true, path, "");
            write_end_stream(&mut asked, Kind::STDIN, 3);
            stream.write_all(&asked).unwrap();
            let (out, ended) = answer(&mut stream, 3);
            assert!(out.starts_with(&format!("Status: {status} ")), "{out}");
            assert_eq!(ended, Some(ProtocolStatus::Complete));
        }
        // Not kept: the connection ends with the answer.
        let mut asked = request(4, false, "/pid", "");
        write_end_stream(&mut asked, Kind::STDIN, 4);
        stream.write_all(&asked).unwrap();
        let (out, ended) = answer(&mut stream, 4);
        assert!(out.starts_with("Status: 200 OK\r\n"), "{out}");
        assert_eq!(ended, Some(ProtocolStatus::Complete));
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        // Bytes that are no records, and a body that is shorter than it said.
        assert_eq!(say(&socket, b"GET / HTTP/1.1\r\n\r\n"), "");
        let mut short = request(1, true, "/digest", "5");
        write_end_stream(&mut short, Kind::STDIN, 1);
        assert!(say(&socket, &short).contains("Status: 400 Bad Request\r\n"));
        server.stop();
    }
}

#[test]
fn only_those_who_may_speak_uwsgi() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    let address = port::free();
    let args = [
        "-b",
        &address.to_string(),
        "--protocol",
        "uwsgi",
        "--uwsgi-allow-from",
        "10.0.0.0/8",
        "rooms:app",
    ];
    let (server, _) = start(&venv, &folder, &args);
    let mut good = vec![];
    uwsgi::write(&mut good, 0, 0, VARS).unwrap();
    let mut stream = Stream::connect(&Address::from(address), wait::PATIENCE).unwrap();
    let _sent = stream.write_all(&good);
    let mut answer = vec![];
    let _reset = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 403 "),
        "{}",
        answer.escape_ascii()
    );
    // Peers on Unix sockets always may.
    assert!(say(&folder.join("app.sock"), &good).starts_with("HTTP/1.1 200 "));
    server.stop();
}
