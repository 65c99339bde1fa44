//! TCP below HTTP (`stream`): failover, half-close, preambles, names of TLS clients, reload and drain.
//!
//! Not here: the tables of what is read from bytes (beside `layer4::hello` and `layer4::preamble`).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, wait};
use nix::sys::signal::Signal;

/// A server that says `name`, then gives back what comes, and says `.` when the client has said all. It ends with the
/// process.
pub(super) fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                // A client that leaves ends it.
                let _ = stream.write_all(name.as_bytes());
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let _ = stream.write_all(&bytes[..count]);
                }
                let _ = stream.write_all(b".");
            });
        }
    });
    addr
}

#[track_caller]
pub(super) fn start(folder: &Folder, stream: &str) -> Daemon {
    write(folder, stream);
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    launch.notify().start(folder).wait_ready()
}

pub(super) fn write(folder: &Folder, stream: &str) {
    let dir = folder.path().display();
    let text = format!(
        "daemon off; pid {dir}/pid; error_log stderr info; events {{}}
         stream {{
         log_format line '$remote_addr $status $bytes_received $bytes_sent $upstream_addr $ssl_preread_server_name';
         access_log {dir}/stream.log line;
         {stream} }}"
    );
    folder.write("nginx.conf", text);
}

pub(super) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

/// Reads just so many bytes as `want` has.
#[track_caller]
pub(super) fn expect(stream: &mut TcpStream, want: &str) {
    let mut bytes = vec![0; want.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), want);
}

/// Says all and hears all.
#[track_caller]
fn talk(addr: SocketAddr, text: &[u8]) -> String {
    let mut stream = connect(addr);
    stream.write_all(text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_session_goes_to_the_next_server_and_ends_in_halves() {
    let folder = Folder::new();
    let (door, dead, live) = (port::free(), port::free(), server("live "));
    let proxy = start(
        &folder,
        &format!(
            "upstream app {{ server {dead}; server {live} backup; }}
             server {{ listen {door}; proxy_pass app; proxy_half_close on; }}"
        ),
    );
    assert_eq!(talk(door, b"hello"), "live hello.");
    // The dead one was put aside.
    assert_eq!(talk(door, b"again"), "live again.");
    proxy.stop();
    let want = format!("127.0.0.1 200 5 11 {dead}, {live} -\n127.0.0.1 200 5 11 {live} -\n");
    assert_eq!(folder.read("stream.log"), want);
}

#[test]
fn preambles_come_in_and_go_out() {
    let folder = Folder::new();
    let (door, shut, peer) = (port::free(), port::free(), server(""));
    let proxy = start(
        &folder,
        &format!(
            "set_real_ip_from 127.0.0.1; proxy_half_close on;
             server {{ listen {door} proxy_protocol; proxy_pass {peer}; proxy_protocol on; }}
             server {{ listen {shut} proxy_protocol; deny 192.0.2.0/24; return open; }}"
        ),
    );
    let hello = b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\nhello";
    let want = format!(
        "PROXY TCP4 192.0.2.9 127.0.0.1 4711 {}\r\nhello.",
        door.port()
    );
    assert_eq!(talk(door, hello), want);
    assert_eq!(
        talk(shut, b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n"),
        ""
    );
    assert_eq!(
        talk(shut, b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 443\r\n"),
        "open"
    );
    proxy.stop();
    let log = folder.read("stream.log");
    assert!(log.contains("192.0.2.9 403 0 0 - -\n"), "{log}");
    assert!(log.contains("198.51.100.9 200 0 4 - -\n"), "{log}");
}

/// The first message of a TLS client that asks for `name` (RFC 8446 section 4.1.2), in one record.
fn client_hello(name: &str) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
    let entry = [&[0][..], &short(name.len()), name.as_bytes()].concat();
    let list = [&short(entry.len())[..], &entry].concat();
    let extension = [&[0, 0][..], &short(list.len()), &list].concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[9; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0]);
    body.extend_from_slice(&short(extension.len()));
    body.extend_from_slice(&extension);
    let message = [&[1, 0][..], &short(body.len()), &body].concat();
    [&[22, 3, 1][..], &short(message.len()), &message].concat()
}

#[test]
fn the_name_a_tls_client_asks_for_chooses_its_server() {
    let folder = Folder::new();
    let (door, one, two) = (port::free(), server("one"), server("two"));
    let proxy = start(
        &folder,
        &format!(
            "map $ssl_preread_server_name $whom {{ hostnames; a.example first; *.example {two}; default {one}; }}
             upstream first {{ server {one}; }}
             server {{ listen {door}; ssl_preread on; proxy_pass $whom; }}"
        ),
    );
    for (name, want) in [("a.example", "one"), ("B.example", "two"), ("c.org", "one")] {
        let hello = client_hello(name);
        // It comes in two pieces: the server is chosen when all of it is there, and gets all of it.
        let (front, back) = hello.split_at(hello.len() / 2);
        let mut stream = connect(door);
        stream.write_all(front).unwrap();
        stream.write_all(back).unwrap();
        expect(&mut stream, want);
        let mut came = vec![0; hello.len()];
        stream.read_exact(&mut came).unwrap();
        assert_eq!(came, hello);
    }
    // No TLS: nothing is known of it.
    let mut stream = connect(door);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    expect(&mut stream, "one");
    proxy.stop();
}

#[test]
fn sessions_survive_a_reload_and_a_drain() {
    let folder = Folder::new();
    let (door, old, new) = (port::free(), server("old"), server("new"));
    let conf = |to: SocketAddr| format!("server {{ listen {door}; proxy_pass {to}; }}");
    let mut proxy = start(&folder, &conf(old));
    let mut first = connect(door);
    expect(&mut first, "old");
    write(&folder, &conf(new));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_output("reloaded");
    let mut second = connect(door);
    expect(&mut second, "new");
    first.write_all(b"still").unwrap();
    expect(&mut first, "still");
    proxy.signal(Signal::SIGQUIT);
    proxy.wait_output("draining");
    for stream in [&mut first, &mut second] {
        stream.write_all(b"to the end").unwrap();
        expect(stream, "to the end");
    }
    drop((first, second));
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn no_more_sessions_than_are_allowed() {
    let folder = Folder::new();
    let (door, app) = (port::free(), server("in"));
    let proxy = start(
        &folder,
        &format!(
            "limit_conn_zone $remote_addr zone=clients:1m;
             server {{ listen {door}; limit_conn clients 2; proxy_pass {app}; }}"
        ),
    );
    let (mut first, mut second) = (connect(door), connect(door));
    expect(&mut first, "in");
    expect(&mut second, "in");
    assert_eq!(talk(door, b""), "");
    drop(first);
    // Whoever leaves makes room, as soon as that is noticed.
    wait::until("a place", || greets(door, "in").then_some(()));
    drop(second);
    proxy.stop();
    let log = folder.read("stream.log");
    assert!(log.starts_with("127.0.0.1 503 0 0 - -\n"), "{log}");
}

#[test]
fn a_rate_is_kept() {
    let folder = Folder::new();
    let (up, down, app) = (port::free(), port::free(), server(""));
    let proxy = start(
        &folder,
        &format!(
            "server {{ listen {up}; proxy_pass {app}; proxy_upload_rate 10k; }}
             server {{ listen {down}; proxy_pass {app}; proxy_download_rate 10k; }}"
        ),
    );
    for door in [up, down] {
        // A second's worth goes at once, the rest in its time.
        let text = "x".repeat(20 * 1024);
        let began = Instant::now();
        let mut stream = connect(door);
        stream.write_all(text.as_bytes()).unwrap();
        expect(&mut stream, &text);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(950), "{took:?}");
    }
    proxy.stop();
}

/// Whether somebody is there who says this first.
fn greets(addr: SocketAddr, want: &str) -> bool {
    let mut bytes = vec![0; want.len()];
    connect(addr).read_exact(&mut bytes).is_ok() && bytes == want.as_bytes()
}

/// `resolve` in an upstream: a name server of our own tells where the server is.
#[test]
fn names_are_followed() {
    let folder = Folder::new();
    let (door, named, app) = (port::free(), port::free(), server("found"));
    let dns = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = dns.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((len, from)) = dns.recv_from(&mut bytes) {
            // The question comes back with one answer, if it is one for an A (RFC 1035 section 4.1).
            let question = &bytes[..len];
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_a = question[end - 4..end - 2] == [0, 1];
            let mut answer = question[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = dns.send_to(&answer, from);
        }
    });
    let proxy = start(
        &folder,
        &format!(
            "resolver {resolver}; resolver_timeout 10s;
             upstream app {{ zone app 64k; server app.test:{} resolve; }}
             map $server_port $named {{ default app.test:{}; }}
             server {{ listen {door}; proxy_pass app; }}
             server {{ listen {named}; proxy_pass $named; }}",
            app.port(),
            app.port(),
        ),
    );
    wait::until("the name's address", || greets(door, "found").then_some(()));
    assert!(greets(named, "found"));
    proxy.stop();
}
