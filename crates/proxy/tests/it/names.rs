//! Servers by name: followed while it runs, found by SRV records, named by variables, and unknown at the start.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Instant;

use crate::harness::{App, Client, Daemon, Data, Dns, PATIENCE, Proxy};
use crate::nginx_conf::{front, start};

const ONE: Data = Data::A(Ipv4Addr::new(127, 0, 0, 1));
const TWO: Data = Data::A(Ipv4Addr::new(127, 0, 0, 2));

/// Two applications on one port of two addresses.
fn two() -> (App, App, String) {
    let a = App::on_tcp("a", "127.0.0.1:0");
    let port = a.address.rsplit(':').next().unwrap().to_owned();
    let b = App::on_tcp("b", &format!("127.0.0.2:{port}"));
    (a, b, port)
}

/// Asks until that is the answer.
#[track_caller]
fn wait_answer(address: &str, want: &str, log: &Daemon) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(address);
        client.get("/");
        let reply = client.reply();
        if reply.text() == want {
            return;
        }
        assert!(
            Instant::now() < end,
            "{} never was {want}: {}",
            reply.text(),
            log.log()
        );
    }
}

fn ask(address: &str) -> String {
    let mut client = Client::connect(address);
    client.get("/");
    client.reply().text().to_owned()
}

#[test]
fn a_name_is_followed_and_keeps_its_last_addresses() {
    let (_a, _b, port) = two();
    let dns = Dns::start();
    dns.set("app.test", 1, &[ONE]);
    let http = format!(
        "resolver {} ipv6=off status_zone=x; resolver_timeout 5s;\n\
         upstream app {{ zone app 64k; server app.test:{port} resolve max_fails=0; }}",
        dns.address
    );
    let daemon = start(&http, "location / { proxy_pass http://app; }");
    let front = front(&daemon);
    assert_eq!(ask(&front), "a");
    dns.set("app.test", 1, &[TWO]);
    daemon.wait_log(&format!("servers are now 127.0.0.2:{port}"));
    wait_answer(&front, "b", &daemon);
    dns.remove("app.test");
    daemon.wait_log("there is no such name");
    assert_eq!(ask(&front), "b");
    dns.set("app.test", 1, &[ONE, TWO]);
    daemon.wait_log("resolves again");
    daemon.wait_log(&format!(
        "servers are now 127.0.0.1:{port}, 127.0.0.2:{port}"
    ));
    wait_answer(&front, "a", &daemon);
    wait_answer(&front, "b", &daemon);
}

#[test]
fn srv_records_say_where_how_much_and_in_which_order() {
    let apps: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| App::on_tcp(name, "127.0.0.1:0"))
        .collect();
    let port = |index: usize| {
        apps[index]
            .address
            .rsplit(':')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let dns = Dns::start();
    let records = [
        Data::Srv(1, 3, port(0), "one.test"),
        Data::Srv(1, 1, port(1), "one.test"),
        Data::Srv(9, 1, port(2), "one.test"),
    ];
    dns.set("_http._tcp.app.test", 1, &records);
    dns.set("one.test", 60, &[ONE]);
    let config = format!(
        "control: proxy.sock\nthreads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{{ path: /, proxy: app }}]\n\
         upstreams:\n  app: {{ servers: ['app.test service=http'], resolver: [{}, ipv6=off] }}\n",
        dns.address
    );
    let daemon = Proxy::new().config(&config).start();
    let order: String = (0..8).map(|_| ask(daemon.address())).collect();
    let count = |name: &str| order.matches(name).count();
    assert_eq!((count("a"), count("b"), count("c")), (6, 2, 0), "{order}");
    let (_, told) = daemon.control("GET", "/v1/upstreams");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let servers = told["upstreams"][0]["servers"].as_array().unwrap();
    let flags: Vec<_> = servers.iter().map(|one| one["backup"] == true).collect();
    assert_eq!(flags, [false, false, true], "{told}");
    // The primaries leave, and what was the backup is all there is.
    dns.set("_http._tcp.app.test", 1, &records[2..]);
    daemon.wait_log(&format!("servers are now {}", apps[2].address));
    wait_answer(daemon.address(), "c", &daemon);
}

#[test]
fn yaml_starts_without_the_name_server() {
    let (_a, _b, port) = two();
    let dns = Dns::start();
    let config = format!(
        "threads: 1\nresolver: [{}, ipv6=off]\nservers:\n- listen: 127.0.0.1:0\n\
        \x20 locations: [{{ path: /, proxy: app }}]\nupstreams:\n  app: {{ servers: ['app.test:{port}'] }}\n",
        dns.address
    );
    let daemon = Proxy::new().config(&config).start();
    daemon.wait_log("cannot be resolved yet");
    let mut client = daemon.client();
    client.get("/");
    assert_eq!(client.reply().status, 502);
    daemon.wait_log("no live upstreams");
    dns.set("app.test", 1, &[TWO]);
    wait_answer(daemon.address(), "b", &daemon);
}

/// A name server that says nothing holds up no start: all the rest is served, and who asks for its servers waits for them.
#[test]
fn a_start_waits_for_no_name_server() {
    let (_a, _b, port) = two();
    let dns = Dns::start();
    dns.hold(true);
    dns.set("app.test", 3600, &[ONE]);
    let http = format!(
        "resolver {} ipv6=off; resolver_timeout 60s; upstream app {{ zone app 64k; server app.test:{port} resolve; }}
         upstream none {{ zone none 64k; server none.test:{port} resolve; }}",
        dns.address
    );
    let server = "location / { proxy_pass http://app; } location /none { proxy_pass http://none; }
         location /own { return 200 own; }";
    let daemon = start(&http, server);
    let front = front(&daemon);
    let mut waiting = Client::connect(&front);
    waiting.get("/");
    let mut hopeless = Client::connect(&front);
    hopeless.get("/none");
    let mut other = Client::connect(&front);
    other.get("/own");
    assert_eq!(other.reply().text(), "own");
    assert!(
        waiting.is_silent() && hopeless.is_silent(),
        "{}",
        daemon.log()
    );
    // A client that leaves is not waited for.
    let mut gone = Client::connect(&front);
    gone.get("/gone");
    drop(gone);
    daemon.wait_log("the client went away");
    dns.hold(false);
    assert_eq!(waiting.reply().text(), "a");
    // What does not exist is known not to be there: an answer at once from now on.
    assert_eq!(hopeless.reply().status, 502);
    daemon.wait_log("cannot be resolved yet");
    assert_eq!(hopeless.get("/none").reply().status, 502);
}

#[test]
fn a_reload_knows_what_was_known() {
    let (_a, _b, port) = two();
    let dns = Dns::start();
    dns.set("app.test", 3600, &[ONE]);
    let config = format!(
        "threads: 1\nresolver: [{}, ipv6=off]\nservers:\n- listen: 127.0.0.1:0\n\
        \x20 locations: [{{ path: /, proxy: app }}]\nupstreams:\n  app: {{ servers: ['app.test:{port}'] }}\n",
        dns.address
    );
    let mut daemon = Proxy::new().config(&config).start();
    assert_eq!(ask(daemon.address()), "a");
    dns.remove("app.test");
    daemon.reload(&config);
    assert_eq!(ask(daemon.address()), "a");
}

#[test]
fn variables_name_servers_that_are_resolved_when_asked() {
    let (_a, _b, port) = two();
    let dns = Dns::start();
    dns.set("app.test", 1, &[ONE]);
    let http = format!("resolver {} ipv6=off;", dns.address);
    let server = format!("location / {{ set $who app.test; proxy_pass http://$who:{port}; }}");
    let daemon = start(&http, &server);
    let front = front(&daemon);
    assert_eq!(ask(&front), "a");
    dns.set("app.test", 1, &[TWO]);
    wait_answer(&front, "b", &daemon);
    dns.remove("app.test");
    daemon.wait_log("serving on");
    let end = Instant::now() + PATIENCE;
    while !daemon.log().contains("its last addresses go on") {
        assert_eq!(ask(&front), "b");
        assert!(Instant::now() < end, "it is never asked for again");
    }
    assert_eq!(ask(&front), "b");
}

#[test]
fn nginx_wants_to_know_at_the_start() {
    let check = |upstream: &str, want: &str| {
        let proxy = Proxy::new();
        let text = format!(
            "events {{}} http {{\n upstream app {{\n{upstream}\n}}\n\
             server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; }} }} }}"
        );
        std::fs::write(proxy.path("nginx.conf"), text).unwrap();
        for check in [true, false] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
            command.arg("-c").arg(proxy.path("nginx.conf"));
            if check {
                command.arg("-t");
            }
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                said.contains(want) && said.contains("nginx.conf:3"),
                "{upstream}: {said}"
            );
            assert!(!output.status.success());
        }
    };
    check(
        "server no-such-host.invalid:80;",
        "host not found in upstream \"no-such-host.invalid:80\" in ",
    );
    check(
        "server no-such-host.invalid:80 resolve;",
        "no resolver defined to resolve names at run time in upstream \"app\"",
    );
    check(
        "server a.invalid service=http; resolver 127.0.0.1:1;",
        "requires \"resolve\" parameter",
    );
    check(
        "server a.invalid:80 service=http resolve; resolver 127.0.0.1:1;",
        "may not have port",
    );
}
