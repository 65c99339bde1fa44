//! Logs as nginx.conf has them: several error logs with levels, syslog, buffered and compressed access logs.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Client, Daemon, PATIENCE, Proxy, Upstream};

fn start(main: &str, http: &str, server: &str) -> Daemon {
    let proxy = Proxy::new();
    write(&proxy.path(""), main, http, server);
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    proxy.start_as(command)
}

fn write(dir: &std::path::Path, main: &str, http: &str, server: &str) {
    let text = format!(
        "{main} events {{ debug_connection 127.0.0.1; }} http {{ log_subrequest on; open_log_file_cache off;
         {http} server {{ listen unix:DIR/front; server_name site.test; {server} }} }}"
    );
    let dir = dir.display().to_string();
    let dir = dir.trim_end_matches('/');
    fs::write(format!("{dir}/nginx.conf"), text.replace("DIR", dir)).unwrap();
}

fn ask(daemon: &Daemon, target: &str) -> u16 {
    let mut client = Client::connect(&format!("unix:{}", daemon.path("front").display()));
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
    ));
    client.reply().status
}

#[test]
fn error_lines_have_nginxs_shape_and_go_where_their_level_says() {
    let daemon = start(
        "error_log errors.log; error_log all.log info;",
        "",
        "location / { proxy_connect_timeout 100ms; proxy_pass http://127.0.0.1:1; } location /f { root /nowhere; error_log more.log warn; }",
    );
    assert_eq!(ask(&daemon, "/a?b"), 502);
    let line = daemon.wait_file("errors.log", "the upstream's fault");
    let pid = daemon.pid();
    let (front, behind) = line.split_once(": *").expect(&line);
    let (time, process) = front.split_once(" [error] ").expect(&line);
    assert!(time.len() == 19 && time.matches('/').count() == 2, "{line}");
    assert!(process.starts_with(&format!("{pid}#")), "{line}");
    assert!(
        behind.starts_with("1 the upstream's fault: cannot connect: ")
            && behind.contains(", client: unix:, server: site.test, request: \"GET /a?b HTTP/1.1\", upstream: \"http://127.0.0.1:1/a?b\", host: \"site.test\""),
        "{line}"
    );
    assert_eq!(ask(&daemon, "/f"), 404);
    for log in ["errors.log", "all.log", "more.log"] {
        let line = daemon.wait_file(
            log,
            "open() \"/nowhere/f\" failed (2: No such file or directory), client: ",
        );
        assert!(line.contains(" [error] "), "{line}");
    }
    daemon.wait_file("all.log", "serving on");
    for log in ["errors.log", "more.log"] {
        let text = fs::read_to_string(daemon.path(log)).unwrap();
        assert!(!text.contains("[notice]"), "{log}: {text}");
    }
}

#[test]
fn a_reload_moves_the_error_log() {
    let mut daemon = start("error_log one.log info;", "", "return 204;");
    daemon.wait_file("one.log", "serving on");
    write(
        &daemon.path(""),
        "error_log two.log info;",
        "",
        "location / { proxy_connect_timeout 100ms; proxy_pass http://127.0.0.1:1; }",
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_notified("READY=1");
    assert_eq!(ask(&daemon, "/"), 502);
    daemon.wait_file("two.log", "the upstream's fault");
    // One that cannot be opened keeps the old configuration.
    write(
        &daemon.path(""),
        "error_log none/three.log;",
        "",
        "return 204;",
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_notified("READY=1");
    daemon.wait_file("two.log", "cannot reload: ");
    assert_eq!(ask(&daemon, "/"), 502);
}

#[test]
fn syslog_gets_both_kinds_of_lines() {
    let proxy = Proxy::new();
    let server = UnixDatagram::bind(proxy.path("log")).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    write(
        &proxy.path(""),
        "error_log syslog:server=unix:DIR/log,nohostname,tag=web;",
        "log_format short '$status $uri'; access_log syslog:server=unix:DIR/log,severity=notice,tag=web,nohostname short;",
        "location / { proxy_connect_timeout 100ms; proxy_pass http://127.0.0.1:1; }",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    let daemon = proxy.start_as(command);
    assert_eq!(ask(&daemon, "/x"), 502);
    let mut got = Vec::new();
    let mut buffer = [0; 2000];
    while got.len() < 2 {
        let count = server.recv(&mut buffer).unwrap();
        got.push(String::from_utf8(buffer[..count].to_vec()).unwrap());
    }
    got.sort();
    assert!(
        got[0].starts_with("<187>") && got[0].contains(" web: 20") && got[0].contains("[error]"),
        "{got:?}"
    );
    assert!(
        got[1].starts_with("<189>") && got[1].ends_with(" web: 502 /x"),
        "{got:?}"
    );
}

#[test]
fn access_logs_are_buffered_compressed_and_escaped() {
    let daemon = start(
        "",
        "log_format j escape=json '{\"agent\":\"$http_user_agent\",\"id\":\"$request_id\",\"trace\":\"$http_traceparent\"}';
         map $uri $quiet { default 1; /quiet 0; }
         access_log slow.log combined buffer=1m flush=1h; access_log fast.log combined flush=10ms if=$quiet;
         access_log packed.gz combined gzip=1 flush=10ms; access_log json.log j;",
        "return 204;",
    );
    let mut client = Client::connect(&format!("unix:{}", daemon.path("front").display()));
    client.send(
        "GET /one HTTP/1.1\r\nHost: a\r\nUser-Agent: \"x\\\t\r\ntraceparent: 00-1-2-01\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(client.reply().status, 204);
    assert_eq!(ask(&daemon, "/quiet"), 204);
    assert_eq!(ask(&daemon, "/two"), 204);
    daemon.wait_file("fast.log", "\"GET /two HTTP/1.1\" 204");
    assert!(
        !fs::read_to_string(daemon.path("fast.log"))
            .unwrap()
            .contains("/quiet")
    );
    let line = daemon.wait_file("json.log", "agent");
    let value: serde_json::Value = serde_json::from_str(&line).expect(&line);
    assert_eq!(value["agent"], "\"x\\");
    assert_eq!(value["trace"], "00-1-2-01");
    assert_eq!(value["id"].as_str().map(str::len), Some(32));
    // Pieces of their own make one good file.
    let end = std::time::Instant::now() + PATIENCE;
    let mut text = String::new();
    while !text.contains("/two") {
        assert!(std::time::Instant::now() < end, "{text}");
        text.clear();
        let file = fs::File::open(daemon.path("packed.gz")).unwrap();
        // A piece may be half written at this moment.
        let _ = flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text);
    }
    assert!(text.contains("/one") && text.contains("/quiet"), "{text}");
    // The buffer is neither full nor old: USR1 writes it out, into the file that was renamed.
    assert_eq!(fs::read_to_string(daemon.path("slow.log")).unwrap(), "");
    fs::rename(daemon.path("slow.log"), daemon.path("slow.log.1")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_file("slow.log.1", "/two");
    assert_eq!(ask(&daemon, "/three"), 204);
    let mut daemon = daemon;
    daemon.signal(Signal::SIGQUIT);
    assert_eq!(daemon.wait_exit().code(), Some(0));
    daemon.wait_file("slow.log", "/three");
}

/// nginx's `$bytes_sent`, `$upstream_bytes_sent`, `$upstream_bytes_received` and `$upstream_response_length`, to the byte.
#[test]
fn bytes_on_either_side_are_counted() {
    let daemon = start(
        "",
        "log_format bytes '$uri $body_bytes_sent $bytes_sent u $upstream_bytes_sent $upstream_bytes_received $upstream_response_length'; access_log bytes.log bytes;",
        "location / { proxy_pass http://unix:DIR/app; proxy_set_header Connection close; }
         location /here { return 200 text; } location /file { alias DIR/file; }",
    );
    let app = Upstream::at(&daemon.path("app"));
    fs::write(daemon.path("file"), vec![b'f'; 100_000]).unwrap();
    let check = |target: &str, method: &str, body: &str, upstream: Option<(&str, usize)>| {
        let mut client = Client::connect(&format!("unix:{}", daemon.path("front").display()));
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut told = "u - - -".to_owned();
        if let Some((answer, length)) = upstream {
            let mut link = app.accept();
            let asked = link.read_head().len() + link.read_exact(body.len()).len();
            link.write(answer);
            told = format!("u {asked} {} {length}", answer.len());
        }
        let all = client.read_to_end().unwrap();
        let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let line = daemon.wait_file("bytes.log", &format!("{target} "));
        let line = line.lines().last().unwrap().to_owned();
        let content = line.split(' ').nth(1).unwrap();
        if !all[..head].windows(7).any(|word| word == b"chunked") {
            assert_eq!(content, (all.len() - head).to_string(), "{line}");
        }
        assert_eq!(line, format!("{target} {content} {} {told}", all.len()));
    };
    check("/here", "GET", "", None);
    check("/file", "GET", "", None);
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    check("/plain", "GET", "", Some((plain, 5)));
    check("/post", "POST", "a body of its own", Some((plain, 5)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    check(
        "/chunked",
        "GET",
        "",
        Some((chunked, "5\r\nhello\r\n0\r\n\r\n".len())),
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    check("/head", "HEAD", "", Some((head, 0)));
}

/// nginx's `$date_gmt`, `$date_local` and `$tcpinfo_…`, in its forms.
#[test]
fn dates_and_connections_are_told() {
    let proxy = Proxy::new();
    let dir = proxy.path("");
    write(
        &dir,
        "",
        "",
        "listen 127.0.0.1:0; return 200 \"$date_gmt|$date_local|$tcpinfo_rtt|$tcpinfo_rttvar|$tcpinfo_snd_cwnd|$tcpinfo_rcv_space|\";",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command
        .arg("-c")
        .arg(proxy.path("nginx.conf"))
        .env("TZ", "JST-9");
    let daemon = proxy.start_as(command);
    let ask = |address: &str| {
        let mut client = Client::connect(address);
        client.get("/");
        client.reply().text().to_owned()
    };
    let tcp = daemon
        .addresses()
        .iter()
        .find(|one| !one.starts_with("unix:"));
    let told = ask(tcp.unwrap());
    let parts: Vec<_> = told.split('|').collect();
    assert!(
        parts[0].contains(", ") && parts[0].ends_with(" GMT"),
        "{told}"
    );
    assert!(
        parts[1].contains(", ") && parts[1].ends_with(" JST"),
        "{told}"
    );
    for number in &parts[2..6] {
        assert!(
            number.parse::<u32>().is_ok_and(|number| number > 0),
            "{told}"
        );
    }
    let there = ask(&format!("unix:{}", daemon.path("front").display()));
    assert!(there.ends_with("|||||"), "{there}");
}
