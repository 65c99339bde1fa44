//! The YAML reader as a table: text in, the problems out.

use std::path::Path;

use trine_config::Problems;

use super::*;

#[track_caller]
fn check(text: &str, want: &[&str]) {
    let mut problems = Problems::new();
    let config = yaml::parse(text, Path::new("/etc/p.yaml"), &mut problems, true);
    let got: Vec<_> = match problems.finish(config) {
        Ok(_) => vec![],
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(got, want, "{text}");
}

const APP: &str = "servers: [{ listen: 8000, locations: [{ path: /, proxy: 'unix:app.sock' }] }]\n";

#[test]
fn everything() {
    let config = testing::config(
        "control: run/proxy.sock\n\
         threads: 1\n\
         access_log: { path: logs/access.log, format: json }\n\
         timeouts: { header: 30s, body: 500ms, send: 60, keepalive: 75s, total: none, shutdown: 30s }\n\
         servers:\n\
         - listen: ['127.0.0.1:8000', 'fd:http', 'unix:run/p.sock']\n  \
           names: [Example.org, '*.example.org']\n  \
           max_body: 2MiB\n  \
           locations:\n  \
           - { path: /, proxy: app }\n  \
           - { path: /static, files: ./static }\n  \
           - { path: /api, proxy: '127.0.0.1:9000' }\n\
         upstreams:\n  \
           app: { servers: ['unix:run/app.sock'], connect_timeout: 5s, total_timeout: 1m30s, keepalive: 8 }\n\
         trusted_proxies: [10.0.0.0/8, unix]\n",
    );
    assert_eq!(
        config.control.as_deref(),
        Some(Path::new("/etc/run/proxy.sock"))
    );
    assert_eq!(config.timeouts.body.as_millis(), 500);
    assert_eq!(
        config
            .listens
            .iter()
            .map(|listen| listen.addr.to_string())
            .collect::<Vec<_>>(),
        ["127.0.0.1:8000", "fd:http", "unix:/etc/run/p.sock"]
    );
    let server = &config.servers[0];
    assert_eq!(config.rules(server.rules).max_body, 2 * 1024 * 1024);
    assert_eq!(server.names.len(), 2);
    let plain = server.locations.plain.iter();
    let paths: Vec<_> = plain.map(|location| location.matcher.path()).collect();
    assert_eq!(paths, ["/static/", "/api", "/"]);
    let Content::Files(files) = &config.rules(server.locations.plain[0].rules).content else {
        panic!("not files");
    };
    let Folder::Alias { folder, strip } = &files.folder else {
        panic!("not an alias");
    };
    assert_eq!(
        (folder.as_literal(), *strip),
        (Some(&b"/etc/static"[..]), 8)
    );
    assert_eq!(config.upstreams.len(), 2);
    assert_eq!(
        config.upstreams[0].servers[0].addr,
        PeerAddr::Unix("/etc/run/app.sock".into())
    );
    assert_eq!(config.upstreams[1].name, "127.0.0.1:9000");
    assert!(config.trusted.unix && config.trusted.networks.len() == 1);
}

#[test]
fn defaults() {
    let config = testing::config(APP);
    assert!(config.access_logs.is_empty() && config.control.is_none() && config.threads >= 1);
    assert_eq!(config.timeouts.keepalive.as_secs(), 75);
    assert_eq!(config.upstreams[0].keepalive.count, 64);
    for off in ["off", "none", "false"] {
        assert!(
            testing::config(&format!("access_log: {off}\n{APP}"))
                .access_logs
                .is_empty()
        );
    }
    assert_eq!(
        testing::config(&format!(
            "access_log: '-'
{APP}"
        ))
        .access_logs[0]
            .place,
        AccessPlace::Stdout
    );
}

#[test]
fn problems_all_at_once() {
    check(
        "thread: 2\n\
         timeouts: { header: soon, body: 0s, total: 0 }\n\
         servers:\n\
         - listen: 127.0.0.1:800000\n  \
           names: ['bad name']\n  \
           locations:\n  \
           - { path: static, files: /nowhere/at/all }\n  \
           - { path: /, proxy: ap }\n  \
           - { path: /x, proxy: app, files: / }\n  \
           - { path: /y }\n\
         upstreams:\n  \
           app: { servers: ['nonsense'], keep_alive: 3 }\n\
         trusted_proxies: 10.0.0.0/40\n",
        &[
            "/etc/p.yaml:1:1: thread: unknown key; did you mean \"threads\"?",
            "/etc/p.yaml:2:21: timeouts.header: expected a time such as \"30s\", \"500ms\" or \"1m30s\", found \"soon\"",
            "/etc/p.yaml:2:33: timeouts.body: must be longer than nothing; the default is 60s",
            "/etc/p.yaml:2:44: timeouts.total: must be longer than nothing; write none for no limit",
            "/etc/p.yaml:4:11: servers[0].listen: expected an address such as \"127.0.0.1:8000\", \":8000\", \"unix:/run/app.sock\" or \"fd:NAME\", found \"127.0.0.1:800000\"",
            "/etc/p.yaml:5:11: servers[0].names[0]: \"bad name\" is not a host name; write one such as example.org or *.example.org, without a port",
            "/etc/p.yaml:7:13: servers[0].locations[0].path: \"static\" can never match; write it decoded, beginning with /, without //, . and .. in it",
            "/etc/p.yaml:7:28: servers[0].locations[0].files: there is no folder /nowhere/at/all; create it, or correct the path (relative ones start at this file's folder)",
            "/etc/p.yaml:8:23: servers[0].locations[1].proxy: there is no upstream \"ap\"; did you mean app?",
            "/etc/p.yaml:9:5: servers[0].locations[2]: has both `files` and `proxy`; make two locations of it",
            "/etc/p.yaml:10:5: servers[0].locations[3]: says neither `files` nor `proxy`; add `files: FOLDER` or `proxy: UPSTREAM`",
            "/etc/p.yaml:12:20: upstreams.app.servers[0]: \"nonsense\" is not the address of a server; write an address such as 127.0.0.1:8000, app.internal:8000 or unix:run/app.sock",
            "/etc/p.yaml:12:33: upstreams.app.keep_alive: unknown key; did you mean \"keepalive\"?",
            "/etc/p.yaml:13:18: trusted_proxies[0]: \"10.0.0.0/40\" is not a network; write one such as 10.0.0.0/8 or 192.0.2.1, or unix for clients on Unix sockets",
        ],
    );
}

#[test]
fn nothing_at_all() {
    check(
        "",
        &["/etc/p.yaml:1:1: servers: is missing; add a server with `listen` and `locations`"],
    );
    check(
        "servers: [{}]",
        &[
            "/etc/p.yaml:1:11: servers[0].listen: is missing; say where, such as 127.0.0.1:8000",
            "/etc/p.yaml:1:11: servers[0].locations: is missing; add one, such as { path: /, proxy: app }",
        ],
    );
}

#[test]
fn the_examples_of_the_guide_are_good() {
    let guide = include_str!("../../../../docs/proxy/guide.md");
    let blocks: Vec<&str> = guide
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect();
    assert!(blocks.len() >= 2, "{blocks:?}");
    for block in blocks {
        let mut problems = Problems::new();
        let config = yaml::parse(block, Path::new("/etc/p.yaml"), &mut problems, false);
        if let Err(told) = problems.finish(config) {
            panic!("{told}\n{block}");
        }
    }
}

/// Which clients stay with their server, by keys.
#[test]
fn sticky_by_keys() {
    let check_sticky = |sticky: &str, want: &[&str]| {
        check(
            &format!(
                "{APP}upstreams:\n  app:\n    servers: ['127.0.0.1:1', '127.0.0.1:2']\n    sticky: {sticky}\n"
            ),
            want,
        );
    };
    check_sticky("{ cookie: id }", &[]);
    check_sticky("{ path: /, secure: true, cookie: id, expires: max }", &[]);
    check_sticky("[cookie, id, path=/]", &[]);
    check_sticky("{ route: $arg_r }", &[]);
    check_sticky("{ route: [$cookie_r, $arg_r] }", &[]);
    check_sticky(
        "{ learn: { create: $upstream_cookie_s, lookup: [$cookie_s, $arg_s], zone: 's:1m', timeout: 1h, header: true } }",
        &[],
    );
    let one = "expected exactly one of cookie, route and learn; write { cookie: srv_id, path: / } or another way to tell clients apart";
    let at = "/etc/p.yaml:5:5: upstreams.app.sticky: ";
    check_sticky("{ path: / }", &[&format!("{at}{one}")]);
    check_sticky("{ cookie: id, route: $arg_r }", &[&format!("{at}{one}")]);
    check_sticky(
        "{ cookie: id, colour: red }",
        &[&format!("{at}unknown parameter \"colour=red\"")],
    );
}
