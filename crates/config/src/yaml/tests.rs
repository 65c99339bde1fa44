//! Documents in, problems out.

mod hostile;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{ByteSize, Duration, ListenAddr, OneOrMany};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    control: Option<String>,
    threads: Option<u16>,
    daemonize: Option<bool>,
    ratio: Option<f64>,
    timeouts: RawTimeouts,
    servers: Vec<RawServer>,
    upstreams: BTreeMap<String, RawUpstream>,
    codes: BTreeMap<u16, String>,
    ready: Option<Ready>,
    bind: OneOrMany<ListenAddr>,
    names: OneOrMany<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTimeouts {
    header: Option<Duration>,
    body: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawServer {
    listen: Vec<ListenAddr>,
    max_body: Option<ByteSize>,
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading matters")]
struct RawUpstream {
    server: String,
    #[serde(default)]
    weight: u8,
    #[serde(default)]
    limit: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ready {
    Notify,
    Http(String),
    Tcp { port: u16 },
}

fn parse_raw(text: &str) -> (Option<Document<RawConfig>>, Problems) {
    let mut problems = Problems::new();
    let document = parse(text, Path::new("t.yaml"), &mut problems);
    (document, problems)
}

/// The problems of a document, one a line and without the file's name.
#[track_caller]
fn check(text: &str, want: &[&str]) {
    let (_, problems) = parse_raw(text);
    let got = problems.to_string();
    let got: Vec<_> = got
        .lines()
        .map(|line| line.strip_prefix("t.yaml:").unwrap_or(line))
        .collect();
    assert_eq!(got, want, "document:\n{text}");
}

#[track_caller]
fn read_all(text: &str) -> RawConfig {
    let (document, problems) = parse_raw(text);
    assert_eq!(problems.to_string(), "");
    document.expect("a document without problems").raw
}

#[test]
fn a_good_document() {
    let raw = read_all(
        "\
control: run/proxy.sock
threads: 4
daemonize: off
ratio: 2
timeouts: { header: 30, body: 1m30s }
servers:
  - listen: [8000, \"unix:/run/a.sock\", fd:http]
    max_body: 100MiB
    environment: { PORT: 8000, VERSION: 1.10, DEBUG: True, MODE: 0660, BIG: 0x10 }
upstreams:
  app: { server: a, weight: 3 }
codes: { 404: gone }
ready: { http: http://localhost/ }
",
    );
    assert_eq!(raw.control.as_deref(), Some("run/proxy.sock"));
    assert_eq!(
        (raw.threads, raw.daemonize, raw.ratio),
        (Some(4), Some(false), Some(2.0))
    );
    assert_eq!(raw.timeouts.header, Some(Duration::from_secs(30)));
    assert_eq!(raw.timeouts.body, Some(Duration::from_secs(90)));
    let server = &raw.servers[0];
    let listen: Vec<_> = server.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:8000", "unix:/run/a.sock", "fd:http"]);
    assert_eq!(server.max_body, Some(ByteSize::mib(100)));
    // A variable's value is what was typed, whatever YAML takes it for.
    let environment: Vec<_> = server
        .environment
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        environment,
        [
            "BIG=0x10",
            "DEBUG=True",
            "MODE=0660",
            "PORT=8000",
            "VERSION=1.10"
        ]
    );
    assert_eq!(raw.codes[&404], "gone");
    assert_eq!(raw.ready, Some(Ready::Http("http://localhost/".into())));
}

#[test]
fn nothing_is_all_defaults() {
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n",
        "null\n",
        "servers:\nupstreams:\ntimeouts:\n",
    ] {
        assert!(read_all(text).servers.is_empty(), "{text:?}");
    }
    assert_eq!(read_all("ready: notify").ready, Some(Ready::Notify));
    assert_eq!(
        read_all("ready: { tcp: { port: 1 } }").ready,
        Some(Ready::Tcp { port: 1 })
    );
    assert_eq!(read_all("ready: { notify: }").ready, Some(Ready::Notify));
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    check(
        "\
threads: many
timeouts:
  header: soon
  bodi: 3s
servers:
  - lisen: 8000
  - listen: [8000, nowhere]
    max_body: -1
upstreams:
  app:
    weight: 3
  web: { server: a, weight: 1000 }
extra: 1
ready: { https: x }
",
        &[
            "1:10: threads: expected a whole number, found the text \"many\"",
            "3:11: timeouts.header: expected a time such as \"30s\", \"500ms\" or \"1m30s\", found \"soon\"",
            "4:3: timeouts.bodi: unknown key; did you mean \"body\"?",
            "6:5: servers[0].lisen: unknown key; did you mean \"listen\"?",
            "7:20: servers[1].listen[1]: expected an address such as \"127.0.0.1:8000\", \":8000\", \
             \"unix:/run/app.sock\" or \"fd:NAME\", found \"nowhere\"",
            "8:15: servers[1].max_body: expected a size such as \"64k\", \"10MiB\" or a number of bytes, \
             found \"-1\"",
            "10:3: upstreams.app.server: is missing",
            "12:29: upstreams.web.weight: expected a whole number from 0 to 255, found the number 1000",
            "13:1: extra: unknown key; keys: control, threads, daemonize, ratio, timeouts, servers, \
             upstreams, codes, ready, bind, names",
            "14:10: ready.https: \"https\" is not known here; did you mean \"http\"?",
        ],
    );
}

#[test]
fn wrong_types() {
    check(
        "threads: '4'",
        &["1:10: threads: expected a whole number, found the text \"4\"; take the quotes away"],
    );
    check(
        "threads: 1.5",
        &["1:10: threads: expected a whole number, found the number 1.5"],
    );
    check(
        "threads: -1",
        &["1:10: threads: expected a whole number from 0 to 65535, found the number -1"],
    );
    check(
        "daemonize: maybe",
        &["1:12: daemonize: expected true or false, found the text \"maybe\""],
    );
    check(
        "ratio: [1]",
        &["1:1: ratio: expected a number, found a list"],
    );
    check(
        "upstreams: { a: { server: x, limit: -1 }, b: { server: x, limit: 4294967296 } }",
        &[
            "1:37: upstreams.a.limit: expected a whole number of 0 or more, found the number -1",
            "1:66: upstreams.b.limit: expected a whole number of 4294967295 or less, found the number 4294967296",
        ],
    );
    check(
        "control: [a]",
        &["1:1: control: expected a text, found a list"],
    );
    check(
        "control: { a: b }",
        &["1:1: control: expected a text, found a block of keys"],
    );
    check(
        "servers: x",
        &["1:10: servers: expected a list, found the text \"x\""],
    );
    check(
        "upstreams: [a]",
        &["1:1: upstreams: expected a block of \"key: value\" lines, found a list"],
    );
    check(
        "timeouts: 30s",
        &[
            "1:11: timeouts: expected a block of \"key: value\" lines, found the text \"30s\"; keys: header, body",
        ],
    );
    check(
        "upstreams: { app: { server: } }",
        &["1:21: upstreams.app.server: expected a text, found nothing"],
    );
    check(
        "timeouts: { header: [1] }",
        &[
            "1:13: timeouts.header: expected a time such as \"30s\", \"500ms\" or \"1m30s\", found a list",
        ],
    );
    check(
        "codes: { x: y }",
        &["1:10: codes.x: expected a whole number as key, found \"x\""],
    );
    check(
        "ready: never",
        &["1:8: ready: \"never\" is not known here; values: notify, http, tcp"],
    );
    check(
        "ready: { http: x, tcp: y }",
        &["1:1: ready: expected one key, found several; values: notify, http, tcp"],
    );
    check(
        "ready: { notify: 5 }",
        &["1:18: ready.notify: takes no value; write the bare name"],
    );
    check(
        "- a\n- b",
        &[
            "1:1: expected a block of \"key: value\" lines, found a list; keys: control, threads, daemonize, \
         ratio, timeouts, servers, upstreams, codes, ready, bind, names",
        ],
    );
}

#[test]
fn one_or_many() {
    #[track_caller]
    fn check_bind(text: &str, want: &[&str]) {
        let bind: Vec<_> = read_all(text)
            .bind
            .0
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(bind, want, "{text}");
    }
    check_bind("", &[]);
    check_bind("bind:", &[]);
    check_bind("bind: 8000", &["0.0.0.0:8000"]);
    check_bind("bind: unix:a.sock", &["unix:a.sock"]);
    check_bind("bind: [8000, fd:http]", &["0.0.0.0:8000", "fd:http"]);
    assert_eq!(read_all("names: 1.10").names.0, ["1.10"]);
    check(
        "names: [a, [b], c, { d: e }]",
        &[
            "1:12: names[1]: expected a text, found a list",
            "1:20: names[3]: expected a text, found a block of keys",
        ],
    );
    check(
        "names: { a: b }",
        &["1:1: names: expected a text, found a block of keys"],
    );
}

#[test]
fn later_checks_find_their_places() {
    let text = "upstreams:\n  app:\n    server: a\n  \"a.b\": { server: x }\nservers:\n  - listen:\n      - 8000\n";
    let (document, _) = parse_raw(text);
    let document = document.unwrap();
    let at = |path: &str| document.at(path).to_string();
    assert_eq!(
        at("upstreams.app.server"),
        "t.yaml:3:13: upstreams.app.server"
    );
    assert_eq!(at("upstreams.app"), "t.yaml:2:3: upstreams.app");
    assert_eq!(
        at("upstreams.\"a.b\".server"),
        "t.yaml:4:20: upstreams.\"a.b\".server"
    );
    assert_eq!(
        at("servers[0].listen[0]"),
        "t.yaml:7:9: servers[0].listen[0]"
    );
    // What is not there is shown at its nearest parent.
    assert_eq!(
        at("upstreams.app.weight"),
        "t.yaml:2:3: upstreams.app.weight"
    );
    assert_eq!(at("servers[0].tls.key"), "t.yaml:6:5: servers[0].tls.key");
    assert_eq!(at("nothing.at.all"), "t.yaml:1:1: nothing.at.all");
    let by_steps = document
        .root()
        .key("servers")
        .index(0)
        .key("listen")
        .index(0);
    assert_eq!(by_steps, document.at("servers[0].listen[0]"));
    assert_eq!(
        document
            .root()
            .key("upstreams")
            .key("a.b")
            .key("server")
            .line(),
        4
    );
}

#[test]
fn what_is_wrong_is_not_missing_too() {
    let (document, mut problems) =
        parse_raw("servers:\n  - listen: [x]\n  - max_body: 1\n  - lisen: 8000\n");
    let document = document.unwrap();
    for index in 0..3 {
        assert!(document.raw.servers[index].listen.is_empty());
        problems.missing(
            document.root().key("servers").index(index).key("listen"),
            "say where",
        );
    }
    let text = problems.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("t.yaml:2:14: servers[0].listen[0]: expected"),
        "{text}"
    );
    assert_eq!(
        lines[1],
        "t.yaml:3:5: servers[1].listen: is missing; say where"
    );
}

#[test]
fn written_and_read_again() {
    let value = BTreeMap::from([
        ("listen", vec!["127.0.0.1:80"]),
        ("odd", vec!["yes", "1.0", "a: b", ""]),
    ]);
    let text = write(&value).unwrap();
    let mut problems = Problems::new();
    let again =
        parse::<BTreeMap<String, Vec<String>>>(&text, Path::new("t"), &mut problems).unwrap();
    assert_eq!(again.raw["odd"], ["yes", "1.0", "a: b", ""]);
    assert_eq!(again.raw["listen"], ["127.0.0.1:80"]);
}
