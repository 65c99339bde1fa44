//! The head of an upstream's answer as a client of this location gets it.
//!
//! Not here: the body (see `relay`), or reading the head (see `exchange`).

use trine_http1::{
    BodyLength, Request, Response, Version, default_reason, write_header, write_status_line,
};

use crate::compress::{self, Answer, Coding, Gzip};
use crate::config::{Config, ProxyPass, RedirectRule, Rules};
use crate::conn::Conn;
use crate::conn::answer::located;
use crate::conn::record::Record;
use crate::conn::reply::{self, Closing, write_number};
use crate::headers::{Listed, added, cookies, response_field_passes};
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
    /// Whether the body is compressed on its way.
    fn coding(&self, request: &Request<'_>, answer: &Response<'_>, length: BodyLength) -> Coding {
        let Some(gzip) = &self.rules.gzip else {
            return Coding::Plain;
        };
        let told = |length| Answer {
            status: self.status,
            content_type: answer.get("content-type").unwrap_or_default(),
            length,
            encoded: answer.get("content-encoding").is_some(),
        };
        match length {
            BodyLength::Empty => Coding::Plain,
            BodyLength::Known(length) => compress::coding(gzip, request, &told(Some(length))),
            BodyLength::Chunked | BodyLength::UntilClose => {
                compress::coding(gzip, request, &told(None))
            }
        }
    }

    /// Whether a field of the upstream goes out.
    fn shows(&self, name: &[u8]) -> bool {
        let is = |other: &String| name.eq_ignore_ascii_case(other.as_bytes());
        let passes = response_field_passes(name) || self.pass.shown.iter().any(is);
        let replaced = added::sets_expiry(self.rules, self.status)
            && (name.eq_ignore_ascii_case(b"expires")
                || name.eq_ignore_ascii_case(b"cache-control"));
        passes && !replaced && !self.pass.hidden.iter().any(is)
    }

    /// Appends a field, its URL rewritten if it is one that names a place.
    fn field(&self, out: &mut Vec<u8>, name: &[u8], value: &[u8], scene: &Scene<'_>) {
        let rewritten = if name.eq_ignore_ascii_case(b"set-cookie") {
            cookies::rewrite(&self.pass.shaping.cookies, value, scene)
        } else if self.pass.redirects.is_empty() {
            None
        } else if name.eq_ignore_ascii_case(b"location") {
            redirect(&self.pass.redirects, value, scene)
                .map(|url| located(url, self.rules.redirects, scene))
        } else if name.eq_ignore_ascii_case(b"refresh") {
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
pub(crate) fn write_head(
    conn: &Conn,
    bench: &mut Workbench,
    head_at: usize,
    length: BodyLength,
    closing: Closing,
    dress: &Dress<'_>,
) -> (Framing, Closing, Option<Gzip>) {
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
    let coding = dress.coding(&request, &answer, length);
    let squeezed = coding == Coding::Gzip;
    let length = match length {
        // How long it will be is not known.
        BodyLength::Known(_) if squeezed => BodyLength::UntilClose,
        length => length,
    };
    let framing = match length {
        BodyLength::Empty if matches!(status, ..200 | 204) => Framing::NoBody(None),
        BodyLength::Empty => Framing::NoBody(answer.content_length()),
        BodyLength::Known(length) => Framing::Length(length),
        BodyLength::Chunked | BodyLength::UntilClose if request.version() == Version::Http11 => {
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
    let (mut dated, mut served) = (false, false);
    for (name, value) in answer.headers() {
        if dress.shows(name) && !listed.contains(name) {
            if squeezed && name.eq_ignore_ascii_case(b"etag") {
                write_header(out, name, &compress::weak(value));
                continue;
            }
            if squeezed && name.eq_ignore_ascii_case(b"accept-ranges") {
                continue;
            }
            dated |= name.eq_ignore_ascii_case(b"date");
            served |= name.eq_ignore_ascii_case(b"server");
            dress.field(out, name, value, &scene);
        }
    }
    if !served {
        reply::write_server(out);
    }
    if !dated {
        conn.engine.time.write_date(out);
    }
    if squeezed {
        out.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    if let Some(field) = &dress.record.cache_field {
        write_header(out, b"Cache-Status", field.as_bytes());
    }
    added::vary(out, dress.rules, coding);
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
    let gzip = dress.rules.gzip.as_ref().filter(|_| squeezed);
    (framing, closing, gzip.map(|rules| Gzip::new(rules)))
}
