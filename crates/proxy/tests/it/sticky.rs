//! Clients that stay with a server: by a cookie, by a route, by sessions that are learned.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{App, Client, Daemon, Proxy, Upstream};
use crate::nginx_conf::{front, start};

/// A daemon with an upstream `app` of the servers `a.sock` and `b.sock`, each with what is said about it.
fn two(http: &str, more: &str, a: &str, b: &str, server: &str) -> (Daemon, Upstream, Upstream) {
    let http = format!(
        "{http} upstream app {{ {more} server unix:@dir@/a.sock {a}; server unix:@dir@/b.sock {b}; }}"
    );
    let server = format!("location / {{ proxy_pass http://app; {server} }}");
    let daemon = start(&http, &server);
    let a = Upstream::at(&daemon.path("a.sock"));
    let b = Upstream::at(&daemon.path("b.sock"));
    (daemon, a, b)
}

/// Asks with a cookie, has whoever is asked answer with `fields`, and tells who that was and what cookie was set.
fn ask_at(
    daemon: &Daemon,
    target: &str,
    cookie: &str,
    (a, b): (&Upstream, &Upstream),
    fields: &str,
) -> (&'static str, String) {
    let mut client = Client::connect(&front(daemon));
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nCookie: other=1; {cookie}\r\nConnection: close\r\n\r\n"
    ));
    let (is_b, mut link) = a.accept_either(b);
    let who = if is_b { "b" } else { "a" };
    link.read_head();
    link.write(format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\nConnection: close\r\n\r\nok"
    ));
    let reply = client.reply();
    assert_eq!(reply.text(), "ok");
    (
        who,
        reply.field("Set-Cookie").unwrap_or_default().to_owned(),
    )
}

fn ask(daemon: &Daemon, cookie: &str, servers: (&Upstream, &Upstream)) -> (&'static str, String) {
    ask_at(daemon, "/", cookie, servers, "")
}

#[test]
fn a_cookie_keeps_a_client_at_its_server() {
    let more = "sticky cookie srv_id expires=1h domain=.$host httponly secure samesite=Lax path=/;";
    let (daemon, a, b) = two("", more, "route=one", "", "");
    let servers = (&a, &b);
    let (who, set) = ask(&daemon, "", servers);
    assert_eq!(who, "a");
    let (value, rest) = set.split_once("; expires=").unwrap();
    assert_eq!(value, "srv_id=one");
    let (_, rest) = rest.split_once(" GMT; ").unwrap();
    assert_eq!(
        rest,
        "max-age=3600; domain=.x; httponly; secure; samesite=Lax; path=/"
    );
    let (who, other) = ask(&daemon, "", servers);
    assert_eq!(who, "b");
    // Without a route it is the MD5 of the address.
    let (other, _) = other.split_once(';').unwrap();
    let id = other.strip_prefix("srv_id=").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte)),
        "{id}"
    );
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "SRV_ID=one", servers).0, "a");
        assert_eq!(ask(&daemon, other, servers).0, "b");
    }
    // What names no server binds nobody.
    let strange: Vec<_> = (0..2)
        .map(|_| ask(&daemon, "srv_id=nobody", servers).0)
        .collect();
    assert!(
        strange.contains(&"a") && strange.contains(&"b"),
        "{strange:?}"
    );
}

#[test]
fn a_server_that_fails_loses_its_clients_to_another() {
    let (daemon, a, b) = two("", "sticky cookie id;", "route=a", "route=b", "");
    let mut client = Client::connect(&front(&daemon));
    client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\n\r\n");
    let mut link = a.accept();
    link.read_head();
    drop(link);
    let mut link = b.accept();
    link.answer("ok");
    let reply = client.reply();
    assert_eq!(reply.field("Set-Cookie"), Some("id=b"), "{}", reply.head);
    drop((client, link));
    daemon.wait_log("temporarily disabled");
    client = Client::connect(&front(&daemon));
    client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\nConnection: close\r\n\r\n");
    b.accept().answer("ok");
    assert_eq!(client.reply().field("Set-Cookie"), Some("id=b"));
    a.expect_untouched();
}

#[test]
fn a_full_server_waits_for_nobody_and_a_full_line_waits_for_any() {
    let more = "sticky cookie id; queue 5 timeout=60s;";
    let (daemon, a, b) = two("", more, "route=a max_conns=1", "route=b max_conns=1", "");
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&front(&daemon))).collect();
    let ask = |client: &mut Client| {
        client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\n\r\n");
    };
    ask(&mut clients[0]);
    let mut first = a.accept();
    first.read_head();
    ask(&mut clients[1]);
    let mut second = b.accept();
    second.read_head();
    ask(&mut clients[2]);
    daemon.wait_figure("waiting_requests", 1);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    first.write(answer);
    assert_eq!(clients[0].reply().field("Set-Cookie"), Some("id=a"));
    first.read_head();
    first.write(answer);
    assert_eq!(clients[2].reply().field("Set-Cookie"), Some("id=a"));
    second.write(answer);
    assert_eq!(clients[1].reply().field("Set-Cookie"), Some("id=b"));
}

#[test]
fn a_drained_server_serves_the_clients_that_it_has() {
    let (daemon, a, b) = two("", "sticky cookie id;", "route=a drain", "route=b", "");
    let servers = (&a, &b);
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "", servers), ("b", "id=b".to_owned()));
        assert_eq!(ask(&daemon, "id=a", servers), ("a", "id=a".to_owned()));
    }
    // One that is down, or was taken out by hand, serves nobody.
    let (daemon, a, b) = two("", "sticky cookie id;", "route=a down", "route=b", "");
    assert_eq!(ask(&daemon, "id=a", (&a, &b)).0, "b");
    let (daemon, a, b) = two("", "sticky cookie id;", "route=a", "route=b", "");
    assert_eq!(ask(&daemon, "id=a", (&a, &b)).0, "a");
    let name = format!("unix:{}", daemon.path("a.sock").display()).replace('/', "%2F");
    let (status, said) = daemon.control("POST", &format!("/v1/upstreams/app/servers/{name}/drain"));
    assert!(status < 300, "{status} {said}");
    assert_eq!(ask(&daemon, "id=a", (&a, &b)).0, "b");
}

#[test]
fn a_sick_server_loses_its_clients() {
    let proxy = Proxy::new();
    let (a, b) = (
        App::on_unix("a", &proxy.path("a.sock")),
        App::on_unix("b", &proxy.path("b.sock")),
    );
    let daemon = proxy
        .config(
            "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations:\n  - { path: /, proxy: app }\n\
             upstreams:\n  app:\n    servers: ['unix:a.sock route=a', 'unix:b.sock route=b']\n    \
             sticky: [cookie, id]\n    health_check: [interval=20ms, uri=/healthz]\n",
        )
        .start();
    let ask = || {
        let mut client = daemon.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\nConnection: close\r\n\r\n");
        let reply = client.reply();
        (
            reply.text().to_owned(),
            reply.field("Set-Cookie").map(str::to_owned),
        )
    };
    assert_eq!(ask(), ("a".to_owned(), Some("id=a".to_owned())));
    a.set_health(500);
    daemon.wait_log("unhealthy");
    assert_eq!(ask(), ("b".to_owned(), Some("id=b".to_owned())));
    drop(b);
}

#[test]
fn a_route_is_taken_from_the_first_variable_that_has_one() {
    let (daemon, a, b) = two(
        "map $cookie_session $of_session { ~\\.(?<word>\\w+)$ $word; }",
        "sticky route $of_session $arg_route;",
        "route=a",
        "route=b",
        "",
    );
    let servers = (&a, &b);
    for _ in 0..2 {
        let ask = |target: &str, cookie: &str| ask_at(&daemon, target, cookie, servers, "");
        assert_eq!(ask("/", "session=123.b"), ("b", String::new()));
        assert_eq!(ask("/?route=a", "session=123.b").0, "b");
        assert_eq!(ask("/?route=a", "session=123").0, "a");
    }
}

#[test]
fn sessions_are_learned_and_outlive_a_reload() {
    let more = "sticky learn create=$upstream_cookie_sid lookup=$cookie_sid zone=s:1m timeout=1h;";
    let (mut daemon, a, b) = two("", more, "", "", "");
    let servers = (&a, &b);
    let set = "Set-Cookie: lang=en\r\nset-cookie: SID=s1; Path=/\r\n";
    let mut client = Client::connect(&front(&daemon));
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut link = a.accept();
    link.read_head();
    link.write(format!(
        "HTTP/1.1 200 OK\r\n{set}Content-Length: 2\r\nConnection: close\r\n\r\nok"
    ));
    let reply = client.reply();
    // Ours is no cookie among them.
    assert_eq!(
        reply.head.to_lowercase().matches("set-cookie").count(),
        2,
        "{}",
        reply.head
    );
    // It is learned when all of the answer is there, which is before the connection ends.
    client.expect_closed();
    let stays = |daemon: &Daemon| {
        for _ in 0..4 {
            assert_eq!(ask(daemon, "sid=s1", servers).0, "a");
        }
    };
    stays(&daemon);
    // Unknown sessions go in turn.
    let strange: Vec<_> = (0..2).map(|_| ask(&daemon, "sid=s2", servers).0).collect();
    assert!(
        strange.contains(&"a") && strange.contains(&"b"),
        "{strange:?}"
    );
    let conf = daemon.path("nginx.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, text.replace("timeout=1h", "timeout=2h header")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_notified("READY=1");
    stays(&daemon);
    // With another server's answer it moves, and by `header` before the answer is over.
    let mut slow = Client::connect(&front(&daemon));
    slow.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: sid=s3\r\n\r\n");
    let (who, mut link) = loop {
        if let Some(link) = a.try_accept() {
            break ("a", link);
        }
        if let Some(link) = b.try_accept() {
            break ("b", link);
        }
        std::thread::yield_now();
    };
    link.read_head();
    link.write("HTTP/1.1 200 OK\r\nSet-Cookie: sid=s3\r\nContent-Length: 2\r\n\r\no");
    slow.read_head();
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "sid=s3", servers).0, who);
    }
    link.write("k");
}

#[test]
fn upgrades_and_answers_of_our_own_tell_of_it_too() {
    let (daemon, a, _b) = two(
        "",
        "sticky cookie id;",
        "route=a",
        "route=b",
        "proxy_next_upstream off;",
    );
    let mut client = Client::connect(&front(&daemon));
    client.send(
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n",
    );
    let mut link = a.accept();
    link.read_head();
    link.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: words\r\n\r\n");
    let head = client.read_head();
    assert!(head.contains("\r\nSet-Cookie: id=a\r\n"), "{head}");
    let mut client = Client::connect(&front(&daemon));
    client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=a\r\n\r\n");
    a.accept().read_head();
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("Set-Cookie")),
        (502, Some("id=a"))
    );
}

#[test]
fn the_keys_of_yaml_say_the_same() {
    let proxy = Proxy::new();
    let a = Upstream::at(&proxy.path("a.sock"));
    let b = Upstream::at(&proxy.path("b.sock"));
    let daemon = proxy
        .config(
            "threads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{ path: /, proxy: app }]\n\
             upstreams:\n  app:\n    servers: ['unix:a.sock route=a', 'unix:b.sock route=b']\n    keepalive: 0\n    \
             sticky: { cookie: id, expires: 1h, path: /, httponly: true, secure: false, samesite: lax }\n",
        )
        .start();
    for _ in 0..3 {
        let mut client = daemon.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nCookie: id=b\r\n\r\n");
        b.accept().answer("b");
        let reply = client.reply();
        let cookie = reply.field("Set-Cookie").unwrap();
        assert!(
            cookie.starts_with("id=b; ") && cookie.contains("; path=/"),
            "{cookie}"
        );
        assert!(cookie.contains("; max-age=3600"), "{cookie}");
        assert!(
            cookie.contains("; httponly") && !cookie.contains("; secure"),
            "{cookie}"
        );
        assert!(cookie.contains("; samesite=lax"), "{cookie}");
    }
    a.expect_untouched();
}
