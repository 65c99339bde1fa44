//! The variables that a request to a FastCGI, uwsgi or SCGI application consists of (RFC 3875 section 4.1): those of
//! the configuration, then the client's fields as `HTTP_…`.
//!
//! Not here: the bytes that they travel in (`trine_gateway`), or the request's body.

use trine_gateway::Pairs;
use trine_http1::{Request, TargetForm};

use crate::cache::Fetch;
use crate::config::Gateway;
use crate::headers::FieldNames;
use crate::headers::via::Hop;
use crate::template::Scene;

/// What an authorizer is not told (FastCGI 1.0, section 6.3): it is not for the content.
const NOT_FOR_AUTHORIZERS: [&str; 4] = [
    "CONTENT_LENGTH",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "SCRIPT_NAME",
];

/// What the names of the client's fields begin with.
const FIELD: &[u8] = b"HTTP_";
/// The way over proxies.
const VIA: &str = "HTTP_VIA";

/// What the variables are made from.
pub(super) struct Order<'a> {
    pub(super) gateway: &'a Gateway,
    /// Which names the client's fields may have.
    pub(super) names: FieldNames,
    /// The client's fields go on.
    pub(super) passes_fields: bool,
    /// A body of known length goes on.
    pub(super) has_length: bool,
    /// The answer is for the cache: its conditions stand in the place of the client's.
    pub(super) fetch: Option<&'a Fetch>,
    /// The trace that begins here, in place of the client's.
    pub(super) trace: Option<&'a [u8]>,
    /// The way over proxies is told.
    pub(super) hop: Option<Hop<'a>>,
}

/// Writes all variables of one request, in order.
pub(super) fn write(
    pairs: &mut Pairs<'_>,
    order: &Order<'_>,
    request: &Request<'_>,
    scene: &Scene<'_>,
) {
    let granted = &scene.record.visit.granted;
    // With a hop it is told anew.
    let is_way = |name: &str| order.hop.is_some() && name == VIA;
    for param in &order.gateway.params {
        let name = param.name.as_str();
        if order.gateway.authorizer && NOT_FOR_AUTHORIZERS.contains(&name)
            || granted.iter().any(|(granted, _)| granted == name)
            || is_way(name)
        {
            continue;
        }
        pairs
            .open(name.len())
            .extend_from_slice(param.name.as_bytes());
        let value = pairs.value();
        let start = value.len();
        param.value.write(value, scene);
        if param.if_not_empty && value.len() == start {
            pairs.leave_out();
        } else {
            pairs.close();
        }
    }
    for (name, value) in granted.iter().filter(|(name, _)| !is_way(name)) {
        pairs.pair(name.as_bytes(), value);
    }
    if order.passes_fields {
        fields(pairs, order, request);
    }
    if let Some(hop) = &order.hop {
        let mut told = way(order, request, scene);
        if !told.is_empty() {
            told.extend_from_slice(b", ");
        }
        told.extend_from_slice(&hop.entry());
        pairs.pair(VIA.as_bytes(), &told);
        if let Some(left) = hop.max_forwards() {
            pairs.pair(b"HTTP_MAX_FORWARDS", left.to_string().as_bytes());
        }
    }
    if let Some(trace) = order.trace {
        field_name(pairs, b"traceparent");
        pairs.value().extend_from_slice(trace);
        pairs.close();
    }
    if let Some(fetch) = order.fetch {
        let mut lines = Vec::new();
        fetch.conditions(&mut lines);
        for line in lines.split(|&byte| byte == b'\n') {
            if let Some(colon) = memchr::memchr(b':', line) {
                field_name(pairs, &line[..colon]);
                let value = line[colon + 1..].trim_ascii();
                pairs.value().extend_from_slice(value);
                pairs.close();
            }
        }
    }
}

/// The way over proxies as it is told so far.
fn way(order: &Order<'_>, request: &Request<'_>, scene: &Scene<'_>) -> Vec<u8> {
    let granted = &scene.record.visit.granted;
    if let Some((_, value)) = granted.iter().find(|(name, _)| name == VIA) {
        return value.clone();
    }
    let mut params = order.gateway.params.iter();
    if let Some(param) = params.find(|param| param.name == VIA) {
        return param.value.value(scene);
    }
    if !order.passes_fields || !order.names.take(b"via") {
        return Vec::new();
    }
    request.get_all("via").collect::<Vec<_>>().join(&b", "[..])
}

/// Opens a pair with `HTTP_` and the name as variables have it.
fn field_name(pairs: &mut Pairs<'_>, name: &[u8]) {
    let out = pairs.open(FIELD.len() + name.len());
    out.extend_from_slice(FIELD);
    let upper = name.iter().map(|&byte| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_uppercase(),
    });
    out.extend(upper);
}

/// The client's fields; those of one name become one, as nginx joins them.
fn fields(pairs: &mut Pairs<'_>, order: &Order<'_>, request: &Request<'_>) {
    for (index, (name, value)) in request.headers().enumerate() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let same = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name);
        let skipped = !order.names.take(name)
            // It would be HTTP_PROXY, which many HTTP clients obey.
            || is("proxy")
            // The body goes on without its chunks.
            || is("transfer-encoding")
            || (is("content-length") && !order.has_length)
            || (order.trace.is_some() && (is("traceparent") || is("tracestate")))
            || order.fetch.is_some_and(|fetch| fetch.withholds(name))
            || order.hop.is_some_and(|hop| is("via") || hop.replaces(name))
            || request.headers().take(index).any(|before| same(&before));
        if skipped {
            continue;
        }
        field_name(pairs, name);
        let key = pairs.name();
        let mut params = order.gateway.params.iter();
        if params.any(|param| param.name.as_bytes() == key) {
            pairs.leave_out();
            continue;
        }
        let out = pairs.value();
        if is("host") && request.target_form() == TargetForm::Absolute {
            // What the target says is what was asked for (RFC 9112 section 3.2.2).
            out.extend_from_slice(request.authority().unwrap_or(value));
            pairs.close();
            continue;
        }
        let separator: &[u8] = if is("cookie") { b"; " } else { b", " };
        out.extend_from_slice(value);
        for (_, more) in request.headers().skip(index + 1).filter(same) {
            out.extend_from_slice(separator);
            out.extend_from_slice(more);
        }
        pairs.close();
    }
}
