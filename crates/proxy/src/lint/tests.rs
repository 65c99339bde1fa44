//! Each trap, and its neighbour that is none.

use std::path::Path;

use trine_config::Problems;

use super::*;
use crate::config::nginx::tree;

#[track_caller]
fn check(http: &str, want: &[&str]) {
    let text = format!("events {{}}\nhttp {{\n{http}\n}}");
    let mut problems = Problems::new();
    let tree = tree::parse(&text, Path::new("n.conf"), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    let found = lint(&tree, false);
    let got: Vec<String> = found
        .iter()
        .map(|one| format!("{}:{}", one.at.line(), one.rule))
        .collect();
    assert_eq!(got, want, "{http}");
    assert!(
        found
            .iter()
            .all(|one| !one.help.is_empty() && !one.message.is_empty())
    );
}

#[track_caller]
fn server(inner: &str, want: &[&str]) {
    let want: Vec<String> = want.iter().map(|rule| format!("3:{rule}")).collect();
    let want: Vec<&str> = want.iter().map(String::as_str).collect();
    check(&format!("server {{ root /r; {inner} }}"), &want);
}

#[test]
fn traps() {
    server(
        "location /static { alias /srv/static/; }",
        &["alias-traversal"],
    );
    server("location /static/ { alias /srv/static/; }", &[]);
    server(
        "location / { proxy_pass https://a; }",
        &["upstream-unverified"],
    );
    server(
        "location / { proxy_pass https://a; proxy_ssl_verify off; }",
        &["upstream-unverified"],
    );
    server(
        "proxy_ssl_verify on; location / { proxy_pass https://a; }",
        &[],
    );
    server("location /s/ { alias static/; }", &["relative-alias"]);
    server(
        "add_header X-A 1; location / { add_header X-B 2; }",
        &["add_header-loss"],
    );
    server(
        "add_header X-A 1; location / { add_header X-B 2; add_header x-a 1; }",
        &[],
    );
    server(
        "add_header_inherit merge; add_header X-A 1; location / { add_header X-B 2; }",
        &[],
    );
    server(
        "proxy_set_header Host $host; location / { proxy_set_header X-A 1; proxy_pass http://a; }",
        &["proxy_set_header-loss"],
    );
    server(
        "add_header X-Frame-Options DENY;",
        &["add_header-not-always"],
    );
    server("add_header X-Frame-Options DENY always;", &[]);
    for field in [
        "X-Forwarded-Proto $http_x_forwarded_proto",
        "X-Real-IP $http_x_real_ip",
    ] {
        server(
            &format!("proxy_set_header {field};"),
            &["spoofable-forwarded"],
        );
    }
    server("proxy_set_header X-Forwarded-Proto $scheme;", &[]);
    server("proxy_set_header Host $http_host;", &["host-spoofing"]);
    server(
        "location / { if ($a) { proxy_pass http://b; } }",
        &["if-is-evil"],
    );
    server("location / { if ($a) { return 301 https://x; } }", &[]);
    server(
        "location / { if (!-f $request_filename) { rewrite ^ /x last; } }",
        &["if-file"],
    );
    server(
        "location / { proxy_pass http://$app; }",
        &["proxy_pass-variables"],
    );
    server(
        "location / { proxy_pass http://a/$1; }",
        &["proxy_pass-variables"],
    );
    server("location / { proxy_pass http://$host; }", &["ssrf"]);
    server("location / { proxy_pass $arg_url; }", &["ssrf"]);
    server(
        "location /api { proxy_pass http://a/; }",
        &["proxy_pass-slash"],
    );
    server("location /api/ { proxy_pass http://a/; }", &[]);
    server("merge_slashes off;", &["merge_slashes"]);
    server("location / { autoindex on; }", &["autoindex"]);
    server("set_real_ip_from 0.0.0.0/0;", &["real-ip-from-anybody"]);
    server("ssl_protocols TLSv1 TLSv1.2;", &["old-tls"]);
    server("return 301 https://$host$uri;", &["response-splitting"]);
    server("return 301 https://$host$request_uri;", &[]);
    server("return 200 $uri;", &[]);
    server("allow 10.0.0.0/8;", &["allow-without-deny"]);
    server("allow 10.0.0.0/8; deny all;", &[]);
    server("location ~ .php$ { }", &["dot-in-expression"]);
    server("location ~ \\.php$ { }", &[]);
    server(
        "location / { uwsgi_pass a; proxy_set_header X-A b; }",
        &["proxy_set_header-unused"],
    );
    server(
        "proxy_set_header Connection \u{201c}upgrade\u{201d};",
        &["curly-quotes"],
    );
    check(
        "server { location / { root /r; } location /a { } }",
        &["3:root-inside-location"],
    );
    check(
        "server { listen 80; root /; }\nserver { listen 80; root /; }",
        &["3:no-default-server"],
    );
    check(
        "server { listen 80 default_server; root /; }\nserver { listen 80; root /; }",
        &[],
    );
}

#[test]
fn traps_of_sessions() {
    let check = |stream: &str, want: &[&str]| {
        let text = format!("events {{}}\nstream {{ {stream} }}");
        let mut problems = Problems::new();
        let tree = tree::parse(&text, Path::new("n.conf"), &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let found = lint(&tree, false);
        let got: Vec<&str> = found.iter().map(|one| one.rule).collect();
        assert_eq!(got, want, "{stream}");
    };
    check(
        "server { listen 53 udp; proxy_pass a:53; }",
        &["endless-datagrams"],
    );
    check("server { listen 53 udp; return no; }", &[]);
    check(
        "server { listen 53 udp; proxy_pass a:53; proxy_responses 1; }",
        &[],
    );
    check(
        "proxy_timeout 5s; server { listen 53 udp; proxy_pass a:53; }",
        &[],
    );
    check("server { listen 53; proxy_pass a:53; }", &[]);
    check(
        "server { listen 1 proxy_protocol; proxy_pass a:1; }",
        &["preamble-unbelieved"],
    );
    check(
        "set_real_ip_from 10.0.0.1; server { listen 1 proxy_protocol; proxy_pass a:1; }",
        &[],
    );
    check(
        "server { listen 1 proxy_protocol; set_real_ip_from 10.0.0.1; proxy_pass a:1; }",
        &[],
    );
    check(
        "server { listen 1; proxy_pass a:1; proxy_ssl on; }",
        &["upstream-unverified"],
    );
    check(
        "proxy_ssl_verify on; server { listen 1; proxy_pass a:1; proxy_ssl on; }",
        &[],
    );
}
