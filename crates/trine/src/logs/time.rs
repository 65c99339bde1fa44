//! When a line was written, by what it says itself, and the times that people name. Pure but for the clock and the zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// What stands at the beginning of lines, and how many bytes of it. Without an offset they are local times.
const FORMS: [(&str, usize); 4] = [
    ("%Y-%m-%d %H:%M:%S,%3f", 23),
    ("[%Y-%m-%d %H:%M:%S %z", 26),
    ("%Y/%m/%d %H:%M:%S", 19),
    ("%Y-%m-%d %H:%M:%S", 19),
];
/// In access logs it is in brackets, after the client.
const COMMON: &str = "%d/%b/%Y:%H:%M:%S %z";
const COMMON_BYTES: usize = 26;
/// How far into a line a bracket may be.
const BRACKET_WITHIN: usize = 200;

/// The time that a line carries: RFC 3339 in front or as a JSON object's first `time`, a line of supervisord's, gunicorn's
/// or nginx's log, or of an access log.
pub(super) fn of(line: &[u8]) -> Option<Timestamp> {
    if line.starts_with(b"{") {
        let text = std::str::from_utf8(line.get(..line.len().min(400))?).ok()?;
        let (_, rest) = text.split_once("\"time\":\"")?;
        return rest.split('"').next()?.parse().ok();
    }
    let first = line.split(|byte| *byte == b' ').next()?;
    if first.contains(&b'T')
        && let Ok(time) = std::str::from_utf8(first).ok()?.parse()
    {
        return Some(time);
    }
    for (form, bytes) in FORMS {
        let found = line.get(..bytes).and_then(|text| parsed(form, text));
        if found.is_some() {
            return found;
        }
    }
    let within = &line[..line.len().min(BRACKET_WITHIN)];
    let at = within.iter().position(|byte| *byte == b'[')? + 1;
    parsed(COMMON, line.get(at..at + COMMON_BYTES)?)
}

fn parsed(form: &str, text: &[u8]) -> Option<Timestamp> {
    let broken = jiff::fmt::strtime::parse(form, text).ok()?;
    broken.to_timestamp().ok().or_else(|| {
        let local = broken.to_datetime().ok()?;
        Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
    })
}

/// `10m`: so long ago; `14:30`: today; a date and a time, local unless it says more. `Err`: what is wrong.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    let now = Zoned::now();
    let ago = text.parse::<trine_config::Duration>().ok();
    let ago = ago.and_then(|ago| now.timestamp().checked_sub(ago.get()).ok());
    let today = || {
        let time: Time = text.parse().ok()?;
        let today = now.date().to_datetime(time).to_zoned(TimeZone::system());
        Some(today.ok()?.timestamp())
    };
    let local = || {
        let when: DateTime = text.parse().ok()?;
        Some(when.to_zoned(TimeZone::system()).ok()?.timestamp())
    };
    // A time of day looks like a duration to nobody, and the other way round.
    text.parse()
        .ok()
        .or(ago)
        .or_else(today)
        .or_else(local)
        .ok_or_else(|| format!("`{text}` is no time to begin at"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        let got = of(line.as_bytes()).map(|time| time.to_string());
        assert_eq!(got.as_deref().unwrap_or("none"), want, "{line}");
    }

    #[test]
    fn times_of_lines() {
        check(
            "2026-11-25T20:00:00.250Z web hello",
            "2026-11-25T20:00:00.25Z",
        );
        check(
            "{\"level\":\"info\",\"time\":\"2026-11-25T20:00:00Z\"}",
            "2026-11-25T20:00:00Z",
        );
        check(
            "[2026-11-25 21:00:00 +0100] [7] [INFO] up",
            "2026-11-25T20:00:00Z",
        );
        check(
            "1.2.3.4 - - [25/Nov/2026:20:00:00 +0000] \"GET / HTTP/1.1\" 200 5",
            "2026-11-25T20:00:00Z",
        );
        check("no time", "none");
        check("", "none");
        check("{\"a\":1}", "none");
        check("  File \"x.py\", line 3", "none");
        // Local times, wherever this runs.
        let local = |text: &str| {
            let when: DateTime = text.parse().unwrap();
            when.to_zoned(TimeZone::system())
                .unwrap()
                .timestamp()
                .to_string()
        };
        check(
            "2026-11-25 20:00:00,250 INFO spawned",
            &local("2026-11-25T20:00:00.250"),
        );
        check(
            "2026/11/25 20:00:00 [error] 7#7: no",
            &local("2026-11-25T20:00:00"),
        );
    }

    #[test]
    fn times_that_people_name() {
        let ago = |text: &str| {
            Timestamp::now()
                .duration_since(since(text).unwrap())
                .as_secs()
        };
        assert!((599..660).contains(&ago("10m")), "{}", ago("10m"));
        assert!((5399..5460).contains(&ago("1h30m")));
        assert_eq!(
            since("2026-11-25T20:00:00Z").unwrap().as_second(),
            1_795_636_800
        );
        assert!(since("2026-11-25 20:00").is_ok() && since("2026-11-25").is_ok());
        assert!(since("14:30").is_ok());
        assert!(since("yesterday or so").is_err());
    }
}
