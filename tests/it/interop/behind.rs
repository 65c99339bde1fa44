//! trine-proxy before applications that speak FastCGI, uwsgi and SCGI: php-fpm, uWSGI, trine-wsgi, with the files of
//! variables in deploy/params.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::Path;

use e2e::client::{Client, Request, ask, get};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::{gateways, port, tools, wait};

use super::{check_rooms, gateway, nginx_conf};

/// trine-proxy with this server, on an address of its own.
#[track_caller]
pub(super) fn proxy(folder: &Folder, http: &str, server: &str) -> (Daemon, SocketAddr) {
    let front = port::free();
    let dir = folder.path().display();
    let params = tools::repository().join("deploy/params");
    let text = format!(
        "error_log stderr info;\nevents {{}}\nhttp {{ access_log off; client_max_body_size 4m;\n{http}\n\
         server {{ listen {front};\n{server}\n}} }}\n"
    );
    let text = text
        .replace("@dir@", &dir.to_string())
        .replace("@php@", &tools::apps().join("php").display().to_string())
        .replace("@params@", &params.display().to_string());
    folder.write("proxy.conf", text);
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "proxy.conf"])
        .notify()
        .start(folder)
        .wait_ready();
    (proxy, front)
}

/// A line `name=value` of tests/apps/php/dump.php.
fn line<'a>(dump: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = dump.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[track_caller]
fn check_php(front: SocketAddr) {
    let mut client = Client::connect(front);
    let dump = client.ask(
        &Request::get("/dump.php/more/info?a=b%20c")
            .header("Cookie", "x=y")
            .header("X-Thing", "one"),
    );
    assert_eq!(dump.status, 200, "{}", dump.text());
    assert_eq!(
        dump.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let script = tools::apps().join("php/dump.php");
    for (name, value) in [
        ("SCRIPT_FILENAME", script.to_str().unwrap()),
        ("SCRIPT_NAME", "/dump.php"),
        ("PATH_INFO", "/more/info"),
        ("QUERY_STRING", "a=b%20c"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/dump.php/more/info?a=b%20c"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_X_THING", "one"),
        ("HTTP_COOKIE", "x=y"),
        ("SERVER_SOFTWARE", "trine"),
        ("REDIRECT_STATUS", "200"),
    ] {
        assert_eq!(
            line(&dump.text(), name),
            Some(value),
            "{name}: {}",
            dump.text()
        );
    }
    assert!(line(&dump.text(), "HTTPS").is_none());
    let posted = client.ask(&Request::post("/dump.php", vec![b'a'; 300_000]));
    assert_eq!(line(&posted.text(), "CONTENT_LENGTH"), Some("300000"));
    assert!(posted.text().contains("body 300000 "), "{}", posted.text());
    let missing: Reply = client.ask(&Request::get("/dump.php?status=404"));
    assert_eq!(missing.status, 404);
    let moved = client.ask(&Request::get("/dump.php?status=303&to=/there"));
    assert_eq!(
        (moved.status, moved.header("location")),
        (303, Some("/there"))
    );
    let cookies = client.ask(&Request::get("/dump.php?twice=1"));
    let set = cookies
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(set.count(), 2);
    for target in ["/long.php?size=1000000", "/long.php?size=1000000&told=1"] {
        let long = client.ask(&Request::get(target));
        assert!(
            long.body.len() == 1_000_000,
            "{target}: {} bytes",
            long.body.len()
        );
        assert!(long.body.iter().all(|&byte| byte == b'p'));
    }
    let head = client.ask(&Request::new("HEAD", "/long.php?size=1000&told=1"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("1000"));
    // What is no file is the script's affair: PHP says so itself.
    let none = client.ask(&Request::get("/nothing.php"));
    assert_eq!(
        (none.status, none.text().as_str()),
        (404, "File not found.\n")
    );
}

const PHP: &str = "root @php@;
    location ~ \\.php(/|$) {
        fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
        include @params@/fastcgi.conf;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass app;
        KEEP
    }";

#[test]
fn php_on_a_unix_socket_and_on_tcp() {
    let folder = Folder::new();
    let tcp = port::free().to_string();
    let unix = format!("{}/fpm.sock", folder.path().display());
    for (name, listen, server) in [
        ("unix", &unix, format!("unix:{unix}")),
        ("tcp", &tcp, tcp.clone()),
    ] {
        let Some(_fpm) = gateways::php_fpm(&folder, name, listen, 2) else {
            return;
        };
        let http = format!("upstream app {{ server {server}; }}");
        let (proxy, front) = proxy(&folder, &http, &PHP.replace("KEEP", ""));
        check_php(front);
        let told = get(front, "/dump.php?error=alarm");
        assert_eq!(told.status, 200);
        let words = "FastCGI sent in stderr: \"PHP message: told: alarm\"";
        wait::until("the application's words in the log", || {
            proxy.output().contains(words).then_some(())
        });
        proxy.stop();
    }
}

#[test]
fn php_keeps_its_connections_when_asked_to() {
    let folder = Folder::new();
    let unix = format!("{}/fpm.sock", folder.path().display());
    let Some(_fpm) = gateways::php_fpm(&folder, "fpm", &unix, 4) else {
        return;
    };
    let http = format!("upstream app {{ server unix:{unix}; keepalive 2; }}");
    let (proxy, front) = proxy(
        &folder,
        &http,
        &PHP.replace("KEEP", "fastcgi_keep_conn on;"),
    );
    check_php(front);
    // One process serves one connection, so that a kept one always meets the same.
    let first = get(front, "/pid.php").text();
    for _ in 0..20 {
        assert_eq!(get(front, "/pid.php").text(), first);
    }
    proxy.stop();
}

/// The application of tests/apps/rooms.py behind each of these `location /`s.
#[track_caller]
fn check_locations(folder: &Folder, locations: &[&str]) {
    for location in locations {
        let (proxy, front) = proxy(folder, "", &format!("location / {{ {location} }}"));
        check_rooms(front);
        let chunked = Request::post("/digest", vec![b'm'; 1 << 20]).chunked();
        assert!(
            ask(front, &chunked).text().starts_with("1048576 "),
            "{location}"
        );
        let fixed = get(front, "/fixed");
        assert_eq!((fixed.status, fixed.text().as_str()), (200, "fixed\n"));
        let two = fixed
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-two"));
        assert_eq!(two.count(), 2, "{location}");
        proxy.stop();
    }
}

const UWSGI: &str = "include @params@/uwsgi_params; uwsgi_pass unix:@dir@/uwsgi.sock;";
const FASTCGI: &str = "include @params@/fastcgi_params; fastcgi_param PATH_INFO $document_uri;
    fastcgi_param SCRIPT_NAME ''; fastcgi_pass unix:@dir@/fastcgi.sock;";
const SCGI: &str = "include @params@/scgi_params; scgi_param PATH_INFO $document_uri;
    scgi_param SCRIPT_NAME ''; scgi_pass unix:@dir@/scgi.sock;";

#[test]
fn uwsgi_in_its_three_modes() {
    let folder = Folder::new();
    let Some(_uwsgi) = gateways::uwsgi(&folder, "rooms:application") else {
        return;
    };
    check_locations(&folder, &[UWSGI, FASTCGI, SCGI]);
}

/// A packet to another plugin than Python's: nginx and trine-proxy send the same bytes.
#[test]
fn uwsgi_packets_with_a_string() {
    let Some(nginx) = tools::nginx() else { return };
    let folder = Folder::new();
    let server = UnixListener::bind(folder.join("uwsgi.sock")).unwrap();
    let location = format!(
        "location / {{ uwsgi_pass_request_headers off; uwsgi_modifier1 22; uwsgi_modifier2 7;
         uwsgi_string \"print('ran')\"; uwsgi_pass unix:{0}/uwsgi.sock; }}
         location /both {{ uwsgi_pass_request_headers off; uwsgi_modifier1 22; uwsgi_param A b;
         uwsgi_string \"print('ran')\"; uwsgi_pass unix:{0}/uwsgi.sock; }}",
        folder.path().display()
    );
    let packet = |front: SocketAddr, target: &str, want: &[u8]| {
        let mut client = Client::connect(front);
        client.write(&Request::get(target).encode()).unwrap();
        let (mut link, _) = server.accept().unwrap();
        let mut packet = vec![0; want.len()];
        link.read_exact(&mut packet).unwrap();
        assert_eq!(packet, want, "{}", packet.escape_ascii());
        link.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nran")
            .unwrap();
        link.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_reply("GET").unwrap().text(), "ran");
        let mut more = Vec::new();
        link.read_to_end(&mut more).unwrap();
        assert_eq!(more, b"");
    };
    let check = |front| {
        packet(front, "/", b"\x16\x0c\x00\x07print('ran')");
        packet(
            front,
            "/both",
            b"\x16\x12\x00\x00\x01\x00A\x01\x00bprint('ran')",
        );
    };
    let addr = port::free();
    folder.write(
        "nginx.conf",
        nginx_conf(folder.path(), &addr.to_string(), &location),
    );
    let nginx = Launch::program(&nginx)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .start(&folder);
    wait::until("nginx", || std::net::TcpStream::connect(addr).ok());
    check(addr);
    nginx.stop();
    let (proxy, front) = proxy(&folder, "", &location);
    check(front);
    proxy.stop();
}

#[test]
fn trine_wsgi_in_its_two_modes() {
    let Some(venv) = tools::venv() else { return };
    for (protocol, locations) in [
        ("uwsgi", &[UWSGI][..]),
        (
            "fastcgi",
            &[
                FASTCGI,
                "include @params@/fastcgi_params; fastcgi_pass unix:@dir@/fastcgi.sock; fastcgi_keep_conn on;",
            ],
        ),
    ] {
        let folder = Folder::new();
        let socket = folder.join(format!("{protocol}.sock"));
        let wsgi = wsgi(&folder, protocol, &socket, &venv);
        check_locations(&folder, locations);
        let (proxy, front) = proxy(&folder, "", &format!("location / {{ {} }}", locations[0]));
        gateway::check_site(front);
        proxy.stop();
        wsgi.stop();
    }
}

#[track_caller]
fn wsgi(folder: &Folder, protocol: &str, socket: &Path, venv: &Path) -> Daemon {
    Launch::trine("trine-wsgi")
        .args([
            "-w",
            "2",
            "--threads",
            "2",
            "--protocol",
            protocol,
            "--chdir",
        ])
        .arg(tools::apps())
        .args(["-b", &format!("unix:{}", socket.display()), "rooms:app"])
        .env("VIRTUAL_ENV", venv)
        .notify()
        .start(folder)
        .wait_ready()
}
