//! TLS in `stream`: ended for clients by name, with certificates of their own, begun towards servers; reload.
//!
//! Not here: the same beside nginx (`layer4`), what is read without ending TLS (`stream`).

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::folder::Folder;
use e2e::{port, process};
use nix::sys::signal::Signal;

use super::stream::{connect, expect, server, start, write};

/// A certificate for a name, which signs itself, and its key.
fn certificate(folder: &Folder, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (
        folder.write(&format!("{name}.pem"), made.cert.pem()),
        folder.write(&format!("{name}.key"), made.signing_key.serialize_pem()),
    )
}

/// The directives for it.
fn shown((pem, key): &(PathBuf, PathBuf)) -> String {
    format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        pem.display(),
        key.display()
    )
}

/// What a server says to OpenSSL's client, which believes this certificate only.
fn openssl(door: SocketAddr, name: &str, authority: &Path, more: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-verify_return_error", "-connect"])
        .arg(door.to_string())
        .args(["-verify_hostname", name, "-servername", name, "-CAfile"])
        .arg(authority)
        .args(more)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    // Its own exit code tells how the connection was closed, too.
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_name_chooses_the_server_and_its_certificate() {
    let folder = Folder::new();
    let door = port::free();
    let (one, two) = (
        certificate(&folder, "one.test"),
        certificate(&folder, "two.test"),
    );
    let proxy = start(
        &folder,
        &format!(
            "server {{ listen {door} ssl; server_name one.test; {} ssl_alpn foo bar; return \"one $ssl_server_name $ssl_alpn_protocol $ssl_client_verify\"; }}
             server {{ listen {door} ssl; server_name *.test; {} ssl_client_certificate {}; ssl_verify_client on; return \"two $ssl_client_s_dn $ssl_client_verify\"; }}",
            shown(&one),
            shown(&two),
            one.0.display(),
        ),
    );
    let ask = |name: &str, authority: &Path, more: &[&str]| openssl(door, name, authority, more);
    assert_eq!(
        ask("one.test", &one.0, &["-alpn", "bar"]),
        "one one.test bar NONE"
    );
    assert_eq!(ask("one.test", &one.0, &[]), "one one.test  NONE");
    // Nothing in common, or another's certificate.
    assert_eq!(ask("one.test", &one.0, &["-alpn", "h2"]), "");
    assert_eq!(ask("two.test", &one.0, &[]), "");
    // The second wants one of the client's.
    assert_eq!(ask("two.test", &two.0, &[]), "");
    let mine = [
        "-cert",
        one.0.to_str().unwrap(),
        "-key",
        one.1.to_str().unwrap(),
    ];
    let said = ask("two.test", &two.0, &mine);
    assert_eq!(said, "two CN=rcgen self signed cert SUCCESS");
    proxy.stop();
}

#[test]
fn a_handshake_that_does_not_come_is_over_in_time() {
    let folder = Folder::new();
    let door = port::free();
    let one = certificate(&folder, "one.test");
    let proxy = start(
        &folder,
        &format!(
            "ssl_handshake_timeout 200ms; server {{ listen {door} ssl; {} return never; }}",
            shown(&one)
        ),
    );
    let mut answer = Vec::new();
    connect(door).read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"");
    proxy.stop();
    assert_eq!(folder.read("stream.log"), "127.0.0.1 500 0 0 - -\n");
}

#[test]
fn sessions_with_tls_survive_a_reload() {
    let folder = Folder::new();
    let (door, inner, old, new) = (port::free(), port::free(), server("old"), server("new"));
    let one = certificate(&folder, "one.test");
    let conf = |to: SocketAddr| {
        format!(
            "server {{ listen {door}; proxy_pass {inner}; proxy_ssl on; proxy_ssl_verify on; proxy_ssl_name one.test; proxy_ssl_server_name on; proxy_ssl_trusted_certificate {}; }}
             server {{ listen {inner} ssl; {} proxy_pass {to}; }}",
            one.0.display(),
            shown(&one)
        )
    };
    let mut proxy = start(&folder, &conf(old));
    let mut first = connect(door);
    expect(&mut first, "old");
    write(&folder, &conf(new));
    proxy.signal(Signal::SIGHUP);
    proxy.wait_output("reloaded");
    let mut second = connect(door);
    expect(&mut second, "new");
    let long = "still the same session ".repeat(10_000);
    for stream in [&mut first, &mut second] {
        let mut writer = stream.try_clone().unwrap();
        let text = long.clone();
        let writing = std::thread::spawn(move || writer.write_all(text.as_bytes()).unwrap());
        expect(stream, &long);
        writing.join().unwrap();
    }
    proxy.signal(Signal::SIGQUIT);
    proxy.wait_output("draining");
    first.write_all(b"to the end").unwrap();
    expect(&mut first, "to the end");
    drop((first, second));
    assert_eq!(proxy.exit_code(), 0);
    assert!(!process::is_alive(proxy.pid()));
}
