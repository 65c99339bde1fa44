//! `rfc9111.txt` against the policy: an exchange, a later request, and what has to be made of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod table;

use std::fmt::Write as _;

use table::{NOW, borrowed, head, options};
use trine_cache::reuse::{Decision, decide, may_cover_error};
use trine_cache::store::{Exchange, judge};
use trine_cache::{Fields, Rules, Seconds};

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
    for (number, columns) in table::cases() {
        count += 1;
        let (got, want) = (got(&columns), columns[4]);
        if got != want {
            writeln!(wrong, "line {number}: {columns:?}\n    got {got}").unwrap();
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
