//! The reader against texts: what it makes of them, and what it says is wrong.

use super::*;

/// All that is wrong with an `http` block, one a line.
fn problems(http: &str) -> String {
    let text = format!("events {{}}\nhttp {{\n{http}\n}}\n");
    let mut problems = Problems::new();
    let config = parse(
        &text,
        Path::new("n.conf"),
        &mut problems,
        &mut Problems::new(),
    );
    match problems.finish(config) {
        Ok(_) => "good".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

#[track_caller]
fn check(http: &str, want: &str) {
    assert_eq!(problems(http), want, "{http}");
}

#[test]
fn a_django_site() {
    check(
        r#"
        include_nothing off;
        "#
        .replace("include_nothing off;", "")
        .as_str(),
        "good",
    );
    check(
        r#"
        upstream app_server { server unix:/run/gunicorn.sock fail_timeout=0; }
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        log_format timed '$remote_addr [$time_local] "$request" $status $request_time';
        sendfile on; tcp_nopush on; types_hash_max_size 2048; gzip off;
        server { listen 80 default_server; return 444; }
        server {
            listen 80; listen [::]:80;
            server_name example.org www.example.org;
            client_max_body_size 10M;
            access_log /tmp/trine-test-access.log timed;
            location = /favicon.ico { access_log off; log_not_found off; }
            location /static/ { alias /srv/static/; expires 30d; add_header Cache-Control public; }
            location / { try_files $uri @app; }
            location @app {
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_redirect off;
                proxy_pass http://app_server;
            }
            error_page 500 502 503 504 /500.html;
            location = /500.html { root /srv/errors; internal; }
        }"#,
        "good",
    );
}

#[test]
fn mistakes_in_nginx_words() {
    check(
        "sever {}",
        "n.conf:3: unknown directive \"sever\"; did you mean \"server\"?",
    );
    check(
        "listen 80;",
        "n.conf:3: \"listen\" directive is not allowed here",
    );
    check(
        "root;",
        "n.conf:3: invalid number of arguments in \"root\" directive",
    );
    check(
        "sendfile yes;",
        "n.conf:3: invalid value \"yes\" in \"sendfile\" directive, it must be \"on\" or \"off\"",
    );
    check(
        "server;",
        "n.conf:3: directive \"server\" has no opening \"{\"",
    );
    check(
        "root /x {}",
        "n.conf:3: directive \"root\" is not terminated by \";\"",
    );
    check(
        "upstream a {}",
        "n.conf:3: no servers are inside upstream \"a\"",
    );
    check(
        "server { location / { proxy_pass http://a$nope; } }",
        "n.conf:3: unknown \"nope\" variable",
    );
    for (http, name) in [
        ("proxy_cache a; proxy_cache a;", "proxy_cache"),
        ("proxy_cache a; proxy_cache off;", "proxy_cache"),
        ("proxy_cache_key a; proxy_cache_key b;", "proxy_cache_key"),
        ("fastcgi_cache a; fastcgi_cache a;", "fastcgi_cache"),
    ] {
        // In nginx's words.
        let zones = "proxy_cache_path /tmp/a keys_zone=a:1m;";
        let want = format!("n.conf:3: \"{name}\" directive is duplicate");
        check(
            &format!("{zones} server {{ location / {{ {http} }} }}"),
            &want,
        );
        // Once in each block is once.
        let (first, second) = http.split_once("; ").unwrap();
        let text = format!("{zones} {first}; server {{ location / {{ {second} }} }}");
        assert_eq!(problems(&text), "good", "{text}");
    }
    check(
        "server { location /a {} location /a {} }",
        "n.conf:3: duplicate location \"/a\"",
    );
    check(
        "server { location /a { location /b {} } }",
        "n.conf:3: location \"/b\" is outside location \"/a\"",
    );
    check(
        "server { try_files $uri @gone; }",
        "n.conf:3: could not find named location \"@gone\"",
    );
    check(
        "server { client_max_body_size 1x; }",
        "n.conf:3: \"client_max_body_size\" directive invalid value",
    );
    check(
        "server { access_log /tmp/x nope; }",
        "n.conf:3: unknown log format \"nope\"",
    );
    assert!(
        problems("server { location ~ ( {} }").contains("regular expression \"(\" cannot be used")
    );
    assert!(
        problems("server { location ~ x { proxy_pass http://a/b; } }")
            .contains("cannot have URI part in location given by regular expression")
    );
}

#[test]
fn variables_that_have_a_meaning_keep_it() {
    for (text, name) in [
        ("server { set $uri x; }", "uri"),
        (
            "server { location / { set $Request_URI x; } }",
            "request_uri",
        ),
        ("map $arg_a $host { default x; }", "host"),
        ("geo $remote_addr { default x; }", "remote_addr"),
        ("split_clients $arg_a $status { * x; }", "status"),
        (
            "server { location / { auth_request_set $scheme x; } }",
            "scheme",
        ),
    ] {
        check(
            text,
            &format!("n.conf:3: the duplicate \"{name}\" variable; choose another name"),
        );
    }
    for text in [
        "server { set $args x; set $limit_rate 1k; set $proxy_host x; set $http_own x; set $arg_own x; }",
        "map $http_host $request_port { default x; }",
        "server { auth_request_set $args x; auth_request_set $limit_rate 1k; }",
    ] {
        check(text, "good");
    }
}

#[test]
fn all_at_once_with_the_way_out() {
    check(
        "ssi on;\nserver {\n listen 80 quic;\n userid on;\n}",
        "n.conf:3: \"ssi\" is not supported; put the parts together in the application, or serve this location with nginx behind this proxy\n\
         n.conf:5: \"quic\" is not supported; remove it: HTTP/1.1 and HTTP/2 are served\n\
         n.conf:6: \"userid\" is not supported; not supported; remove it, or serve this location with nginx behind this proxy",
    );
}

#[test]
fn sticky_and_least_time() {
    let check = |sticky: &str, want: &str| {
        let said = problems(&format!("upstream u {{ server unix:/a;\n{sticky}; }}"));
        let want = match want {
            "good" => want.to_owned(),
            _ => format!("n.conf:4: {want}"),
        };
        // What helps comes behind.
        assert!(
            said == want || said.starts_with(&format!("{want}; ")),
            "{sticky}: {said}"
        );
    };
    check(
        "least_time last_byte inflight; server unix:/b backup",
        "good",
    );
    check("least_time sometime", "invalid value \"sometime\"");
    check("least_time header now", "invalid parameter \"now\"");
    check("sticky cookie id", "good");
    check(
        "sticky cookie id expires=max domain=.$host path=/ httponly secure samesite=$arg_s",
        "good",
    );
    check(
        "sticky cookie",
        "invalid number of arguments in \"sticky\" directive",
    );
    check("sticky cookies id", "unknown parameter \"cookies\"");
    check("sticky cookie ''", "\"sticky\" directive empty cookie name");
    check(
        "sticky cookie id expires=x",
        "\"sticky\" directive invalid \"expires\" parameter value",
    );
    check(
        "sticky cookie id expires=5ms",
        "\"sticky\" directive invalid \"expires\" parameter value",
    );
    check(
        "sticky cookie id path=",
        "\"sticky\" directive no value for \"path\"",
    );
    check(
        "sticky cookie id path=/ path=/",
        "\"sticky\" directive parameter \"path\" is duplicate",
    );
    check(
        "sticky cookie id secure secure",
        "\"sticky\" directive parameter \"secure\" is duplicate",
    );
    check(
        "sticky cookie id samesite=no",
        "\"sticky\" directive invalid \"samesite\" parameter value",
    );
    check(
        "sticky cookie id maxage=1",
        "unknown parameter \"maxage=1\"",
    );
    check(
        "sticky cookie id; sticky cookie id",
        "\"sticky\" directive is duplicate",
    );
    check("sticky route $arg_a $cookie_b", "good");
    check("sticky route arg_a", "invalid variable name \"arg_a\"");
    check("sticky route $nobody", "unknown \"nobody\" variable");
    let learn = "sticky learn create=$upstream_cookie_s lookup=$cookie_s";
    check(
        &format!("{learn} zone=z:32k timeout=1m header sync"),
        "good",
    );
    check(
        learn,
        "\"sticky\" directive \"zone\" parameter is not specified",
    );
    check(
        "sticky learn zone=z:1m",
        "\"sticky\" directive \"lookup\" parameter is not specified",
    );
    check(
        "sticky learn lookup=$arg_a",
        "\"sticky\" directive \"create\" parameter is not specified",
    );
    check(
        "sticky learn create=a",
        "\"sticky\" directive missing variable in the \"create\" parameter",
    );
    check(
        &format!("{learn} zone=z"),
        "\"sticky\" directive zone size is not specified",
    );
    check(
        &format!("{learn} zone=:1m"),
        "\"sticky\" directive zone name is not specified",
    );
    check(
        &format!("{learn} zone=z:1x"),
        "\"sticky\" directive invalid zone size",
    );
    check(
        &format!("{learn} zone=z:31k"),
        "\"sticky\" directive zone is too small",
    );
    check(
        &format!("{learn} zone=z:1m zone=y:1m"),
        "\"sticky\" directive duplicate zone",
    );
    check(
        &format!("{learn} zone=z:1m timeout=0"),
        "\"sticky\" directive invalid timeout",
    );
    check("server unix:/b route=", "route is empty");
    check(
        &format!("server unix:/b route={}", "x".repeat(33)),
        "route is longer than 32",
    );
    check(
        &format!("{learn} zone=z:1m; }} upstream v {{ server unix:/b; {learn} zone=z:1m"),
        "sticky zone \"z\" is already used in upstream \"u\"",
    );
}

#[test]
fn lists_are_replaced_and_values_inherited() {
    let config = super::super::testing::nginx(
        "add_header A 1; expires 1h; location / { } location /b { add_header B 2; }",
    );
    let names = |index: usize| {
        let location = &config.servers[0].locations.plain[index];
        let rules = config.rules(location.rules);
        assert!(rules.expires.is_some());
        let names: Vec<_> = rules
            .headers
            .iter()
            .map(|header| header.name.clone())
            .collect();
        names.join(",")
    };
    assert_eq!((names(0), names(1)), ("B".to_owned(), "A".to_owned()));
}

#[test]
fn no_two_rows_have_one_name() {
    let mut names: Vec<_> = table::SECTIONS
        .iter()
        .flat_map(|(_, rows)| *rows)
        .map(|known| known.name)
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn what_stream_has_not() {
    let said = |stream: &str| {
        let text = format!("events {{}}\nstream {{\n{stream}\n}}\n");
        let mut problems = Problems::new();
        let path = Path::new("n.conf");
        let config = parse(&text, path, &mut problems, &mut Problems::new());
        match problems.finish(config) {
            Ok(_) => "good".to_owned(),
            Err(problems) => problems.to_string(),
        }
    };
    let server = |more: &str| format!("server {{ listen 9000; proxy_pass 127.0.0.1:1;\n{more}\n}}");
    assert_eq!(said(&server("proxy_timeout 1h;")), "good");
    for (more, want) in [
        (
            "ssl_password_file p;",
            "n.conf:4: \"ssl_password_file\" is not supported; ",
        ),
        ("proxy_download_rate fast;", "n.conf:4: "),
        (
            "limit_conn nowhere 1;",
            "n.conf:4: zero size shared memory zone \"nowhere\"",
        ),
        (
            "set $protocol tcp;",
            "n.conf:4: invalid variable name \"$protocol\"",
        ),
        ("pass 127.0.0.1:2;", "n.conf:4: \"pass\" is not supported; "),
        (
            "listen 9001 udp ssl;",
            "n.conf:4: \"listen\" directive \"ssl\" parameter is incompatible with \"udp\"",
        ),
        (
            "listen 9000;",
            "n.conf:4: duplicate \"9000\" address and port pair; an address is one server's",
        ),
        (
            "ssl_certificate c.pem;",
            "n.conf:3: no \"ssl_certificate_key\" is defined for certificate \"",
        ),
        // One of HTTP.
        (
            "gzip on;",
            "n.conf:4: \"gzip\" directive is not allowed here",
        ),
    ] {
        let all = said(&server(more));
        assert!(all.starts_with(want), "{more}: {all}");
    }
    check(
        "preread_timeout 1s;",
        "n.conf:3: \"preread_timeout\" directive is not allowed here",
    );
}
