//! Passwords: what is slow about them is nobody else's burden. What nginx answers is compared in the end-to-end tests.

use std::fs;

use crate::harness::Client;
use crate::nginx_conf::{front, start};

/// `anna:secret`, by a hash that takes a second or more.
const SLOW: &str = "anna:$6$rounds=3000000$saltsalt$GFz8CzfnP6m9Qt4VCBcZO0VZX50MoScldqZGuBqwsiI27MsM.jOcRmIfhQ6fnyCyhCn.gVrrzxzUT0/RLrqc4.\n";

const SERVER: &str =
    "location /closed { auth_basic x; auth_basic_user_file users; try_files /a.txt =404; }
     location /late { auth_basic x; auth_basic_user_file users; auth_delay 1h; }
     location /open { return 200 open; }";

fn ask(path: &str, credentials: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nAuthorization: Basic {credentials}\r\n\r\n")
}

#[test]
fn a_slow_check_holds_nobody_up_and_is_done_once() {
    let daemon = start("", SERVER);
    fs::write(daemon.path("users"), SLOW).unwrap();
    let socket = front(&daemon);
    let mut slow = Client::connect(&socket);
    slow.send(ask("/closed", "YW5uYTpzZWNyZXQ="));
    // One thread serves them all.
    let mut other = Client::connect(&socket);
    assert_eq!(other.get("/open").reply().text(), "open");
    assert!(slow.is_silent(), "the password is still being checked");
    assert_eq!(slow.reply().text(), "text");
    // Both are queued before the first is looked at: only what was remembered can answer the first one first.
    let mut wrong = Client::connect(&socket);
    wrong.send(ask("/closed", "YW5uYTp3cm9uZw=="));
    slow.send(ask("/closed", "YW5uYTpzZWNyZXQ="));
    assert_eq!(slow.reply().text(), "text");
    assert!(wrong.is_silent(), "a wrong password is checked each time");
    let refused = wrong.reply();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.field("WWW-Authenticate"), Some("Basic realm=\"x\""));
}

#[test]
fn a_changed_user_file_counts_at_once() {
    let daemon = start("", SERVER);
    let socket = front(&daemon);
    let mut client = Client::connect(&socket);
    let mut status = |users: &str| {
        fs::write(daemon.path("users"), users).unwrap();
        client.send(ask("/closed", "YW5uYTpzZWNyZXQ="));
        client.reply().status
    };
    assert_eq!(status("anna:{PLAIN}secret\n"), 200);
    assert_eq!(status("anna:{PLAIN}other\n"), 401);
    assert_eq!(status("anna:{PLAIN}secret\n# and a comment\n"), 200);
}

#[test]
fn auth_delay_keeps_the_refusal_back() {
    let daemon = start("", SERVER);
    fs::write(daemon.path("users"), "anna:{PLAIN}secret\n").unwrap();
    let socket = front(&daemon);
    let mut waits = Client::connect(&socket);
    waits.get("/late");
    let mut other = Client::connect(&socket);
    assert_eq!(other.get("/open").reply().text(), "open");
    other.send(ask("/late", "YW5uYTpzZWNyZXQ="));
    assert_eq!(
        other.reply().status,
        404,
        "the right password does not wait"
    );
    assert!(waits.is_silent());
}
