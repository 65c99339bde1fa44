//! Active health checks, and servers that are taken out of work by order.

use std::time::{Duration, Instant};

use crate::harness::{App, Client, Daemon, PATIENCE, Proxy};
use crate::nginx_conf::{front, start};

/// A daemon with two applications, and `words` among the keys of their upstream.
fn two(words: &str) -> (Daemon, App, App) {
    let proxy = Proxy::new();
    let a = App::on_unix("a", &proxy.path("a.sock"));
    let b = App::on_unix("b", &proxy.path("b.sock"));
    let config = config(words);
    (proxy.config(&config).start(), a, b)
}

fn config(words: &str) -> String {
    format!(
        "control: proxy.sock\nthreads: 1\nservers:\n- listen: 127.0.0.1:0\n  locations: [{{ path: /, proxy: app }}]\n\
         upstreams:\n  app: {{ servers: ['unix:a.sock', 'unix:b.sock'], {words} }}\n"
    )
}

fn ask(client: &mut Client) -> String {
    client.get("/");
    client.reply().text().to_owned()
}

/// Asks so often, and puts the answers together.
fn answers(daemon: &Daemon, count: usize) -> String {
    let mut client = daemon.client();
    (0..count).map(|_| ask(&mut client)).collect()
}

/// One server, as the control socket tells of it.
fn server(daemon: &Daemon, index: usize) -> serde_json::Value {
    let (status, body) = daemon.control("GET", "/v1/upstreams");
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["upstreams"][0]["servers"][index].clone()
}

const CHECK: &str = "health_check: [interval=10ms, uri=/healthz, fails=2, passes=2, timeout=20s]";

#[test]
fn a_server_that_fails_its_checks_is_not_asked_until_it_passes() {
    let (daemon, a, b) = two(CHECK);
    a.wait_checks(2);
    b.wait_checks(2);
    assert_eq!(answers(&daemon, 4), "abab");
    assert!(
        a.last_check().contains("Host: app\r\n"),
        "{}",
        a.last_check()
    );
    a.set_health(503);
    let line = daemon.wait_log("unhealthy");
    assert!(
        line.contains("a.sock") && line.contains("it answered 503"),
        "{line}"
    );
    assert_eq!(answers(&daemon, 4), "bbbb");
    let told = server(&daemon, 0);
    assert_eq!(told["health"], "down", "{told}");
    assert!(told["checks_failed"].as_u64().unwrap() >= 2, "{told}");
    assert_eq!(server(&daemon, 1)["health"], "up");
    let (_, metrics) = daemon.control("GET", "/metrics");
    let up = |name: &str, up| {
        let path = daemon.path(name);
        let line = format!(
            "trine_proxy_upstream_server_up{{upstream=\"app\",server=\"unix:{}\"}} {up}\n",
            path.display()
        );
        assert!(metrics.contains(&line), "{line} in {metrics}");
    };
    up("a.sock", 0);
    up("b.sock", 1);
    let (_, events) = daemon.control("GET", "/v1/status");
    assert!(events.contains("\"upstreams\""), "{events}");
    // No request has found out: the checks have.
    assert_eq!(daemon.figure("upstream_failures"), 0);
    a.set_health(200);
    daemon.wait_log("healthy and is asked from now on");
    let seen = answers(&daemon, 4);
    assert!(seen.contains('a') && seen.contains('b'), "{seen}");
}

#[test]
fn a_silent_server_fails_too_and_a_reload_keeps_that() {
    // Long enough for the other one, on a machine that stands still for a while.
    let words = "health_check: [interval=10ms, uri=/healthz, timeout=6s]";
    let (mut daemon, a, _b) = two(words);
    a.set_health(0);
    let line = daemon.wait_log("unhealthy");
    assert!(line.contains("nothing came of it within 6s"), "{line}");
    daemon.reload(&config(words));
    assert_eq!(server(&daemon, 0)["health"], "down");
    assert_eq!(answers(&daemon, 4), "bbbb");
    // Without checks nothing speaks against it.
    daemon.reload(&config(""));
    assert_eq!(server(&daemon, 0)["health"], "unknown");
    let seen = answers(&daemon, 4);
    assert!(seen.contains('a'), "{seen}");
}

const SLOW: Duration = Duration::from_secs(4);

/// Two servers, of which `a` starts slowly within [`SLOW`] when it comes back.
fn slow(a: &str, words: &str) -> Proxy {
    let words = format!("servers: ['unix:a.sock slow_start=4s {a}', 'unix:b.sock']{words}");
    let config = config("").replace("servers: ['unix:a.sock', 'unix:b.sock'], ", &words);
    Proxy::new().config(&config)
}

/// `a` came back after `began`: it gets few requests at first, and its half in the end.
#[track_caller]
fn check_slow_start(daemon: &Daemon, began: Instant) {
    let of_a = |count| {
        let seen = answers(daemon, count);
        seen.bytes().filter(|&who| who == b'a').count()
    };
    let first = of_a(100);
    // Its weight has never been more than it is by now, however long all of this has taken.
    let weight = (began.elapsed().as_secs_f64() / SLOW.as_secs_f64()).clamp(0.01, 1.0);
    let most = 100.0 * weight / (1.0 + weight) + 5.0;
    assert!(first as f64 <= most, "{first} of 100, at {weight}");
    let end = Instant::now() + SLOW + PATIENCE;
    loop {
        let share = of_a(100);
        if share >= 48 {
            assert!(share <= 52, "{share} of 100");
            return;
        }
        assert!(Instant::now() < end, "it still gets {share} of 100 only");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_that_passes_its_checks_again_starts_slowly() {
    let proxy = slow("", &format!(", {CHECK}"));
    let a = App::on_unix("a", &proxy.path("a.sock"));
    let _b = App::on_unix("b", &proxy.path("b.sock"));
    let daemon = proxy.start();
    a.wait_checks(2);
    // It has never been down.
    assert_eq!(answers(&daemon, 4), "abab");
    a.set_health(503);
    daemon.wait_log("unhealthy");
    assert_eq!(answers(&daemon, 4), "bbbb");
    let began = Instant::now();
    a.set_health(200);
    daemon.wait_log("healthy and is asked from now on");
    check_slow_start(&daemon, began);
}

#[test]
fn a_server_that_answers_again_starts_slowly() {
    let proxy = slow("max_fails=1 fail_timeout=1s", "");
    let _b = App::on_unix("b", &proxy.path("b.sock"));
    let daemon = proxy.start();
    assert_eq!(answers(&daemon, 4), "bbbb");
    daemon.wait_log("temporarily disabled");
    let _a = App::on_unix("a", &daemon.path("a.sock"));
    let mut client = daemon.client();
    let end = Instant::now() + PATIENCE;
    let began = loop {
        let began = Instant::now();
        if ask(&mut client) == "a" {
            break began;
        }
        assert!(began < end, "it is not tried again");
        std::thread::sleep(Duration::from_millis(10));
    };
    check_slow_start(&daemon, began);
}

#[test]
fn nobody_is_asked_when_all_are_unhealthy() {
    let (daemon, a, b) = two(CHECK);
    a.set_health(500);
    b.set_health(500);
    let mut client = daemon.client();
    daemon.wait_log("b.sock");
    daemon.wait_log("a.sock");
    let before = (a.requests(), b.requests());
    client.get("/");
    assert_eq!(client.reply().status, 502);
    daemon.wait_log("no live upstreams");
    assert_eq!((a.requests(), b.requests()), before);
}

#[test]
fn a_mandatory_check_comes_first() {
    let proxy = Proxy::new();
    let a = App::on_unix("a", &proxy.path("a.sock"));
    let b = App::on_unix("b", &proxy.path("b.sock"));
    a.set_health(0);
    let words = "health_check: [interval=10ms, uri=/healthz, timeout=1h, mandatory, persistent]";
    let daemon = proxy.config(&config(words)).start();
    b.wait_checks(2);
    a.wait_checks(1);
    assert_eq!(server(&daemon, 0)["health"], "checking");
    assert_eq!(answers(&daemon, 4), "bbbb");
}

#[test]
fn connecting_is_enough_for_tcp() {
    let proxy = Proxy::new();
    let a = App::on_unix("a", &proxy.path("a.sock"));
    let config = config("health_check: [type=tcp, interval=10ms]");
    let daemon = proxy.config(&config).start();
    let line = daemon.wait_log("unhealthy");
    assert!(
        line.contains("b.sock") && line.contains("cannot connect"),
        "{line}"
    );
    assert_eq!(answers(&daemon, 3), "aaa");
    let b = App::on_unix("b", &daemon.path("b.sock"));
    daemon.wait_log("healthy and is asked from now on");
    let seen = answers(&daemon, 4);
    assert!(seen.contains('b'), "{seen}");
    assert_eq!((a.last_check(), b.last_check()), Default::default());
}

#[test]
fn the_words_of_nginx() {
    let (a, b) = (
        App::on_tcp("a", "127.0.0.1:0"),
        App::on_tcp("b", "127.0.0.1:0"),
    );
    let other = App::on_tcp("other", "127.0.0.1:0");
    let port = other.address.rsplit(':').next().unwrap();
    // Both are looked at through the same port.
    let http = format!(
        "match good {{ status 200-299 404; header X-App = other; header ! X-Bad; body ~ \"is 20[04]\"; }}\n\
         upstream app {{ zone app 64k; server {} max_fails=0; server {} max_fails=0; }}",
        a.address, b.address
    );
    let server = format!(
        "location / {{ proxy_pass http://app; \
         health_check interval=10ms jitter=5ms fails=2 passes=1 uri=/healthz?deep port={port} match=good; }}"
    );
    let server = server.replace("/healthz?deep", "/healthz");
    let daemon = start(&http, &server);
    other.wait_checks(4);
    let mut client = Client::connect(&front(&daemon));
    assert_eq!((ask(&mut client) + &ask(&mut client)).len(), 2);
    // A good status, and a body that is not wanted.
    other.set_health(203);
    let line = daemon.wait_log(&format!("server: {}", b.address));
    assert!(
        line.contains("body of its answer is not what is wanted"),
        "{line}"
    );
    daemon.wait_log(&format!("server: {}", a.address));
    client.get("/");
    assert_eq!(client.reply().status, 502);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |http: &str, location: &str, want: &str| {
        let proxy = Proxy::new();
        let text = format!(
            "events {{}} http {{ {http} upstream app {{ server 127.0.0.1:1; }}\n\
             server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; {location} }} }} }}"
        );
        std::fs::write(proxy.path("nginx.conf"), text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trine-proxy"));
        command.arg("-t").arg("-c").arg(proxy.path("nginx.conf"));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(want) && said.contains("nginx.conf:"),
            "{location}: {said}"
        );
    };
    check("", "health_check match=none;", "match \"none\" not found");
    check(
        "",
        "health_check interval=x;",
        "invalid parameter \"interval=x\"",
    );
    check("", "health_check fails=0;", "invalid parameter \"fails=0\"");
    check(
        "",
        "health_check uri=healthz;",
        "invalid parameter \"uri=healthz\"",
    );
    check(
        "",
        "health_check type=grpc;",
        "invalid parameter \"type=grpc\"",
    );
    check("match a { status ok; }", "health_check;", "invalid status");
    check("match a { body x; }", "health_check;", "invalid body test");
    check(
        "match a { sound loud; }",
        "health_check;",
        "unknown test \"sound\"",
    );
}

#[test]
fn a_drained_server_finishes_and_gets_nothing_new() {
    let (daemon, a, _b) = two("");
    assert_eq!(answers(&daemon, 2), "ab");
    let address = format!("unix:{}", daemon.path("a.sock").display()).replace('/', "%2F");
    let drain = format!("/v1/upstreams/app/servers/{address}/drain");
    let (status, body) = daemon.control("POST", &drain);
    assert_eq!(status, 200, "{body}");
    assert_eq!(answers(&daemon, 4), "bbbb");
    assert_eq!(server(&daemon, 0)["drained"], true);
    daemon.wait_log("drained by order");
    let before = a.requests();
    let (status, body) = daemon.control("POST", &drain.replace("drain", "resume"));
    assert_eq!(status, 200, "{body}");
    assert!(answers(&daemon, 4).contains('a') && a.requests() > before);
    let (status, body) = daemon.control("POST", "/v1/upstreams/other/servers/x/drain");
    assert!(status == 404 && body.contains("there are: app"), "{body}");
    let (status, body) = daemon.control("POST", "/v1/upstreams/app/servers/x/drain");
    assert!(status == 404 && body.contains("a.sock"), "{body}");
    assert_eq!(daemon.control("GET", &drain).0, 405);
}
