//! TLS on the server's own sockets: what an application sees, both versions, client certificates, and clients that do not
//! speak it or speak it slowly.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod harness;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use harness::{Server, shown, signal_pid, wait_for};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority that signs certificates, and a folder with its own and one for `app.test`.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = Self { issuer, dir };
        let (certificate, key) = authority.sign("app.test");
        fs::write(authority.path("cert.pem"), &certificate).unwrap();
        fs::write(authority.path("key.pem"), &key).unwrap();
        fs::write(authority.path("both.pem"), certificate + &key).unwrap();
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn client(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        shows: Option<(String, String)>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
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

    fn start(&self, args: &[&str]) -> Server {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        let tls = ["--certfile", &cert, "--keyfile", &key];
        Server::start(&[&tls[..], args, &["pep:app"]].concat())
    }
}

fn connect(
    server: &Server,
    client: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, UnixStream> {
    let name = ServerName::try_from("app.test").unwrap();
    let session = ClientConnection::new(Arc::clone(client), name).unwrap();
    StreamOwned::new(session, server.connect())
}

/// One request, and the answer up to the server's word of farewell.
fn ask(server: &Server, client: &Arc<ClientConfig>, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(server, client);
    stream.write_all(request)?;
    let mut answer = Vec::new();
    // Without close_notify this is an error.
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").into_bytes()
}

const KINDS: [&[&str]; 2] = [&[], &["--threads", "3"]];

#[test]
fn requests_and_answers_of_all_sizes_in_both_versions() {
    let authority = Authority::new();
    for kind in KINDS {
        let server = authority.start(kind);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = authority.client(&[version], None);
            let scheme = ask(&server, &client, &get("/shows?wsgi.url_scheme")).unwrap();
            assert!(
                shown(&scheme).ends_with(r"||\'https\'"),
                "{}",
                shown(&scheme)
            );
            for path in ["/large_list", "/large_file", "/large_blocks"] {
                let answer = ask(&server, &client, &get(path)).unwrap();
                let count = answer.iter().filter(|&&byte| byte == b'x').count();
                assert_eq!(count, 3_000_001, "{path}");
            }
            // Several requests on one connection, the second with a large body.
            let mut stream = connect(&server, &client);
            let first = b"GET /legal_length HTTP/1.1\r\nHost: h\r\n\r\n";
            let second = b"POST /reads_blindly HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n";
            stream.write_all(first).unwrap();
            stream.write_all(second).unwrap();
            stream.write_all(&vec![b'y'; 2_000_000]).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let text = String::from_utf8_lossy(&answer);
            assert!(
                text.contains("\r\n\r\nhelloHTTP/1.1 200 OK\r\n"),
                "{}",
                &text[..300]
            );
            assert!(text.ends_with(&"y".repeat(2_000_000)));
            // A connection under TLS is not for anybody else to use.
            let taken = ask(&server, &client, &get("/looks_at_socket")).unwrap();
            assert!(taken.starts_with(b"HTTP/1.1 500 "), "{}", shown(&taken));
        }
        assert!(server.log().contains("it is under TLS"), "{}", server.log());
        server.stop();
    }
}

/// Some of these answers fill the socket to the last byte that it takes: the farewell has to wait for a reader.
#[test]
fn a_full_socket_does_not_swallow_the_farewell() {
    let authority = Authority::new();
    let client = authority.client(rustls::DEFAULT_VERSIONS, None);
    for kind in KINDS {
        let server = authority.start(kind);
        for size in (60_000..300_000).step_by(6_000) {
            let mut stream = connect(&server, &client);
            let path = format!("/of_size?{size}");
            stream.write_all(&get(&path)).unwrap();
            let mut answer = vec![0; 1];
            stream.read_exact(&mut answer).unwrap();
            // The server writes meanwhile whatever finds room; who reads too early only sees less of the matter.
            std::thread::sleep(std::time::Duration::from_millis(10));
            // Without close_notify this is an error.
            stream.read_to_end(&mut answer).unwrap();
            let count = answer.iter().filter(|&&byte| byte == b'x').count();
            assert_eq!(count, size + 1, "of Content-Type's x and the body");
        }
        server.stop();
    }
}

#[test]
fn who_does_not_speak_tls_is_told_so_and_holds_nobody_up() {
    let authority = Authority::new();
    let client = authority.client(rustls::DEFAULT_VERSIONS, None);
    for kind in KINDS {
        let server = authority.start(kind);
        let got = shown(&server.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(got.starts_with("HTTP/1.1 403 Forbidden|"), "{got}");
        // Half a hello, and a hello that is none.
        let slow: Vec<UnixStream> = (0..50)
            .map(|index| {
                let mut stream = server.connect();
                let part: &[u8] = if index % 2 == 0 {
                    b"\x16\x03\x01\x02\x00\x01\x00"
                } else {
                    b"\x16\x03\x01\x00\x05hello"
                };
                stream.write_all(part).unwrap();
                stream
            })
            .collect();
        let answer = ask(&server, &client, &get("/legal_length")).unwrap();
        assert!(answer.ends_with(b"\r\n\r\nhello"));
        drop(slow);
        server.stop();
    }
}

#[test]
fn client_certificates_are_asked_for() {
    let authority = Authority::new();
    let ca = authority.path("ca.pem");
    let stranger = Authority::new().sign("client.test");
    for (wanted, without) in [("0", true), ("1", true), ("2", false)] {
        let server = authority.start(&["--ca-certs", &ca, "--cert-reqs", wanted]);
        let asked = |shows| {
            let client = authority.client(rustls::DEFAULT_VERSIONS, shows);
            ask(&server, &client, &get("/legal_length"))
                .is_ok_and(|answer| answer.ends_with(b"hello"))
        };
        assert!(asked(Some(authority.sign("client.test"))), "{wanted}");
        assert_eq!(asked(None), without, "{wanted}");
        assert_eq!(asked(Some(stranger.clone())), wanted == "0", "{wanted}");
        server.stop();
    }
}

#[test]
fn files_that_cannot_be_used_end_the_server_in_words() {
    let authority = Authority::new();
    let (cert, key) = (authority.path("cert.pem"), authority.path("key.pem"));
    fs::write(authority.path("empty.pem"), "").unwrap();
    let empty = authority.path("empty.pem");
    let other = Authority::new().path("key.pem");
    for (args, told) in [
        (
            vec!["--certfile", &empty, "--keyfile", &key],
            "empty.pem: there is no certificate",
        ),
        (vec!["--certfile", &cert], "cert.pem: "),
        (
            vec!["--certfile", &cert, "--keyfile", &key, "--cert-reqs", "2"],
            "cert_reqs needs ca_certs",
        ),
        (vec!["--certfile", &cert, "--keyfile", &other], "key.pem"),
        (
            vec![
                "--certfile",
                &cert,
                "--keyfile",
                &key,
                "--ciphers",
                "AES128-SHA",
            ],
            "names none of the suites",
        ),
    ] {
        let mut server = Server::spawn(&[&args[..], &["pep:app"]].concat());
        assert_eq!(server.exit_code(), 1, "{}", server.log());
        assert!(server.log().contains(told), "{told}: {}", server.log());
    }
    let both = authority.path("both.pem");
    let server = Server::start(&["--certfile", &both, "pep:app"]);
    let client = authority.client(rustls::DEFAULT_VERSIONS, None);
    assert!(ask(&server, &client, &get("/pid")).is_ok());
    server.stop();
}

/// Ends those that ask, whatever becomes of the test.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn files_broken_at_a_reload_leave_the_old_ones_in_force() {
    let authority = Authority::new();
    for kind in KINDS {
        let server = authority.start(&[&["-w", "2"][..], kind].concat());
        server.wait_ready(2);
        let before = server.workers();
        let client = authority.client(rustls::DEFAULT_VERSIONS, None);
        let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let _ended = Stops(&stop);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        let answer = ask(&server, &client, &get("/legal_length")).unwrap();
                        assert!(answer.ends_with(b"\r\n\r\nhello"), "{}", shown(&answer));
                        asked.fetch_add(1, SeqCst);
                    }
                });
            }
            let more = |count: usize| {
                let goal = asked.load(SeqCst) + count;
                wait_for("answers under TLS", || {
                    (asked.load(SeqCst) >= goal).then_some(())
                });
            };
            let reload = |last: &mut String, ok: bool| {
                server.signal(Signal::SIGHUP);
                wait_for("the reload's end", || {
                    let report = server.status()["last_reload"].clone();
                    let new = report["time"].as_str().is_some_and(|time| time != last);
                    (new && report["ok"] == ok).then(|| {
                        *last = report["time"].to_string().trim_matches('"').to_owned();
                        report["problems"].to_string()
                    })
                })
            };
            let (cert, key) = (authority.path("cert.pem"), authority.path("key.pem"));
            let (good_cert, good_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
            let other = fs::read(Authority::new().path("key.pem")).unwrap();
            let mut last = String::new();
            let half = &good_key[..good_key.len() / 2];
            for (file, broken, reason) in [
                (&cert, Some(&b"nothing"[..]), "cert.pem"),
                (&cert, None, "cert.pem"),
                (&key, Some(half), "key.pem"),
                // Of another certificate.
                (&key, Some(&other), "key.pem"),
            ] {
                match broken {
                    Some(bytes) => fs::write(file, bytes).unwrap(),
                    None => fs::remove_file(file).unwrap(),
                }
                let problems = reload(&mut last, false);
                assert!(problems.contains(reason), "{problems}");
                let log = server.log();
                assert!(
                    log.contains("the reload failed, the old workers serve on: "),
                    "{log}"
                );
                let status = server.status()["status_text"].to_string();
                assert!(status.contains("the last reload failed: "), "{status}");
                assert!(status.contains(reason), "{status}");
                assert_eq!(server.workers(), before);
                more(5);
                fs::write(&cert, &good_cert).unwrap();
                fs::write(&key, &good_key).unwrap();
            }
            // A worker that dies meanwhile is replaced, though the files of now are of no use.
            fs::write(&cert, "nothing").unwrap();
            reload(&mut last, false);
            signal_pid(before[0], Signal::SIGTERM);
            wait_for("another worker", || {
                let now = server.workers();
                (now.len() == 2 && !now.contains(&before[0])).then_some(())
            });
            server.wait_ready(2);
            more(5);
            fs::write(&cert, &good_cert).unwrap();
            reload(&mut last, true);
            wait_for("new workers alone", || {
                let now = server.workers();
                (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
            });
            more(20);
        });
        server.stop();
    }
}
