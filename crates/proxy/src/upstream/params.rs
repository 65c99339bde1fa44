//! The variables that a request to a FastCGI, uwsgi or SCGI application consists of (RFC 3875 section 4.1): those of
//! the configuration, then the client's fields as `HTTP_…`.
//!
//! Not here: the bytes that they travel in (`trine_gateway`), or the request's body.

use std::ops::Range;

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

/// All variables of one request, in order.
#[derive(Debug, Default)]
pub(super) struct Variables {
    bytes: Vec<u8>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Variables {
    pub(super) fn of(order: &Order<'_>, request: &Request<'_>, scene: &Scene<'_>) -> Self {
        let mut all = Self {
            bytes: Vec::with_capacity(1024),
            pairs: Vec::with_capacity(32),
        };
        let granted = &scene.record.visit.granted;
        for param in &order.gateway.params {
            let name = param.name.as_str();
            if order.gateway.authorizer && NOT_FOR_AUTHORIZERS.contains(&name)
                || granted.iter().any(|(granted, _)| granted == name)
            {
                continue;
            }
            let name = all.text(param.name.as_bytes());
            let start = all.bytes.len();
            param.value.write(&mut all.bytes, scene);
            let value = start..all.bytes.len();
            if value.is_empty() && param.if_not_empty {
                all.bytes.truncate(name.start);
            } else {
                all.pairs.push((name, value));
            }
        }
        for (name, value) in granted {
            let pair = (all.text(name.as_bytes()), all.text(value));
            all.pairs.push(pair);
        }
        if order.passes_fields {
            all.fields(order, request);
        }
        if let Some(hop) = &order.hop {
            all.hop(hop);
        }
        if let Some(trace) = order.trace {
            let name = all.field_name(b"traceparent");
            let value = all.text(trace);
            all.pairs.push((name, value));
        }
        if let Some(fetch) = order.fetch {
            let mut lines = Vec::new();
            fetch.conditions(&mut lines);
            for line in lines.split(|&byte| byte == b'\n') {
                if let Some(colon) = memchr::memchr(b':', line) {
                    let name = all.field_name(&line[..colon]);
                    let value = all.text(line[colon + 1..].trim_ascii());
                    all.pairs.push((name, value));
                }
            }
        }
        all
    }

    /// Adds this hop to the way that the client has told.
    fn hop(&mut self, hop: &Hop<'_>) {
        let name = self.field_name(b"via");
        let told = self
            .pairs
            .iter()
            .position(|(key, _)| self.bytes[key.clone()] == self.bytes[name.clone()]);
        let mut way = Vec::new();
        if let Some(told) = told {
            let (_, value) = self.pairs.remove(told);
            way = [&self.bytes[value], b", "].concat();
        }
        way.extend_from_slice(&hop.entry());
        let value = self.text(&way);
        self.pairs.push((name, value));
        if let Some(left) = hop.max_forwards() {
            let pair = (
                self.field_name(b"max-forwards"),
                self.text(left.to_string().as_bytes()),
            );
            self.pairs.push(pair);
        }
    }

    fn text(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        start..self.bytes.len()
    }

    /// `HTTP_` and the name as variables have it.
    fn field_name(&mut self, name: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"HTTP_");
        let upper = name.iter().map(|&byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        });
        self.bytes.extend(upper);
        start..self.bytes.len()
    }

    /// The client's fields; those of one name become one, as nginx joins them.
    fn fields(&mut self, order: &Order<'_>, request: &Request<'_>) {
        let params = &order.gateway.params;
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
                || order.hop.is_some_and(|hop| hop.replaces(name))
                || request.headers().take(index).any(|before| same(&before));
            if skipped {
                continue;
            }
            let key = self.field_name(name);
            let bytes = &self.bytes;
            if params
                .iter()
                .any(|param| param.name.as_bytes() == &bytes[key.clone()])
            {
                self.bytes.truncate(key.start);
                continue;
            }
            if is("host") && request.target_form() == TargetForm::Absolute {
                // What the target says is what was asked for (RFC 9112 section 3.2.2).
                let host = self.text(request.authority().unwrap_or(value));
                self.pairs.push((key, host));
                continue;
            }
            let separator: &[u8] = if is("cookie") { b"; " } else { b", " };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(value);
            for (_, more) in request.headers().skip(index + 1).filter(same) {
                self.bytes.extend_from_slice(separator);
                self.bytes.extend_from_slice(more);
            }
            self.pairs.push((key, start..self.bytes.len()));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs
            .iter()
            .map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }
}
