//! What is noted of each request: counters in shared memory, how long it waited, lines of the logs.
//!
//! Not here: what the counters become (`arbiter::report`), and how lines are written (`access_log`).

use std::time::{Duration, Instant, SystemTime};

use crate::access_log::Record;
use crate::python::{Caller, Verdict};

use super::exchange::Exchange;

/// A time in X-Request-Start that is older than this is no time but a mistake.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// How long a request waited for the application that is called `now`: since it was complete, or since a trusted web
/// server says that it took it (X-Request-Start, as Heroku and New Relic have it).
pub(super) fn waited(exchange: &Exchange, now: Instant) -> Duration {
    let own = now.saturating_duration_since(exchange.complete);
    if !exchange.peer.trusted {
        return own;
    }
    let Some(said) = exchange.request().get("x-request-start") else {
        return own;
    };
    let since = request_start(said).and_then(|start| {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()?;
        now.checked_sub(start).filter(|since| *since < OLDEST)
    });
    since.map_or(own, |since| since.max(own))
}

/// `t=1700000000.123`, with or without `t=`, in seconds, milliseconds or microseconds since the epoch.
fn request_start(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.strip_prefix("t=").unwrap_or(text).trim();
    let number: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    let seconds = match number {
        ..1e8 => return None,
        ..1e11 => number,
        ..1e14 => number / 1e3,
        _ => number / 1e6,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// An answered request as the logs see it.
pub(super) fn record<'a>(
    exchange: &'a Exchange,
    verdict: &Verdict,
    caller: &'a Caller,
    took: Duration,
    queued: Duration,
) -> Record<'a> {
    Record {
        request: exchange.request(),
        given: exchange.given.as_deref(),
        peer: &exchange.peer.addr,
        status: verdict.status,
        body_bytes: verdict.body_bytes,
        answer: caller.reply().head(),
        content_length: caller.reply().declared(),
        environ: caller.logged(),
        took,
        queued,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_starts() {
        let check = |value: &[u8], want: Option<u64>| {
            let got = request_start(value).map(|start| start.as_millis() as u64);
            assert_eq!(got, want, "{}", value.escape_ascii());
        };
        check(b"t=1700000000.5", Some(1_700_000_000_500));
        check(b"1700000000500", Some(1_700_000_000_500));
        check(b"t=1700000000500000", Some(1_700_000_000_500));
        check(b"1700000000", Some(1_700_000_000_000));
        for bad in [&b""[..], b"t=", b"now", b"-5", b"12", b"nan", b"\xff"] {
            check(bad, None);
        }
    }
}
