//! Documents in, problems out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{ByteSize, Duration, ListenAddr};

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
             upstreams, codes, ready",
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
         ratio, timeouts, servers, upstreams, codes, ready",
        ],
    );
}

#[test]
fn keys_given_twice() {
    check(
        "threads: 1\nthreads: 2\nservers:\n  - { max_body: 1, max_body: x }\nthreads: 3",
        &[
            "2:1: threads: the key is already given in line 1; keep one of the two",
            "4:20: servers[0].max_body: the key is already given in line 4; keep one of the two",
            "5:1: threads: the key is already given in line 1; keep one of the two",
        ],
    );
}

#[test]
fn text_that_is_no_yaml() {
    check("a: [1, 2", &["1:4: unclosed bracket '['"]);
    check("a: \"x", &["1:4: unclosed quote"]);
    check(
        "a: b: c",
        &[
            "1:5: a second \": \" in one line, or a key indented differently from the line above; \
         put the value in quotes, or line the keys up",
        ],
    );
    check(
        "a:\n\t- x",
        &["2:2: the line is indented by a tab; indent with spaces"],
    );
    check(
        "a: @x",
        &["1:4: unexpected character: `@'; put the value in quotes"],
    );
    check(
        "a: *x",
        &["1:4: alias references unknown anchor; define it above by \"&name\""],
    );
    check(
        "threads: 1\n---\nthreads: 2",
        &["3:1: a second document begins here; keep one document in the file"],
    );
    check(
        "a: 1\n- b",
        &["2:3: a list item or a text stands where a key must be; \
         write \"key: value\" here, or line it up with what it belongs to"],
    );
    check(
        "? [a]\n: b",
        &["1:3: a key must be a plain text; use a list or a block only as a value"],
    );
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let again = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{again}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(500), "]".repeat(500));
    for text in [bomb, deep] {
        let (document, problems) = parse_raw(&text);
        assert!(document.is_none());
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().contains("too"), "{problems}");
    }
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
    let (document, mut problems) = parse_raw("servers:\n  - listen: [x]\n  - max_body: 1\n");
    let document = document.unwrap();
    for index in 0..2 {
        assert!(document.raw.servers[index].listen.is_empty());
        problems.missing(
            document.root().key("servers").index(index).key("listen"),
            "say where",
        );
    }
    let text = problems.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
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
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let problem = || {
        read::<RawConfig>(&path)
            .unwrap_err()
            .to_string()
            .replace(path.to_str().unwrap(), "F")
    };
    assert_eq!(
        problem(),
        "F: cannot be read: No such file or directory (os error 2); give the path of a file that exists"
    );
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(problem(), "F:2: is not UTF-8 text; save the file as UTF-8");
    std::fs::write(&path, b"\xef\xbb\xbfthreads: 2\n").unwrap();
    assert_eq!(read::<RawConfig>(&path).unwrap().raw.threads, Some(2));
}

#[test]
fn too_many_problems_end() {
    let text: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let (document, problems) = parse_raw(&text);
    assert!(document.is_none());
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    assert!(
        problems
            .to_string()
            .starts_with("t.yaml: has more problems than these 50; mend")
    );
}

/// Whatever is done to a document, reading it ends, with a document or with problems, and says the same twice.
#[test]
fn mangled_documents() {
    let good = include_str!("good.yaml");
    assert_eq!(parse_raw(good).1.to_string(), "");
    let pieces = [
        ":", "- ", "[", "]", "{", "}", "\"", "'", "&a ", "*a", "\t", "\n", "? ", "!", "|", "é",
        "#", " ",
    ];
    for seed in 0..1000u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap_or(0)
        };
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..=next(6) {
            if text.is_empty() {
                break;
            }
            let at = next(text.len());
            match next(4) {
                0 => drop(text.remove(at)),
                1 => text
                    .splice(at..at, pieces[next(pieces.len())].chars())
                    .for_each(drop),
                2 => text.truncate(at.max(1)),
                _ => {
                    let piece: Vec<char> = text[at..(at + next(40)).min(text.len())].to_vec();
                    let to = next(text.len());
                    text.splice(to..to, piece).for_each(drop);
                }
            }
        }
        let text: String = text.into_iter().collect();
        let (document, problems) = parse_raw(&text);
        assert!(
            document.is_some() || !problems.is_empty(),
            "seed {seed}:\n{text}"
        );
        assert!(
            problems.iter().all(|problem| problem.place.line() > 0),
            "seed {seed}: {problems}"
        );
        assert_eq!(parse_raw(&text).1, problems, "seed {seed}");
    }
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
