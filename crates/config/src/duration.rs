//! Spans of time as people write them: `30s`, `500ms`, `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time;

use crate::value::{Invalid, text_value};

/// A span of time. A bare number means seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

const EXPECTED: &str = "a time such as \"30s\", \"500ms\" or \"1m30s\"";

/// Longest first, as `Display` uses them; the value is in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Duration {
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    #[must_use]
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Duration {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text.trim())
            .map(Self)
            .ok_or_else(|| Invalid::new(EXPECTED, text))
    }
}

fn parse(text: &str) -> Option<time::Duration> {
    if text.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        return micros(text, 1_000_000).map(time::Duration::from_micros);
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut above = u64::MAX; // units come once each, the long ones first
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (name, next) = after.split_at(letters);
        let (_, unit) = *UNITS.iter().find(|(known, _)| *known == name)?;
        if unit >= above {
            return None;
        }
        total = total.checked_add(micros(number, unit)?)?;
        (above, rest) = (unit, next.trim_start());
    }
    (!text.is_empty()).then(|| time::Duration::from_micros(total))
}

/// `number` (digits, perhaps with a fraction) of `unit` microseconds.
fn micros(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        place /= 10;
        total = total.checked_add(u64::from(digit - b'0') * place)?;
    }
    (!number.ends_with('.')).then_some(total)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_micros();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in UNITS {
            let count = rest / u128::from(unit);
            rest %= u128::from(unit);
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

text_value!(Duration, "Duration", EXPECTED, {
    "description": "A time such as 30s, 500ms or 1m30s (units d, h, m, s, ms, us); a bare number is seconds.",
    "anyOf": [
        { "type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us)?\s*)+$" },
        { "type": "number", "minimum": 0 },
    ],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match text.parse::<Duration>() {
            Ok(duration) => {
                assert_eq!(
                    duration.to_string().parse(),
                    Ok(duration),
                    "{text:?} comes back"
                );
                format!("{duration} = {:?}", duration.0)
            }
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn durations() {
        check("30s", "30s = 30s");
        check("30", "30s = 30s");
        check("0", "0s = 0ns");
        check("500ms", "500ms = 500ms");
        check("1500ms", "1s500ms = 1.5s");
        check("1.5", "1s500ms = 1.5s");
        check("0.25s", "250ms = 250ms");
        check("1m30s", "1m30s = 90s");
        check("1m 30s", "1m30s = 90s");
        check(" 90s ", "1m30s = 90s");
        check("1h", "1h = 3600s");
        check("2d", "2d = 172800s");
        check("100us", "100us = 100µs");
        for bad in [
            "",
            " ",
            "s",
            "ms",
            "-1",
            "-1s",
            "1x",
            "1 s",
            "1s1m",
            "1s1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "5m3",
            "99999999999999999999s",
            "18446744073709551615d",
            "1e3",
            "nan",
            "inf",
            "ten seconds",
        ] {
            check(bad, "refused");
        }
    }

    #[test]
    fn the_error_shows_what_would_do() {
        assert_eq!(
            "soon".parse::<Duration>().unwrap_err().to_string(),
            r#"expected a time such as "30s", "500ms" or "1m30s", found "soon""#
        );
    }
}
