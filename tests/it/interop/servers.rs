//! The proxy before other people's application servers, and ours: gunicorn, uWSGI (http-socket), trine-wsgi; asked
//! in both versions of HTTP, with TLS and without, and under load by wrk.
//!
//! Not here: uwsgi and FastCGI, or what each answer has to be in detail.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::process::said;
use e2e::{port, tools, wait};

use super::check_rooms;

/// Has the site of tests/apps/rooms.py, which listens on `back`, asked through the proxy. `modern`: the server keeps
/// connections, and reads chunks.
fn check(folder: &Folder, back: SocketAddr, modern: bool, server: Daemon) {
    let (Some(curl), Some(wrk), Some(h2load)) = (
        tools::program("curl", "curl"),
        tools::program("wrk", "wrk"),
        tools::program("h2load", "nghttp2-client"),
    ) else {
        return;
    };
    wait::until("the application server", || TcpStream::connect(back).ok());
    let (plain, tls) = (port::free(), port::free());
    let keepalive = if modern { 8 } else { 0 };
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("cert.pem", key.cert.pem());
    folder.write("key.pem", key.signing_key.serialize_pem());
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; pid {dir}/pid; error_log stderr info; events {{}} http {{ access_log off;
             upstream app {{ server {back}; keepalive {keepalive}; }}
             server {{ listen {plain}; listen {tls} ssl; http2 on; client_max_body_size 10m;
             ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
             location / {{ proxy_pass http://app; }} }} }}",
            dir = folder.path().display(),
        ),
    );
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    let proxy = launch.notify().start(folder).wait_ready();
    for _ in 0..5 {
        check_rooms(plain);
    }
    let upload = folder.write("upload", vec![b'a'; 300_000]);
    for (base, version) in [
        (format!("http://{plain}"), "1.1"),
        (format!("https://{tls}"), "1.1"),
        (format!("https://{tls}"), "2"),
    ] {
        let curl = |path: &str| {
            let mut curl = Command::new(&curl);
            curl.args(["-sSk", "--max-time", "60", &format!("--http{version}")])
                .args(["-w", " %{http_code} %{http_version}"])
                .arg(format!("{base}{path}"));
            curl
        };
        let end = format!(" 200 {version}");
        assert_eq!(
            said(&mut curl("/pieces")),
            format!("piece 0\npiece 1\npiece 2\n{end}")
        );
        for sent_as in ["Content-Type: text/plain", "Transfer-Encoding: chunked"] {
            if (version == "2" || !modern) && sent_as.starts_with("Transfer") {
                continue;
            }
            let told = said(
                curl("/digest")
                    .args(["-H", "Expect:", "-H", sent_as])
                    .arg("--data-binary")
                    .arg(format!("@{}", upload.display())),
            );
            assert!(told.starts_with("300000 12e1b9b1"), "{told}");
        }
        let missing = said(&mut curl("/nothing"));
        assert!(missing.ends_with(&format!(" 404 {version}")), "{missing}");
        let told = said(
            Command::new(&wrk)
                .args(["-t1", "-c8", "-d1s", "--timeout", "60s"])
                .arg(format!("{base}/pid")),
        );
        let bad = told.contains("Non-2xx") || told.contains("Socket errors");
        assert!(!bad && told.contains("requests in"), "{told}");
        let protocol = if version == "2" { "-m4" } else { "--h1" };
        let told = said(
            Command::new(&h2load)
                .args(["-n200", "-c4", protocol])
                .arg(format!("{base}/pid")),
        );
        assert!(told.contains("status codes: 200 2xx"), "{told}");
    }
    proxy.stop();
    server.stop();
}

#[test]
fn gunicorn_serves_through_the_proxy() {
    let Some(venv) = tools::venv() else { return };
    let (folder, back) = (Folder::new(), port::free());
    let gunicorn = Launch::program(venv.join("bin/gunicorn"))
        .args(["-k", "gthread", "--threads", "8", "--chdir"])
        .arg(tools::apps())
        .args(["-b", &back.to_string(), "rooms:app"])
        .start(&folder);
    check(&folder, back, true, gunicorn);
}

#[test]
fn uwsgi_serves_through_the_proxy() {
    let Some(uwsgi) = tools::program("uwsgi_python3", "uwsgi-plugin-python3") else {
        return;
    };
    let (folder, back) = (Folder::new(), port::free());
    let server = Launch::program(uwsgi)
        .args(["--master", "--die-on-term", "--processes", "4"])
        .args(["--http-socket", &back.to_string(), "--listen", "100"])
        .args(["--module", "rooms:app", "--chdir"])
        .arg(tools::apps())
        .start(&folder);
    // It closes each connection and does not say so, and a POST on one that is about to close is not sent again.
    check(&folder, back, false, server);
}

#[test]
fn trine_wsgi_serves_through_the_proxy() {
    let Some(venv) = tools::venv() else { return };
    let (folder, back) = (Folder::new(), port::free());
    let server = Launch::trine("trine-wsgi")
        .args(["-w", "2", "--threads", "4", "--chdir"])
        .arg(tools::apps())
        .args(["-b", &back.to_string(), "rooms:app"])
        .env("VIRTUAL_ENV", &venv)
        .notify()
        .start(&folder)
        .wait_ready();
    check(&folder, back, true, server);
}
