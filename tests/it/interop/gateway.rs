//! nginx's `uwsgi_pass` and `fastcgi_pass` to trine-wsgi, on Unix and TCP sockets, one thread and several.

use std::net::SocketAddr;

use e2e::client::{Client, Request, ask};
use e2e::control::Control;
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{port, tools, wait};

use super::{check_rooms, nginx_conf};

/// nginx in front of `protocol`, asked everything that a site is asked.
fn check(protocol: &str, location: &str, upstream: &str) {
    let (Some(nginx), Some(venv)) = (tools::nginx(), tools::venv()) else {
        return;
    };
    for threads in ["1", "3"] {
        let folder = Folder::new();
        let (front, back) = (port::free(), port::free());
        let socket = folder.join("app.sock");
        let control = folder.join("wsgi.sock");
        let wsgi = Launch::trine("trine-wsgi")
            .args(["-w", "2", "--threads", threads, "--protocol", protocol])
            .arg("--chdir")
            .arg(tools::apps())
            .arg("--control")
            .arg(&control)
            .args(["-b", &format!("unix:{}", socket.display())])
            .args(["-b", &back.to_string(), "rooms:app"])
            .env("VIRTUAL_ENV", &venv)
            .notify()
            .start(&folder)
            .wait_ready();
        for server in [format!("unix:{}", socket.display()), back.to_string()] {
            let conf = nginx_conf(folder.path(), &front.to_string(), location).replace(
                "    server {",
                &format!("    upstream app {{ server {server}; {upstream} }}\n    server {{"),
            );
            folder.write("nginx.conf", conf);
            let nginx: Daemon = Launch::program(&nginx)
                .arg("-c")
                .arg(folder.join("nginx.conf"))
                .start(&folder);
            wait::until("nginx", || std::net::TcpStream::connect(front).ok());
            check_site(front);
            let taken = accepted(&control);
            for _ in 0..20 {
                assert_eq!(ask(front, &Request::get("/pid")).status, 200);
            }
            let taken = accepted(&control) - taken;
            // A worker publishes its count when it goes to sleep, so some may be missing, or come late.
            let expected = if upstream.is_empty() { 15..=25 } else { 0..=8 };
            assert!(
                expected.contains(&taken),
                "{taken} connections for 20 requests"
            );
            nginx.stop();
        }
        wsgi.stop();
    }
}

/// Connections that the server has accepted so far.
fn accepted(control: &std::path::Path) -> u64 {
    let metrics = Control::new(control)
        .call(Request::get("/metrics"))
        .unwrap()
        .text();
    let name = "trine_wsgi_connections_accepted_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}in {metrics}"))
        .parse()
        .unwrap()
}

pub(super) fn check_site(front: SocketAddr) {
    for _ in 0..3 {
        check_rooms(front);
    }
    let request = Request::get("/environ?a=1&b=%20%C3%A9")
        .header("X-Thing", "one")
        .header("Cookie", "a=b");
    let seen = ask(front, &request).json();
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/environ"),
        ("QUERY_STRING", "a=1&b=%20%C3%A9"),
        ("RAW_URI", "/environ?a=1&b=%20%C3%A9"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_PORT", &front.port().to_string()),
        ("HTTP_X_THING", "one"),
        ("HTTP_COOKIE", "a=b"),
        ("HTTP_HOST", "test.example"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(seen[key], value, "{key}: {seen}");
    }
    assert!(seen.get("CONTENT_LENGTH").is_none(), "{seen}");
    let megabyte = ask(front, &Request::post("/digest", vec![b'm'; 1 << 20]));
    assert!(
        megabyte.text().starts_with("1048576 "),
        "{}",
        megabyte.text()
    );
    let mut client = Client::connect(front);
    let head = client.ask(&Request::new("HEAD", "/environ"));
    assert!(head.status == 200 && head.body.is_empty());
    // The connection of the client goes on.
    assert_eq!(client.ask(&Request::get("/nothing")).status, 404);
    assert_eq!(client.ask(&Request::get("/broken")).status, 500);
    assert_eq!(client.ask(&Request::get("/environ")).status, 200);
}

const UWSGI: &str =
    "location / { include /etc/nginx/uwsgi_params; uwsgi_buffering off; uwsgi_pass app; }";

#[test]
fn uwsgi_pass() {
    check("uwsgi", UWSGI, "");
}

const FASTCGI: &str = "location / {
        include /etc/nginx/fastcgi_params;
        fastcgi_param PATH_INFO $fastcgi_script_name;
        fastcgi_param SCRIPT_NAME '';
        fastcgi_buffering off;
        fastcgi_pass app;
        KEEP
    }";

#[test]
fn fastcgi_pass() {
    check("fastcgi", &FASTCGI.replace("KEEP", ""), "");
}

#[test]
fn fastcgi_pass_with_kept_connections() {
    let location = FASTCGI.replace("KEEP", "fastcgi_keep_conn on;");
    check("fastcgi", &location, "keepalive 4;");
}

#[test]
fn fastcgi_pass_with_nothing_but_the_parameters_that_nginx_ships() {
    let location = "location / { include /etc/nginx/fastcgi_params; fastcgi_buffering off; fastcgi_pass app; }";
    check("fastcgi", location, "");
}
