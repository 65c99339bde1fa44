//! `nginx.conf` as it stands: what is served from it, and what is said about mistakes in it.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Proxy, Upstream};

/// A daemon with this server on a Unix socket, with a few files in its folder, which `@dir@` stands for.
pub(crate) fn start(http: &str, server: &str) -> crate::harness::Daemon {
    let proxy = Proxy::new();
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    fs::create_dir_all(proxy.path("html/sub")).unwrap();
    fs::write(proxy.path("html/index.html"), "home").unwrap();
    fs::write(proxy.path("html/a.txt"), "text").unwrap();
    fs::write(proxy.path("html/404.html"), "gone").unwrap();
    let text = format!(
        "error_log stderr info; events {{}} http {{ types {{ text/plain txt; text/html html; }} {http}\n\
         server {{ listen unix:{dir}/front; root {dir}/html;\n{server}\n}} }}"
    );
    fs::write(proxy.path("nginx.conf"), text.replace("@dir@", dir)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    command.arg("--control").arg(proxy.path("proxy.sock"));
    proxy.start_as(command)
}

pub(crate) fn front(daemon: &crate::harness::Daemon) -> String {
    format!("unix:{}", daemon.path("front").display())
}

#[test]
fn phases_and_variables() {
    let daemon = start(
        "map $http_x_kind $kind { default none; ~^a(?<rest>.*)$ a-$rest; b bee; }",
        "error_page 404 /404.html;
         location = /exact { return 200 'exact $arg_q'; }
         location /tried { try_files $uri /a.txt; }
         location /named { try_files $uri @back; }
         location @back { return 203 'named $uri'; }
         location ~ ^/user/(?<who>[a-z]+)$ { return 200 '$who $1 $kind'; }
         location /old/ { return 301 /new$request_uri; }
         location /closed { deny all; }
         location /hidden { internal; }
         location /cached { add_header X-Way $uri always; expires 1h; try_files /a.txt =404; }",
    );
    let socket = front(&daemon);
    let check = |request: &str, want: &[&str]| {
        let mut client = Client::connect(&socket);
        client.send(format!("GET {request}\r\nHost: site.test\r\n\r\n"));
        let reply = client.reply();
        let text = format!("{}\r\n\r\n{}", reply.head, reply.text());
        for want in want {
            assert!(
                text.contains(want),
                "{want} in the answer to {request}:\n{text}"
            );
        }
    };
    check("/exact?q=1 HTTP/1.1", &["200 OK", "\r\n\r\nexact 1"]);
    check(
        "/ HTTP/1.1",
        &["200 OK", "Content-Type: text/html", "\r\n\r\nhome"],
    );
    check("/tried HTTP/1.1", &["200 OK", "\r\n\r\ntext"]);
    check("/named/x HTTP/1.1", &["203 ", "named /named/x"]);
    check("/user/ann HTTP/1.1\r\nX-Kind: abc", &["ann ann a-bc"]);
    check("/user/ann HTTP/1.1\r\nX-Kind: B", &["ann ann bee"]);
    check("/user/ann HTTP/1.1", &["ann ann none"]);
    check(
        "/old/x?y HTTP/1.1",
        &["301 ", "Location: http://site.test/new/old/x?y\r\n"],
    );
    check("/closed HTTP/1.1", &["403 Forbidden"]);
    check("/hidden HTTP/1.1", &["404 Not Found", "\r\n\r\ngone"]);
    check("/nowhere HTTP/1.1", &["404 Not Found", "\r\n\r\ngone"]);
    check(
        "/sub HTTP/1.1",
        &["301 ", "Location: http://site.test/sub/\r\n"],
    );
    check(
        "/cached HTTP/1.1",
        &[
            "200 OK",
            "X-Way: /a.txt\r\n",
            "Cache-Control: max-age=3600\r\n",
        ],
    );
}

#[test]
fn what_upstreams_get_and_what_they_send() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app");
    let upstream = Upstream::at(&socket);
    let url = format!("http://unix:{}:", socket.display());
    let daemon = start(
        "",
        &format!(
            "location /api/ {{
                proxy_pass {url}/v1/;
                proxy_set_header Host $http_host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header Accept '';
                proxy_hide_header X-Secret;
             }}
             location /plain {{ proxy_pass {url}; proxy_set_header Host back.test; }}"
        ),
    );
    let mut client = Client::connect(&front(&daemon));
    client.send("GET /api/a%20b?q=1 HTTP/1.1\r\nHost: site.test\r\nAccept: x\r\nX_Odd: 1\r\n\r\n");
    let mut link = upstream.accept();
    let head = link.read_head();
    let lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(
        lines,
        [
            "GET /v1/a%20b?q=1 HTTP/1.1",
            "Host: site.test",
            "X-Real-IP: unix:"
        ]
    );
    link.write(format!(
        "HTTP/1.1 302 Found\r\nLocation: {url}/v1/next\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n"
    ));
    let text = client.read_head();
    assert!(
        text.contains("Location: http://site.test/api/next\r\n"),
        "{text}"
    );
    assert!(!text.contains("X-Secret"), "{text}");

    client.send("GET //plain/../plain?z HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let head = link.read_head();
    assert!(
        head.starts_with("GET //plain/../plain?z HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("Host: back.test\r\n"), "{head}");
}

#[test]
fn mistakes_are_told_as_nginx_tells_them() {
    let proxy = Proxy::new();
    let path = proxy.path("nginx.conf");
    fs::write(
        &path,
        "events {}\nhttp {\n  sever {}\n  ssi on;\n  brotli_static off;\n}\n",
    )
    .unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
        let output = command.arg("-c").arg(&path).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code().unwrap(),
            said.replace(path.to_str().unwrap(), "FILE"),
        )
    };
    let (code, said) = run(&["-t"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(code, 1, "{said}");
    assert_eq!(
        lines[0],
        "nginx: [emerg] unknown directive \"sever\" in FILE:3 (did you mean \"server\"?)"
    );
    assert!(
        lines[1].starts_with("nginx: [emerg] \"ssi\" is not supported in FILE:4 ("),
        "{said}"
    );
    assert_eq!(lines[2], "nginx: configuration file FILE test failed");
    fs::write(&path, "events {}\nhttp {\n  ssi on;\n}\n").unwrap();
    let (code, said) = run(&["-t", "--ignore-unsupported"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with("nginx: [warn] \"ssi\" is not supported in FILE:3 ("),
        "{said}"
    );
    assert!(said.ends_with("test is successful\n"), "{said}");
    assert_eq!(
        run(&["-v"]),
        (0, "nginx version: nginx/1.31.5\n".to_owned())
    );
}

#[test]
fn answers_are_compressed_for_those_who_accept_it() {
    use std::io::Read as _;

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app");
    let upstream = Upstream::at(&socket);
    let daemon = start(
        "gzip on; gzip_types text/plain; gzip_vary on; gzip_comp_level 5;",
        &format!(
            "location /app {{ proxy_pass http://unix:{}:; proxy_set_header Host h; }}
             location /fixed {{ default_type text/plain; return 200 '0123456789012345678901234567890123456789'; }}
             location /short {{ return 200 'short'; }}",
            socket.display()
        ),
    );
    let big: String = (0..40_000).map(|line| format!("line {line}\n")).collect();
    fs::write(daemon.path("html/big.txt"), &big).unwrap();
    fs::write(daemon.path("html/small.txt"), &big[..2000]).unwrap();
    let mut client = Client::connect(&front(&daemon));
    let unzip = |body: &[u8]| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(body)
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    for (path, want) in [("/big.txt", &big[..]), ("/small.txt", &big[..2000])] {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
        ));
        let reply = client.reply();
        assert_eq!(
            reply.field("content-encoding"),
            Some("gzip"),
            "{}",
            reply.head
        );
        assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
        assert!(
            reply.field("etag").unwrap().starts_with("W/\""),
            "{}",
            reply.head
        );
        assert_eq!(unzip(&reply.body), want);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let plain = client.reply();
        assert_eq!(plain.field("content-encoding"), None);
        assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
        assert_eq!(plain.text(), want);
        let etag = reply.field("etag").unwrap();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"
        ));
        assert_eq!(client.reply().status, 304);
    }
    client.send("GET /fixed HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let reply = client.reply();
    assert_eq!(unzip(&reply.body), "0123456789".repeat(4));
    client.send("GET /short HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.reply().text(), "short");

    // What streams through is readable piece by piece.
    client.send("GET /app HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut link = upstream.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n5\r\nfirst\r\n");
    let head = client.read_head();
    assert!(
        head.contains("Content-Encoding: gzip") && head.contains("ETag: W/\"x\""),
        "{head}"
    );
    let mut body = client.read_chunk();
    let mut start = String::new();
    let _ = flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut start);
    assert_eq!(start, "first");
    link.write("6\r\nsecond\r\n0\r\n\r\n");
    while {
        let chunk = client.read_chunk();
        body.extend_from_slice(&chunk);
        !chunk.is_empty()
    } {}
    assert_eq!(unzip(&body), "firstsecond");
}

#[test]
fn files_are_read_as_the_user_that_the_file_names() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: only root can switch users");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;

    let proxy = Proxy::new();
    let dir = proxy.path("");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(proxy.path("open"), "for all").unwrap();
    fs::write(proxy.path("secret"), "for root").unwrap();
    fs::set_permissions(proxy.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "user nobody; events {{}} http {{ server {{ listen unix:{dir}/front; root {dir}; }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    let daemon = proxy.start_as(command);
    let mut client = Client::connect(&front(&daemon));
    assert_eq!(client.get("/open").reply().text(), "for all");
    assert_eq!(client.get("/secret").reply().status, 403);
}

/// Whoever breaks into a core is not root: all its identities are the user's, and no capability is left.
#[test]
fn cores_serve_as_the_configured_user() {
    if !nix::unistd::geteuid().is_root() {
        // There is nothing to drop then; nginx says so too.
        return;
    }
    let proxy = Proxy::new();
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "user nobody; worker_processes 2; pid {dir}/pid; events {{}}
         http {{ server {{ listen unix:{dir}/front; location / {{ return 200 served; }} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    let daemon = proxy.start_as(command);
    let mut client = Client::connect(&front(&daemon));
    assert_eq!(client.get("/").reply().text(), "served");
    // One of them serves; the other may still be starting, as root.
    let end = Instant::now() + PATIENCE;
    let found = loop {
        let found = cores(daemon.pid());
        if found.iter().filter(|core| core.uid == ["65534"; 4]).count() == 2 {
            break found;
        }
        assert!(Instant::now() < end, "{found:?}");
        thread::sleep(Duration::from_millis(5));
    };
    for core in found {
        assert!(core.gid.iter().all(|gid| gid != "0"), "{core:?}");
        assert!(
            core.capabilities
                .iter()
                .all(|set| set == "0000000000000000"),
            "{core:?}"
        );
    }
}

/// The rights of one thread.
#[derive(Debug)]
struct Core {
    uid: Vec<String>,
    gid: Vec<String>,
    /// Effective, permitted and inheritable.
    capabilities: Vec<String>,
}

fn cores(pid: impl std::fmt::Display) -> Vec<Core> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    let core = |status: String| {
        let line = |key: &str| -> Vec<String> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        line("Name:")[0].starts_with("core-").then(|| Core {
            uid: line("Uid:"),
            gid: line("Gid:"),
            capabilities: ["CapEff:", "CapPrm:", "CapInh:"]
                .map(|key| line(key).remove(0))
                .to_vec(),
        })
    };
    statuses.filter_map(core).collect()
}
