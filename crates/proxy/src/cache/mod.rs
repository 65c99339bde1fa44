//! Answers of upstreams that are kept for others.
//!
//! What may be kept and reused is `trine_cache`'s to say; here is where they lie and how a request comes by them. `zone`
//! holds what the cores share, `disk` the files behind it, `look` decides for one request, `fill` takes down what an
//! upstream sends, `answer` sends what is kept. Not here: forwarding (`upstream`).

pub(crate) mod answer;
pub(crate) mod disk;
mod entry;
pub(crate) mod fill;
pub(crate) mod look;
pub(crate) mod zone;

pub(crate) use entry::Entry;
pub(crate) use fill::Fetch;
pub(crate) use zone::Zone;

use trine_http1::Request;

/// A larger body is passed on and not kept.
pub(crate) const LARGEST: u64 = 8 * 1024 * 1024;

/// The fields of a request as the policy reads them.
pub(crate) fn fields<'a>(request: &Request<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    request.headers().collect()
}

/// Whether a field makes a request conditional or partial, which one that fills the cache must not be.
pub(crate) fn is_condition(name: &[u8]) -> bool {
    [
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
