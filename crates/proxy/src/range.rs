//! `Range: bytes=…` against the size of what is sent (RFC 9110 section 14).
//!
//! Not here: `If-Range` (see `conditional`), or reading the bytes.

use std::ops::Range;

/// More parts than this and the whole file is sent instead, unless something else is configured: each part costs a head and a seek.
pub(crate) const MAX_PARTS: usize = 10;

/// What a `Range` field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Everything: no field, a unit or syntax we do not know, too many parts, or parts that overlap too much.
    Whole,
    /// One part.
    One(Range<u64>),
    /// Several parts, in the order asked for.
    Many(Vec<Range<u64>>),
    /// Nothing that was asked for exists: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a body of `size` bytes, with `most` parts at most. What cannot be read is ignored, as the standard asks.
pub(crate) fn ranges(field: &[u8], size: u64, most: usize) -> Ranges {
    let Some((unit, list)) = split_once(field, b'=') else {
        return Ranges::Whole;
    };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Ranges::Whole;
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut seen = 0usize;
    for spec in list.split(|&byte| byte == b',') {
        let spec = spec.trim_ascii();
        if spec.is_empty() {
            continue;
        }
        seen += 1;
        if seen > most {
            return Ranges::Whole;
        }
        match part(spec, size) {
            Part::Bad => return Ranges::Whole,
            Part::Nothing => {}
            Part::Bytes(range) => parts.push(range),
        }
    }
    if seen == 0 {
        return Ranges::Whole;
    }
    // Asking for the same bytes again and again is an attack or a mistake; the whole is cheaper.
    let total = parts
        .iter()
        .map(|part| u128::from(part.end - part.start))
        .sum::<u128>();
    match parts.len() {
        0 => Ranges::Unsatisfiable,
        1 => Ranges::One(parts.swap_remove(0)),
        _ if total > u128::from(size) => Ranges::Whole,
        _ => Ranges::Many(parts),
    }
}

enum Part {
    Bytes(Range<u64>),
    /// Well-formed, but beyond the end.
    Nothing,
    Bad,
}

fn part(spec: &[u8], size: u64) -> Part {
    let Some((first, last)) = split_once(spec, b'-') else {
        return Part::Bad;
    };
    let (first, last) = (first.trim_ascii(), last.trim_ascii());
    if first.is_empty() {
        return match number(last) {
            None => Part::Bad,
            Some(0) => Part::Nothing,
            Some(_) if size == 0 => Part::Nothing,
            Some(tail) => Part::Bytes(size.saturating_sub(tail)..size),
        };
    }
    let Some(start) = number(first) else {
        return Part::Bad;
    };
    let end = if last.is_empty() {
        size
    } else {
        match number(last) {
            None => return Part::Bad,
            Some(last) if last < start => return Part::Bad,
            Some(last) => last.saturating_add(1).min(size),
        }
    };
    if start >= size {
        Part::Nothing
    } else {
        Part::Bytes(start..end)
    }
}

/// Digits only; a number too large for us is as good as the largest.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(digit)
    }))
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, text)?;
    Some((&text[..place], &text[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, want: &str) {
        let got = match ranges(field.as_bytes(), 1000, MAX_PARTS) {
            Ranges::Whole => "whole".to_owned(),
            Ranges::Unsatisfiable => "416".to_owned(),
            Ranges::One(range) => format!("{}-{}", range.start, range.end),
            Ranges::Many(parts) => parts
                .iter()
                .map(|part| format!("{}-{}", part.start, part.end))
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(got, want, "Range: {field}");
    }

    #[test]
    fn single() {
        check("bytes=0-0", "0-1");
        check("bytes=0-499", "0-500");
        check("bytes=500-", "500-1000");
        check("bytes=-1", "999-1000");
        check("bytes=-5000", "0-1000");
        check("bytes=999-", "999-1000");
        check("bytes=990-5000", "990-1000");
        check("BYTES = 1 - 2 ", "1-3");
        check("bytes=1-99999999999999999999999", "1-1000");
    }

    #[test]
    fn several() {
        check("bytes=0-0,2-2", "0-1 2-3");
        check("bytes=5-6, ,1-2,", "5-7 1-3");
        check("bytes=0-1,5000-", "0-2");
        check("bytes=0-998,1-999", "whole"); // overlapping: more than the file itself
        check(
            "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9",
            "0-1 1-2 2-3 3-4 4-5 5-6 6-7 7-8 8-9 9-10",
        );
        check(
            "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10",
            "whole",
        );
    }

    #[test]
    fn unsatisfiable() {
        check("bytes=1000-", "416");
        check("bytes=5000-6000,1000-", "416");
        check("bytes=-0", "416");
        assert_eq!(ranges(b"bytes=0-", 0, MAX_PARTS), Ranges::Unsatisfiable);
        assert_eq!(ranges(b"bytes=-1", 0, MAX_PARTS), Ranges::Unsatisfiable);
    }

    #[test]
    fn ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "items=0-1",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=-",
            "bytes=0-1,x",
        ] {
            check(field, "whole");
        }
    }
}
