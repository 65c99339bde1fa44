//! The fields that follow an answer's content: `add_trailer`, and those of upstreams that may go on.
//!
//! They need chunks (RFC 9112 section 7.1.2), or HTTP/2 (RFC 9113 section 8.1). Not here: fields of heads (`added`).

use trine_http1::{BodyDecoder, Request, Version, write_header};

use super::added::{is_clean, is_good};
use crate::config::{Config, Rules};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::conn::reply::is_bodiless;
use crate::template::Scene;

/// What is known of the last chunk of an answer before its content has gone out.
#[derive(Clone, Copy)]
pub(crate) struct Finale<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) config: &'a Config,
    pub(crate) rules: &'a Rules,
    pub(crate) request: Request<'a>,
    pub(crate) status: u16,
}

impl<'a> Finale<'a> {
    /// One for an answer that may end with fields of its location: it has to go out in chunks.
    pub(crate) fn new(
        conn: &'a Conn,
        config: &'a Config,
        rules: &'a Rules,
        request: Request<'a>,
        status: u16,
    ) -> Option<Self> {
        expects(rules, &request, status).then_some(Self {
            conn,
            config,
            rules,
            request,
            status,
        })
    }

    /// The last chunk, with the fields behind it.
    pub(crate) fn last_chunk(&self, record: &Record) -> Vec<u8> {
        let mut out = b"0\r\n".to_vec();
        let scene = Scene::new(self.conn, self.config, Some(self.request), record);
        write(&mut out, self.rules, self.status, &scene);
        out.extend_from_slice(b"\r\n");
        // Nothing else was sent at the end of this answer.
        _ = record.sent_end.set(out.clone());
        out
    }
}

/// Whether the location adds fields behind the content of an answer to this request.
pub(crate) fn expects(rules: &Rules, request: &Request<'_>, status: u16) -> bool {
    !rules.trailers.is_empty()
        && rules.chunks
        && request.version() == Version::Http11
        && request.method() != "HEAD"
        && !is_bodiless(status)
        && (is_good(status) || rules.trailers.iter().any(|trailer| trailer.always))
}

/// Appends the fields of the location.
pub(crate) fn write(out: &mut Vec<u8>, rules: &Rules, status: u16, scene: &Scene<'_>) {
    for trailer in &rules.trailers {
        if !trailer.always && !is_good(status) {
            continue;
        }
        let value = trailer.value.value(scene);
        if !value.is_empty() && is_clean(&value) {
            write_header(out, trailer.name.as_bytes(), &value);
        }
    }
}

/// The last chunk of an answer that an upstream has sent with `decoder`'s fields behind its content. They go on if it
/// `passes` them, and those of the location follow.
pub(crate) fn relayed(
    decoder: &BodyDecoder,
    passes: bool,
    rules: &Rules,
    scene: &Scene<'_>,
) -> Vec<u8> {
    let mut out = b"0\r\n".to_vec();
    for (name, value) in decoder.trailers() {
        if passes && super::response_field_passes(name) {
            write_header(&mut out, name, value);
        }
    }
    let record = scene.record;
    write(&mut out, rules, record.status, scene);
    out.extend_from_slice(b"\r\n");
    _ = record.sent_end.set(out.clone());
    out
}

/// Notes what has come behind an upstream's content.
pub(crate) fn note(decoder: &BodyDecoder, record: &Record) {
    if decoder.trailers().next().is_none() {
        return;
    }
    let mut came = b"0\r\n".to_vec();
    for (name, value) in decoder.trailers() {
        write_header(&mut came, name, value);
    }
    _ = record.upstream_end.set(came);
}
