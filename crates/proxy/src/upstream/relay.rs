//! Passes an upstream's answer on to the client, as it comes.
//!
//! The body is taken out of the upstream's framing and put into the client's. What is left of the request's body
//! goes on meanwhile. Not here: reading the answer's head (see `exchange`), or protocols after an upgrade.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use trine_http1::{
    BodyDecoder, BodyLength, CHUNK_END, Request, Response, Version, default_reason,
    write_chunk_head, write_header, write_status_line,
};

use super::exchange::{Exchange, Wait};
use super::fault::Fault;
use crate::compress::{self, Answer, Coding, Gzip};
use crate::config::{Config, ProxyPass, RedirectRule, Rules};
use crate::conn::Conn;
use crate::conn::answer::located;
use crate::conn::frame::Frame;
use crate::conn::record::Record;
use crate::conn::reply::{self, Closing, write_number};
use crate::headers::{Listed, added, cookies, response_field_passes};
use crate::template::Scene;
use crate::workbench::{Input, Workbench};

/// What follows the content of the last chunk that has content.
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// An answer on its way to the client.
#[derive(Debug)]
pub(crate) struct Relay {
    decoder: BodyDecoder,
    frame: Frame,
    chunked: bool,
    /// Compresses the body on its way.
    gzip: Option<Gzip>,
    /// All of the answer is in the frame, or went out before.
    complete: bool,
    /// Content bytes taken from the upstream so far.
    pub(crate) body_bytes: u64,
    /// The buffer for heads, while a large one is in its place.
    small: Option<Box<Input>>,
}

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

impl Relay {
    /// Begins with the head that `exchange` has read. `closing` is what the client is told, unless the framing needs
    /// the connection's end.
    pub(crate) fn new(
        exchange: &mut Exchange<'_>,
        closing: Closing,
        dress: &Dress<'_>,
    ) -> Result<(Self, Closing), Fault> {
        let length = {
            let request = exchange.bench.head.on(exchange.bench.input.all());
            exchange.head().body(request.method())
        };
        let (framing, closing, gzip) = write_head(
            exchange.conn,
            exchange.bench,
            exchange.head_at,
            length,
            closing,
            dress,
        );
        let mut relay = Self {
            decoder: BodyDecoder::new(length),
            frame: Frame::default(),
            chunked: framing == Framing::Chunked,
            gzip,
            complete: false,
            body_bytes: 0,
            small: None,
        };
        // What has already come goes out together with the head.
        let piece = relay.take(exchange)?;
        relay.load(exchange, piece.unwrap_or(0..0), true);
        Ok((relay, closing))
    }

    /// Sends all of the answer. `heard` is called whenever more of it may have come.
    pub(crate) async fn run(
        &mut self,
        exchange: &mut Exchange<'_>,
        mut heard: impl FnMut(&mut Exchange<'_>),
    ) -> Result<(), Fault> {
        poll_fn(|cx| {
            let done = self.poll(cx, exchange);
            heard(exchange);
            done
        })
        .await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Poll<Result<(), Fault>> {
        let wait = loop {
            if !self.frame.is_sent() {
                let conn = exchange.conn;
                let Poll::Ready(most) = conn.poll_pace(cx) else {
                    break Wait::Nothing;
                };
                let Workbench { out, answer, .. } = &mut *exchange.bench;
                match self
                    .frame
                    .poll_write(cx, &conn.stream, out, answer.all(), most)
                {
                    Poll::Ready(Ok(count)) => {
                        conn.paced(count);
                        exchange.clock.moved();
                    }
                    Poll::Ready(Err(source)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it got its answer",
                            source: Some(source),
                        }));
                    }
                    Poll::Pending => break Wait::ClientWrite,
                }
                if !self.frame.is_sent() {
                    continue;
                }
            }
            if self.complete {
                return Poll::Ready(Ok(()));
            }
            match self.poll_piece(cx, exchange) {
                Poll::Ready(Ok(piece)) => self.load(exchange, piece.unwrap_or(0..0), false),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => break Wait::UpstreamRead,
            }
        };
        match exchange.poll_upload(cx) {
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(())) if wait == Wait::UpstreamRead => {
                if let Poll::Ready(source) = exchange.conn.poll_gone(cx) {
                    return Poll::Ready(Err(Fault::ClientGone {
                        while_: "it got its answer",
                        source,
                    }));
                }
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        exchange.poll_late(cx, wait).map(Err)
    }

    /// More of the body; `None` at its end.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Poll<Result<Option<Range<usize>>, Fault>> {
        loop {
            if let Some(piece) = self.take(exchange)? {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(None));
            }
            if exchange.codec.is_over() == Some(true) {
                self.decoder.eof().map_err(|_| Fault::CutBody(None))?;
                return Poll::Ready(Ok(None));
            }
            let answer = &mut exchange.bench.answer;
            if self.small.is_none() {
                ready!(exchange.link.stream().poll_readable(cx))
                    .map_err(|error| Fault::CutBody(Some(error)))?;
                let bulk = exchange.conn.engine.store.bulk();
                self.small = Some(Box::new(std::mem::replace(answer, bulk)));
            }
            answer.clear();
            match ready!(exchange.link.stream().poll_read(cx, answer.space())) {
                Ok(0) if exchange.codec.is_over() == Some(false) => {
                    return Poll::Ready(Err(Fault::CutBody(None)));
                }
                Ok(0) => {
                    self.decoder.eof().map_err(|_| Fault::CutBody(None))?;
                    return Poll::Ready(Ok(None));
                }
                Ok(count) => {
                    answer.filled(count);
                    exchange.codec.received(answer, count)?;
                    exchange.clock.moved();
                }
                Err(error) => return Poll::Ready(Err(Fault::CutBody(Some(error)))),
            }
        }
    }

    /// All content that has come, packed into one range. `None` if there is none.
    fn take(&mut self, exchange: &mut Exchange<'_>) -> Result<Option<Range<usize>>, Fault> {
        let answer = &mut exchange.bench.answer;
        let begin = answer.start();
        let mut packed: Option<Range<usize>> = None;
        while !self.decoder.is_done() && !answer.is_empty() {
            let base = answer.start();
            let decoded = match self.decoder.decode(answer.unread()) {
                Ok(decoded) => decoded,
                // What came before the fault goes out first.
                Err(_) if packed.is_some() => break,
                Err(error) => return Err(Fault::AnswerBody(error)),
            };
            answer.consume(decoded.consumed);
            let data = base + decoded.data.start..base + decoded.data.end;
            if data.is_empty() {
                if decoded.consumed == 0 {
                    break;
                }
                continue;
            }
            self.body_bytes += data.len() as u64;
            packed = Some(match packed {
                None => data,
                Some(before) => {
                    let end = before.end + data.len();
                    answer.all_mut().copy_within(data, before.end);
                    before.start..end
                }
            });
        }
        debug_assert!(packed.as_ref().is_none_or(|range| range.start >= begin));
        if packed.is_some() && answer.is_empty() && exchange.codec.is_over() == Some(true) {
            // The end goes out with the last of it. That something is missing is seen later.
            let _too_short = self.decoder.eof();
        }
        Ok(packed)
    }

    /// Makes the frame that is sent next. At the `start` the head is in the output buffer already.
    fn load(&mut self, exchange: &mut Exchange<'_>, piece: Range<usize>, start: bool) {
        if !start {
            exchange.bench.out.clear();
        }
        self.complete = self.decoder.is_done();
        if let Some(fetch) = &mut exchange.fetch {
            fetch.take_down(&exchange.bench.answer.all()[piece.clone()]);
        }
        let Workbench { out, answer, .. } = &mut *exchange.bench;
        if let Some(mut gzip) = self.gzip.take() {
            let bytes = &answer.all()[piece];
            let squeezed = if self.complete {
                gzip.last(bytes)
            } else {
                let squeezed = if bytes.is_empty() {
                    Ok(Vec::new())
                } else {
                    gzip.piece(bytes)
                };
                self.gzip = Some(gzip);
                squeezed
            };
            // Writing to memory cannot fail.
            let squeezed = squeezed.unwrap_or_default();
            if !squeezed.is_empty() {
                if self.chunked {
                    write_chunk_head(out, squeezed.len());
                }
                out.extend_from_slice(&squeezed);
                if self.chunked {
                    out.extend_from_slice(CHUNK_END);
                }
            }
            let tail: &'static [u8] = if self.chunked && self.complete {
                trine_http1::LAST_CHUNK
            } else {
                b""
            };
            return self.frame.load(out, b"", 0..0, tail);
        }
        let tail: &'static [u8] = match (self.chunked, piece.is_empty(), self.complete) {
            (false, _, _) | (true, true, false) => b"",
            (true, true, true) => trine_http1::LAST_CHUNK,
            (true, false, false) => CHUNK_END,
            (true, false, true) => LAST_CHUNK_END,
        };
        if self.chunked && !piece.is_empty() {
            write_chunk_head(out, piece.len());
        }
        self.frame.load(out, answer.all(), piece, tail);
    }

    /// Whether the upstream's connection has nothing left of this answer on it.
    pub(crate) fn is_clean(&self, exchange: &Exchange<'_>) -> bool {
        self.complete && exchange.bench.answer.is_empty() && exchange.codec.is_settled()
    }

    /// Takes the buffers back.
    pub(crate) fn finish(&mut self, exchange: &mut Exchange<'_>) {
        if let Some(small) = self.small.take() {
            let bulk = std::mem::replace(&mut exchange.bench.answer, *small);
            exchange.conn.engine.store.give_back_bulk(bulk);
        }
    }
}
