//! `rfc9111.txt`, a case a line: an exchange, a later request, and what the policy has to make of it.
//!
//! Columns are parted by `|`, fields by `//`. The first column may end in options: `guess`, `cookies`, `deaf` (requests' wishes are
//! not heeded), `given=S` and `otherwise=S` (the configuration's lifetime), `rtt=S` (how long the answer took). `@S` is the
//! time S seconds after the exchange, as an HTTP date. The third column is the answer; the fourth `+S METHOD fields`, or
//! `-` where only storing is judged, or `!+S METHOD fields`, where the origin has failed and the stored answer may stand in
//! (`!!`: the operator wants that too).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use trine_cache::reuse::{Decision, decide, may_cover_error};
use trine_cache::store::{Exchange, judge};
use trine_cache::{Fields, Lifetime, Rules, Seconds};

const NOW: Seconds = 1_800_000_000;

type Owned = Vec<(Vec<u8>, Vec<u8>)>;

fn date(offset: i64) -> String {
    let time = NOW.checked_add_signed(offset).unwrap();
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time))
}

/// `@S` becomes a date.
fn dated(text: &str) -> String {
    let mut parts = text.split('@');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        out += &date(number.parse().unwrap());
        out += rest;
    }
    out
}

/// A first word, and fields.
fn head(column: &str) -> (String, Owned) {
    let (word, fields) = column.split_once(' ').unwrap_or((column, ""));
    let fields = fields
        .split("//")
        .map(str::trim)
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (name, value) = field.split_once(':').unwrap();
            (name.as_bytes().to_vec(), dated(value).into_bytes())
        })
        .collect();
    (word.to_owned(), fields)
}

fn borrowed(owned: &Owned) -> Vec<(&[u8], &[u8])> {
    owned
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect()
}

#[derive(Debug)]
struct Options {
    rules: Rules,
    lifetime: Lifetime,
    rtt: Seconds,
}

fn options(column: &str) -> Options {
    let mut options = Options {
        rules: Rules::default(),
        lifetime: Lifetime::Said,
        rtt: 0,
    };
    for word in column.split_whitespace().skip(1) {
        let (word, number) = word.split_once('=').unwrap_or((word, "0"));
        let number: Seconds = number.parse().unwrap();
        match word {
            "guess" => options.rules.guess = true,
            "cookies" => options.rules.cookies = true,
            "deaf" => options.rules.heed_requests = false,
            "given" => options.lifetime = Lifetime::Given(number),
            "otherwise" => options.lifetime = Lifetime::Otherwise(number),
            "rtt" => options.rtt = number,
            other => panic!("{other}"),
        }
    }
    options
}

fn got(columns: &[&str]) -> String {
    let options = options(columns[0]);
    let (method, request) = head(columns[1]);
    let (status, answer) = head(columns[2]);
    let (request, answer) = (borrowed(&request), borrowed(&answer));
    let kept = judge(
        &Exchange {
            method: &method,
            request: Fields(&request),
            status: status.parse().unwrap(),
            answer: Fields(&answer),
            asked_at: NOW - options.rtt,
            answered_at: NOW,
        },
        options.lifetime,
        options.rules,
    );
    let kept = match kept {
        Ok(kept) => kept,
        Err(why) => return format!("{why:?}").to_lowercase(),
    };
    let later = columns[3];
    if later == "-" {
        let mut told = "stored".to_owned();
        if !kept.withheld.is_empty() {
            write!(told, " without {}", kept.withheld.join(" ")).unwrap();
        }
        return told;
    }
    let configured = later.starts_with("!!");
    let failed = later.starts_with('!');
    let (delay, later) = later
        .trim_start_matches(['!', '+'])
        .split_once(' ')
        .unwrap();
    let now = NOW + delay.parse::<Seconds>().unwrap();
    let (method, later) = head(later);
    let later = borrowed(&later);
    let later = Fields(&later);
    if failed {
        let may = may_cover_error(later, &kept, now, options.rules, configured);
        return if may { "covers" } else { "fails" }.to_owned();
    }
    if kept.vary_key(later) != kept.vary_key(Fields(&request)) {
        return "another variant".to_owned();
    }
    match decide(&method, later, Some(&kept), now, options.rules) {
        Decision::Reuse { age } => format!("reuse {age}"),
        Decision::ReuseStale {
            age,
            refresh: false,
        } => format!("stale {age}"),
        Decision::ReuseStale { age, refresh: true } => format!("refresh {age}"),
        Decision::Validate(why) => format!("validate {why:?}").to_lowercase(),
        Decision::Forward(why) => format!("forward {why:?}").to_lowercase(),
        Decision::NotCached => "504".to_owned(),
    }
}

#[test]
fn cases() {
    let mut wrong = String::new();
    let mut count = 0;
    for (number, line) in include_str!("rfc9111.txt").lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        count += 1;
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [.., want] = columns[..] else { continue };
        assert_eq!(columns.len(), 5, "line {}", number + 1);
        let got = got(&columns);
        if got != want {
            writeln!(wrong, "line {}: {line}\n    got {got}", number + 1).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 250, "{count} cases");
}

#[test]
fn nothing_stored() {
    let rules = Rules::default();
    let only: [(&[u8], &[u8]); 1] = [(b"cache-control", b"only-if-cached")];
    let none = |method, fields| decide(method, Fields(fields), None, NOW, rules);
    assert_eq!(none("GET", &only), Decision::NotCached);
    assert!(matches!(none("GET", &[]), Decision::Forward(_)));
    assert!(matches!(none("POST", &only), Decision::Forward(_)));
}
