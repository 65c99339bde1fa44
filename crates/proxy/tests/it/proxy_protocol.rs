//! `listen … proxy_protocol`: who the client is, as the load balancer in front tells it.

use std::fs;
use std::process::Command;

use crate::harness::{Client, Daemon, Proxy, Upstream};

fn start(server: &str) -> (Daemon, Upstream) {
    let proxy = Proxy::new();
    let app = Upstream::at(&proxy.path("app.sock"));
    let dir = proxy.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let text = format!(
        "events {{}} http {{ access_log {dir}/access.log;
         server {{ listen unix:{dir}/front proxy_protocol; {server}
         location = /told {{ return 200 '$remote_addr|$remote_port|$realip_remote_addr|$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port'; }}
         location / {{ proxy_pass http://unix:{dir}/app.sock; proxy_set_header X-Real-IP $remote_addr; }} }} }}"
    );
    fs::write(proxy.path("nginx.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
    command.arg("-c").arg(proxy.path("nginx.conf"));
    (proxy.start_as(command), app)
}

fn connect(daemon: &Daemon) -> Client {
    Client::connect(&format!("unix:{}", daemon.path("front").display()))
}

/// A header of version 2: its command, its family, and what follows.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

#[test]
fn the_client_is_who_the_preamble_says() {
    let (daemon, _app) = start("");
    let mut v6 = [0; 36];
    v6[..2].copy_from_slice(&[0x20, 0x01]);
    v6[15] = 9;
    v6[16..18].copy_from_slice(&[0x20, 0x01]);
    v6[31] = 1;
    v6[32..].copy_from_slice(&[0x30, 0x39, 0x01, 0xbb]);
    let with_extensions = [V4, &[0x04, 0, 3, 1, 2, 3, 0xea, 0, 1, 9]].concat();
    let table: &[(Vec<u8>, &str)] = &[
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(),
            "192.0.2.7|12345|198.51.100.1|443",
        ),
        (
            b"PROXY TCP6 2001:db8::9 2001:db8::1 12345 443\r\n".to_vec(),
            "2001:db8::9|12345|2001:db8::1|443",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "|||"),
        (b"PROXY UNKNOWN ffff::1 what ever\r\n".to_vec(), "|||"),
        (v2(0x21, 0x11, V4), "192.0.2.7|12345|198.51.100.1|443"),
        (v2(0x21, 0x21, &v6), "2001::9|12345|2001::1|443"),
        (
            v2(0x21, 0x11, &with_extensions),
            "192.0.2.7|12345|198.51.100.1|443",
        ),
        (v2(0x20, 0x00, b""), "|||"),
        (v2(0x21, 0x00, &[1; 100]), "|||"),
    ];
    for (preamble, want) in table {
        let want = format!("unix:||unix:|{want}");
        let mut client = connect(&daemon);
        client.send(preamble).get("/told");
        assert_eq!(client.reply().text(), want, "{}", preamble.escape_ascii());
        // It stands at the beginning only.
        assert_eq!(client.get("/told").reply().text(), want);

        // In pieces, and the request in the last of them.
        let mut client = connect(&daemon);
        let request = [&preamble[..], b"GET /told HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        for piece in request.chunks(7) {
            client.send(piece);
        }
        assert_eq!(client.reply().text(), want, "{}", preamble.escape_ascii());
    }
}

#[test]
fn whoever_does_not_begin_with_it_is_not_served() {
    let (daemon, app) = start("");
    let mut wrong_length = v2(0x21, 0x11, V4);
    wrong_length[15] = 4;
    let long = v2(0x21, 0x11, &[0; 5000]);
    let table: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n",
        b"PROXY TCP4 2001:db8::9 198.51.100.1 12345 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 123456 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
        &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        b"proxy tcp4 192.0.2.7 198.51.100.1 12345 443\r\n",
        &v2(0x11, 0x11, V4),
        &v2(0x22, 0x11, V4),
        &v2(0x21, 0x12, V4),
        &v2(0x21, 0x11, &V4[..11]),
        &wrong_length,
        &long,
    ];
    for bytes in table {
        let mut client = connect(&daemon);
        // It may be closed before all of it is sent.
        let _ = client.try_send(bytes);
        let _ = client.try_send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let said = client.read_to_end().unwrap_or_default();
        assert!(
            said.is_empty(),
            "{}: {}",
            bytes.escape_ascii(),
            said.escape_ascii()
        );
        app.expect_untouched();
    }
    let mut client = connect(&daemon);
    client
        .send(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n")
        .get("/told");
    assert_eq!(client.reply().status, 200);
}

#[test]
fn it_has_to_come_in_time() {
    let (daemon, _app) = start("client_header_timeout 300ms;");
    let mut client = connect(&daemon);
    client.send(b"PROXY TCP4 192.0.2.7");
    client.expect_closed();
    let mut silent = connect(&daemon);
    silent.expect_closed();
    daemon.wait_log("it did not come in time");
}

#[test]
fn trusted_peers_say_who_the_client_is() {
    let preamble = "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n";
    let (daemon, app) = start("set_real_ip_from unix:; real_ip_header proxy_protocol;");
    let mut client = connect(&daemon);
    client.send(preamble).get("/told");
    assert_eq!(
        client.reply().text(),
        "192.0.2.7|12345|unix:|192.0.2.7|12345|198.51.100.1|443"
    );
    // What the client itself says is not believed.
    client.send(
        "GET /app HTTP/1.1\r\nHost: x\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    let head = app.accept().answer("ok");
    assert!(head.contains("X-Real-IP: 192.0.2.7\r\n"), "{head}");
    assert_eq!(client.reply().status, 200);
    daemon.wait_access("192.0.2.7 - - ");

    let (daemon, _app) = start("set_real_ip_from 10.0.0.0/8; real_ip_header proxy_protocol;");
    let mut client = connect(&daemon);
    client.send(preamble).get("/told");
    assert!(client.reply().text().starts_with("unix:||unix:|192.0.2.7|"));
}
