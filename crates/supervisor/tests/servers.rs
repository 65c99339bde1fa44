//! HTTP servers of the configuration, and the places where the supervisor itself is found, over reloads and the death
//! of a brain.

mod rig;

use rig::Rig;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// An address on which nobody listens, below the ports that the kernel gives to connections.
fn free(number: u32) -> SocketAddr {
    let first = std::process::id() * 7 + number;
    let ports = (0..10_000u32).map(|step| 10_000 + (first + 2 * step) % 10_000);
    let mut addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port as u16)));
    let found = addresses.find(|address| TcpListener::bind(address).is_ok());
    found.expect("a free port")
}

fn config(servers: &str) -> String {
    format!("  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\nservers:\n{servers}")
}

/// The status of an answer; `None`: nobody answers.
fn answer(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    stream
        .write_all(b"GET /ok.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split(' ').nth(1)?.to_owned())
}

#[test]
fn a_reload_puts_changed_servers_into_effect_and_a_bad_one_changes_nothing() {
    let (first, second) = (free(0), free(1));
    let rig = Rig::start(&config(&format!("  a: {{ listen: '{first}' }}\n")));
    let sleeper = rig.running_pid("sleeper");
    let becomes = |address: SocketAddr, want: Option<&str>| {
        rig.until(&format!("{address} to answer {want:?}"), || {
            (answer(address).as_deref() == want).then_some(())
        });
    };
    becomes(first, Some("200"));

    // An address that is taken, and two servers on one: told, and all stays as it was.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    rig.write_config(&config(&format!(
        "  a: {{ listen: '{second}' }}\n  b: {{ listen: '{}' }}\n",
        taken.1
    )));
    let (status, told) = rig.call("POST", "/v1/reload").unwrap();
    let told = told.to_string();
    assert!(
        status >= 400 && told.contains(&taken.1.to_string()),
        "{status} {told}"
    );
    assert_eq!(
        (answer(first).as_deref(), answer(second)),
        (Some("200"), None)
    );
    rig.write_config(&config(&format!(
        "  a: {{ listen: '{second}' }}\n  b: {{ listen: '{second}' }}\n"
    )));
    let (status, told) = rig.call("POST", "/v1/reload").unwrap();
    let told = told.to_string();
    assert!(
        status >= 400 && told.contains("taken by a"),
        "{status} {told}"
    );

    // Another address, then another name and credentials on it, then a Unix socket of another mode.
    rig.write_config(&config(&format!("  a: {{ listen: '{second}' }}\n")));
    rig.post("/v1/reload");
    becomes(second, Some("200"));
    becomes(first, None);
    let guarded = format!("  b: {{ listen: '{second}', username: u, password: p }}\n");
    rig.write_config(&config(&guarded));
    rig.post("/v1/reload");
    becomes(second, Some("401"));
    rig.replace_brain();
    becomes(second, Some("401"));
    for mode in ["0600", "0666"] {
        rig.write_config(&config(&format!(
            "{guarded}  u: {{ listen: 'unix:u.sock', mode: '{mode}' }}\n"
        )));
        rig.post("/v1/reload");
        rig.until("the socket's mode", || {
            let found = std::fs::metadata(rig.path("u.sock")).ok()?;
            let found = format!("{:04o}", found.permissions().mode() & 0o777);
            (found == mode).then_some(())
        });
    }

    // None at all; the programs have seen nothing of this.
    rig.write_config(&config("  {}\n").replace("servers:\n  {}\n", "servers: {}\n"));
    rig.post("/v1/reload");
    becomes(second, None);
    rig.until("its socket file to go", || {
        (!rig.path("u.sock").exists()).then_some(())
    });
    assert_eq!(rig.running_pid("sleeper"), sleeper);
    rig.stop();
}

/// The supervisor's own places.
fn places(rig: &Rig, control: &str, pidfile: &str, log: &str) {
    let programs = "programs:\n  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\n";
    let text = format!("{control}{pidfile}log: {{ {log} }}\n{programs}");
    std::fs::write(rig.path("supervisor.yaml"), text).expect("a file of the test");
}

/// Asks one control socket; `None`: nobody answers there.
fn ask(rig: &Rig, socket: &str, call: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(rig.path(socket)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    write!(
        stream,
        "{call} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}

#[test]
fn a_reload_moves_the_control_socket_the_pid_file_and_the_log() {
    let mut rig = Rig::start("  sleeper:\n    command: [sleep, '1000']\n    startsecs: 0s\n");
    let sleeper = rig.running_pid("sleeper");
    let pid = format!("{}\n", rig.holder());
    let is_there = |rig: &Rig, name: &str| rig.path(name).exists();
    let brain = |rig: &Rig, socket: &str| {
        let (status, text) = ask(rig, socket, "GET /v1/status")?;
        let body = text.split("\r\n\r\n").nth(1)?;
        let said: serde_json::Value = serde_json::from_str(body).ok()?;
        (status == 200).then(|| said["detail"]["brain_pid"].as_i64())?
    };

    // What cannot be is told, each part of it, and nothing moves.
    std::fs::write(rig.path("file"), "no folder").unwrap();
    places(
        &rig,
        "control: file/s.sock\n",
        "pidfile: moved.pid\n",
        "file: file/x.log",
    );
    let (status, told) = ask(&rig, "s.sock", "POST /v1/reload").unwrap();
    assert_eq!(status, 422, "{told}");
    for problem in [
        "control: cannot make the folder",
        "log: cannot make the folder",
    ] {
        assert!(told.contains(problem), "{told}");
    }
    assert!(!is_there(&rig, "moved.pid") && rig.read("s.pid") == pid);
    assert_eq!(
        brain(&rig, "s.sock"),
        rig.brain().map(i64::from),
        "still here"
    );

    // The one who asks the old socket gets the answer of it.
    places(
        &rig,
        "control: run/moved.sock\n",
        "pidfile: run/moved.pid\n",
        "file: run/moved.log, format: json",
    );
    let (status, told) = ask(&rig, "s.sock", "POST /v1/reload").unwrap();
    assert_eq!(status, 200, "{told}");
    let moved = |rig: &Rig| {
        rig.until("the other control socket", || brain(rig, "run/moved.sock"));
        rig.until("the old one to go", || {
            (!is_there(rig, "s.sock")).then_some(())
        });
        assert!(!is_there(rig, "s.pid") && rig.read("run/moved.pid") == pid);
    };
    moved(&rig);
    let log = rig.read("run/moved.log");
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let said = first["message"].as_str().unwrap();
    assert!(said.starts_with("reloaded "), "{log}");
    assert!(!rig.read("supervisor.log").contains("reloaded "));

    // The next brain is found there, too, and stays so after another move.
    let replace = |rig: &Rig, socket: &str| {
        let old = rig.brain().unwrap();
        rig::signal(old, nix::sys::signal::Signal::SIGKILL);
        rig.until("the next brain", || {
            brain(rig, socket).filter(|pid| *pid != i64::from(old))
        });
    };
    replace(&rig, "run/moved.sock");
    moved(&rig);
    assert!(rig.read("run/moved.log").contains("the brain was replaced"));
    places(&rig, "control: third.sock\n", "", "file: run/moved.log");
    let (status, told) = ask(&rig, "run/moved.sock", "POST /v1/reload").unwrap();
    assert_eq!(status, 200, "{told}");
    rig.until("the third", || brain(&rig, "third.sock"));
    rig.until("the second to go", || {
        (!is_there(&rig, "run/moved.sock")).then_some(())
    });
    assert!(!is_there(&rig, "run/moved.pid"), "there is none now");
    replace(&rig, "third.sock");

    // And back.
    places(
        &rig,
        "control: s.sock\n",
        "pidfile: s.pid\n",
        "file: supervisor.log",
    );
    let (status, told) = ask(&rig, "third.sock", "POST /v1/reload").unwrap();
    assert_eq!(status, 200, "{told}");
    rig.until("the first again", || brain(&rig, "s.sock"));
    assert_eq!(rig.running_pid("sleeper"), sleeper);
    assert!(rig.try_exit().is_none());
    rig.stop();
}
