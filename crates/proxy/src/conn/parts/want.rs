//! What the client gets of an answer that is put together, by the heads of its parts.
//!
//! Not here: asking for parts (`super`), or sending them (`join`).

use std::ops::Range;

use trine_http1::{Request, Response};

use super::Make;
use crate::cache::answer::wanted;

/// What the client gets of the answer.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) status: u16,
    /// The bytes of the whole; to its end, if that is not known.
    pub(super) window: Range<u64>,
    /// How long the whole is.
    pub(super) total: Option<u64>,
    /// It is another head than the one that came.
    pub(super) made: bool,
}

/// Where the part begins that the client wants, as nginx reads it for the first slice.
pub(super) fn first_byte(request: &Request<'_>) -> u64 {
    let Some(range) = request.get("range") else {
        return 0;
    };
    if request.get("if-range").is_some() || range.contains(&b',') {
        return 0;
    }
    let unit = range.get(..6).unwrap_or_default();
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return 0;
    }
    let digits = range[6..].trim_ascii_start();
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&digits[..count])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// What the client gets, by the head of the first part.
pub(super) fn wants(
    make: Make,
    slice: Option<(u64, u64)>,
    request: &Request<'_>,
    answer: &Response<'_>,
) -> Result<Wanted, String> {
    let total = match (make, answer.status()) {
        (Make::Slices(_), 206) => Some(content_range(answer, slice.unwrap_or((0, 1)))?),
        // Nothing has no first byte, so that some origins do not send it.
        (Make::Slices(_), 416) if answer.get("content-range") == Some(b"bytes */0") => Some(0),
        (Make::Whole | Make::Forced, 200) => answer.content_length(),
        (_, status) => {
            return Ok(Wanted {
                status,
                window: 0..u64::MAX,
                total: answer.content_length(),
                made: false,
            });
        }
    };
    let (status, window) = if make == Make::Forced {
        // Whether it has changed was the upstream's to say.
        let only = |name: &str| answer.get(name);
        match wanted(request, total, only) {
            (status @ (206 | 416), window) => (status, window),
            _ => (200, 0..total.unwrap_or(u64::MAX)),
        }
    } else {
        wanted(request, total, |name| answer.get(name))
    };
    Ok(Wanted {
        status,
        window,
        total,
        made: true,
    })
}

/// How long the whole is of which this is a slice; in nginx's words if it is another one than was asked for.
fn content_range(answer: &Response<'_>, (start, size): (u64, u64)) -> Result<u64, String> {
    let bad = || "invalid range in slice response".to_owned();
    let field = answer.get("content-range").ok_or_else(bad)?;
    let text = std::str::from_utf8(field).map_err(|_| bad())?;
    let range = text.strip_prefix("bytes ").ok_or_else(bad)?;
    let (range, total) = range.split_once('/').ok_or_else(bad)?;
    let (first, last) = range.split_once('-').ok_or_else(bad)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
    let (first, last) = (number(first)?, number(last)?);
    if total.trim() == "*" {
        return Err("no complete length in slice response".to_owned());
    }
    let total = number(total)?;
    if first != start || last.checked_add(1) != Some(start.saturating_add(size).min(total)) {
        return Err(format!(
            "unexpected range in slice response: {first}-{last}"
        ));
    }
    Ok(total)
}

/// Whether the answer is another slice of the same.
pub(super) fn fits(
    answer: &Response<'_>,
    slice: (u64, u64),
    tag: Option<&[u8]>,
    total: Option<u64>,
) -> Result<(), String> {
    if answer.status() != 206 {
        let status = answer.status();
        return Err(format!("unexpected status code {status} in slice response"));
    }
    if tag.is_some() && answer.get("etag") != tag {
        return Err("etag mismatch in slice response".to_owned());
    }
    if Some(content_range(answer, slice)?) != total {
        return Err("another complete length in slice response".to_owned());
    }
    Ok(())
}
