//! TLS as clients see it: certificates by name, resumed sessions, client certificates, large answers, new certificates.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::harness::{Daemon, PATIENCE, Proxy};

/// An authority that signs certificates for tests.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// PEM of a certificate for this name, and of its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn client(&self, shows: Option<(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

/// Asks once; the answer up to its end, and how the handshake was done.
fn ask(
    daemon: &Daemon,
    client: &Arc<ClientConfig>,
    name: &'static str,
    target: &str,
) -> std::io::Result<(Vec<u8>, HandshakeKind)> {
    let socket = TcpStream::connect(daemon.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let session =
        ClientConnection::new(Arc::clone(client), ServerName::try_from(name).unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    // Without close_notify this is an error: nobody can cut an answer short unseen.
    stream.read_to_end(&mut answer)?;
    Ok((answer, stream.conn.handshake_kind().unwrap()))
}

fn text(answer: std::io::Result<(Vec<u8>, HandshakeKind)>) -> String {
    String::from_utf8_lossy(&answer.unwrap().0).into_owned()
}

/// A folder with certificates of two names, and a configuration with a server for each.
fn configured(authority: &Authority, more: &str) -> Proxy {
    let proxy = Proxy::new();
    for name in ["a.test", "b.test"] {
        let (certificate, key) = authority.sign(name);
        fs::write(proxy.path(&format!("{name}.pem")), certificate).unwrap();
        fs::write(proxy.path(&format!("{name}.key")), key).unwrap();
    }
    fs::write(proxy.path("ca.pem"), authority.0.pem()).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    fs::write(proxy.path("big"), big).unwrap();
    let port = Port::free();
    let server = |name: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; server_name {name};
              ssl_certificate {name}.pem; ssl_certificate_key {name}.key; {more}
              location / {{ return 200 \"$server_name $scheme $ssl_protocol $ssl_client_verify\"; }}
              location = /big {{ root {dir}; }} }}",
            dir = proxy.path("").display()
        )
    };
    let text = format!(
        "events {{}} http {{ {} {} }}",
        server("a.test"),
        server("b.test")
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    proxy
}

/// A port that nobody uses at the moment.
struct Port;

impl Port {
    fn free() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }
}

fn start(proxy: Proxy) -> Daemon {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    proxy.start_as(command)
}

#[test]
fn names_sessions_and_large_answers() {
    let authority = Authority::new();
    let daemon = start(configured(&authority, ""));
    let client = authority.client(None);
    assert!(text(ask(&daemon, &client, "b.test", "/")).ends_with("b.test https TLSv1.3 NONE"));
    let (answer, kind) = ask(&daemon, &client, "a.test", "/").unwrap();
    assert!(answer.ends_with(b"a.test https TLSv1.3 NONE"));
    assert_eq!(kind, HandshakeKind::Full);
    let (_, kind) = ask(&daemon, &client, "a.test", "/").unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    let (answer, _) = ask(&daemon, &client, "a.test", "/big").unwrap();
    let body = fs::read(daemon.path("big")).unwrap();
    assert!(answer.ends_with(&body) && answer.len() > body.len());

    // Whoever speaks no TLS gets no answer, and holds nobody up.
    let mut plain = TcpStream::connect(daemon.address()).unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(
        !said.starts_with(b"HTTP/1.1 200"),
        "{}",
        said.escape_ascii()
    );
}

#[test]
fn clients_show_certificates() {
    let authority = Authority::new();
    let daemon = start(configured(
        &authority,
        "ssl_verify_client on; ssl_client_certificate ca.pem;",
    ));
    let known = authority.client(Some(authority.sign("client")));
    assert!(text(ask(&daemon, &known, "a.test", "/")).ends_with("SUCCESS"));
    assert!(ask(&daemon, &authority.client(None), "a.test", "/").is_err());
    let stranger = Authority::new().sign("stranger");
    assert!(ask(&daemon, &authority.client(Some(stranger)), "a.test", "/").is_err());
}

#[test]
fn new_certificates_take_effect_and_bad_ones_do_not() {
    let authority = Authority::new();
    let daemon = start(configured(&authority, ""));
    let client = authority.client(None);
    ask(&daemon, &client, "a.test", "/").unwrap();

    fs::write(daemon.path("a.test.key"), "not a key").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("a.test.key");
    ask(&daemon, &authority.client(None), "a.test", "/").unwrap();

    let other = Authority::new();
    let (certificate, key) = other.sign("a.test");
    fs::write(daemon.path("a.test.pem"), certificate).unwrap();
    fs::write(daemon.path("a.test.key"), key).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded; serving");
    assert!(ask(&daemon, &authority.client(None), "a.test", "/").is_err());
    ask(&daemon, &other.client(None), "a.test", "/").unwrap();
}

#[test]
fn a_bad_certificate_is_told_before_anything_starts() {
    let authority = Authority::new();
    let proxy = configured(&authority, "");
    fs::remove_file(proxy.path("b.test.pem")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf")).arg("-t");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("b.test.pem") && said.contains("test failed"),
        "{said}"
    );
}
