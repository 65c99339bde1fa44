//! TLS towards upstream servers: whom we believe, what we tell them, and which connections are used again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Client, Daemon, PATIENCE, Proxy, Reply};
use crate::nginx_conf::front;
use crate::tls::Authority;

/// A TLS server on a Unix socket: tells the name it was asked by, whether it was shown a certificate, how the handshake
/// was done, and which of its connections this is.
fn serve(path: &Path, authority: &Authority, name: &str) {
    let (certificate, key) = authority.sign(name);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let config = Arc::new(config);
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().flatten().enumerate() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let session = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(session, socket);
                let mut seen = Vec::new();
                let mut piece = [0; 4096];
                // A client that does not believe us leaves within the handshake.
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    seen.extend_from_slice(&piece[..count]);
                    if !seen.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let last = seen.starts_with(b"GET /last");
                    seen.clear();
                    let text = format!(
                        "name={} shown={} {:?} number={number}",
                        stream.conn.server_name().unwrap_or("-"),
                        stream.conn.peer_certificates().is_some(),
                        stream.conn.handshake_kind().unwrap(),
                    );
                    let close = if last { "Connection: close\r\n" } else { "" };
                    let head = format!("Content-Length: {}\r\n{close}\r\n", text.len());
                    let answer = format!("HTTP/1.1 200 OK\r\n{head}{text}");
                    if stream.write_all(answer.as_bytes()).is_err() || last {
                        return;
                    }
                }
            });
        }
    });
}

/// A daemon in front of one, with these locations.
fn start(name: &str, locations: &str) -> Daemon {
    let proxy = Proxy::new();
    let authority = Authority::new();
    let (certificate, key) = authority.sign("client.test");
    fs::write(proxy.path("ca.pem"), authority.pem()).unwrap();
    fs::write(proxy.path("other.pem"), Authority::new().pem()).unwrap();
    fs::write(proxy.path("client.pem"), certificate).unwrap();
    fs::write(proxy.path("client.key"), key).unwrap();
    serve(&proxy.path("tls.sock"), &authority, name);
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "error_log stderr info; events {{}} http {{ upstream app.test {{ server unix:{dir}/tls.sock; }}\n\
         server {{ listen unix:{dir}/front; {locations} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text.replace("@dir@", dir)).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    proxy.start_as(command)
}

fn get(daemon: &Daemon, target: &str) -> Reply {
    let mut client = Client::connect(&front(daemon));
    client.get(target);
    client.reply()
}

#[test]
fn nobody_is_verified_unless_told_to() {
    let daemon = start(
        "elsewhere.test",
        "location / { proxy_pass https://app.test; }",
    );
    assert_eq!(get(&daemon, "/").text(), "name=- shown=false Full number=0");
    // The connection is kept like any other.
    assert_eq!(
        get(&daemon, "/last").text(),
        "name=- shown=false Full number=0"
    );
    // And the session is resumed by the next one.
    assert_eq!(
        get(&daemon, "/").text(),
        "name=- shown=false Resumed number=1"
    );
}

#[test]
fn names_and_certificates() {
    let daemon = start(
        "app.test",
        "proxy_ssl_trusted_certificate @dir@/ca.pem; proxy_ssl_verify on; proxy_ssl_server_name on;
         location / { proxy_pass https://app.test; }
         location /shown { proxy_pass https://app.test; proxy_ssl_certificate @dir@/client.pem;
                           proxy_ssl_certificate_key @dir@/client.key; }
         location /named { proxy_pass https://app.test; proxy_ssl_name other.test; }
         location /other { proxy_pass https://app.test; proxy_ssl_trusted_certificate @dir@/other.pem; }
         location /plain { proxy_pass http://app.test; }
         location /variable { set $up https://app.test; proxy_pass $up; }",
    );
    assert!(
        get(&daemon, "/")
            .text()
            .starts_with("name=app.test shown=false")
    );
    // One that was shown nothing is not used where a certificate is to be shown.
    assert!(
        get(&daemon, "/shown")
            .text()
            .starts_with("name=app.test shown=true")
    );
    assert!(
        get(&daemon, "/variable")
            .text()
            .starts_with("name=app.test shown=false")
    );
    assert_eq!(get(&daemon, "/named").status, 502);
    daemon.wait_log("not valid for name");
    assert_eq!(get(&daemon, "/other").status, 502);
    let log = daemon.wait_log("GET /other");
    let line = log.lines().find(|line| line.contains("GET /other"));
    assert!(line.unwrap().contains("invalid peer certificate"), "{log}");
    // Clear text is not sent over a TLS connection that happens to be idle.
    assert_eq!(get(&daemon, "/plain").status, 502);
}

#[test]
fn verifying_needs_authorities() {
    let proxy = Proxy::new();
    let conf = "events {} http { server { listen unix:/nowhere/x; location / { proxy_pass https://127.0.0.1; proxy_ssl_verify on; } } }";
    fs::write(proxy.path("nginx.conf"), conf).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"))
        .arg("-t")
        .arg("-c")
        .arg(proxy.path("nginx.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success()
            && said.contains("no proxy_ssl_trusted_certificate for proxy_ssl_verify"),
        "{said}"
    );
}

#[test]
fn health_is_checked_over_tls_as_requests_go() {
    let words = "proxy_ssl_verify on; health_check mandatory interval=20ms fails=1 passes=1;";
    let daemon = start(
        "app.test",
        &format!(
            "location / {{ proxy_pass https://app.test; proxy_ssl_trusted_certificate @dir@/ca.pem; {words} }}"
        ),
    );
    // It is asked for nothing until it has passed: so the check has made its handshake.
    let end = Instant::now() + PATIENCE;
    loop {
        let reply = get(&daemon, "/");
        if reply.status == 200 {
            assert!(reply.text().starts_with("name="), "{}", reply.text());
            break;
        }
        assert_eq!(reply.status, 502, "{}", reply.head);
        assert!(Instant::now() < end, "it never passed");
        std::thread::sleep(Duration::from_millis(5));
    }
    let daemon = start(
        "app.test",
        &format!(
            "location / {{ proxy_pass https://app.test; proxy_ssl_trusted_certificate @dir@/other.pem; {words} }}"
        ),
    );
    let line = daemon.wait_log("unhealthy");
    assert!(line.contains("tls.sock"), "{line}");
    assert_eq!(get(&daemon, "/").status, 502);
}
