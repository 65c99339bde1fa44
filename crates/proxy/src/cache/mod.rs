//! Answers of upstreams that are kept for others.
//!
//! What may be kept and reused is `trine_cache`'s to say; here is where they lie and how a request comes by them. `zone`
//! holds what the cores share, `disk` the files behind it, `look` decides for one request, `fill` takes down what an
//! upstream sends, `answer` sends what is kept, `ready` does it again the short way, `flight` lets one fetch for all,
//! `purge` forgets on order, `unsafe_methods` what a POST has changed, `background` asks again for nobody, `deception` tells pages
//! under names of files. Not here: forwarding (`upstream`).

pub(crate) mod answer;
pub(crate) mod background;
mod deception;
pub(crate) mod disk;
mod entry;
mod file;
pub(crate) mod fill;
mod flight;
pub(crate) mod look;
pub(crate) mod purge;
pub(crate) mod ready;
#[cfg(test)]
mod simulation;
pub(crate) mod unsafe_methods;
pub(crate) mod zone;

pub(crate) use entry::Entry;
pub(crate) use fill::Fetch;
pub(crate) use zone::Zone;

use trine_http1::{Request, write_header};

/// A larger body is passed on and not kept.
pub(crate) const LARGEST: u64 = 8 * 1024 * 1024;

/// The fields of a request as the policy reads them.
pub(crate) fn fields<'a>(request: &Request<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    request.headers().collect()
}

/// Whether requests with this method change nothing (RFC 9110, 9.2.1).
pub(crate) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
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

/// The head of a GET for a target, with the other fields of a request that came.
fn as_get(request: &Request<'_>, target: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    trine_http1::write_request_line(&mut head, "GET", target, trine_http1::Version::Http11);
    for (name, value) in request.headers() {
        let framing = name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding");
        if !framing {
            write_header(&mut head, name, value);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
