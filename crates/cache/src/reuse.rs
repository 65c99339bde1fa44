//! What happens with a request for which an answer is stored (RFC 9111, section 4), and with one for which there is none.
//!
//! Not here: whether it was allowed to be stored (`store`), what a validation brings (`validate`).

use crate::Seconds;
use crate::directives::Asked;
use crate::fields::Fields;
use crate::store::{Kept, Rules};

/// What to do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Answer from the store, with this Age.
    Reuse { age: Seconds },
    /// Answer from the store although it is stale, with this Age. `refresh`: and validate it meanwhile.
    ReuseStale { age: Seconds, refresh: bool },
    /// Ask the origin whether it is still good; without a validator, for a new one.
    Validate(Why),
    /// The origin answers, and the store is not asked.
    Forward(Why),
    /// The client wants nothing but what is stored, and that is not good enough: 504 (5.2.1.7).
    NotCached,
}

/// Why the origin has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing is stored for the URI.
    Miss,
    /// The method is never answered from a store.
    Method,
    /// The client said so.
    Request,
    /// It is past its lifetime, or nearer to it than the client wants.
    Stale,
    /// The answer itself asks for it each time.
    NoCache,
}

/// Whether a method may be answered from a stored answer to GET.
#[must_use]
pub fn is_served(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Decides for a request, `kept` being what is stored for its URI and its varying fields.
#[must_use]
pub fn decide(
    method: &str,
    request: Fields<'_>,
    kept: Option<&Kept>,
    now: Seconds,
    rules: Rules,
) -> Decision {
    if !is_served(method) {
        return Decision::Forward(Why::Method);
    }
    let asked = if rules.heed_requests {
        Asked::read(request)
    } else {
        Asked::default()
    };
    let Some(kept) = kept else {
        return or_nothing(&asked, Decision::Forward(Why::Miss));
    };
    let age = kept.age(now);
    if asked.no_cache || asked.max_age.is_some_and(|most| age > most) {
        return or_nothing(&asked, Decision::Validate(Why::Request));
    }
    if kept.no_cache {
        return or_nothing(&asked, Decision::Validate(Why::NoCache));
    }
    let Some(stale) = kept.stale_for(now) else {
        let left = kept.lifetime - age;
        return if asked.min_fresh.is_some_and(|least| left < least) {
            or_nothing(&asked, Decision::Validate(Why::Request))
        } else {
            Decision::Reuse { age }
        };
    };
    if kept.never_stale || asked.min_fresh.is_some() {
        return or_nothing(&asked, Decision::Validate(Why::Stale));
    }
    if asked.max_stale.is_some_and(|most| stale <= most) {
        return Decision::ReuseStale {
            age,
            refresh: false,
        };
    }
    if stale < kept.stale_while_revalidate {
        return Decision::ReuseStale { age, refresh: true };
    }
    or_nothing(&asked, Decision::Validate(Why::Stale))
}

fn or_nothing(asked: &Asked, otherwise: Decision) -> Decision {
    if asked.only_if_cached {
        Decision::NotCached
    } else {
        otherwise
    }
}

/// Whether a stored answer may stand in for an origin that cannot be reached or has answered 500, 502, 503 or 504
/// (RFC 5861, 4). `configured`: the operator wants it however stale, as nginx's `proxy_cache_use_stale` does, where the
/// answer says nothing.
#[must_use]
pub fn may_cover_error(
    request: Fields<'_>,
    kept: &Kept,
    now: Seconds,
    rules: Rules,
    configured: bool,
) -> bool {
    let Some(stale) = kept.stale_for(now) else {
        // Validated before its time: no-cache, or a client that wanted it newer.
        return !kept.no_cache;
    };
    if kept.never_stale || kept.no_cache {
        return false;
    }
    let asked = rules
        .heed_requests
        .then(|| Asked::read(request).stale_if_error)
        .flatten();
    match (kept.stale_if_error, asked) {
        (None, None) => configured,
        (said, asked) => stale < said.max(asked).unwrap_or(0),
    }
}
