//! The differential runner: the same configurations and requests against Debian's nginx and trine-proxy. What differs
//! must equal the reviewed list in `differential/differences.txt`, where each line says why ours is right.
//!
//! All cases are servers of one configuration, each on a Unix socket of its own, so that one nginx and one trine-proxy
//! serve them all. Not here: what is refused, and TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use base64::Engine as _;
use e2e::client::{Address, Client, Request};
use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::{tools, wait};

const CASES: &[(&str, &str)] = &[
    ("routing", include_str!("differential/routing.txt")),
    ("files", include_str!("differential/files.txt")),
    ("proxying", include_str!("differential/proxying.txt")),
    ("answers", include_str!("differential/answers.txt")),
    ("sites", include_str!("differential/sites.txt")),
    ("rewriting", include_str!("differential/rewriting.txt")),
    ("access", include_str!("differential/access.txt")),
    ("limits", include_str!("differential/limits.txt")),
    ("tables", include_str!("differential/tables.txt")),
];
const REVIEWED: &str = include_str!("differential/differences.txt");
const FEWEST_CASES: usize = 150;

/// `secret` in every form that a user file may have.
const USERS: &str = "# not:users\n\
plain:{PLAIN}secret\n\
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
ssha:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0\n\
apr1:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n\
des:rlcg0.fZequS.\n\
md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n\
sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
sha512:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n\
bcrypt:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n\
yescrypt:$y$j9T$saltsaltsaltsalt$.Zt5W26jjocuW0wIHGgB6AJelofw6GEpOypHGyow2y5\n\
unknown:$nosuch$kind\n\
comment:{PLAIN}secret:a comment\n\
empty:{PLAIN}\n\
plain:{PLAIN}second\n";

/// One server and what it is asked.
struct Case {
    name: String,
    /// Directives for `http`.
    http: String,
    /// Directives for `server`.
    server: String,
    requests: Vec<String>,
}

/// `### name`, then directives: `http|` before those of `http`, `>` before requests.
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
    all
}

/// The whole configuration for one of the two: `who` names its sockets.
fn configuration(cases: &[Case], folder: &Folder, who: &str) -> String {
    let dir = folder.path().display();
    let mut text = format!(
        "worker_processes 1; daemon off; master_process off; pid {dir}/{who}.pid; error_log {dir}/{who}.log;\n\
         events {{}}\nhttp {{\naccess_log off; root {dir}/www;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {dir}/{who}-{kind};");
    }
    if who != "theirs" {
        // Modules whose directives we do not have: their temporary folders are nginx's own need.
        text = text
            .lines()
            .filter(|line| {
                !["fastcgi_", "uwsgi_", "scgi_"]
                    .iter()
                    .any(|kind| line.starts_with(kind))
            })
            .fold(String::new(), |text, line| text + line + "\n");
    }
    text += "types { text/html html; text/css css; text/plain txt; application/javascript js; image/png png; }\n";
    for (number, case) in cases.iter().enumerate() {
        let fill = |part: &str| {
            part.replace("@n@", &number.to_string())
                .replace("@dir@", &dir.to_string())
                .replace("@app@", &format!("unix:{dir}/app.sock"))
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

fn files(folder: &Folder) {
    for (name, content) in [
        ("www/index.html", "home\n"),
        ("www/404.html", "custom 404\n"),
        ("www/50x.html", "custom 50x\n"),
        ("www/a.txt", "0123456789abcdefghijklmnopqrstuvwxyz\n"),
        ("www/style.css", "body{}\n"),
        ("www/app.js", "let x;\n"),
        ("www/noending", "plain\n"),
        ("www/sp ace.txt", "space\n"),
        ("www/empty.txt", ""),
        ("www/sub/index.html", "sub home\n"),
        ("www/sub/x.html", "sub x\n"),
        ("www/noindex/file.txt", "file\n"),
        ("www/img/logo.png", "png\n"),
        ("www/.hidden", "hidden\n"),
        ("other/index.html", "other home\n"),
        ("other/a.txt", "other a\n"),
        ("other/deep/b.txt", "deep b\n"),
        ("geo.conf", "198.51.100.0/24 net;\n198.51.100.77 host;\n"),
        ("users", USERS),
        ("users2", "first:{PLAIN}secret\nlast:{PLAIN}secret"),
    ] {
        let path = folder.write(name, content);
        let time = filetime(&path);
        drop(time);
    }
}

/// All files were changed at the same moment, so that validators can be compared.
fn filetime(path: &Path) -> std::io::Result<()> {
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options()
        .append(true)
        .open(path)?
        .set_modified(when)
}

/// Answers every request with what it was asked, so that the comparison sees what went on to the upstream.
fn application(folder: &Folder) {
    let listener = UnixListener::bind(folder.join("app.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(converse(stream)));
        }
    });
}

fn converse(mut stream: UnixStream) -> std::io::Result<()> {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => unread.extend_from_slice(&buffer[..count]),
            }
        };
        let head = String::from_utf8_lossy(&unread[..end]).into_owned();
        unread.drain(..end);
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        let request = lines.remove(0).to_owned();
        let length: usize = lines
            .iter()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        while unread.len() < length {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                count => unread.extend_from_slice(&buffer[..count]),
            }
        }
        let body: Vec<u8> = unread.drain(..length).collect();
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        // The version and the connection's future are each proxy's own affair.
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        lines.sort_unstable_by_key(|line| line.to_ascii_lowercase());
        let mut text = format!("{method} {target}\n{}\n", lines.join("\n"));
        text += &String::from_utf8_lossy(&body);
        let asked = |key: &str| {
            let start = target.find(key)? + key.len();
            let rest = &target[start..];
            Some(rest[..rest.find('&').unwrap_or(rest.len())].to_owned())
        };
        let status = asked("status=").unwrap_or_else(|| "200 OK".to_owned());
        let mut reply = format!(
            "HTTP/1.1 {}\r\nContent-Length: {}\r\n",
            status.replace('+', " "),
            text.len()
        );
        if let Some(location) = asked("location=") {
            let _ = write!(reply, "Location: {location}\r\n");
        }
        for field in asked("field=").iter() {
            let (name, value) = field.split_once(':').unwrap_or((field, ""));
            let _ = write!(reply, "{name}: {value}\r\n");
        }
        reply += "Content-Type: text/plain\r\nX-App: yes\r\n\r\n";
        if method != "HEAD" {
            reply += &text;
        }
        stream.write_all(reply.as_bytes())?;
    }
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

/// What is compared of an answer.
fn shown(reply: &std::io::Result<Reply>) -> String {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return format!("no answer: {:?}\n", error.kind()),
    };
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let own_page =
        body.contains("<center>nginx") || body.starts_with("<!doctype html>\n<html lang=\"en\">");
    let mut fields: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| {
            !["date", "server", "connection", "expires"]
                .contains(&name.to_ascii_lowercase().as_str())
        })
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !(own_page && (name == "content-length" || name == "content-type"))
        })
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    fields.sort();
    let body = if own_page {
        "(a page of its own)\n"
    } else {
        &body
    };
    format!("{}\n{}\n\n{body}", reply.status, fields.join("\n"))
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
    files(&folder);
    application(&folder);
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
    theirs.stop();
    ours.stop();
    converted.stop();
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
