//! The form of `rfc9111.txt`: a case a line.
//!
//! Columns are parted by `|`, fields by `//`. The first column may end in options: `guess`, `cookies`, `deaf` (requests' wishes are
//! not heeded), `given=S` and `otherwise=S` (the configuration's lifetime), `rtt=S` (how long the answer took). `@S` is the
//! time S seconds after the exchange, as an HTTP date. The third column is the answer; the fourth `+S METHOD fields`, or
//! `-` where only storing is judged, or `!+S METHOD fields`, where the origin has failed and the stored answer may stand in
//! (`!!`: the operator wants that too).
//!
//! Here for the policy's test, and for the one that plays the cases through a running proxy.

#![allow(unreachable_pub, reason = "two tests include it as a module")]

use std::time::{Duration, UNIX_EPOCH};

use trine_cache::{Lifetime, Rules, Seconds};

pub const NOW: Seconds = 1_800_000_000;

pub type Owned = Vec<(Vec<u8>, Vec<u8>)>;

pub fn date(offset: i64) -> String {
    let time = NOW.checked_add_signed(offset).unwrap();
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time))
}

/// `@S` becomes a date.
pub fn dated(text: &str) -> String {
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
pub fn head(column: &str) -> (String, Owned) {
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

pub fn borrowed(owned: &Owned) -> Vec<(&[u8], &[u8])> {
    owned
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect()
}

#[derive(Debug)]
pub struct Options {
    pub rules: Rules,
    pub lifetime: Lifetime,
    pub rtt: Seconds,
}

pub fn options(column: &str) -> Options {
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

/// The columns of every case, with the number of its line.
pub fn cases() -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    let lines = include_str!("../rfc9111.txt").lines().enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(columns.len(), 5, "line {}", number + 1);
            (number + 1, columns)
        })
}
