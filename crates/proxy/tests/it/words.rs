//! Small directives about proxying: clients that leave, traces, character sets.

use crate::fastcgi;
use crate::harness::{Client, Upstream};
use crate::nginx_conf::{front, start};

const GET: &str = "HTTP/1.1\r\nHost: a\r\n";

#[test]
fn a_client_that_leaves_may_be_ignored() {
    let daemon = start(
        "access_log @dir@/access.log;",
        "location / { proxy_pass http://unix:@dir@/app.sock; }
         location /ignored { proxy_ignore_client_abort on; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    client.get("/");
    let mut link = app.accept();
    link.read_head();
    drop(client);
    link.expect_closed();
    daemon.wait_log("the client's fault: the client went away while its request was answered");
    daemon.wait_access("\"GET / HTTP/1.1\" 499");

    let mut client = Client::connect(&front(&daemon));
    client.get("/ignored");
    client.finish_sending();
    let mut link = app.accept();
    // Its server still gets to answer, and whoever only ended its own side gets that.
    link.answer("done");
    assert_eq!(client.reply().text(), "done");
    daemon.wait_access("\"GET /ignored HTTP/1.1\" 200");
}

#[test]
fn traces_are_passed_on_or_begun() {
    let daemon = start(
        "log_format t '$uri [$otel_trace_id]'; access_log @dir@/access.log t;",
        "otel_trace_context propagate;
         location / { proxy_pass http://unix:@dir@/app.sock; }
         location /ignored { otel_trace_context ignore; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    client.send(format!(
        "GET /given {GET}traceparent: {good}\r\ntracestate: a=b\r\n\r\n"
    ));
    let mut link = app.accept();
    let head = link.answer("1");
    assert!(
        head.contains(&format!("\r\ntraceparent: {good}\r\n")),
        "{head}"
    );
    assert!(head.contains("\r\ntracestate: a=b\r\n"), "{head}");
    client.reply();
    daemon.wait_access("/given [4bf92f3577b34da6a3ce929d0e0e4736]");
    for (path, field) in [
        ("/new", ""),
        ("/bad", "TraceParent: 00-0-0-0\r\nTraceState: x=y\r\n"),
    ] {
        client.send(format!("GET {path} {GET}{field}\r\n"));
        let head = link.answer("2");
        client.reply();
        assert_eq!(
            head.to_lowercase().matches("traceparent:").count(),
            1,
            "{head}"
        );
        assert!(!head.to_lowercase().contains("tracestate"), "{head}");
        let made = head
            .lines()
            .find_map(|line| line.strip_prefix("traceparent: 00-"));
        let made = made.expect("a new one").to_owned();
        assert_eq!((made.len(), &made[49..]), (52, "-01"));
        daemon.wait_access(&format!("{path} [{}]", &made[..32]));
    }
    client.send(format!("GET /ignored {GET}traceparent: x\r\n\r\n"));
    assert!(link.answer("3").contains("\r\ntraceparent: x\r\n"));
    client.reply();
}

#[test]
fn character_sets() {
    let daemon = start(
        "charset utf-8; charset_types text/plain text/css;",
        "location / { proxy_pass http://unix:@dir@/app.sock; }
         location /off { charset off; proxy_pass http://unix:@dir@/app.sock; }
         location /file/ { alias @dir@/html/; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let socket = front(&daemon);
    let mut client = Client::connect(&socket);
    let mut first = None;
    for (path, sent, want) in [
        ("/", "Content-Type: text/html", "text/html; charset=utf-8"),
        ("/", "Content-Type: text/css", "text/css; charset=utf-8"),
        ("/", "Content-Type: text/xml", "text/xml"),
        (
            "/",
            "Content-Type: text/css;charset=koi8-r",
            "text/css;charset=koi8-r",
        ),
        (
            "/",
            "Content-Type: text/css\r\nX-Accel-Charset: koi8-r",
            "text/css; charset=koi8-r",
        ),
        (
            "/",
            "Content-Type: text/css\r\nX-Accel-Charset: off",
            "text/css",
        ),
        ("/off", "Content-Type: text/html", "text/html"),
    ] {
        client.get(path);
        let link = first.get_or_insert_with(|| app.accept());
        link.read_head();
        link.write(format!(
            "HTTP/1.1 200 OK\r\n{sent}\r\nContent-Length: 0\r\n\r\n"
        ));
        let reply = client.reply();
        assert_eq!(reply.field("Content-Type"), Some(want), "{sent}");
        assert_eq!(reply.field("X-Accel-Charset"), None);
    }
    let kind = |client: &mut Client, path: &str| {
        let reply = client.get(path).reply();
        reply.field("Content-Type").map(str::to_owned)
    };
    let text = Some("text/plain; charset=utf-8".to_owned());
    assert_eq!(kind(&mut client, "/file/a.txt"), text);
    assert_eq!(
        kind(&mut client, "/file/index.html"),
        Some("text/html; charset=utf-8".to_owned())
    );
}

#[test]
fn traces_reach_applications_that_speak_no_http() {
    let daemon = start(
        "log_format t '$uri [$otel_trace_id]'; access_log @dir@/access.log t; otel_trace_context propagate;",
        "location / { fastcgi_pass unix:@dir@/app.sock; }
         location /ignored { otel_trace_context ignore; fastcgi_pass unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let mut ask = |path: &str, fields: &str| {
        client.send(format!("GET {path} {GET}{fields}\r\n"));
        let mut link = app.accept();
        let asked = fastcgi::read(&mut link);
        // In one piece: once it has the head, nobody waits for the rest.
        link.write([fastcgi::stdout("Status: 204\r\n\r\n"), fastcgi::end(0)].concat());
        assert_eq!(client.reply().status, 204);
        let param = |name: &str| asked.param(name).map(str::to_owned);
        (param("HTTP_TRACEPARENT"), param("HTTP_TRACESTATE"))
    };
    let given = format!("traceparent: {good}\r\ntracestate: a=b\r\n");
    let passed = (Some(good.to_owned()), Some("a=b".to_owned()));
    assert_eq!(ask("/given", &given), passed);
    let (made, state) = ask("/bad", "TraceParent: 00-0-0-0\r\nTraceState: x=y\r\n");
    assert_eq!(state, None);
    let made = made.expect("a new one");
    assert!(made.starts_with("00-") && made.len() == 55, "{made}");
    daemon.wait_access(&format!("/bad [{}]", &made[3..35]));
    assert_eq!(ask("/ignored", "").0, None);
}

#[test]
fn early_hints_go_to_whom_the_location_says() {
    let daemon = start(
        "",
        "location / { proxy_pass http://unix:@dir@/app.sock; }
         location /some { early_hints $http_x_modern; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let mut link = None;
    for (path, field, told) in [
        ("/", "X-Modern: 1", false),
        ("/some", "X-Modern: 1", true),
        ("/some", "X-Modern: 0", false),
        ("/some", "X-Other: 1", false),
    ] {
        client.send(format!("GET {path} {GET}{field}\r\n\r\n"));
        let link = link.get_or_insert_with(|| app.accept());
        link.read_head();
        link.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        if told {
            let hint = client.read_head();
            assert_eq!(hint, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        }
        assert_eq!(client.reply().status, 200, "{path} {field}");
    }
}
