//! Answers that are left behind as files: whole or not at all, whatever happens on the way.
//!
//! What is stored when, and with which permissions and times, is in the differential.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::harness::{Client, Daemon, PATIENCE, Proxy, Upstream};
use crate::nginx_conf::{front, start};

/// What a folder and those in it hold.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// A proxy that stores everything, and its application.
fn storing(more: &str) -> (Daemon, Upstream) {
    let daemon = start(
        "proxy_temp_path @dir@/temp 1 2;",
        &format!(
            "proxy_store @dir@/kept$uri; {more} location / {{ proxy_pass http://unix:@dir@/app.sock; }}"
        ),
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    (daemon, app)
}

#[test]
fn what_is_cut_off_leaves_nothing_behind() {
    let (daemon, app) = storing("");
    for (number, answer) in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Client::connect(&front(&daemon));
        client.get(&format!("/cut{number}"));
        let mut link = app.accept();
        link.read_head();
        link.write(answer);
        client.read_head();
        // It is being written aside at this moment.
        let end = Instant::now() + PATIENCE;
        while number < 2 && files(&daemon.path("temp")).is_empty() {
            assert!(Instant::now() < end, "nothing is written");
        }
        drop(link);
        // The reset overtakes what has not been read, or it does not.
        let _ = client.read_to_end();
    }
    // A client that leaves takes its request along, and the file too.
    let mut client = Client::connect(&front(&daemon));
    client.get("/left");
    let mut link = app.accept();
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.read_head();
    drop(client);
    link.expect_closed();
    let end = Instant::now() + PATIENCE;
    while !files(&daemon.path("temp")).is_empty() {
        assert!(Instant::now() < end, "{:?}", files(&daemon.path("temp")));
    }
    assert_eq!(files(&daemon.path("kept")), [""; 0]);
    // One that ends well is there, before its client has the end of it, and replaces what was there.
    for text in ["first", "second"] {
        let mut client = Client::connect(&front(&daemon));
        client.get("/a/b/whole");
        app.accept().answer(text);
        assert_eq!(client.reply().text(), text);
        assert_eq!(
            fs::read_to_string(daemon.path("kept/a/b/whole")).unwrap(),
            text
        );
    }
    assert_eq!(files(&daemon.path("kept")), ["whole"]);
    assert_eq!(files(&daemon.path("temp")), [""; 0]);
}

/// All of it goes into the file at the server's pace, whatever the client's is.
#[test]
fn a_slow_client_holds_up_no_file() {
    let (daemon, app) = storing("");
    let body: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut client = Client::connect(&front(&daemon));
    client.get("/large");
    let mut link = app.accept();
    link.read_head();
    let length = body.len();
    link.write(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    ));
    link.write(&body);
    let end = Instant::now() + PATIENCE;
    while files(&daemon.path("kept")).is_empty() {
        assert!(Instant::now() < end, "it is not stored");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(fs::read(daemon.path("kept/large")).unwrap() == body);
    assert!(client.reply().body == body);
}

#[test]
fn a_file_that_cannot_be_written_costs_no_request() {
    let (daemon, app) = storing(
        "location /up/ { proxy_store @dir@/kept/../$arg_p; proxy_pass http://unix:@dir@/app.sock; }",
    );
    fs::write(daemon.path("kept"), "a file where a folder should be").unwrap();
    let mut client = Client::connect(&front(&daemon));
    client.get("/x");
    let mut link = app.accept();
    link.answer("served");
    assert_eq!(client.reply().text(), "served");
    daemon.wait_log("an answer cannot be stored: ");
    assert_eq!(files(&daemon.path("temp")), [""; 0]);
    // A path that climbs is none, whoever wrote it.
    client.get("/up/?p=nginx.conf");
    link.answer("served too");
    assert_eq!(client.reply().text(), "served too");
    daemon.wait_log("an answer is not stored: this is no path of a file");
    // Nowhere to write it aside.
    fs::remove_dir_all(daemon.path("temp")).unwrap();
    fs::write(daemon.path("temp"), "").unwrap();
    client.get("/y");
    link.answer("still served");
    assert_eq!(client.reply().text(), "still served");
    daemon.wait_log("an answer is not stored: cannot write a temporary file");
}

#[test]
fn in_yaml_and_not_beside_a_cache() {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let kept = proxy.path("kept");
    let proxy = proxy.config(&format!(
        "servers:\n- listen: 127.0.0.1:0\n  locations:\n  - {{ path: /, proxy: 'unix:app.sock', proxy_store: '{}$uri', proxy_store_access: ['user:rw', 'all:r'] }}\n",
        kept.display()
    ));
    let daemon = proxy.start();
    let mut client = daemon.client();
    client.get("/x");
    app.accept().answer("from YAML");
    assert_eq!(client.reply().text(), "from YAML");
    assert_eq!(fs::read_to_string(kept.join("x")).unwrap(), "from YAML");

    for (words, want) in [
        (
            "proxy_store on; proxy_cache c;",
            "\"proxy_cache\" directive is incompatible with \"proxy_store\"",
        ),
        (
            "proxy_cache c; proxy_store on;",
            "\"proxy_store\" directive is incompatible with \"proxy_cache\"",
        ),
        ("proxy_store_access all:x;", "invalid value \"all:x\""),
    ] {
        let proxy = Proxy::new();
        let text = format!(
            "events {{}} http {{ proxy_cache_path cache keys_zone=c:1m; server {{ listen 127.0.0.1:0; {words} location / {{ proxy_pass http://127.0.0.1:1; }} }} }}"
        );
        fs::write(proxy.path("nginx.conf"), text).unwrap();
        let path = proxy.path("nginx.conf");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
        let output = command.arg("-t").arg("-c").arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(want), "{said}");
    }
}
