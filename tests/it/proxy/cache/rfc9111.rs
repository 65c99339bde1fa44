//! The cases of RFC 9111 (`crates/cache/tests/rfc9111.txt`) through a running proxy, by a clock that the test sets.
//!
//! What the policy says of a case, which its own test compares with the table, has to be what clients and the origin see.
//! Left out are interim answers, which are none, and `get`, which is refused.

#[path = "../../../../crates/cache/tests/table/mod.rs"]
mod table;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use e2e::client::Client;
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::{tools, wait};
use table::{NOW, Owned, borrowed, head, options};
use trine_cache::reuse::{Decision, decide, may_cover_error};
use trine_cache::store::{Exchange, Kept, judge};
use trine_cache::{Fields, Lifetime, Rules, Seconds};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// One case as it is played.
struct Case {
    path: String,
    method: String,
    request: Owned,
    status: u16,
    answer: Owned,
    rtt: Seconds,
    /// The origin breaks off when it is asked again.
    breaks: bool,
    delay: Seconds,
    later_method: String,
    later: Owned,
}

/// What becomes of the later request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The origin is not asked; the answer's age.
    Kept(Seconds),
    /// The origin answers; whether it was asked about a stored answer.
    Asked {
        conditional: bool,
    },
    /// The origin breaks off, and the stored answer stands in.
    Covers,
    Fails,
    /// The client wanted nothing but what is kept, and the origin is not asked.
    NotCached,
}

/// The case, and what the policy says that has to come of it.
fn read(
    number: usize,
    columns: &[&str],
    locations: &mut Vec<String>,
) -> Option<(Case, Outcome, Option<Kept>)> {
    let options = options(columns[0]);
    let (method, request) = head(columns[1]);
    let (status, mut answer) = head(columns[2]);
    let status: u16 = status.parse().unwrap();
    if status < 200 || method == "get" {
        return None;
    }
    let rules: Rules = options.rules;
    let mut directives = String::new();
    if rules.heed_requests {
        directives += "proxy_cache_heed_requests on;";
    }
    if rules.guess {
        directives += "proxy_cache_heuristics on;";
    }
    if rules.cookies {
        directives += "proxy_ignore_headers Set-Cookie;";
    }
    if let Lifetime::Otherwise(time) = options.lifetime {
        let _ = write!(directives, "proxy_cache_valid any {time}s;");
    }
    let later = columns[3];
    let (breaks, configured) = (later.starts_with('!'), later.starts_with("!!"));
    if configured {
        directives += "proxy_cache_use_stale error;";
    }
    let location = locations.iter().position(|known| *known == directives);
    let location = location.unwrap_or_else(|| {
        locations.push(directives);
        locations.len() - 1
    });
    let (delay, later_method, later) = match later.trim_start_matches(['!', '+']).split_once(' ') {
        None => (0, method.clone(), request.clone()),
        Some((delay, later)) => {
            let (method, later) = head(later);
            (delay.parse().unwrap(), method, later)
        }
    };
    let (asked, told, again) = (borrowed(&request), borrowed(&answer), borrowed(&later));
    let exchange = Exchange {
        method: &method,
        request: Fields(&asked),
        status,
        answer: Fields(&told),
        asked_at: NOW - options.rtt,
        answered_at: NOW,
    };
    // An order not to keep it, where the policy alone would ask each time.
    let forbidden = matches!(options.lifetime, Lifetime::Given(0));
    let kept = judge(&exchange, options.lifetime, rules).ok();
    let kept = kept.filter(|_| !forbidden);
    let matches = |kept: &&Kept| kept.vary_key(Fields(&again)) == kept.vary_key(Fields(&asked));
    let used = kept.as_ref().filter(matches);
    let now = NOW + delay;
    let conditional =
        used.is_some() && (Fields(&told).has("etag") || Fields(&told).has("last-modified"));
    let outcome = match decide(&later_method, Fields(&again), used, now, rules) {
        Decision::Reuse { age }
        | Decision::ReuseStale {
            age,
            refresh: false,
        } => Outcome::Kept(age),
        Decision::NotCached => Outcome::NotCached,
        _ if breaks => match used {
            Some(kept) if may_cover_error(Fields(&again), kept, now, rules, configured) => {
                Outcome::Covers
            }
            _ => Outcome::Fails,
        },
        Decision::ReuseStale { .. } | Decision::Validate(_) => Outcome::Asked { conditional },
        Decision::Forward(_) => Outcome::Asked { conditional: false },
    };
    if let Lifetime::Given(time) = options.lifetime {
        answer.push((b"X-Accel-Expires".to_vec(), time.to_string().into_bytes()));
    }
    let case = Case {
        path: format!("/{location}/{number}"),
        method,
        request,
        status,
        answer,
        rtt: options.rtt,
        breaks,
        delay,
        later_method,
        later,
    };
    Some((case, outcome, kept))
}

/// The clock by which the proxy goes. It stands still.
struct Clock<'a>(&'a Path);

impl Clock<'_> {
    fn set(&self, time: Seconds) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        let date = httpdate::HttpDate::from(time).to_string();
        // `Fri, 15 Jan 2027 08:00:00 GMT`
        let words: Vec<&str> = date.split(' ').collect();
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = months.find(words[2]).unwrap() / 3 + 1;
        let text = format!("{}-{month:02}-{} {}\n", words[3], words[1], words[4]);
        let beside = self.0.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, self.0).unwrap();
    }
}

/// The origin's end of one connection.
fn accept(origin: &UnixListener, case: &Case) -> (UnixStream, String) {
    let what = format!("the origin to be asked by {} {}", case.method, case.path);
    let mut stream = wait::until(&what, || origin.accept().ok()).0;
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed within a head");
        head.extend_from_slice(&piece[..count]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn lines(fields: &Owned) -> Vec<u8> {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        [&name[..], b": ", value.trim_ascii(), b"\r\n"].concat()
    };
    fields.iter().flat_map(line).collect()
}

fn send(socket: &Path, method: &str, path: &str, fields: &Owned) -> Client {
    let mut client = Client::connect(socket.to_owned());
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n")
        .into_bytes();
    head.extend(lines(fields));
    head.extend_from_slice(b"\r\n");
    client.write(&head).unwrap();
    client
}

fn answer(status: u16, fields: &Owned, method: &str, body: &str) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} X\r\n").into_bytes();
    bytes.extend(lines(fields));
    let bodiless = matches!(status, 204 | 304);
    if !bodiless {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    if !bodiless && method != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// Plays a case; what is wrong, if anything.
fn play(
    case: &Case,
    want: &Outcome,
    kept: Option<&Kept>,
    socket: &Path,
    origin: &UnixListener,
    clock: &Clock<'_>,
) -> Result<(), String> {
    clock.set(NOW - case.rtt);
    let mut client = send(socket, &case.method, &case.path, &case.request);
    let (mut stream, _) = accept(origin, case);
    clock.set(NOW);
    let first = answer(case.status, &case.answer, &case.method, "first");
    stream
        .write_all(&first)
        .map_err(|error| format!("the origin's answer: {error}"))?;
    drop(stream);
    let reply = client
        .read_reply(&case.method)
        .map_err(|error| format!("the first answer: {error}"))?;
    if reply.status != case.status {
        return Err(format!("{} came through as {}", case.status, reply.status));
    }
    clock.set(NOW + case.delay);
    let mut client = send(socket, &case.later_method, &case.path, &case.later);
    let mut conditional = None;
    if !matches!(want, Outcome::Kept(_) | Outcome::NotCached) {
        let (mut stream, head) = accept(origin, case);
        let head = head.to_ascii_lowercase();
        let own = |name: &str| Fields(&borrowed(&case.later)).has(name);
        conditional = Some(
            ["if-none-match", "if-modified-since"]
                .iter()
                .any(|name| head.contains(name) && !own(name)),
        );
        if !case.breaks {
            let fields = vec![(b"Cache-Control".to_vec(), b"no-store".to_vec())];
            stream
                .write_all(&answer(200, &fields, &case.later_method, "second"))
                .unwrap();
        }
    }
    let reply = client
        .read_reply(&case.later_method)
        .map_err(|error| format!("the later answer: {error}"))?;
    if origin.accept().is_ok() {
        return Err("the origin was asked".to_owned());
    }
    let from_store = reply.header("age").is_some();
    let age = reply.header("age").and_then(|age| age.parse().ok());
    let got = match (conditional, from_store) {
        (None, false) if reply.status == 504 => Outcome::NotCached,
        (None, _) => Outcome::Kept(age.unwrap_or(Seconds::MAX)),
        (Some(_), true) => Outcome::Covers,
        (Some(_), false) if reply.status == 502 => Outcome::Fails,
        (Some(conditional), false) => Outcome::Asked { conditional },
    };
    if got != *want {
        return Err(format!("{got:?}, not {want:?}"));
    }
    if got == Outcome::NotCached {
        return Ok(());
    }
    let body = if from_store { "first" } else { "second" };
    if case.later_method == "GET" && reply.status == 200 && reply.text() != body {
        return Err(format!("{:?} instead of {body:?}", reply.text()));
    }
    let withheld = kept.into_iter().flat_map(|kept| &kept.withheld);
    match withheld
        .into_iter()
        .find(|name| from_store && reply.header(name).is_some())
    {
        Some(name) => Err(format!("{name} was kept")),
        None => Ok(()),
    }
}

#[test]
fn the_cases_of_rfc_9111_through_a_proxy() {
    if tools::program("faketime", "faketime").is_none() {
        return;
    }
    let folder = Folder::new();
    let mut locations = Vec::new();
    let read = table::cases().filter_map(|(number, columns)| {
        let read = read(number, &columns, &mut locations)?;
        Some((columns.join(" | "), read))
    });
    let cases: Vec<_> = read.collect();
    let dir = folder.path().display();
    let mut text = format!(
        "daemon off; error_log stderr; events {{}} http {{ proxy_cache_path {dir}/kept keys_zone=z:10m;
         server {{ listen unix:{dir}/front; proxy_cache z; proxy_cache_convert_head off;
         proxy_next_upstream off;\n"
    );
    for (number, directives) in locations.iter().enumerate() {
        let _ = writeln!(
            text,
            "location /{number}/ {{ proxy_pass http://unix:{dir}/origin:; {directives} }}"
        );
    }
    folder.write("nginx.conf", text + "} }");
    let (file, origin) = (folder.join("clock"), folder.join("origin"));
    let clock = Clock(&file);
    clock.set(NOW);
    let origin = UnixListener::bind(&origin).unwrap();
    origin.set_nonblocking(true).unwrap();
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "nginx.conf"])
        .env("TZ", "UTC")
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", &file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .notify()
        .start(&folder)
        .wait_ready();
    let mut wrong = String::new();
    for (line, (case, want, kept)) in &cases {
        if let Err(what) = play(
            case,
            want,
            kept.as_ref(),
            &folder.join("front"),
            &origin,
            &clock,
        ) {
            let _ = writeln!(wrong, "{line}\n    {what}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{}", proxy.output());
    assert!(cases.len() >= 300, "{} cases", cases.len());
    proxy.stop();
}
