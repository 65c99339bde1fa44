//! What is converted reads as the same configuration.

use std::path::Path;

use trine_config::Problems;

use super::*;
use crate::config::{Config, nginx, yaml};

/// Lines of a configuration as it is debugged: tables that have no order come out sorted.
fn lines(config: &Config) -> Vec<String> {
    let text = format!("{config:#?}");
    // Where things are written differs, and when zones began.
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("at: ") && !line.starts_with("tv_"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn check(text: &str) -> String {
    let path = Path::new("/etc/nginx.conf");
    let mut problems = Problems::new();
    let theirs = nginx::parse(text, path, &mut problems, &mut Problems::new());
    let theirs = problems
        .finish(theirs)
        .unwrap_or_else(|told| panic!("{told}\n{text}"));
    let tree = nginx::tree::parse(text, path, &mut Problems::new());
    let (converted, lost) = convert(&tree);
    assert!(lost.is_empty(), "{lost:?}");
    let mut problems = Problems::new();
    let ours = yaml::parse(&converted, Path::new("/etc/p.yaml"), &mut problems, false);
    let ours = problems
        .finish(ours)
        .unwrap_or_else(|told| panic!("{told}\n{text}\n{converted}"));
    assert_eq!(lines(&ours), lines(&theirs), "{text}\n{converted}");
    converted
}

#[test]
fn words_have_better_names() {
    let got = check(
        "worker_processes 2; events {} http { gzip on; log_format a '$uri \"x\"'; access_log /l a buffer=1k;
           map $http_a $b { default 1; ~^x$ 2; '' 3; }
           upstream app { server 127.0.0.1:1 weight=2; server unix:/s backup; keepalive 5; }
           server { listen 127.0.0.1:80 default_server; server_name a.b ~^x(?<n>.)$ '';
             add_header X-A '1 2' always; add_header X-B $b;
             allow 10.0.0.0/8; deny all; error_page 404 /404; error_page 500 502 =200 @f;
             if ($request_method = POST) { return 405; }
             set $x 'a b'; rewrite ^/a(.*)$ /b$1 last;
             location @f { return 200 ok; }
             location ^~ /s/ { alias /srv/; autoindex off; expires 30d; }
             location ~* \\.(js|css)$ { try_files $uri =404; }
             location = /x { internal; if ($arg_a = 'b c') { return 204; } }
             location / { proxy_pass http://app; proxy_set_header Host $host; proxy_set_header X-A ''; }
           } }",
    );
    assert_eq!(
        got,
        r#"defaults: nginx
worker_processes: 2
gzip: true
log_formats: [[a, "$uri \"x\""]]
access_logs: [[/l, a, buffer=1k]]
maps:
- with: [$http_a, $b]
  rows:
  - [default, 1]
  - ["~^x$", 2]
  - ["", 3]
upstreams:
  app:
    servers: ["127.0.0.1:1 weight=2", "unix:/s backup"]
    keepalive: 5
servers:
- listen: ["127.0.0.1:80 default_server"]
  names: [a.b, "~^x(?<n>.)$", ""]
  headers:
    X-A: ["1 2", always]
    X-B: $b
  access:
  - allow: 10.0.0.0/8
  - deny: all
  error_pages:
  - [404, /404]
  - [500, 502, "=200", "@f"]
  script:
  - if: "$request_method = POST"
    do:
    - return: 405
  - set: [$x, "a b"]
  - rewrite: ["^/a(.*)$", /b$1, last]
  locations:
  - name: "@f"
    script:
    - return: [200, ok]
  - prefix_first: /s/
    alias: /srv/
    listing: false
    expires: 30d
  - regex_caseless: "\\.(js|css)$"
    try_files: [$uri, "=404"]
  - exact: /x
    internal: true
    script:
    - if: ["($arg_a", "=", "b c)"]
      do:
      - return: 204
  - prefix: /
    pass: "http://app"
    request_headers:
      Host: $host
      X-A: ""
"#
    );
}

#[test]
fn every_directive_has_one_word() {
    use crate::config::yaml::words::{Scope, list_of, nginx_name, word};
    for known in table::rows() {
        assert_eq!(nginx_name(&word(known.name)), known.name);
        let inside = known.contexts
            & (context::MAIN
                | context::HTTP
                | context::SERVER
                | context::LOCATION
                | context::UPSTREAM);
        let key = list_of(known.name).map_or_else(|| word(known.name), Into::into);
        let places = Scope::ALL
            .iter()
            .filter(|scope| scope.contexts() & inside != 0);
        for scope in places {
            let structural = [
                "server", "location", "upstream", "http", "events", "include", "stream",
            ];
            let reached = scope.takes(&key) || scope.typed().contains(&&*key);
            assert!(
                reached || structural.contains(&known.name) || known.name == "listen",
                "{} as {key} in {scope:?}",
                known.name
            );
        }
    }
}

#[test]
fn the_schema_has_typed_keys_and_words() {
    let schema = crate::config::yaml::schema::value();
    let text = |pointer: &str| schema.pointer(pointer).map(ToString::to_string);
    for pointer in [
        "/properties/gzip_types/description",
        "/properties/timeouts",
        "/$defs/RawLocation/properties/try_files",
        "/$defs/RawLocation/properties/regex/description",
        "/$defs/RawServer/properties/headers",
        "/$defs/RawUpstream/properties/keepalive",
        "/$defs/RawUpstream/properties/zone",
        "/properties/stream",
        "/$defs/RawStream/properties/limit_conn_zone",
        "/$defs/RawStreamServer/properties/pass",
        "/$defs/RawStreamServer/properties/proxy_responses",
        "/$defs/RawStreamUpstream/properties/least_conn",
    ] {
        assert!(text(pointer).is_some(), "{pointer}");
    }
    assert_eq!(
        text("/$defs/RawServer/additionalProperties").as_deref(),
        Some("false")
    );
    assert!(text("/$defs/RawLocation/properties/listen").is_none());
}

#[test]
fn stream_is_written_and_read() {
    let got = check(
        "events {} http { server { listen 127.0.0.1:80; } } stream { proxy_timeout 1h; limit_conn_zone $remote_addr zone=z:1m;
           log_format l '$protocol $status'; access_log /l l; geo $a { default b; 10.0.0.0/8 c; }
           upstream u { least_conn; server 127.0.0.1:1 weight=2; server 127.0.0.1:2 backup; }
           server { listen 53 udp; proxy_pass u; proxy_responses 1; allow 10.0.0.0/8; deny all; limit_conn z 3; }
           server { listen 443; server_name a.test *.b.test; ssl_preread on; set $x \"$a:1\"; proxy_pass $x; }
           server { listen 444; return '$protocol'; } }",
    );
    let stream = &got[got.find("stream:").unwrap()..];
    assert_eq!(
        stream,
        r#"stream:
  proxy_timeout: 1h
  limit_conn_zone: [[$remote_addr, "zone=z:1m"]]
  log_formats: [[l, "$protocol $status"]]
  access_logs: [[/l, l]]
  geo_maps:
  - with: [$a]
    rows:
    - [default, b]
    - [10.0.0.0/8, c]
  upstreams:
    u:
      servers: ["127.0.0.1:1 weight=2", "127.0.0.1:2 backup"]
      least_conn: true
  servers:
  - listen: ["53 udp"]
    pass: u
    proxy_responses: 1
    access:
    - allow: 10.0.0.0/8
    - deny: all
    limit_conn: [[z, 3]]
  - listen: [443]
    names: [a.test, "*.b.test"]
    tls_preread: true
    script:
    - set: [$x, "$a:1"]
    pass: $x
  - listen: [444]
    script:
    - return: $protocol
"#
    );
}
