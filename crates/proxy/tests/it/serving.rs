//! Files that go out compressed already, and files that change under way. What nginx answers is compared in the
//! end-to-end tests.

use std::fs;

use crate::harness::{Client, Reply};
use crate::nginx_conf::{front, start};

#[test]
fn the_best_coding_that_the_client_accepts() {
    let daemon = start(
        "",
        "location / { gzip_static on; brotli_static on; zstd_static on; gzip_vary on; }
         location /always/ { alias @dir@/html/; brotli_static always; }",
    );
    fs::write(daemon.path("html/b.txt"), "plain").unwrap();
    for (ending, content) in [("gz", "gzipped"), ("br", "brotlied"), ("zst", "zstandard")] {
        fs::write(daemon.path(&format!("html/b.txt.{ending}")), content).unwrap();
    }
    let socket = front(&daemon);
    let ask = |path: &str, accept: &str| -> Reply {
        let mut client = Client::connect(&socket);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accept}\r\n\r\n"
        ));
        client.reply()
    };
    for (accept, coding, content) in [
        ("gzip", Some("gzip"), "gzipped"),
        ("gzip, br", Some("br"), "brotlied"),
        ("gzip, zstd", Some("zstd"), "zstandard"),
        ("br;q=0, zstd;q=0, gzip", Some("gzip"), "gzipped"),
        ("identity", None, "plain"),
    ] {
        let reply = ask("/b.txt", accept);
        assert_eq!(
            (reply.status, reply.field("Content-Encoding"), reply.text()),
            (200, coding, content),
            "{accept}"
        );
        assert_eq!(reply.field("Content-Type"), Some("text/plain"), "{accept}");
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding"), "{accept}");
    }
    let plain = ask("/a.txt", "gzip, br, zstd");
    assert_eq!((plain.field("Vary"), plain.text()), (None, "text"));
    let always = ask("/always/b.txt", "identity");
    assert_eq!(
        (always.field("Content-Encoding"), always.text()),
        (Some("br"), "brotlied")
    );
    // What the answer is called depends on what was asked for, and so does its validator.
    let tag = ask("/b.txt", "gzip").field("ETag").unwrap().to_owned();
    assert_ne!(ask("/b.txt", "br").field("ETag"), Some(tag.as_str()));
}

#[test]
fn a_file_that_is_replaced_or_deleted_is_still_sent_whole() {
    let daemon = start("", "");
    let old: Vec<u8> = (0..30_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for (name, deletes) in [("replaced", false), ("deleted", true)] {
        let path = daemon.path(&format!("html/{name}"));
        fs::write(&path, &old).unwrap();
        let mut client = Client::connect(&front(&daemon));
        client.get(&format!("/{name}"));
        let head = client.read_head();
        assert!(head.contains("Content-Length: 30000000\r\n"), "{head}");
        let mut got = client.read_exact(100_000);
        if deletes {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(daemon.path("html/new"), "new").unwrap();
            fs::rename(daemon.path("html/new"), &path).unwrap();
        }
        got.extend(client.read_exact(old.len() - got.len()));
        assert!(got == old, "{name}");
    }
}

#[test]
fn any_file_of_a_folder_and_a_list_of_it() {
    let daemon = start(
        "",
        "location /any/ { alias @dir@/html/; random_index on; }
         location /list/ { alias @dir@/html/; autoindex on; index none; }",
    );
    let socket = front(&daemon);
    let mut client = Client::connect(&socket);
    let reply = client.get("/any/").reply();
    assert!(
        ["home", "text", "gone"].contains(&reply.text()),
        "{}",
        reply.text()
    );
    let list = client.get("/list/").reply();
    assert_eq!(list.field("Content-Type"), Some("text/html"));
    // A new file is in the next list.
    fs::write(daemon.path("html/z.txt"), "").unwrap();
    let next = client.get("/list/").reply();
    assert!(!list.text().contains("z.txt") && next.text().contains("<a href=\"z.txt\">z.txt</a>"));
}
