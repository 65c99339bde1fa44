//! What a FastCGI authorizer has said of a request (FastCGI 1.0, section 6.3).
//!
//! Not here: asking it (`subrequest`).

use trine_http1::{BodyDecoder, Response, ResponseHead, write_header};

use crate::headers::response_field_passes;
use crate::upstream::ANSWER_LIMITS;

/// An authorizer's answer to a request that it does not let pass.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) status: u16,
    /// Lines of its fields, its type and its body.
    pub(super) fields: Vec<u8>,
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
}

impl Denial {
    /// By the head of the answer, and what of it would have gone out.
    pub(super) fn of(answer: &Response<'_>, kept: &[u8]) -> Option<Self> {
        let mut head = ResponseHead::default();
        let length = head.parse(kept, &ANSWER_LIMITS).ok()??;
        let sent = head.on(kept);
        let mut body = Vec::new();
        let mut decoder = BodyDecoder::new(sent.body("GET"));
        let mut rest = kept.get(length..)?;
        while !decoder.is_done() && !rest.is_empty() {
            let decoded = decoder.decode(rest).ok()?;
            body.extend_from_slice(&rest[decoded.data]);
            rest = rest
                .get(decoded.consumed..)
                .filter(|_| decoded.consumed > 0)?;
        }
        let mut fields = Vec::new();
        for (name, value) in answer.headers() {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if response_field_passes(name) && !is("content-type") && !is("date") && !is("status") {
                write_header(&mut fields, name, value);
            }
        }
        let kind = answer.get("content-type").unwrap_or(b"text/plain");
        Some(Self {
            status: answer.status(),
            fields,
            kind: String::from_utf8_lossy(kind).into_owned(),
            body,
        })
    }
}

/// `Variable-NAME: value` is a variable for the request (FastCGI 1.0, section 6.3).
pub(super) fn variables(answer: &Response<'_>) -> Vec<(String, Vec<u8>)> {
    let fields = answer.headers();
    let named = fields.filter_map(|(name, value)| {
        let (front, rest) = name.split_at_checked("variable-".len())?;
        let name = std::str::from_utf8(rest).ok()?;
        let is = front.eq_ignore_ascii_case(b"variable-") && !name.is_empty();
        is.then(|| (name.to_owned(), value.to_vec()))
    });
    named.collect()
}
