//! The differential runner: the same configurations and requests against Debian's nginx and trine-proxy. What differs
//! must equal the reviewed list in `differential/differences.txt`, where each line says why ours is right.
//!
//! All cases are servers of one configuration, each on a Unix socket of its own, so that one nginx and one trine-proxy
//! serve them all. Not here: what is refused, and TLS.

mod peers;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use e2e::client::{Address, Client, Request};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::{tools, wait};
use peers::Peers;

const CASES: &[(&str, &str)] = &[
    ("routing", include_str!("differential/routing.txt")),
    ("files", include_str!("differential/files.txt")),
    ("proxying", include_str!("differential/proxying.txt")),
    ("answers", include_str!("differential/answers.txt")),
    ("sites", include_str!("differential/sites.txt")),
    ("rewriting", include_str!("differential/rewriting.txt")),
    ("scripts", include_str!("differential/scripts.txt")),
    ("access", include_str!("differential/access.txt")),
    ("balancing", include_str!("differential/balancing.txt")),
    ("limits", include_str!("differential/limits.txt")),
    ("tables", include_str!("differential/tables.txt")),
    ("handing", include_str!("differential/handing.txt")),
    ("serving", include_str!("differential/serving.txt")),
    ("asking", include_str!("differential/asking.txt")),
    ("replacing", include_str!("differential/replacing.txt")),
    ("adding", include_str!("differential/adding.txt")),
    ("caching", include_str!("differential/caching.txt")),
    ("compression", include_str!("differential/compression.txt")),
    ("gateways", include_str!("differential/gateways.txt")),
    ("families", include_str!("differential/families.txt")),
    ("peers", include_str!("differential/peers.txt")),
    ("bodies", include_str!("differential/bodies.txt")),
    ("slicing", include_str!("differential/slicing.txt")),
    ("trailers", include_str!("differential/trailers.txt")),
    ("storing", include_str!("differential/storing.txt")),
];
const REVIEWED: &str = include_str!("differential/differences.txt");
/// What a case writes to this file of the folder is compared too.
const ACCESS_LOG: &str = "@who@-@n@.access";
const FEWEST_CASES: usize = 601;

/// One server and what it is asked.
struct Case {
    name: String,
    /// Directives for `http`.
    http: String,
    /// Directives for `server`.
    server: String,
    requests: Vec<String>,
}

/// `### name`, then directives: `http|` before those of `http`, `>` before requests. One with `@F@` is a case for each of FastCGI,
/// uwsgi and SCGI.
fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for (file, text) in CASES {
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("### ") {
                all.push(Case {
                    name: format!("{file}: {name}"),
                    http: String::new(),
                    server: String::new(),
                    requests: Vec::new(),
                });
                continue;
            }
            let Some(case) = all.last_mut() else { continue };
            if let Some(request) = line.strip_prefix("> ") {
                case.requests.push(request.to_owned());
            } else if let Some(http) = line.strip_prefix("http| ") {
                let _ = writeln!(case.http, "{http}");
            } else {
                let _ = writeln!(case.server, "{line}");
            }
        }
    }
    all.into_iter().flat_map(peers::by_family).collect()
}

/// The whole configuration for one of the two: `who` names its sockets.
fn configuration(cases: &[Case], folder: &Folder, who: &str) -> String {
    let dir = folder.path().display();
    let params = tools::repository().join("deploy/params");
    let mut text = format!(
        "worker_processes 1; daemon off; master_process off; pid {dir}/{who}.pid; error_log {dir}/{who}.log;\n\
         events {{ worker_connections 8192; }}\nhttp {{\naccess_log off; root {dir}/www;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {dir}/{who}-{kind};");
    }
    text += "types { text/html html; text/css css; text/plain txt; application/javascript js; image/png png; }\n";
    for (number, case) in cases.iter().enumerate() {
        let fill = |part: &str| {
            peers::named(part, &dir.to_string())
                .replace("@n@", &number.to_string())
                .replace("@dir@", &dir.to_string())
                .replace("@who@", who)
                .replace("@app@", &format!("unix:{dir}/app.sock"))
                .replace("@apps@", &tools::apps().display().to_string())
                .replace(
                    "@phproot@",
                    &tools::apps().join("php").display().to_string(),
                )
                .replace("@params@", &params.display().to_string())
        };
        let _ = write!(
            text,
            "# {}\n{}server {{\nlisten unix:{dir}/{who}-{number}.sock;\n{}}}\n",
            case.name,
            fill(&case.http),
            fill(&case.server)
        );
    }
    text + "}\n"
}

/// `METHOD TARGET [| Name: value]... [|| body]`; `Basic: user:password` is a field of its own kind.
fn request(line: &str) -> Request {
    let (line, body) = line.split_once(" || ").unwrap_or((line, ""));
    let mut parts = line.split(" | ");
    let first = parts.next().unwrap_or("");
    let (method, target) = first.split_once(' ').unwrap_or((first, "/"));
    let mut request = if body.is_empty() {
        Request::new(method, target)
    } else {
        Request::post(target, body)
    };
    let mut has_host = false;
    for field in parts {
        let (name, value) = field.split_once(": ").unwrap_or((field, ""));
        has_host |= name.eq_ignore_ascii_case("host");
        if name == "Basic" {
            let credentials = base64::engine::general_purpose::STANDARD.encode(value);
            request = request.header("Authorization", &format!("Basic {credentials}"));
            continue;
        }
        request = request.header(name, value);
    }
    if has_host {
        request
    } else {
        request.header("Host", "site.test")
    }
}

/// Two compressors make different bytes of the same text.
fn unpacked(reply: &Reply) -> Vec<u8> {
    let mut text = b"(gzip) ".to_vec();
    let mut decoder = flate2::read::MultiGzDecoder::new(&reply.body[..]);
    let is_gzip = reply.header("content-encoding") == Some("gzip");
    if is_gzip && decoder.read_to_end(&mut text).is_ok() {
        text
    } else {
        reply.body.clone()
    }
}

/// What is compared of an answer.
fn shown(reply: &std::io::Result<Reply>) -> String {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return format!("no answer: {:?}\n", error.kind()),
    };
    let body = String::from_utf8_lossy(&unpacked(reply)).into_owned();
    // What names a socket names that of the one who is asked.
    let body = ["theirs-", "ours-", "converted-"]
        .iter()
        .fold(body, |body, who| body.replace(who, "who-"));
    let own_page =
        body.contains("<center>nginx") || body.contains("<!doctype html>\n<html lang=\"en\">");
    let mut fields: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| {
            !["date", "server", "connection", "expires"]
                .contains(&name.to_ascii_lowercase().as_str())
        })
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            // How old what comes from our cache is, and why, nginx does not tell.
            !matches!(name.as_str(), "age" | "cache-status")
                && !(own_page && (name == "content-length" || name == "content-type"))
        })
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    // How the end of a body is told is each one's own affair, as long as it is told.
    let length = format!("content-length: {}", reply.body.len());
    fields.retain(|field| *field != length && field != "transfer-encoding: chunked");
    fields.sort();
    let body = if own_page {
        "(a page of its own)\n"
    } else {
        &body
    };
    let trailers = reply.trailers.iter();
    let trailers: String = trailers
        .map(|(name, value)| format!("\n{}: {value}", name.to_ascii_lowercase()))
        .collect();
    format!(
        "{}\n{}\n\n{body}{trailers}",
        reply.status,
        fields.join("\n")
    )
}

/// What a folder holds, with permissions, and times that somebody has set.
fn stored(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else {
        return String::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let meta = fs::metadata(&path).unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        let _ = write!(text, "{} {mode:o}", path.file_name().unwrap().display());
        if meta.is_dir() {
            let _ = write!(text, "\n{}", stored(&path));
            continue;
        }
        let modified = meta.modified().unwrap();
        if modified
            .elapsed()
            .is_ok_and(|age| age.as_secs() > 24 * 3600)
        {
            let since = modified.duration_since(UNIX_EPOCH).unwrap();
            let _ = write!(text, " {}", since.as_secs());
        }
        let content = fs::read(&path).unwrap();
        let _ = writeln!(text, "\n{}", content.escape_ascii());
    }
    text
}

/// The same configuration once more, converted to YAML: it has to convert, and to answer the same.
fn converted(cases: &[Case], folder: &Folder) -> Daemon {
    folder.write("converted.conf", configuration(cases, folder, "converted"));
    let output = Command::new(tools::binary("trine-proxy"))
        .arg("convert")
        .arg(folder.join("converted.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    folder.write("converted.yaml", &output.stdout);
    Launch::trine("trine-proxy")
        .args(["-c", "converted.yaml"])
        .notify()
        .start(folder)
        .wait_ready()
}

#[test]
fn answers_as_nginx_does() {
    let Some(nginx) = tools::nginx() else { return };
    let cases = cases();
    assert!(cases.len() >= FEWEST_CASES, "{} cases", cases.len());
    let folder = Folder::new();
    let Some(peers) = Peers::start(&folder) else {
        return;
    };
    site::make(&folder);
    folder.write("theirs.conf", configuration(&cases, &folder, "theirs"));
    folder.write("ours.conf", configuration(&cases, &folder, "ours"));
    let theirs = Launch::program(nginx)
        .args([
            "-p",
            &folder.path().display().to_string(),
            "-c",
            "theirs.conf",
        ])
        .args(["-e", "stderr"])
        .start(&folder);
    let ours = Launch::trine("trine-proxy")
        .args(["-c", "ours.conf"])
        .notify()
        .start(&folder)
        .wait_ready();
    let converted = converted(&cases, &folder);
    let last = cases.len() - 1;
    wait::until("nginx to listen", || {
        let path = folder.join(format!("theirs-{last}.sock"));
        UnixStream::connect(path).ok()
    });

    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let ask = |who: &str, line: &str| {
            let address: Address = folder.join(format!("{who}-{number}.sock")).into();
            shown(&Client::connect(address).try_ask(&request(line)))
        };
        for line in &case.requests {
            let (theirs, ours) = (ask("theirs", line), ask("ours", line));
            assert_eq!(
                ours,
                ask("converted", line),
                "as YAML: {} > {line}",
                case.name
            );
            if theirs != ours {
                let key = format!("{} > {line}", case.name);
                found.insert(key, format!("--- nginx\n{theirs}\n--- trine-proxy\n{ours}"));
            }
        }
    }
    for (number, case) in cases.iter().enumerate() {
        let left = |who: &str| stored(&folder.join(format!("{who}-{number}-store")));
        let (theirs, ours) = (left("theirs"), left("ours"));
        assert_eq!(ours, left("converted"), "as YAML: {}", case.name);
        if theirs != ours {
            let key = format!("{} > (files)", case.name);
            found.insert(key, format!("--- nginx\n{theirs}\n--- trine-proxy\n{ours}"));
        }
    }
    theirs.stop();
    ours.stop();
    converted.stop();
    peers.stop();
    for (number, case) in cases.iter().enumerate() {
        if !case.server.contains(ACCESS_LOG) {
            continue;
        }
        let log = |who: &str| {
            let path = folder.join(
                ACCESS_LOG
                    .replace("@who@", who)
                    .replace("@n@", &number.to_string()),
            );
            std::fs::read_to_string(path).unwrap()
        };
        let (theirs, ours) = (log("theirs"), log("ours"));
        assert_eq!(ours, log("converted"), "as YAML: the log of {}", case.name);
        if theirs != ours {
            let key = format!("{} > its log", case.name);
            found.insert(key, format!("--- nginx\n{theirs}\n--- trine-proxy\n{ours}"));
        }
    }
    let reviewed: BTreeSet<String> = REVIEWED
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(" > "))
        .map(|line| {
            line.rsplit_once(" # ")
                .map_or(line, |(key, _)| key)
                .trim()
                .to_owned()
        })
        .collect();
    let mut report = String::new();
    for (key, difference) in &found {
        if !reviewed.contains(key) {
            let _ = write!(report, "\n==== not reviewed: {key}\n{difference}\n");
        }
    }
    for key in &reviewed {
        if !found.contains_key(key) {
            let _ = write!(report, "\n==== no difference any more: {key}\n");
        }
    }
    assert!(report.is_empty(), "{report}");
}
