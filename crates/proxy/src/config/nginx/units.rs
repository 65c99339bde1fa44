//! Values as `nginx.conf` has them: times, sizes, `expires`.
//!
//! Not here: which directive has which of them.

use std::time::Duration;

use crate::config::Expires;

/// `30`, `30s`, `1m30s`, `500ms`, `1d 2h`: units go from large to small, a number without one is seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last = usize::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        const UNITS: [(&str, usize, u64); 8] = [
            ("ms", 1, 1),
            ("y", 8, 365 * 24 * 3_600_000),
            ("M", 7, 30 * 24 * 3_600_000),
            ("w", 6, 7 * 24 * 3_600_000),
            ("d", 5, 24 * 3_600_000),
            ("h", 4, 3_600_000),
            ("m", 3, 60_000),
            ("s", 2, 1000),
        ];
        let found = UNITS.iter().find(|(unit, ..)| rest.starts_with(unit));
        let (rank, millis) = match found {
            Some((unit, rank, millis)) => {
                rest = &rest[unit.len()..];
                (*rank, *millis)
            }
            None if rest.is_empty() => (2, 1000),
            None => return None,
        };
        if rank >= last {
            return None;
        }
        last = rank;
        total += Duration::from_millis(number.checked_mul(millis)?);
        rest = rest.trim_start_matches(' ');
    }
    Some(total)
}

/// `8192`, `8k`, `1m`, `1g`: bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| number.parse::<u64>().ok()?.checked_mul(scale))
        .flatten()
}

/// The value of `expires`; `Ok(None)` is `off`.
///
/// # Errors
/// nginx's words.
pub(crate) fn expires(text: &str, after_modified: bool) -> Result<Option<Expires>, &'static str> {
    match text {
        "" | "off" => return Ok(None),
        "epoch" => return Ok(Some(Expires::Epoch)),
        "max" => return Ok(Some(Expires::Max)),
        _ => {}
    }
    if let Some(daily) = text.strip_prefix('@') {
        let at = time(daily).ok_or("invalid value")?.as_secs();
        let second = u32::try_from(at).ok().filter(|second| *second < 24 * 3600);
        return second
            .map(|second| Some(Expires::At(second)))
            .ok_or("daily time value must be less than 24 hours");
    }
    let (text, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    let seconds = time(text).ok_or("invalid value")?.as_secs();
    let seconds = i64::try_from(seconds).map_err(|_| "invalid value")? * sign;
    Ok(Some(if after_modified {
        Expires::AfterModified(seconds)
    } else {
        Expires::After(seconds)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |text: &str, want: Option<u64>| {
            let got = time(text).map(|time| u64::try_from(time.as_millis()).unwrap());
            assert_eq!(got, want, "{text}");
        };
        check("30", Some(30_000));
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("1m 30s", Some(90_000));
        check("500ms", Some(500));
        check("30d", Some(30 * 86_400_000));
        check("1h30", Some(3_630_000));
        check("30s1m", None);
        check("", None);
        check("s", None);
        check("5x", None);
        check("-5", None);
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("10m", Some(10 << 20)),
            ("8K", Some(8192)),
            ("1g", Some(1 << 30)),
            ("1t", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), want, "{text}");
        }
    }

    #[test]
    fn how_long() {
        let check = |text: &str, want: &str| {
            assert_eq!(format!("{:?}", expires(text, false)), want, "{text}");
        };
        check("30d", "Ok(Some(After(2592000)))");
        check("-1", "Ok(Some(After(-1)))");
        check("off", "Ok(None)");
        check("max", "Ok(Some(Max))");
        check("@15h", "Ok(Some(At(54000)))");
        check(
            "@25h",
            "Err(\"daily time value must be less than 24 hours\")",
        );
        check("soon", "Err(\"invalid value\")");
    }
}
