//! The fields that a location adds to answers: `add_header` and `expires`.
//!
//! Not here: fields that every answer has, or that upstreams send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trine_http1::write_header;

use crate::config::{Expires, Rules};
use crate::conn::record::Record;
use crate::conn::reply::push_number;
use crate::template::{Scene, Template};

const EPOCH: &[u8] = b"Thu, 01 Jan 1970 00:00:01 GMT";
const FAR: &[u8] = b"Thu, 31 Dec 2037 23:55:55 GMT";
const TEN_YEARS: u64 = 315_360_000;
const DAY: u64 = 24 * 60 * 60;

/// Statuses with which fields are added that are not `always`.
pub(crate) fn is_good(status: u16) -> bool {
    matches!(
        status,
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// Whether the location sets how long the answer may be kept, in place of what an upstream says.
pub(crate) fn sets_expiry(rules: &Rules, status: u16) -> bool {
    rules.expires.is_some() && is_good(status)
}

/// Whether there may be any.
pub(crate) fn adds(rules: &Rules, record: &Record) -> bool {
    !rules.headers.is_empty()
        || rules.expires.is_some()
        || record.visit.challenge.is_some()
        || !record.visit.carried.is_empty()
        || !record.visit.bound.is_empty()
}

/// Appends the fields. What is in `out` so far is the head that `$sent_http_…` looks at.
pub(crate) fn write(
    out: &mut Vec<u8>,
    rules: &Rules,
    status: u16,
    modified: Option<SystemTime>,
    scene: &Scene<'_>,
) {
    if !adds(rules, scene.record) {
        return;
    }
    let visit = &scene.record.visit;
    let mut added = [&visit.bound[..], &visit.carried].concat();
    if let Some(realm) = scene
        .record
        .visit
        .challenge
        .as_deref()
        .filter(|realm| is_clean(realm))
    {
        added.extend_from_slice(b"WWW-Authenticate: Basic realm=\"");
        added.extend_from_slice(realm);
        added.extend_from_slice(b"\"\r\n");
    }
    let scene = Scene {
        sent: out,
        ..*scene
    };
    if let Some(expires) = &rules.expires
        && is_good(status)
    {
        write_expires(&mut added, expires, modified, &scene);
    }
    for header in &rules.headers {
        if !header.always && !is_good(status) {
            continue;
        }
        let value = header.value.value(&scene);
        if !value.is_empty() && is_clean(&value) {
            write_header(&mut added, header.name.as_bytes(), &value);
        }
    }
    out.extend_from_slice(&added);
}

/// A variable may bring what would end the field's line.
pub(crate) fn is_clean(value: &[u8]) -> bool {
    !value.iter().any(|&byte| matches!(byte, b'\r' | b'\n' | 0))
}

fn write_expires(
    out: &mut Vec<u8>,
    expires: &Expires,
    modified: Option<SystemTime>,
    scene: &Scene<'_>,
) {
    let now = scene.conn.engine.time.now();
    match expires {
        Expires::Epoch => {
            write_header(out, b"Expires", EPOCH);
            out.extend_from_slice(b"Cache-Control: no-cache\r\n");
        }
        Expires::Max => {
            write_header(out, b"Expires", FAR);
            max_age(out, TEN_YEARS);
        }
        Expires::After(seconds) => from_now(out, now, *seconds),
        Expires::AfterModified(seconds) => {
            let age = modified.and_then(|modified| now.duration_since(modified).ok());
            let age = i64::try_from(age.unwrap_or_default().as_secs()).unwrap_or(0);
            from_now(out, now, seconds - age);
        }
        Expires::At(second) => {
            let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let today = since % DAY;
            let wait = (u64::from(*second) + DAY - today) % DAY;
            from_now(out, now, i64::try_from(wait).unwrap_or(0));
        }
        Expires::Variable(template) => {
            if let Some(expires) = word(template, scene) {
                write_expires(out, &expires, modified, scene);
            }
        }
    }
}

/// What a variable says; `off` and nothing mean that nothing is set.
fn word(template: &Template, scene: &Scene<'_>) -> Option<Expires> {
    let value = template.value(scene);
    let text = std::str::from_utf8(&value).ok()?;
    crate::config::nginx::expires(text, false).ok().flatten()
}

fn from_now(out: &mut Vec<u8>, now: SystemTime, seconds: i64) {
    let at = match u64::try_from(seconds) {
        Ok(seconds) => now + Duration::from_secs(seconds),
        Err(_) => now
            .checked_sub(Duration::from_secs(seconds.unsigned_abs()))
            .unwrap_or(UNIX_EPOCH),
    };
    write_header(out, b"Expires", httpdate::fmt_http_date(at).as_bytes());
    match u64::try_from(seconds) {
        Ok(seconds) => max_age(out, seconds),
        Err(_) => out.extend_from_slice(b"Cache-Control: no-cache\r\n"),
    }
}

fn max_age(out: &mut Vec<u8>, seconds: u64) {
    out.extend_from_slice(b"Cache-Control: max-age=");
    push_number(out, seconds);
    out.extend_from_slice(b"\r\n");
}
