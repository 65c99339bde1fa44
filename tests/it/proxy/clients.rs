//! The proxy as other people's clients see it: curl, nghttp, h2load, Chromium, Python's requests and websockets.
//!
//! Not here: what each answer has to be in detail (`crates/proxy/tests`).

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::browser::headless;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::process::said;
use e2e::upstream::Upstream;
use e2e::{port, tools, wait};
use sha1::{Digest as _, Sha1};

/// A proxy with a file, and an application that echoes bodies and frames; with TLS and without.
struct Site {
    folder: Folder,
    plain: SocketAddr,
    tls: SocketAddr,
    proxy: Daemon,
    _app: Upstream,
}

impl Site {
    fn start() -> Self {
        let (folder, plain, tls) = (Folder::new(), port::free(), port::free());
        let told = Arc::new(AtomicBool::new(false));
        let app = Upstream::start(move |request, conversation| {
            match request.target.as_str() {
                "/app/told?through" => told.store(true, Ordering::SeqCst),
                "/app/hold" => wait::until("the page's word", || {
                    told.load(Ordering::SeqCst).then_some(())
                }),
                _ => {}
            }
            if request.header("upgrade").is_some() {
                let accept = accept_of(request.header("sec-websocket-key").unwrap_or_default());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                conversation.write(head.as_bytes())?;
                return conversation.echo_frames();
            }
            conversation.reply("200 OK", &request.body)
        });
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        folder.write("cert.pem", key.cert.pem());
        folder.write("key.pem", key.signing_key.serialize_pem());
        fs::create_dir(folder.join("html")).unwrap();
        folder.write("html/a.txt", "text of a file");
        folder.write("html/page.html", PAGE);
        folder.write("html/big.bin", vec![7; 3_000_000]);
        folder.write(
            "nginx.conf",
            format!(
                "daemon off; pid {dir}/pid; error_log stderr info; events {{}} http {{
                 types {{ text/plain txt; text/html html; }} access_log {dir}/access.log;
                 server {{ listen {plain}; listen {tls} ssl; http2 on; client_max_body_size 10m;
                 ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; root {dir}/html;
                 location /moved {{ return 302 /a.txt; }}
                 location /app/ {{ proxy_pass http://{app}; }} }} }}",
                dir = folder.path().display(),
                app = app.addr(),
            ),
        );
        let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
        let proxy = launch.notify().start(&folder).wait_ready();
        Self {
            folder,
            plain,
            tls,
            proxy,
            _app: app,
        }
    }
}

/// The answer to a handshake's key (RFC 6455 section 1.3).
fn accept_of(key: &str) -> String {
    use base64::Engine as _;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[test]
fn curl_speaks_both_versions() {
    let Some(curl) = tools::program("curl", "curl") else {
        return;
    };
    let site = Site::start();
    let curl = |args: &[&str]| {
        let limits = ["-sk", "--max-time", "60"];
        said(Command::new(&curl).args(limits).args(args))
    };
    let (plain, tls) = (
        format!("http://{}", site.plain),
        format!("https://{}", site.tls),
    );
    for (version, url, want) in [
        ("--http1.1", &plain, "1.1"),
        ("--http1.0", &plain, "1.1"),
        ("--http2-prior-knowledge", &plain, "2"),
        ("--http1.1", &tls, "1.1"),
        ("--http2", &tls, "2"),
    ] {
        let told = curl(&[version, "-w", "|%{http_version}", &format!("{url}/a.txt")]);
        assert_eq!(told, format!("text of a file|{want}"), "{version} {url}");
        // curl 7.88 cannot follow a redirect on a connection of prior knowledge, from nginx neither.
        let follow = if version == "--http2-prior-knowledge" {
            "-I"
        } else {
            "-IL"
        };
        let told = curl(&[version, follow, &format!("{url}/moved")]);
        assert!(told.contains(" 302"), "{told}");
        assert_eq!(told.contains(" 200"), follow == "-IL", "{told}");
        let sent = site.folder.join("html/big.bin");
        let (got, name) = (site.folder.join("got"), sent.display().to_string());
        for upload in [["--data-binary", &format!("@{name}")], ["-T", &name]] {
            let to = got.display().to_string();
            let url = format!("{url}/app/echo");
            curl(&[&[version, "-H", "Expect:", "-o", &to][..], &upload, &[&url]].concat());
            assert!(
                fs::read(&got).unwrap() == fs::read(&sent).unwrap(),
                "{version} {upload:?}"
            );
        }
        let range = curl(&[version, "-r", "5-6", &format!("{url}/a.txt")]);
        assert_eq!(range, "of");
    }
    site.proxy.stop();
}

#[test]
fn nghttp_and_h2load_are_content() {
    let (Some(nghttp), Some(h2load)) = (
        tools::program("nghttp", "nghttp2-client"),
        tools::program("h2load", "nghttp2-client"),
    ) else {
        return;
    };
    let site = Site::start();
    for base in [
        format!("http://{}", site.plain),
        format!("https://{}", site.tls),
    ] {
        let urls = ["/a.txt", "/big.bin", "/app/x", "/none"].map(|path| format!("{base}{path}"));
        let told = said(
            Command::new(&nghttp)
                .args(["-nv", "-t", "60", "--no-verify-peer"])
                .args(&urls),
        );
        let count = |what: &str| told.matches(what).count();
        assert_eq!(
            (count(":status: 200"), count(":status: 404")),
            (3, 1),
            "{told}"
        );
        assert_eq!(count("RST_STREAM"), 0, "{told}");
        for (path, requests) in [("/a.txt", 3000), ("/big.bin", 30), ("/app/x", 1000)] {
            let (number, url) = (requests.to_string(), format!("{base}{path}"));
            let told =
                said(Command::new(&h2load).args(["-n", &number, "-c", "10", "-m", "10", &url]));
            let want = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
            assert!(told.contains(&want), "{told}");
            assert!(
                told.contains(&format!("status codes: {requests} 2xx")),
                "{told}"
            );
        }
    }
    site.proxy.stop();
}

const PAGE: &str = r#"<!doctype html><title>x</title><p id="version"></p><p id="frame"></p><script>
version.textContent = "spoken: " + performance.getEntriesByType("navigation")[0].nextHopProtocol;
const socket = new WebSocket(location.href.replace("http", "ws").replace("page.html", "app/chat"));
socket.onopen = () => socket.send("through");
socket.onmessage = event => {
  frame.textContent = "echoed: " + event.data;
  fetch("/app/told?" + event.data);
};
</script><img src="/app/hold">"#;

#[test]
fn a_browser_takes_http2_and_opens_websockets() {
    let Some(chromium) = tools::program("chromium", "chromium") else {
        return;
    };
    let site = Site::start();
    let mut browser = headless(&chromium, &site.folder.join("profile"), 120);
    let dom = said(browser.args([
        "--ignore-certificate-errors",
        "--dump-dom",
        &format!("https://{}/page.html", site.tls),
    ]));
    assert!(dom.contains("spoken: h2"), "{dom}");
    assert!(dom.contains("echoed: through"), "{dom}");
    site.proxy.stop();
}

const PYTHON: &str = r#"
import ssl, sys, requests, urllib3
from websockets.sync.client import connect
urllib3.disable_warnings()
plain, tls = sys.argv[1:]
for base in "http://" + plain, "https://" + tls:
    with requests.Session() as session:
        session.verify = session.trust_env = False
        for _ in range(20):
            assert session.get(base + "/a.txt").text == "text of a file"
        moved = session.get(base + "/moved")
        assert moved.history[0].status_code == 302 and moved.text == "text of a file"
        body = bytes(range(256)) * 4000
        assert session.post(base + "/app/echo", data=body).content == body
        parts = (body[at:at + 1000] for at in range(0, len(body), 1000))
        assert session.post(base + "/app/echo", data=parts).content == body
        assert len(session.get(base + "/big.bin").content) == 3_000_000
        assert session.head(base + "/a.txt").headers["Content-Length"] == "14"
        assert session.get(base + "/none").status_code == 404
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for url, more in ("ws://" + plain, {}), ("wss://" + tls, {"ssl": context}):
    with connect(url + "/app/chat", compression=None, close_timeout=0.2, **more) as socket:
        for number in range(50):
            socket.send(f"message {number}")
            assert socket.recv(timeout=60) == f"message {number}"
print("done")
"#;

#[test]
fn pythons_clients_are_content() {
    let Some(venv) = tools::venv() else { return };
    let site = Site::start();
    let script = site.folder.write("clients.py", PYTHON);
    let addresses = [site.plain.to_string(), site.tls.to_string()];
    let told = said(
        Command::new(venv.join("bin/python"))
            .arg(script)
            .args(addresses),
    );
    assert_eq!(told, "done\n");
    site.proxy.stop();
}

/// Makes a certificate for localhost with a key of that kind.
fn certificate(openssl: &std::path::Path, folder: &Folder, name: &str, key: &[&str]) {
    said(
        Command::new(openssl)
            .args([
                "req",
                "-x509",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ])
            .args(key)
            .arg("-keyout")
            .arg(folder.join(format!("{name}.key")))
            .arg("-out")
            .arg(folder.join(format!("{name}.pem"))),
    );
}

#[test]
fn clients_get_the_certificate_that_they_can_judge() {
    let Some(openssl) = tools::program("openssl", "openssl") else {
        return;
    };
    let (folder, tls) = (Folder::new(), port::free());
    certificate(&openssl, &folder, "rsa", &["-newkey", "rsa:2048"]);
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    certificate(&openssl, &folder, "ecdsa", &curve);
    folder.write(
        "nginx.conf",
        format!(
            "daemon off; pid {dir}/pid; error_log stderr info; events {{}} http {{ access_log off;
             server {{ listen {tls} ssl; return 200 served;
             ssl_certificate {dir}/rsa.pem; ssl_certificate_key {dir}/rsa.key;
             ssl_certificate {dir}/ecdsa.pem; ssl_certificate_key {dir}/ecdsa.key; }} }}",
            dir = folder.path().display(),
        ),
    );
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    let proxy = launch.notify().start(&folder).wait_ready();
    for (offers, gets) in [
        (&["-tls1_3"][..], "ECDSA"),
        (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], "RSA-PSS"),
        (&["-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"], "ECDSA"),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "RSA-PSS",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            "ECDSA",
        ),
    ] {
        let told = said(
            Command::new(&openssl)
                .args(["s_client", "-connect", &tls.to_string()])
                .args(["-servername", "localhost"])
                .args(offers)
                .stdin(std::process::Stdio::null()),
        );
        let want = format!("Peer signature type: {gets}");
        assert!(told.contains(&want), "{offers:?}: {told}");
    }
    proxy.stop();
}
