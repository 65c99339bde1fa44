//! HTTP servers of the configuration over reloads and the death of a brain.

mod rig;

use rig::Rig;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
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
