//! Conditional requests in the order of RFC 9110 section 13.2.2.
//!
//! Not here: where the validators come from, or how an answer is written.

use std::time::SystemTime;

use crate::config::Since;

/// The validators of what would be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    /// With its quotes, as it is sent; always a strong one.
    pub(crate) etag: &'a [u8],
    /// Whole seconds.
    pub(crate) modified: SystemTime,
}

/// The fields of a request that make it conditional.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a [u8]>,
    pub(crate) if_unmodified_since: Option<&'a [u8]>,
    pub(crate) if_none_match: Option<&'a [u8]>,
    pub(crate) if_modified_since: Option<&'a [u8]>,
    pub(crate) if_range: Option<&'a [u8]>,
}

/// What the conditions come to, for GET and HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on; `range` says whether a `Range` field counts.
    Send { range: bool },
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions<'_> {
    pub(crate) fn judge(&self, have: &Validators<'_>, since: Since) -> Verdict {
        if let Some(list) = self.if_match {
            if !matches_any(list, have.etag, Compare::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(date) = self.if_unmodified_since.and_then(parse_date)
            && have.modified > date
        {
            return Verdict::Failed;
        }
        if let Some(list) = self.if_none_match {
            if matches_any(list, have.etag, Compare::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = self.if_modified_since.and_then(parse_date)
            && match since {
                Since::Off => false,
                Since::Exact => have.modified == date,
                Since::Before => have.modified <= date,
            }
        {
            return Verdict::NotModified;
        }
        Verdict::Send {
            range: self.if_range.is_none_or(|value| if_range(value, have)),
        }
    }
}

/// An entity tag is compared strongly; a date has to be exactly the one we send.
fn if_range(value: &[u8], have: &Validators<'_>) -> bool {
    let value = value.trim_ascii();
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        return value == have.etag;
    }
    parse_date(value).is_some_and(|date| date == have.modified)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// Walks the list by its quotes: a comma may stand inside an entity tag.
fn matches_any(list: &[u8], etag: &[u8], compare: Compare) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        let (weak, tag) = match rest.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let Some(inner) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = memchr::memchr(b'"', inner) else {
            return false;
        };
        let (tag, after) = tag.split_at(end + 2);
        if tag == etag && (!weak || compare == Compare::Weak) {
            return true;
        }
        rest = after.trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
    }
    false
}

fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const ETAG: &[u8] = b"\"abc\"";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const EXACT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[track_caller]
    fn check(fields: &[(&str, &str)], want: &str) {
        let find = |name| {
            fields
                .iter()
                .find(|field| field.0 == name)
                .map(|field| field.1.as_bytes())
        };
        let conditions = Conditions {
            if_match: find("M"),
            if_unmodified_since: find("US"),
            if_none_match: find("NM"),
            if_modified_since: find("MS"),
            if_range: find("R"),
        };
        let have = Validators {
            etag: ETAG,
            modified: UNIX_EPOCH + Duration::from_secs(784_111_777),
        };
        let got = match conditions.judge(&have, Since::Before) {
            Verdict::Send { range: true } => "send",
            Verdict::Send { range: false } => "send, no range",
            Verdict::NotModified => "304",
            Verdict::Failed => "412",
        };
        assert_eq!(got, want, "{fields:?}");
    }

    #[test]
    fn entity_tags() {
        check(&[], "send");
        check(&[("NM", "\"abc\"")], "304");
        check(&[("NM", "W/\"abc\"")], "304"); // weak comparison
        check(&[("NM", "\"x\", W/\"y,z\" ,\"abc\"")], "304");
        check(&[("NM", "*")], "304");
        check(&[("NM", "\"ab\"")], "send");
        check(&[("NM", "\"a,\"abc\"")], "send"); // broken list: nothing matches
        check(&[("NM", "abc")], "send");
        check(&[("NM", "\"abc")], "send");
        check(&[("M", "\"abc\"")], "send");
        check(&[("M", "*")], "send");
        check(&[("M", "W/\"abc\"")], "412"); // strong comparison
        check(&[("M", "\"x\"")], "412");
    }

    #[test]
    fn dates() {
        check(&[("MS", BEFORE)], "send");
        check(&[("MS", EXACT)], "304");
        check(&[("MS", AFTER)], "304");
        check(&[("MS", "yesterday")], "send");
        check(&[("US", BEFORE)], "412");
        check(&[("US", EXACT)], "send");
        check(&[("US", "yesterday")], "send");
        check(&[("MS", "Sunday, 06-Nov-94 08:49:37 GMT")], "304");
        check(&[("MS", "Sun Nov  6 08:49:37 1994")], "304");
    }

    #[test]
    fn precedence() {
        check(&[("NM", "\"x\""), ("MS", AFTER)], "send"); // the tag decides, the date is ignored
        check(&[("M", "\"abc\""), ("US", BEFORE)], "send");
        check(&[("M", "\"x\""), ("NM", "\"abc\"")], "412");
        check(&[("M", "\"abc\""), ("NM", "\"abc\"")], "304");
    }

    #[test]
    fn if_range() {
        check(&[("R", "\"abc\"")], "send");
        check(&[("R", "W/\"abc\"")], "send, no range");
        check(&[("R", "\"x\"")], "send, no range");
        check(&[("R", EXACT)], "send");
        check(&[("R", AFTER)], "send, no range");
        check(&[("R", BEFORE)], "send, no range");
        check(&[("R", "nonsense")], "send, no range");
    }
}
