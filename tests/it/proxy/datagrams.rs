//! UDP (`listen … udp`): servers that are not there, answers that are waited for, a full table, reload, upgrade, drain.
//!
//! Not here: the same configurations beside nginx (`layer4`), TCP (`stream`).

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use e2e::client::Request;
use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, process, tools, wait};
use nix::sys::signal::Signal;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn received(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut bytes = [0; 65536];
    let (len, from) = socket.recv_from(&mut bytes).unwrap();
    (String::from_utf8_lossy(&bytes[..len]).into_owned(), from)
}

/// Sends and hears.
#[track_caller]
fn ask(client: &UdpSocket, door: SocketAddr, text: &str) -> String {
    client.send_to(text.as_bytes(), door).unwrap();
    let (answer, from) = received(client);
    assert_eq!(from, door, "the answer comes from where it was asked");
    answer
}

/// A server that puts its name before what comes. It ends with the process.
fn server(name: &'static str) -> SocketAddr {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok((len, from)) = server.recv_from(&mut bytes) {
            let answer = [name.as_bytes(), &bytes[..len]].concat();
            // The longest that there is has no room for a name.
            let answer = if len > 60_000 { &bytes[..len] } else { &answer };
            let _ = server.send_to(answer, from);
        }
    });
    addr
}

/// A server that answers when it is told to.
fn holding() -> (SocketAddr, Receiver<String>, Sender<()>) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let (came, comes) = channel();
    let (go, goes) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok((len, from)) = server.recv_from(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            if came.send(text).is_err() || goes.recv().is_err() {
                return;
            }
            let _ = server.send_to(b"at last", from);
        }
    });
    (addr, comes, go)
}

fn write(folder: &Folder, stream: &str) {
    let dir = folder.path().display();
    let text = format!(
        "daemon off; pid {dir}/pid; error_log stderr info; events {{}}
         stream {{
         log_format line '$protocol $remote_addr $server_addr $status $bytes_received $bytes_sent $upstream_addr';
         access_log {dir}/stream.log line;
         {stream} }}"
    );
    folder.write("nginx.conf", text);
}

fn launch() -> Launch {
    Launch::trine("trine-proxy")
        .args(["-c", "nginx.conf"])
        .notify()
}

#[track_caller]
fn start(folder: &Folder, stream: &str) -> Daemon {
    write(folder, stream);
    launch().start(folder).wait_ready()
}

#[test]
fn what_a_server_refuses_goes_to_the_next_one() {
    let folder = Folder::new();
    let (door, dead, live) = (
        port::free_for_both(),
        port::free_for_both(),
        server("live "),
    );
    let proxy = start(
        &folder,
        &format!(
            "upstream app {{ server {dead}; server {live} backup; }}
             server {{ listen {door} udp reuseport; proxy_pass app; proxy_responses 1; }}"
        ),
    );
    let client = socket();
    assert_eq!(ask(&client, door, "one"), "live one");
    assert_eq!(ask(&client, door, "two"), "live two");
    let long = "x".repeat(65_507);
    assert_eq!(ask(&client, door, &long).len(), long.len());
    proxy.stop();
    // Each answer ended a session; the dead server was put aside.
    let want = format!(
        "UDP 127.0.0.1 127.0.0.1 200 3 8 {dead}, {live}\n\
         UDP 127.0.0.1 127.0.0.1 200 3 8 {live}\n\
         UDP 127.0.0.1 127.0.0.1 200 65507 65507 {live}\n"
    );
    assert_eq!(folder.read("stream.log"), want);
}

#[test]
fn lines_without_answers_all_arrive() {
    let folder = Folder::new();
    let log = socket();
    let (door, dead, live) = (
        port::free_for_both(),
        port::free_for_both(),
        log.local_addr().unwrap(),
    );
    let proxy = start(
        &folder,
        &format!(
            "upstream logs {{ server {dead}; server {live}; }}
             server {{ listen {door} udp; proxy_pass logs; proxy_responses 0; proxy_timeout 1s; }}"
        ),
    );
    let clients: Vec<_> = (0..10).map(|_| socket()).collect();
    // No more at once than what the kernel keeps for a socket.
    for round in 0..10 {
        let mut want: Vec<String> = Vec::new();
        for (number, client) in clients.iter().enumerate() {
            let line = format!("<13>app: {round} {number}");
            client.send_to(line.as_bytes(), door).unwrap();
            want.push(line);
        }
        let mut came: Vec<String> = want.iter().map(|_| received(&log).0).collect();
        came.sort();
        assert_eq!(came, want);
    }
    proxy.stop();
    assert_eq!(folder.read("stream.log").lines().count(), 100);
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let folder = Folder::new();
    let (door, app) = (port::free_for_both(), server(""));
    let port = door.port();
    let proxy = start(
        &folder,
        &format!(
            "server {{ listen {port} udp; proxy_pass {app}; proxy_responses 1; }}
             server {{ listen {port}; return tcp; }}"
        ),
    );
    let asked = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7)), port);
    assert_eq!(ask(&socket(), asked, "hello"), "hello");
    proxy.stop();
    let want = format!("UDP 127.0.0.1 127.0.0.7 200 5 5 {app}\n");
    assert_eq!(folder.read("stream.log"), want);
}

#[test]
fn sessions_survive_a_reload_and_a_drain_waits_for_an_answer() {
    let folder = Folder::new();
    let (door, old, new) = (port::free_for_both(), server("old "), server("new "));
    let (slow_door, (slow, comes, go)) = (port::free_for_both(), holding());
    let conf = |to: SocketAddr| {
        format!(
            "server {{ listen {door} udp; proxy_pass {to}; }}
             server {{ listen {slow_door} udp; proxy_pass {slow}; }}"
        )
    };
    let mut proxy = start(&folder, &conf(old));
    let (first, second, third) = (socket(), socket(), socket());
    assert_eq!(ask(&first, door, "1"), "old 1");
    write(&folder, &conf(new));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_output("reloaded");
    assert_eq!(ask(&second, door, "2"), "new 2");
    assert_eq!(ask(&first, door, "3"), "old 3");
    third.send_to(b"slowly", slow_door).unwrap();
    assert_eq!(comes.recv_timeout(PATIENCE).unwrap(), "slowly");
    proxy.signal(Signal::SIGQUIT);
    proxy.wait_output("draining");
    go.send(()).unwrap();
    assert_eq!(received(&third).0, "at last");
    // The others have their answers.
    assert_eq!(proxy.exit_code(), 0);
    let log = folder.read("stream.log");
    assert!(log.contains(&format!("200 2 10 {old}\n")), "{log}");
}

#[test]
fn reloads_under_load_lose_nothing() {
    let folder = Folder::new();
    let (door, app) = (port::free_for_both(), server("app "));
    let conf = format!(
        "server {{ listen {door} udp; proxy_pass {app}; proxy_responses 1; }}
         server {{ listen {door}; return \"$protocol\"; }}"
    );
    let mut proxy = start(&folder, &conf);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let udp = || {
            let client = socket();
            let mut count = 0;
            while !over.load(Ordering::Relaxed) || count < 50 {
                let text = format!("{count}");
                assert_eq!(ask(&client, door, &text), format!("app {text}"));
                count += 1;
            }
        };
        let tcp = || {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) || count < 50 {
                let mut text = String::new();
                let mut stream = TcpStream::connect(door).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.read_to_string(&mut text).unwrap();
                assert_eq!(text, "TCP");
                count += 1;
            }
        };
        for _ in 0..2 {
            scope.spawn(udp);
            scope.spawn(tcp);
        }
        for round in 1..=5 {
            // Each is another configuration, with the same addresses.
            write(&folder, &format!("{conf} map $protocol $x{round} {{ }}"));
            proxy.signal(Signal::SIGHUP);
            wait::until("a reload", || {
                (proxy.output().matches("reloaded").count() >= round).then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
    });
    proxy.stop();
}

#[test]
fn another_binary_takes_the_socket_over() {
    let folder = Folder::new();
    let (door, app) = (port::free_for_both(), server("app "));
    let server = format!("server {{ listen {door} udp; proxy_pass {app}; proxy_responses 1; }}");
    let mut proxy = start(&folder, &server);
    let client = socket();
    assert_eq!(ask(&client, door, "before"), "app before");
    proxy.signal(Signal::SIGUSR2);
    wait::until("the new process", || {
        (proxy.output().matches("serving on").count() == 2).then_some(())
    });
    for round in 0..20 {
        let text = format!("while {round}");
        assert_eq!(ask(&client, door, &text), format!("app {text}"));
    }
    let new = folder.read("pid").trim().parse().unwrap();
    assert_ne!(new, proxy.pid());
    proxy.signal(Signal::SIGQUIT);
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(ask(&client, door, "after"), "app after");
    process::signal(new, Signal::SIGQUIT);
    process::wait_gone(new);
}

#[test]
fn a_socket_is_handed_down_and_a_reload_opens_and_closes_others() {
    let folder = Folder::new();
    let handed = socket();
    let (door, other) = (handed.local_addr().unwrap(), port::free_for_both());
    let one = format!("server {{ listen {door} udp; return one; }}");
    write(&folder, &one);
    let mut proxy = launch()
        .listener("dns", OwnedFd::from(handed))
        .start(&folder)
        .wait_ready();
    assert_eq!(ask(&socket(), door, "?"), "one");
    write(
        &folder,
        &format!("{one} server {{ listen {other} udp; return two; }}"),
    );
    proxy.signal(Signal::SIGHUP);
    proxy.wait_output("reloaded");
    assert_eq!(ask(&socket(), other, "?"), "two");
    write(&folder, &one);
    proxy.signal(Signal::SIGHUP);
    wait::until("the socket is let go of", || UdpSocket::bind(other).ok());
    assert_eq!(ask(&socket(), door, "?"), "one");
    proxy.stop();
}

#[test]
fn a_full_table_says_so_and_keeps_its_sessions() {
    let folder = Folder::new();
    let (door, app) = (port::free_for_both(), server(""));
    write(
        &folder,
        &format!("server {{ listen {door} udp; proxy_pass {app}; }}"),
    );
    let program = tools::binary("trine-proxy");
    let command = format!("ulimit -n 80; exec {} -c nginx.conf", program.display());
    let mut proxy = Launch::program("/bin/sh")
        .args(["-c", &command])
        .notify()
        .start(&folder)
        .wait_ready();
    let first = socket();
    assert_eq!(ask(&first, door, "first"), "first");
    let crowd: Vec<_> = (0..80).map(|_| socket()).collect();
    for one in &crowd {
        one.send_to(b"me too", door).unwrap();
    }
    proxy.wait_output("datagrams of new clients of");
    assert_eq!(ask(&first, door, "still"), "still");
    proxy.stop();
}

#[test]
fn a_yaml_file_has_streams_and_the_control_socket_tells_of_them() {
    let folder = Folder::new();
    let (door, app) = (port::free_for_both(), server("app "));
    folder.write(
        "p.yaml",
        format!(
            "control: control.sock\n\
             stream:\n\
             \x20 upstreams:\n\
             \x20   app: {{ servers: [\"{app}\"] }}\n\
             \x20 servers:\n\
             \x20 - listen: \"{door} udp\"\n\
             \x20   pass: app\n\
             \x20   proxy_responses: 1\n\
             \x20 - listen: \"{door}\"\n\
             \x20   access: [deny: all]\n\
             \x20   script: [return: \"$protocol\"]\n"
        ),
    );
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "p.yaml"])
        .notify()
        .start(&folder)
        .wait_ready();
    assert_eq!(ask(&socket(), door, "one"), "app one");
    drop(TcpStream::connect(door).unwrap());
    let control = Control::new(folder.join("control.sock"));
    let seen = wait::until("both sessions", || {
        let status = control.status();
        let sessions = &status["detail"]["sessions"];
        (sessions["udp"][1] == 1 && sessions["tcp"][3] == 1).then_some(status)
    });
    let sessions = &seen["detail"]["sessions"];
    assert_eq!(sessions["received_bytes"], 3);
    assert_eq!(sessions["sent_bytes"], 7);
    assert_eq!(sessions["open"], 0);
    let text = control.call(Request::get("/metrics")).unwrap().text();
    for line in [
        "trine_proxy_sessions_total{protocol=\"udp\",status=\"2xx\"} 1\n".to_owned(),
        "trine_proxy_session_bytes_total{direction=\"sent\"} 7\n".to_owned(),
        format!(
            "trine_proxy_upstream_session_bytes_total{{server=\"{app}\",direction=\"received\"}} 7\n"
        ),
        format!("trine_proxy_upstream_requests_total{{server=\"{app}\"}} 1\n"),
    ] {
        assert!(text.contains(&line), "{line}{text}");
    }
    let upstreams = control.get("/v1/upstreams");
    assert_eq!(upstreams["upstreams"][0]["name"], "app");
    proxy.stop();
}
