//! What a client sends to have others served something else (cache poisoning), or to be served what is another's (cache
//! deception); and what clients may ask of the cache when the configuration lets them.

use super::gateways::{reply as answer_by, variables};
use super::{answer, ask, cached, get, send, was};
use crate::harness::{Client, Upstream};
use crate::nginx_conf::{front, start};

const FRESH: &str = "Cache-Control: max-age=600";
const OVERRIDES: [&str; 5] = [
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
];

#[test]
fn fields_that_lead_elsewhere_do_not_reach_an_application_whose_answer_is_kept() {
    // With the fields of a configuration, and with those that are sent without one.
    for location in ["proxy_set_header X-Mine 1;", ""] {
        let (daemon, app) = cached(&format!(
            "{location} }}
             location /keyed {{ proxy_pass http://unix:@dir@/app.sock:/; proxy_cache z; proxy_cache_key $uri$http_x_original_url;
                 add_header X-Was $upstream_cache_status always; {location} }}
             location /plain {{ proxy_pass http://unix:@dir@/app.sock:/; {location} "
        ));
        for (number, name) in OVERRIDES.iter().enumerate() {
            let request = format!("GET /{number} HTTP/1.1\r\nX-Other: 1\r\n{name}: /evil");
            let (reply, head) = ask(&daemon, &app, &request, &answer(FRESH, "good"));
            assert_eq!(reply.text(), "good");
            assert!(
                !head.contains("evil") && head.contains("X-Other: 1\r\n"),
                "{head}"
            );
            assert_eq!(was(&get(&daemon, &format!("/{number}"))), "HIT");
            // Where nothing is kept, and with a method whose answers are not, it is the application's affair.
            for (target, method) in [("/plain", "GET"), ("/post", "POST")] {
                let request = format!("{method} {target} HTTP/1.1\r\n{name}: /evil");
                let (_, head) = ask(&daemon, &app, &request, &answer(FRESH, "x"));
                assert!(head.contains(&format!("{name}: /evil\r\n")), "{head}");
            }
        }
        // What the key tells of may go on.
        let request = "GET /keyed HTTP/1.1\r\nX-Original-URL: /other\r\nX-Rewrite-URL: /evil";
        let (_, head) = ask(&daemon, &app, request, &answer(FRESH, "other"));
        assert!(head.contains("X-Original-URL: /other\r\n"), "{head}");
        assert!(!head.contains("evil"), "{head}");
        assert_eq!(was(&send(&daemon, request).reply()), "HIT");
        let (reply, _) = ask(&daemon, &app, "GET /keyed HTTP/1.1", &answer(FRESH, "own"));
        assert_eq!(was(&reply), "MISS");
        app.expect_untouched();
    }
}

#[test]
fn nor_by_variables() {
    for family in ["fastcgi", "uwsgi", "scgi"] {
        let daemon = start(
            &format!("{family}_cache_path @dir@/kept keys_zone=z:10m;"),
            &format!(
                "location / {{ {family}_cache z; {family}_pass unix:@dir@/app.sock; {family}_param REQUEST_METHOD GET; }}"
            ),
        );
        let app = Upstream::at(&daemon.path("app.sock"));
        let fields: String = OVERRIDES
            .iter()
            .map(|name| format!("{name}: /evil\r\n"))
            .collect();
        let mut client = send(
            &daemon,
            &format!("GET / HTTP/1.1\r\nX-Other: 1\r\n{fields}"),
        );
        let mut link = app.accept();
        let all = variables(family, &mut link);
        assert!(
            all.contains("HTTP_X_OTHER") && !all.contains("evil"),
            "{all}"
        );
        answer_by(family, &mut link, "Cache-Control: max-age=600\r\n\r\nhello");
        assert_eq!(client.reply().text(), "hello");
    }
}

#[test]
fn sites_behind_one_upstream_do_not_share_answers() {
    let (daemon, app) = cached("");
    let of = |host: &str| {
        let mut client = Client::connect(&front(&daemon));
        client.send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client
    };
    for host in ["one.test", "two.test", "one.test:81"] {
        let mut client = of(host);
        let mut link = app.accept();
        link.read_head();
        link.write(answer(FRESH, host));
        drop(link);
        assert_eq!(client.reply().text(), host);
        if host.contains(':') {
            continue;
        }
        for known in ["one.test", host, &host.to_ascii_uppercase()] {
            let reply = of(known).reply();
            assert_eq!(reply.text(), known.to_ascii_lowercase());
            assert_eq!(was(&reply), "HIT");
        }
    }
}

#[test]
fn pages_under_names_of_files_need_the_applications_word() {
    let (daemon, app) = cached("proxy_cache_valid any 10m; proxy_ignore_headers Set-Cookie;");
    let asked = |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1");
        let page = answer(fields, "page");
        assert_eq!(ask(&daemon, &app, &request, &page).0.text(), "page");
    };
    let html = "Content-Type: text/html; charset=utf-8";
    for path in ["/me/x.css", "/me;x.js", "/me%2Fx.png", "/me/x.woff2?a"] {
        asked(path, html);
        asked(path, html);
    }
    asked("/me/x.jpg", "Content-Type: application/json");
    asked("/me/x.jpg", "Content-Type: application/json");
    for (path, fields) in [
        ("/style.css", "Content-Type: text/css"),
        ("/me/x.html", html),
        ("/me/x", html),
        ("/unknown.css", ""),
        // It says so itself.
        (
            "/said.css",
            "Content-Type: text/html\r\nCache-Control: max-age=600",
        ),
        (
            "/ordered.css",
            "Content-Type: text/html\r\nX-Accel-Expires: 600",
        ),
    ] {
        asked(path, fields);
        let reply = get(&daemon, path);
        assert_eq!((reply.text(), was(&reply)), ("page", "HIT"), "{path}");
    }
    app.expect_untouched();
}

#[test]
fn early_hints_are_no_part_of_what_is_kept() {
    let (daemon, app) = cached("");
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nCache-Control: no-store\r\n\r\n";
    let both = early.to_owned() + &answer(FRESH, "hello");
    let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &both);
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    let reply = get(&daemon, "/a");
    assert_eq!(
        (reply.status, reply.text(), was(&reply)),
        (200, "hello", "HIT")
    );
    assert_eq!(reply.field("Link"), None);
    app.expect_untouched();
}

#[test]
fn clients_are_heeded_where_the_configuration_says_so() {
    let (daemon, app) = cached("proxy_cache_heed_requests on; proxy_cache_heuristics on;");
    let only = "GET /a HTTP/1.1\r\nCache-Control: only-if-cached";
    let reply = send(&daemon, only).reply();
    // An answer of the proxy's own that rests on nothing kept tells nothing of a cache (RFC 9211 section 2).
    assert_eq!((reply.status, reply.field("Cache-Status")), (504, None));
    let old = "Last-Modified: Thu, 26 Nov 2015 00:00:00 GMT";
    ask(&daemon, &app, "GET /a HTTP/1.1", &answer(old, "first"));
    // Often enough for the short way, which has to listen as well.
    for _ in 0..3 {
        let reply = send(&daemon, only).reply();
        assert_eq!((reply.text(), was(&reply)), ("first", "HIT"));
    }
    let reload = "GET /a HTTP/1.1\r\nCache-Control: no-cache";
    let (reply, head) = ask(&daemon, &app, reload, &answer(old, "second"));
    assert!(head.contains("If-Modified-Since: "), "{head}");
    assert_eq!(reply.text(), "second");
    assert_eq!(get(&daemon, "/a").text(), "second");
    // Without the word nobody is listened to, and nothing is guessed.
    let (daemon, app) = cached("");
    for body in ["first", "second"] {
        let (reply, _) = ask(&daemon, &app, "GET /a HTTP/1.1", &answer(old, body));
        assert_eq!(reply.text(), body);
    }
    ask(&daemon, &app, "GET /b HTTP/1.1", &answer(FRESH, "kept"));
    let reply = send(&daemon, "GET /b HTTP/1.1\r\nCache-Control: no-cache").reply();
    assert_eq!((reply.text(), was(&reply)), ("kept", "HIT"));
    app.expect_untouched();
}
