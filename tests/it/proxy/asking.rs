//! Requests of the proxy's own: what `auth_request` asks may be kept, and nobody waits for what `mirror` sends along.
//!
//! Not here: what nginx does too (`differential`).

use std::net::SocketAddr;

use e2e::client::{Client, Request, ask, get};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::upstream::{Received, Upstream};
use e2e::{port, wait};

/// A proxy with these directives in `http` and in its only server.
fn start(folder: &Folder, http: &str, server: &str) -> (Daemon, SocketAddr) {
    let addr = port::free();
    folder.write(
        "nginx.conf",
        format!(
            "worker_processes 1; error_log error.log; pid proxy.pid;\nevents {{}}\nhttp {{\n\
             access_log access.log;\n{http}\nserver {{ listen {addr};\n{server}\n}} }}\n"
        ),
    );
    let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
    (launch.notify().start(folder).wait_ready(), addr)
}

fn count(upstream: &Upstream, of: impl Fn(&Received) -> bool) -> usize {
    upstream.seen().iter().filter(|one| of(one)).count()
}

#[test]
fn what_was_asked_is_kept() {
    let folder = Folder::new();
    let users = Upstream::start(|request, conversation| {
        let status = match request.header("cookie") {
            Some("session=good") => "200 OK",
            _ => "401 Unauthorized",
        };
        let head = format!("HTTP/1.1 {status}\r\nX-User: ann\r\nContent-Length: 2\r\n\r\nok");
        conversation.write(head.as_bytes())
    });
    let app = Upstream::answering();
    let (proxy, addr) = start(
        &folder,
        "proxy_cache_path asked keys_zone=asked:1m;",
        &format!(
            "location / {{ auth_request /auth; auth_request_set $user $upstream_http_x_user;\n\
               proxy_set_header X-User $user; proxy_pass http://{}; }}\n\
             location = /auth {{ internal; proxy_pass http://{}/check; proxy_cache asked;\n\
               proxy_cache_key $http_cookie; proxy_cache_valid 200 401 10m; }}",
            app.addr(),
            users.addr()
        ),
    );
    let good = Request::get("/page").header("Cookie", "session=good");
    let bad = Request::get("/page").header("Cookie", "session=bad");
    for _ in 0..3 {
        assert_eq!(ask(addr, &good).status, 200);
        assert_eq!(ask(addr, &bad).status, 401);
    }
    assert_eq!(count(&users, |one| one.target == "/check"), 2);
    let named = |one: &Received| one.header("x-user") == Some("ann");
    assert_eq!((count(&app, named), app.seen().len()), (3, 3));
    proxy.stop();
    assert_eq!(folder.read("access.log").lines().count(), 6);
}

#[test]
fn nobody_waits_for_a_mirror() {
    let folder = Folder::new();
    let app = Upstream::answering();
    let copy = Upstream::holding_requests();
    let (proxy, addr) = start(
        &folder,
        "",
        &format!(
            "location / {{ mirror /copy; proxy_pass http://{}; }}\n\
             location /head/ {{ mirror /copy; mirror_request_body off; proxy_pass http://{}; }}\n\
             location /dead/ {{ mirror /nobody; proxy_pass http://{}; }}\n\
             location = /copy {{ internal; proxy_pass http://{}$request_uri; }}\n\
             location = /nobody {{ internal; proxy_pass http://{}; }}",
            app.addr(),
            app.addr(),
            app.addr(),
            copy.addr(),
            port::free()
        ),
    );
    // The copies are held, and all the same the client has its answers, on one connection and to its end.
    let body = "x".repeat(100_000);
    let mut client = Client::connect(addr);
    assert_eq!(
        client.ask(&Request::post("/form?a=b", body.clone())).status,
        200
    );
    assert_eq!(client.ask(&Request::post("/head/x", "a body")).status, 200);
    assert_eq!(client.ask(&Request::get("/dead/x")).status, 200);
    let last = Request::get("/last").header("Connection", "close");
    assert_eq!(client.ask(&last).status, 200);
    assert!(client.read_to_end().unwrap().is_empty());
    wait::until("the copies", || (copy.seen().len() == 3).then_some(()));
    let has = |method: &str, target: &str, body: &[u8]| {
        let same =
            |one: &Received| one.method == method && one.target == target && one.body == body;
        assert_eq!(count(&copy, same), 1, "{method} {target}");
    };
    has("POST", "/form?a=b", body.as_bytes());
    has("POST", "/head/x", b"");
    has("GET", "/last", b"");
    let whole = |one: &Received| one.body == body.as_bytes();
    assert_eq!(count(&app, whole), 1);
    copy.release_all();
    assert_eq!(get(addr, "/again").status, 200);
    proxy.stop();
}
