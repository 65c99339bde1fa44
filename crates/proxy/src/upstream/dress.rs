//! The head of an upstream's answer as a client of this location gets it.
//!
//! Not here: the body (see `relay`), or reading the head (see `exchange`).

use trine_http1::{
    BodyLength, Request, Response, Version, default_reason, is_word, write_header,
    write_status_line,
};

use super::exchange::Exchange;
use super::fault::Fault;
use crate::compress::{self, Answer};
use crate::config::{Config, ProxyPass, RedirectRule, Rules};
use crate::conn::Conn;
use crate::conn::answer::located;
use crate::conn::record::Record;
use crate::conn::reply::{self, Closing, write_number};
use crate::filter::{self, Chain, Plan, Shown};
use crate::headers::{Listed, added, cookies, media_type, response_field_passes, trailers, via};
use crate::template::Scene;
use crate::workbench::Workbench;

/// How the client learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none; a length may be told all the same.
    NoBody(Option<u64>),
    Length(u64),
    Chunked,
    Close,
}

/// What makes an upstream's head one of this location's.
pub(crate) struct Dress<'a> {
    pub(crate) pass: &'a ProxyPass,
    pub(crate) rules: &'a Rules,
    pub(crate) config: &'a Config,
    pub(crate) record: &'a Record,
    /// The status that goes out.
    pub(crate) status: u16,
}

impl Dress<'_> {
    /// What is done to the body on its way.
    fn plan(&self, conn: &Conn, request: &Request<'_>, answer: &Response<'_>) -> Plan<'_> {
        let has_none = matches!(answer.status(), ..200 | 204 | 304);
        if has_none || self.record.visit.bare || !self.rules.filters() {
            return filter::PLAIN;
        }
        let about = Answer {
            status: self.status,
            content_type: media_type(answer).unwrap_or_default(),
            length: answer.content_length(),
            encoded: answer.get("content-encoding").is_some(),
            field: &|name| answer.get(name),
            now: conn.engine.time.now(),
        };
        Plan::new(self.rules, request, &about)
    }

    /// Whether fields may follow the content.
    pub(crate) fn has_trailers(&self, exchange: &Exchange<'_>) -> bool {
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let sent = exchange.head().body("GET") == BodyLength::Chunked;
        (sent && self.pass.shaping.passes_trailers)
            || trailers::expects(self.rules, &request, self.status)
    }

    /// Whether a field of the upstream goes out. `dates` says that the location sets how long the answer may be kept.
    pub(crate) fn shows(&self, name: &[u8], dates: bool) -> bool {
        let is = |other: &String| name.eq_ignore_ascii_case(other.as_bytes());
        let passes = response_field_passes(name) || self.pass.shown.iter().any(is);
        let replaced = dates && (is_word(name, b"expires") || is_word(name, b"cache-control"));
        passes && !replaced && !self.pass.hidden.iter().any(is)
    }

    /// Appends a field, its URL rewritten if it is one that names a place.
    pub(crate) fn field(&self, out: &mut Vec<u8>, name: &[u8], value: &[u8], scene: &Scene<'_>) {
        let rewritten = if is_word(name, b"set-cookie") {
            cookies::rewrite(&self.pass.shaping.cookies, value, scene)
        } else if is_word(name, b"content-type") {
            let named = scene
                .answer
                .filter(|_| self.pass.shaping.obeys("x-accel-charset"))
                .and_then(|answer| answer.get("x-accel-charset"));
            self.rules.kinds(scene).of_upstream(value, named)
        } else if self.pass.redirects.is_empty() {
            None
        } else if is_word(name, b"location") {
            redirect(&self.pass.redirects, value, scene)
                .map(|url| located(url, self.rules.redirects, scene))
        } else if is_word(name, b"refresh") {
            memchr::memmem::find(value, b"url=").and_then(|at| {
                let (front, url) = value.split_at(at + 4);
                redirect(&self.pass.redirects, url, scene).map(|url| [front, &url].concat())
            })
        } else {
            None
        };
        write_header(out, name, rewritten.as_deref().unwrap_or(value));
    }
}

/// The first rule that fits changes the URL.
fn redirect(rules: &[RedirectRule], url: &[u8], scene: &Scene<'_>) -> Option<Vec<u8>> {
    rules.iter().find_map(|rule| match rule {
        RedirectRule::Prefix { from, to } => {
            let rest = url.strip_prefix(&from.value(scene)[..])?;
            let mut to = to.value(scene);
            to.extend_from_slice(rest);
            Some(to)
        }
        RedirectRule::Regex { from, to } => {
            let captures = from.captures(url)?;
            let scene = Scene {
                captures: Some(&captures),
                ..*scene
            };
            Some(to.value(&scene))
        }
    })
}

/// Writes the head of the answer for the client. Returns how the body is framed, and whether the connection closes.
/// Its own head begins at `head_at` in the answer's buffer.
///
/// # Errors
/// There is no memory for compressing it.
pub(crate) fn write_head(
    conn: &Conn,
    bench: &mut Workbench,
    head_at: usize,
    length: BodyLength,
    closing: Closing,
    dress: &Dress<'_>,
) -> Result<(Framing, Closing, Option<Chain>), Fault> {
    let Workbench {
        answer,
        answer_head,
        out,
        head,
        input,
        ..
    } = bench;
    let request = head.on(input.all());
    let answer = answer_head.on(&answer.all()[head_at..]);
    let status = answer.status();
    let plan = dress.plan(conn, &request, &answer);
    let told = answer.content_length();
    let length = match length {
        // How long it will be is not known.
        BodyLength::Known(_)
            if plan.changes() || trailers::expects(dress.rules, &request, dress.status) =>
        {
            BodyLength::UntilClose
        }
        length => length,
    };
    let framing = match length {
        BodyLength::Empty if matches!(status, ..200 | 204) || plan.changes() => {
            Framing::NoBody(None)
        }
        BodyLength::Empty => Framing::NoBody(answer.content_length()),
        BodyLength::Known(length) => Framing::Length(length),
        BodyLength::Chunked | BodyLength::UntilClose
            if request.version() == Version::Http11
                && (dress.rules.chunks || conn.stream.http2().is_some()) =>
        {
            Framing::Chunked
        }
        BodyLength::Chunked | BodyLength::UntilClose => Framing::Close,
    };
    let closing = if framing == Framing::Close {
        Closing::Close
    } else {
        closing
    };

    out.clear();
    let reason = if status == dress.status {
        answer.reason()
    } else {
        default_reason(dress.status).as_bytes()
    };
    write_status_line(out, Version::Http11, dress.status, reason);
    let listed = Listed::new(answer.get_all("connection"));
    let scene = Scene {
        answer: Some(answer),
        ..Scene::new(conn, dress.config, Some(request), dress.record)
    };
    conn.set_pace(&scene);
    let (mut dated, mut served, mut kind) = (false, false, None);
    let is_whole = status == 200 && dress.status == 200;
    let is_forced = dress.pass.shaping.forces_ranges && is_whole && !plan.changes();
    let has_length = matches!(framing, Framing::Length(_) | Framing::NoBody(Some(_)));
    if is_forced && has_length && answer.get("accept-ranges").is_none() {
        out.extend_from_slice(b"Accept-Ranges: bytes\r\n");
    }
    let dates = added::sets_expiry(dress.rules, dress.status);
    for (name, value) in answer.headers() {
        if dress.shows(name, dates) && !listed.contains(name) {
            match plan.shows(name) {
                Shown::AsItIs => {}
                Shown::Weak => {
                    write_header(out, name, &compress::weak(value));
                    continue;
                }
                Shown::Not => continue,
            }
            dated |= is_word(name, b"date");
            served |= is_word(name, b"server");
            let start = out.len();
            dress.field(out, name, value, &scene);
            if is_word(name, b"content-type")
                && let Some(earlier) = kind.replace(start..out.len())
            {
                // Of several the last one counts.
                kind = Some(start - earlier.len()..out.len() - earlier.len());
                out.drain(earlier);
            }
        }
    }
    if !served {
        out.extend_from_slice(&dress.rules.signature.line(Some(&scene)));
    }
    if !dated {
        conn.engine.time.write_date(out);
    }
    if let Some(name) = &dress.rules.via {
        via::write_answered(out, dress.pass.protocol, answer.version(), name);
    }
    plan.write(out);
    if let Some(field) = &dress.record.cache_field {
        write_header(out, b"Cache-Status", field.as_bytes());
    }
    added::write(out, dress.rules, dress.status, None, &scene);
    match framing {
        Framing::NoBody(Some(length)) | Framing::Length(length) => {
            write_number(out, b"Content-Length", length)
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::NoBody(None) | Framing::Close => {}
    }
    reply::write_connection(out, closing, request.version());
    out.extend_from_slice(b"\r\n");
    dress.record.note_head(dress.config, out);
    let chain = if matches!(framing, Framing::NoBody(_)) {
        None
    } else {
        plan.chain(told, plan.texts(&scene))
            .map_err(Fault::Filter)?
    };
    Ok((framing, closing, chain))
}
