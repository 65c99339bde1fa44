//! TLS as clients see it: certificates by name, resumed sessions, client certificates, large answers, new certificates.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::harness::{Daemon, PATIENCE, Proxy};

/// An authority that signs certificates for tests.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // Each has a name of its own.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// PEM of a certificate for this name, and of its key.
    pub(crate) fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn client(&self, shows: Option<(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
    ask_for(daemon, client, name, name, target)
}

/// The same, for another host than the one that the handshake was with.
fn ask_for(
    daemon: &Daemon,
    client: &Arc<ClientConfig>,
    name: &'static str,
    host: &str,
    target: &str,
) -> std::io::Result<(Vec<u8>, HandshakeKind)> {
    let socket = TcpStream::connect(daemon.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let session =
        ClientConnection::new(Arc::clone(client), ServerName::try_from(name).unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
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

/// A site that is added needs no reload: its files are found by the name that the client asks for.
/// A handshake that goes nowhere holds its connection no longer than a head that does not end.
#[test]
fn a_handshake_has_to_end_in_time() {
    let authority = Authority::new();
    let daemon = start(configured(&authority, "client_header_timeout 300ms;"));
    // Nothing, a record of a handshake without its rest, and one that drips.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut socket = TcpStream::connect(daemon.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/"), "{}", rest.escape_ascii());
    }
    let mut socket = TcpStream::connect(daemon.address()).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let drips = std::iter::repeat_n(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", 1).flatten();
    let mut drips = drips.copied().chain(std::iter::repeat(0));
    let begun = std::time::Instant::now();
    while socket.write_all(&[drips.next().unwrap()]).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is still let in");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let client = authority.client(None);
    assert!(text(ask(&daemon, &client, "a.test", "/")).ends_with("a.test https TLSv1.3 NONE"));
}

#[test]
fn certificates_by_the_name_asked_for() {
    let authority = Authority::new();
    let proxy = configured(&authority, "");
    let text_of = |path: &str| {
        format!(
            "events {{}} http {{ server {{ listen 127.0.0.1:{port} ssl;
              ssl_certificate ${{ssl_server_name}}.pem; ssl_certificate_key {path};
              location / {{ return 200 $ssl_server_name; }} }} }}",
            port = Port::free(),
        )
    };
    fs::write(proxy.path("nginx.conf"), text_of("$host.key")).unwrap();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"))
        .args(["-t", "-c"])
        .arg(proxy.path("nginx.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        !checked.status.success() && said.contains("only $ssl_server_name is known"),
        "{said}"
    );

    fs::write(proxy.path("nginx.conf"), text_of("$ssl_server_name.key")).unwrap();
    let daemon = start(proxy);
    let client = authority.client(None);
    for name in ["a.test", "b.test"] {
        assert!(text(ask(&daemon, &client, name, "/")).ends_with(name));
    }
    assert!(ask(&daemon, &client, "c.test", "/").is_err());
    let (certificate, key) = authority.sign("c.test");
    fs::write(daemon.path("c.test.key"), key).unwrap();
    fs::write(daemon.path("c.test.pem"), certificate).unwrap();
    let start = std::time::Instant::now();
    let answer = loop {
        match ask(&daemon, &client, "c.test", "/") {
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            done => break text(done),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(answer.ends_with("c.test"), "{answer}");
}

#[test]
fn clients_show_certificates() {
    let authority = Authority::new();
    let daemon = start(configured(
        &authority,
        "ssl_verify_client on; ssl_client_certificate ca.pem;",
    ));
    let known = authority.client(Some(authority.sign("client")));
    // The second time by a ticket, which remembers who it is.
    for _ in 0..2 {
        assert!(text(ask(&daemon, &known, "a.test", "/")).ends_with("SUCCESS"));
    }
    let refused = text(ask(&daemon, &authority.client(None), "a.test", "/"));
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let stranger = Authority::new().sign("stranger");
    let refused = text(ask(
        &daemon,
        &authority.client(Some(stranger)),
        "a.test",
        "/",
    ));
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    daemon.wait_log("unable to verify the first certificate");
}

/// A daemon with these servers, which find certificates for `a.test` and `b.test` in their folder.
fn serve(authority: &Authority, servers: &str) -> Daemon {
    let proxy = configured(authority, "");
    let port = Port::free();
    let servers = servers.replace("LISTEN", &format!("listen 127.0.0.1:{port} ssl;"));
    let text = format!("events {{}} http {{ {servers} }}");
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    start(proxy)
}

const A: &str = "server_name a.test; ssl_certificate a.test.pem; ssl_certificate_key a.test.key;";
const B: &str = "server_name b.test; ssl_certificate b.test.pem; ssl_certificate_key b.test.key;";

#[test]
fn certificates_are_optional_or_judged_by_the_application() {
    let authority = Authority::new();
    let stranger = Authority::new();
    for (demand, unknown) in [
        ("optional", "HTTP/1.1 400 "),
        (
            "optional_no_ca",
            "FAILED:unable to verify the first certificate|CN=stranger",
        ),
    ] {
        let daemon = serve(
            &authority,
            &format!(
                "server {{ LISTEN {A} ssl_verify_client {demand}; ssl_client_certificate ca.pem;
                 return 200 '$ssl_client_verify|$ssl_client_s_dn'; }}"
            ),
        );
        assert!(text(ask(&daemon, &authority.client(None), "a.test", "/")).ends_with("NONE|"));
        let known = authority.client(Some(authority.sign("client")));
        assert!(text(ask(&daemon, &known, "a.test", "/")).ends_with("SUCCESS|CN=client"));
        let shows = authority.client(Some(stranger.sign("stranger")));
        let answer = text(ask(&daemon, &shows, "a.test", "/"));
        assert!(answer.contains(unknown), "{demand}: {answer}");
    }
}

#[test]
fn revoked_certificates_are_bad() {
    use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
    let authority = Authority::new();
    let signed = |serial: u64| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "client");
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let now = rcgen::date_time_ymd(2020, 1, 1);
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: rcgen::date_time_ymd(2199, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(666),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.0).unwrap().pem().unwrap();
    let proxy = configured(&authority, "");
    fs::write(proxy.path("revoked.pem"), list).unwrap();
    let text_of = fs::read_to_string(proxy.path("nginx.conf")).unwrap();
    let with =
        "ssl_verify_client on; ssl_client_certificate ca.pem; ssl_crl revoked.pem; location / {
        add_header X-Serial $ssl_client_serial; add_header X-Ends '$ssl_client_v_end'; ";
    fs::write(
        proxy.path("nginx.conf"),
        text_of.replace("location / {", with),
    )
    .unwrap();
    let daemon = start(proxy);
    let good = text(ask(
        &daemon,
        &authority.client(Some(signed(0x2a))),
        "a.test",
        "/",
    ));
    assert!(
        good.contains("X-Serial: 2A\r\n") && good.contains("4096 GMT\r\n"),
        "{good}"
    );
    let bad = text(ask(
        &daemon,
        &authority.client(Some(signed(666))),
        "a.test",
        "/",
    ));
    assert!(bad.starts_with("HTTP/1.1 400 "), "{bad}");
    daemon.wait_log("certificate revoked");
}

/// CVE-2025-23419, and Host fields that lead past a server's demand.
#[test]
fn a_session_with_one_server_is_none_with_another() {
    let authority = Authority::new();
    let daemon = serve(
        &authority,
        &format!(
            "server {{ LISTEN {A} return 200 open; }}
             server {{ LISTEN {B} ssl_verify_client on; ssl_client_certificate ca.pem; return 200 secret; }}"
        ),
    );
    let known = authority.client(Some(authority.sign("client")));
    assert!(text(ask(&daemon, &known, "b.test", "/")).ends_with("secret"));
    let unknown = authority.client(None);
    assert!(text(ask(&daemon, &unknown, "a.test", "/")).ends_with("open"));
    assert!(text(ask(&daemon, &unknown, "b.test", "/")).starts_with("HTTP/1.1 400 "));
    for client in [&unknown, &known] {
        let answer = text(ask_for(&daemon, client, "a.test", "b.test", "/"));
        assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    }
    assert!(text(ask_for(&daemon, &known, "b.test", "a.test", "/")).ends_with("open"));
}

#[test]
fn a_server_can_refuse_unknown_names() {
    let authority = Authority::new();
    let daemon = serve(
        &authority,
        &format!(
            "server {{ LISTEN ssl_reject_handshake on; }} server {{ LISTEN {A} return 200 a; }}"
        ),
    );
    assert!(text(ask(&daemon, &authority.client(None), "a.test", "/")).ends_with('a'));
    let error = ask(&daemon, &authority.client(None), "b.test", "/").unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[test]
fn http_where_tls_is_spoken_is_told_so() {
    let authority = Authority::new();
    for (more, status, field) in [
        ("", 400, None),
        (
            "error_page 497 =301 https://$host$request_uri;",
            301,
            Some("https://test/x?y"),
        ),
    ] {
        let daemon = serve(
            &authority,
            &format!("server {{ LISTEN {A} {more} return 200 a; }}"),
        );
        let mut client = daemon.client();
        client.get("/x?y");
        let reply = client.reply();
        assert_eq!((reply.status, reply.field("Location")), (status, field));
        assert_eq!(reply.field("Connection"), Some("close"));
        client.expect_closed();
    }
}

#[test]
fn sessions_outlive_a_reload_and_suites_are_chosen() {
    let authority = Authority::new();
    let suites =
        "ssl_protocols TLSv1.2; ssl_ciphers DHE-RSA-AES128-SHA:ECDHE-ECDSA-CHACHA20-POLY1305:!AES;";
    for more in [
        "",
        suites,
        "ssl_session_tickets off; ssl_session_cache shared:S:1m;",
    ] {
        let mut daemon = serve(
            &authority,
            &format!(
                "server {{ LISTEN {A} {more} return 200 '$ssl_protocol $ssl_cipher $ssl_session_reused $ssl_curve'; }}"
            ),
        );
        let client = authority.client(None);
        let first = text(ask(&daemon, &client, "a.test", "/"));
        if more == suites {
            assert!(
                first.ends_with("TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305 . X25519"),
                "{first}"
            );
            daemon.wait_log("DHE-RSA-AES128-SHA");
        } else {
            assert!(
                first.contains("TLSv1.3 TLS_") && first.ends_with(" . X25519"),
                "{first}"
            );
        }
        if !more.contains("cache") {
            daemon.signal(Signal::SIGHUP);
            daemon.wait_notified("READY=1");
        }
        let (answer, kind) = ask(&daemon, &client, "a.test", "/").unwrap();
        assert_eq!(kind, HandshakeKind::Resumed, "{more}");
        assert!(String::from_utf8(answer).unwrap().contains(" r "));
    }
}

#[test]
fn renewed_certificates_need_no_signal() {
    let authority = Authority::new();
    let daemon = serve(
        &authority,
        &format!("server {{ LISTEN {A} return 200 a; }}"),
    );
    ask(&daemon, &authority.client(None), "a.test", "/").unwrap();
    // One of the pair alone does not do.
    let other = Authority::new();
    let (certificate, key) = other.sign("a.test");
    fs::write(daemon.path("a.test.pem"), certificate).unwrap();
    daemon.wait_log("cannot be used, the old ones go on");
    ask(&daemon, &authority.client(None), "a.test", "/").unwrap();
    fs::write(daemon.path("a.test.key"), key).unwrap();
    daemon.wait_log("the new ones are in effect");
    ask(&daemon, &other.client(None), "a.test", "/").unwrap();
    assert!(ask(&daemon, &authority.client(None), "a.test", "/").is_err());
}

#[test]
fn what_was_agreed_on_is_spoken() {
    let authority = Authority::new();
    let daemon = serve(
        &authority,
        &format!(
            "server {{ LISTEN {A} http2 on; return 200 $ssl_alpn_protocol; }} server {{ LISTEN {B} return 200 b; }}"
        ),
    );
    let offering = |names: &[&str]| {
        let mut client = (*authority.client(None)).clone();
        client.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(client)
    };
    let answer = text(ask(&daemon, &offering(&["http/1.1"]), "a.test", "/"));
    assert!(answer.ends_with("http/1.1"), "{answer}");
    // HTTP/1 over what was to be HTTP/2 is nobody's request.
    let answer = ask(&daemon, &offering(&["h2", "http/1.1"]), "a.test", "/")
        .unwrap()
        .0;
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
    // The other server on the same address does not speak it.
    assert!(text(ask(&daemon, &offering(&["h2", "http/1.1"]), "b.test", "/")).ends_with('b'));
    assert!(ask(&daemon, &offering(&["h2"]), "b.test", "/").is_err());
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
