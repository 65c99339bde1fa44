//! Bodies that wait: requests that are read whole before anybody is asked, and answers that are read on for slow clients.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Client, Proxy, Upstream, pair};
use crate::nginx_conf::{front, start};

/// Bytes that tell where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

#[test]
fn a_slow_upload_takes_no_upstreams_time() {
    let (proxy, app) = pair();
    let body = pattern(900_000);
    let mut slow = proxy.client();
    slow.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
        .send(&body[..899_999]);
    // Nobody was asked yet: the first connection is another client's.
    let mut quick = proxy.client();
    quick.get("/quick");
    let mut link = app.accept();
    assert!(link.answer("quick").starts_with("GET /quick "));
    assert_eq!(quick.reply().text(), "quick");
    slow.send(&body[899_999..]);
    let head = link.read_head();
    assert!(head.starts_with("POST /slow ") && head.contains("Content-Length: 900000\r\n"));
    assert!(link.read_exact(900_000) == body);
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(slow.reply().text(), "ok");
    // The connection goes on.
    slow.get("/next");
    link.answer("next");
    assert_eq!(slow.reply().text(), "next");
}

#[test]
fn chunks_become_a_length_and_what_follows_them_is_the_next_request() {
    let (proxy, app) = pair();
    let body = pattern(200_000);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    app.expect_untouched();
    let mut chunks = Vec::new();
    for piece in body.chunks(30_001) {
        chunks.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(chunks);
    let mut link = app.accept();
    let head = link.read_head();
    assert!(head.contains("Content-Length: 200000\r\n"), "{head}");
    assert!(
        !head.contains("chunked") && !head.contains("Expect"),
        "{head}"
    );
    assert!(link.read_exact(200_000) == body);
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    assert!(link.answer("next").starts_with("GET /next "));
    assert_eq!(client.reply().text(), "next");
}

#[test]
fn a_body_that_is_kept_goes_to_the_next_server() {
    let (proxy, app) = pair();
    let body = pattern(700_000);
    let mut client = proxy.client();
    client
        .send("PUT /twice HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n")
        .send(&body);
    let mut link = app.accept();
    link.read_head();
    assert!(link.read_exact(300_000) == body[..300_000]);
    drop(link);
    let mut next = app.accept();
    assert!(next.read_head().starts_with("PUT /twice "));
    assert!(next.read_exact(700_000) == body);
    next.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
}

#[test]
fn an_error_page_that_is_another_application_gets_the_body_too() {
    let daemon = start(
        "",
        "location / { proxy_connect_timeout 100ms; proxy_pass http://unix:@dir@/nobody; error_page 502 503 504 = @spare; }
         location @spare { proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    for length in [5, 100_000] {
        let body = pattern(length);
        let mut client = Client::connect(&front(&daemon));
        client
            .send(format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            ))
            .send(&body);
        let mut link = app.accept();
        let head = link.read_head();
        assert!(head.starts_with("POST /x "), "{head}");
        assert!(link.read_exact(length) == body);
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspare");
        assert_eq!(client.reply().text(), "spare");
    }
}

#[test]
fn what_grpc_sends_goes_on_as_it_comes() {
    let (proxy, app) = pair();
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nping\r\n",
    );
    let mut link = app.accept();
    link.read_head();
    assert_eq!(link.read_chunk(), b"ping");
    link.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npong\r\n");
    client.read_head();
    assert_eq!(client.read_chunk(), b"pong");
    client.send("0\r\n\r\n");
    assert_eq!(link.read_chunk(), b"");
    link.write("0\r\n\r\n");
    assert_eq!(client.read_chunk(), b"");
}

#[test]
fn bodies_in_files() {
    let daemon = start(
        "log_format body '$uri [$request_body] [$request_body_file]'; access_log @dir@/access.log body;
         client_body_temp_path @dir@/bodies 1 2;",
        "location /clean { client_body_in_file_only clean; proxy_pass_request_body off;
             proxy_set_header X-File $request_body_file; proxy_pass http://unix:@dir@/app.sock; }
         location /kept { client_body_in_file_only on; proxy_pass http://unix:@dir@/app.sock; }
         location /told { proxy_set_header X-Body $request_body; proxy_pass http://unix:@dir@/app.sock; }
         location /spilt { client_body_buffer_size 1k; proxy_set_header X-Body $request_body;
             proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let mut ask = |path: &str, body: &[u8]| {
        let length = body.len();
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            ))
            .send(body);
    };
    let body = pattern(50_000);
    ask("/clean", &body);
    let mut link = app.accept();
    let head = link.read_head();
    assert!(!head.contains("Content-Length"), "{head}");
    let file = head.lines().find_map(|line| line.strip_prefix("X-File: "));
    let file = file.expect("the file's name").to_owned();
    let folder = daemon.path("bodies").display().to_string();
    assert!(file.starts_with(&folder), "{file}");
    let steps: Vec<_> = file[folder.len() + 1..].split('/').collect();
    let [one, two, name] = steps[..] else {
        panic!("{file}")
    };
    assert_eq!((one, two, name.len()), (&name[9..], &name[7..9], 10));
    assert!(fs::read(&file).unwrap() == body);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    daemon.wait_access(&format!("/clean [-] [{file}]"));
    assert!(!fs::exists(&file).unwrap());

    let mut ask = |path: &str, body: &[u8]| {
        let length = body.len();
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            ))
            .send(body);
    };
    ask("/kept", b"small");
    link.read_head();
    assert_eq!(link.read_exact(5), b"small");
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    let line = daemon.wait_access("/kept [-]");
    let file = line.rsplit_once('[').unwrap().1.trim_end_matches(']');
    assert_eq!(fs::read(file).unwrap(), b"small");

    let told = ["a=1&b=2".to_owned(), "x".repeat(12_000)];
    for (path, text, shown) in [
        ("/told", &told[0], &told[0]),
        ("/told", &told[1], &told[1]),
        ("/spilt", &"y".repeat(20_000), &String::new()),
    ] {
        let length = text.len();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{text}"
        ));
        let head = link.read_head();
        let field = head.lines().find_map(|line| line.strip_prefix("X-Body: "));
        assert_eq!(field.unwrap_or_default(), shown);
        assert!(link.read_exact(length) == text.as_bytes());
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.reply().text(), "ok");
    }
    daemon.wait_access("/told [a=1&b=2] [-]");
}

#[test]
fn a_folder_that_takes_nothing_costs_no_request() {
    let daemon = start(
        "client_body_temp_path @dir@/bodies;",
        "location / { client_body_buffer_size 1k; proxy_pass http://unix:@dir@/app.sock; }
         location /file { client_body_in_file_only clean; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    fs::remove_dir(daemon.path("bodies")).unwrap();
    let mut client = Client::connect(&front(&daemon));
    let body = pattern(300_000);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        .send(&body);
    let mut link = app.accept();
    link.read_head();
    assert!(link.read_exact(300_000) == body);
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply().text(), "ok");
    daemon.wait_log("a request's body is sent on as it comes: cannot write a temporary file in");
    // Where the file is what matters the request fails at once.
    client.send("POST /file HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(client.reply().status, 500);
    daemon.wait_log("the request's body cannot be kept: cannot write a temporary file in");
}

#[test]
fn a_quota_for_the_files_of_a_server() {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let proxy = proxy
        .config(
            "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  spool: 1MiB\n  client_body_buffer_size: 1k\n\
             \u{20}\u{20}locations: [{ path: /, proxy: app }]\nupstreams: { app: { servers: ['unix:app.sock'] } }\n",
        )
        .start();
    let body = pattern(3_000_000);
    for _ in 0..2 {
        let mut client = proxy.client();
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
            .send(&body[..2_000_000]);
        // The quota is used up: the upstream gets it although it is not all there.
        let mut link = app.accept();
        link.read_head();
        let mut got = link.read_exact(1_900_000);
        client.send(&body[2_000_000..]);
        got.extend(link.read_exact(1_100_000));
        assert!(got == body);
        link.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.reply().text(), "ok");
    }
    proxy.wait_log("the server's temporary files hold 1048576 bytes, which is as many as they may");
}

/// An answer of so many bytes by this field of its own, which the client does not read yet.
fn unread(
    daemon: &crate::harness::Daemon,
    app: &Upstream,
    path: &str,
    head: &str,
    body: &[u8],
) -> (Client, std::thread::JoinHandle<crate::harness::Link>) {
    let mut client = Client::connect(&front(daemon));
    client.get(path);
    let mut link = app.accept();
    link.read_head();
    let answer = [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat();
    let writer = std::thread::spawn(move || {
        link.write(answer);
        link
    });
    (client, writer)
}

const ANSWERS: &str = "proxy_temp_path @dir@/answers; proxy_max_temp_file_size 100m;";

#[test]
fn a_slow_reader_holds_no_server() {
    let daemon = start(
        ANSWERS,
        "location / { proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let body = pattern(8_000_000);
    let mut chunks = Vec::new();
    for piece in body.chunks(70_001) {
        chunks.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    for (head, bytes) in [
        ("Content-Length: 8000000\r\n", &body),
        ("Transfer-Encoding: chunked\r\n", &chunks),
    ] {
        let (mut slow, writer) = unread(&daemon, &app, "/slow", head, bytes);
        // All of it is taken although the client has not read a byte, and the connection serves the next one.
        let mut link = writer.join().unwrap();
        let mut quick = Client::connect(&front(&daemon));
        quick.get("/quick");
        assert!(link.answer("quick").starts_with("GET /quick "));
        assert_eq!(quick.reply().text(), "quick");
        assert!(slow.reply().body == body);
        slow.get("/next");
        link.answer("next");
        assert_eq!(slow.reply().text(), "next");
        drop(link);
    }
    assert_eq!(fs::read_dir(daemon.path("answers")).unwrap().count(), 0);
}

#[test]
fn answers_that_wait_at_their_server() {
    let daemon = start(
        ANSWERS,
        "location / { proxy_pass http://unix:@dir@/app.sock; }
         location /off { proxy_buffering off; proxy_pass http://unix:@dir@/app.sock; }
         location /small { proxy_max_temp_file_size 0; proxy_pass http://unix:@dir@/app.sock; }
         location /bound { proxy_max_temp_file_size 64k; proxy_pass http://unix:@dir@/app.sock; }
         location /deaf { proxy_ignore_headers X-Accel-Buffering; proxy_buffering off;
             proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let body = pattern(8_000_000);
    for (path, field) in [
        ("/off", ""),
        ("/small", ""),
        ("/bound", ""),
        ("/said", "X-Accel-Buffering: no\r\n"),
        ("/deaf", "X-Accel-Buffering: yes\r\n"),
        (
            "/news",
            "Content-Type: text/event-stream; charset=utf-8\r\n",
        ),
    ] {
        let head = format!("Content-Length: 8000000\r\n{field}");
        let (mut slow, writer) = unread(&daemon, &app, path, &head, &body);
        let mut quick = Client::connect(&front(&daemon));
        quick.get("/quick");
        // The first connection is still busy.
        let mut other = app.accept();
        other.answer("quick");
        assert_eq!(quick.reply().text(), "quick");
        assert!(!writer.is_finished(), "{path}");
        let reply = slow.reply();
        assert!(reply.body == body, "{path}");
        assert_eq!(reply.field("X-Accel-Buffering"), None);
        // Neither is kept for the next round.
        drop((writer.join().unwrap(), other));
    }
    let head = "Content-Length: 8000000\r\nX-Accel-Buffering: yes\r\n";
    let (mut slow, writer) = unread(&daemon, &app, "/off", head, &body);
    writer.join().unwrap();
    assert!(slow.reply().body == body);
}

#[test]
fn a_disk_that_takes_no_answers_costs_none() {
    let daemon = start(
        ANSWERS,
        "location / { proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    fs::remove_dir(daemon.path("answers")).unwrap();
    let body = pattern(8_000_000);
    let (mut slow, writer) = unread(&daemon, &app, "/", "Content-Length: 8000000\r\n", &body);
    daemon
        .wait_log("an answer waits for its client at its server: cannot write a temporary file in");
    assert!(slow.reply().body == body);
    writer.join().unwrap();
}

#[test]
fn answers_are_read_no_faster_than_it_is_said() {
    let daemon = start(
        "",
        "location / { proxy_limit_rate $arg_rate; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let body = pattern(300_000);
    let begun = std::time::Instant::now();
    let head = "Content-Length: 300000\r\n";
    let (mut client, writer) = unread(&daemon, &app, "/?rate=100k", head, &body);
    assert!(client.reply().body == body);
    // The first second's worth comes at once.
    assert!(begun.elapsed() > std::time::Duration::from_millis(1500));
    drop(writer.join().unwrap());
    let (mut client, _writer) = unread(&daemon, &app, "/?rate=0", head, &body);
    assert!(client.reply().body == body);
}
