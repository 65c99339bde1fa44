//! Validation (RFC 9111, 4.3): what is asked, what a 304 changes, and what an answer to HEAD tells.
//!
//! Not here: conditions of clients, which are answered like those on any answer (RFC 9110, 13).

use crate::fields::Fields;

/// The fields that make a request a validation. Those of the client give way to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions<'a> {
    pub if_none_match: Option<&'a [u8]>,
    pub if_modified_since: Option<&'a [u8]>,
}

impl<'a> Conditions<'a> {
    /// From the stored answer; none if it has nothing to be known by.
    #[must_use]
    pub fn of(stored: Fields<'a>) -> Self {
        Self {
            if_none_match: stored.first("etag"),
            // As it came: an origin may compare the bytes.
            if_modified_since: stored.first("last-modified"),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_none_match.is_none() && self.if_modified_since.is_none()
    }
}

/// What an answer to a validation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The stored answer is good: update its fields ([`updated`]) and use it.
    Good,
    /// 304, but about another answer than the stored one: ask again without conditions.
    AboutAnother,
    /// A new answer, to be used in its place, and stored if it may be.
    Replaced,
    /// The origin failed: the stored one may be used if [`crate::reuse::may_cover_error`] says so.
    Failed,
}

#[must_use]
pub fn outcome(status: u16, answer: Fields<'_>, stored: Fields<'_>) -> Outcome {
    match status {
        304 if is_about(answer, stored) => Outcome::Good,
        304 => Outcome::AboutAnother,
        500 | 502 | 503 | 504 => Outcome::Failed,
        _ => Outcome::Replaced,
    }
}

/// Whether a 304 speaks of the stored answer (4.3.4).
fn is_about(answer: Fields<'_>, stored: Fields<'_>) -> bool {
    match (answer.first("etag"), stored.first("etag")) {
        (Some(new), Some(old)) => weakened(new) == weakened(old),
        // A strong validator that nothing stored has.
        (Some(new), None) => new.starts_with(b"W/"),
        (None, _) => match (answer.first("last-modified"), stored.first("last-modified")) {
            (Some(new), Some(old)) => new == old,
            (Some(_), None) => false,
            (None, _) => true,
        },
    }
}

fn weakened(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Fields of a 304 that leave those of the stored answer alone: they describe bytes that did not come with it (3.2), or
/// the connection.
const LEFT_ALONE: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The fields of the stored answer after a validation: those that came replace those of the same name, all at once.
#[must_use]
pub fn updated<'a>(stored: Fields<'a>, came: Fields<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    let counts = |name: &[u8]| {
        !LEFT_ALONE
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            && !came
                .list("connection")
                .any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let replaced = |name: &[u8]| {
        let same = |(new, _): &(&[u8], &[u8])| new.eq_ignore_ascii_case(name);
        counts(name) && came.0.iter().any(same)
    };
    let old = stored.0.iter().filter(|(name, _)| {
        // What has grown old is counted anew.
        !replaced(name) && !name.eq_ignore_ascii_case(b"age")
    });
    let new = came.0.iter().filter(|(name, _)| counts(name));
    old.chain(new).copied().collect()
}

/// Whether an answer to HEAD shows that the stored answer to GET is another one by now (4.3.5): then it is to be taken for
/// stale.
#[must_use]
pub fn head_contradicts(status: u16, head: Fields<'_>, stored: Fields<'_>) -> bool {
    let differs = |name: &str| match (head.first(name), stored.first(name)) {
        (Some(new), Some(old)) => new != old,
        _ => false,
    };
    status == 200
        && ["etag", "last-modified", "content-length"]
            .into_iter()
            .any(differs)
}
