//! Header fields as the policy reads them. Not here: what Cache-Control says (`directives`).

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{FOREVER, Seconds};

/// The fields of one head, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [(&'a [u8], &'a [u8])]);

impl<'a> Fields<'a> {
    /// Every value of a field, without the white space around it.
    pub fn all<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.trim_ascii())
    }

    /// The first value of a field.
    #[must_use]
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The members of a list (RFC 9110, 5.6.1), over all lines; quoted strings stay whole.
    pub fn list<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.all(name).flat_map(members)
    }

    /// A time (RFC 9110, 5.6.7). `Some(Err)`: there is one that cannot be read, or two that differ.
    pub(crate) fn time(self, name: &str) -> Option<Result<Seconds, Unreadable>> {
        let mut values = self.all(name);
        let first = values.next()?;
        if values.any(|other| other != first) {
            return Some(Err(Unreadable));
        }
        let time = std::str::from_utf8(first)
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok());
        Some(time.map(since_1970).ok_or(Unreadable))
    }
}

/// A value without the meaning that it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

fn since_1970(time: SystemTime) -> Seconds {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Splits at the commas outside quotation marks; empty members are none.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let comma = value.iter().position(|&byte| {
            let is_escaped = std::mem::take(&mut escaped);
            match byte {
                b'\\' if quoted && !is_escaped => escaped = true,
                b'"' if !is_escaped => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let (member, after) = match comma {
            Some(at) => (value.get(..at)?, value.get(at + 1..)),
            None => (value, None),
        };
        rest = after;
        Some(member.trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

/// Seconds as a plain number (RFC 9111, 1.2.2): what is too large means forever.
pub(crate) fn delta_seconds(text: &[u8]) -> Result<Seconds, Unreadable> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Unreadable);
    }
    let number = text.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Ok(number.min(FOREVER))
}
