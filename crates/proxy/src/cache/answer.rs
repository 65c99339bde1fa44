//! Sends an answer that is kept: whole, a part of it, or that it has not changed.
//!
//! Not here: which one (`look`).

use std::time::UNIX_EPOCH;

use trine_cache::status::Status;
use trine_http1::{BodyLength, CHUNK_END, LAST_CHUNK, write_chunk_head, write_header};

use super::{Entry, is_condition};
use crate::compress::Answer;
use crate::conditional::{Conditions, Validators, Verdict};
use crate::config::{ProxyPass, Rules, Since};
use crate::conn::record::Record;
use crate::conn::reply::{Closing, write_number};
use crate::conn::told::{Told, tell};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::filter;
use crate::headers::trailers::Finale;
use crate::range::{MAX_PARTS, Ranges, ranges};
use crate::stream::Next;
use crate::upstream::fault::Fault;
use crate::upstream::{ANSWER_LIMITS, Dress, Framing, clear_answer, write_head};
use crate::workbench::{Input, Workbench};

/// A body up to this size goes out in one piece with its head.
pub(super) const TOGETHER: usize = 16 * 1024;

/// Sends it to the client whose request is on the bench; that request has no body.
#[expect(clippy::too_many_arguments, reason = "what is sent, and to whom")]
pub(crate) async fn send(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    generation: &Generation,
    pass: &ProxyPass,
    rules: &Rules,
    entry: &Entry,
    age: u64,
) -> Ending {
    let request = bench.head.on(bench.input.all());
    let closing = if conn.may_keep(&request) {
        Closing::Keep
    } else {
        Closing::Close
    };
    let head_only = request.method() == "HEAD";
    let size = entry.body.len() as u64;
    let mut front = Vec::with_capacity(entry.head.len() + 128);
    // What becomes of the whole. Parts can be had only of what is not made anew each time.
    let plan = if rules.filters() && !record.visit.bare && is_conditional(&request) {
        let about = Answer {
            status: 200,
            content_type: entry.field("content-type").unwrap_or_default(),
            length: Some(size),
            encoded: entry.field("content-encoding").is_some(),
            field: &|name| entry.field(name),
            now: conn.engine.time.now(),
        };
        filter::Plan::new(rules, &request, &about)
    } else {
        filter::PLAIN
    };
    let (status, part) = judge(entry, &request, size, !plan.changes());
    match status {
        304 => front.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n"),
        206 => front.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n"),
        412 => front.extend_from_slice(b"HTTP/1.1 412 Precondition Failed\r\n"),
        416 => front.extend_from_slice(b"HTTP/1.1 416 Range Not Satisfiable\r\n"),
        _ => {
            front.extend_from_slice(entry.status_line());
            front.extend_from_slice(b"\r\n");
        }
    }
    let length = part.end - part.start;
    if status == 304 {
        // Without a body nothing tells what the body is, nor what the whole answer would not tell (RFC 9110, 15.4.5).
        for (name, value) in entry.fields() {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let tells_all = plan.shows(name) != filter::Shown::Not;
            if !is("content-type") && !is("accept-ranges") && tells_all {
                write_header(&mut front, name, value);
            }
        }
    } else if status == 206 {
        // That it is a part says enough.
        for (name, value) in entry.fields() {
            if !name.eq_ignore_ascii_case(b"accept-ranges") {
                write_header(&mut front, name, value);
            }
        }
    } else {
        let fields = entry.head.get(entry.status_line().len() + 2..);
        front.extend_from_slice(fields.unwrap_or_default());
    }
    write_number(&mut front, b"Age", age);
    match status {
        206 => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            write_header(&mut front, b"Content-Range", range.as_bytes());
        }
        416 => write_header(
            &mut front,
            b"Content-Range",
            format!("bytes */{size}").as_bytes(),
        ),
        _ => {}
    }
    if status != 304 {
        write_number(&mut front, b"Content-Length", length);
    }
    front.extend_from_slice(b"\r\n");

    clear_answer(&mut bench.answer, &mut bench.answer_head);
    if bench.answer.capacity() < front.len() {
        bench.answer = Input::new(front.len());
    }
    bench.answer.append(&front);
    if record.visit.is_own || generation.config.tells_heads {
        record.answer_head = Some(front.as_slice().into());
    }
    let parsed = bench
        .answer_head
        .parse(bench.answer.unread(), &ANSWER_LIMITS);
    if !matches!(parsed, Ok(Some(_))) {
        // It was read by the same parser when it came.
        tracing::error!("a kept answer cannot be read");
        return Ending::Close;
    }
    let sent = record.status_for(status);
    let body = if head_only || status == 304 {
        BodyLength::Empty
    } else {
        BodyLength::Known(length)
    };
    let dress = Dress {
        pass,
        rules,
        config: &generation.config,
        status: sent,
        record,
    };
    let (framing, closing, chain) = match write_head(conn, bench, 0, body, closing, &dress) {
        Ok(written) => written,
        Err(fault) => {
            tracing::error!("a kept answer cannot be sent: {fault}");
            return Ending::Close;
        }
    };
    record.status = sent;
    record.first_byte = None;
    let part = usize::try_from(part.start).unwrap_or(0)..usize::try_from(part.end).unwrap_or(0);
    let body = match body {
        BodyLength::Empty => &[][..],
        _ => entry.body.get(part).unwrap_or_default(),
    };
    let chunked = framing == Framing::Chunked;
    let request = bench.head.on(bench.input.all());
    let config = &generation.config;
    let finale = Finale::new(conn, config, rules, request, sent).filter(|_| chunked);
    let done = match chain {
        Some(chain) => {
            let out = std::mem::take(&mut bench.out);
            let from = filter::From::Memory(body);
            let end = (chunked, finale);
            let done = Box::pin(filter::send(conn, record, chain, from, out, end)).await;
            done.map_err(|broken| match broken {
                filter::Broken::Client(_) => tracing::debug!("an answer was cut: {broken}"),
                _ => {
                    let told = Told::of(conn, config, Some(request), record);
                    tell!(error, told, "a kept answer was sent in part: {broken}");
                }
            })
        }
        None => whole(conn, &mut bench.out, record, body, (chunked, finale))
            .await
            .map_err(|fault| tracing::debug!("an answer was cut: {fault}")),
    };
    match (done, closing) {
        (Ok(()), Closing::Keep) => Ending::Keep,
        (Ok(()), Closing::Close) => Ending::Close,
        (Err(_), _) => {
            record.status = 499;
            Ending::Reset
        }
    }
}

/// Sends a body as it is, behind the head in `out`.
async fn whole(
    conn: &Conn,
    out: &mut Vec<u8>,
    record: &mut Record,
    body: &[u8],
    (chunked, finale): (bool, Option<Finale<'_>>),
) -> Result<(), Fault> {
    if chunked && !body.is_empty() {
        write_chunk_head(out, body.len());
    }
    record.body_bytes = body.len() as u64;
    let last = finale.map(|finale| finale.last_chunk(record));
    let last = last.as_deref().unwrap_or(LAST_CHUNK);
    let tail: &[&[u8]] = match (chunked, body.is_empty()) {
        (false, _) => &[],
        (true, false) => &[CHUNK_END, last],
        (true, true) => &[last],
    };
    if body.len() <= TOGETHER {
        out.extend_from_slice(body);
        tail.iter().for_each(|part| out.extend_from_slice(part));
        return conn.send(out).await;
    }
    let tail = tail.concat();
    conn.send_part(out, Next::More).await?;
    let then = if tail.is_empty() {
        Next::Any
    } else {
        Next::More
    };
    conn.send_part(body, then).await?;
    conn.send(&tail).await
}

/// Whether it may be answered with something else than the whole.
fn is_conditional(request: &trine_http1::Request<'_>) -> bool {
    request.headers().any(|(name, _)| is_condition(name))
}

/// The status, and the part of the body that goes with it.
fn judge(
    entry: &Entry,
    request: &trine_http1::Request<'_>,
    size: u64,
    has_parts: bool,
) -> (u16, std::ops::Range<u64>) {
    if entry.kept.status != 200 || !is_conditional(request) {
        return (entry.kept.status, 0..size);
    }
    let (status, part) = wanted(request, has_parts.then_some(size), |name| entry.field(name));
    (status, part.start..part.end.min(size))
}

/// What a client wants of an answer of 200 that has these fields: all of it, a part, or none. Without a size there are no
/// parts.
pub(crate) fn wanted<'f>(
    request: &trine_http1::Request<'_>,
    size: Option<u64>,
    field: impl Fn(&str) -> Option<&'f [u8]>,
) -> (u16, std::ops::Range<u64>) {
    let all = 0..size.unwrap_or(u64::MAX);
    let first = |name| request.get(name);
    let tag = field("etag").unwrap_or_default();
    let is_weak = tag.starts_with(b"W/");
    let modified = field("last-modified")
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| httpdate::parse_http_date(text).ok());
    let strong_only = request.get("if-match").is_some() || request.get("if-range").is_some();
    let conditions = Conditions {
        if_match: first("if-match"),
        if_unmodified_since: modified.and(first("if-unmodified-since")),
        if_none_match: first("if-none-match"),
        if_modified_since: modified.and(first("if-modified-since")),
        if_range: first("if-range"),
    };
    let have = Validators {
        etag: if is_weak && strong_only {
            b""
        } else {
            tag.strip_prefix(b"W/").unwrap_or(tag)
        },
        modified: modified.unwrap_or(UNIX_EPOCH),
    };
    let range = match conditions.judge(&have, Since::Before) {
        Verdict::NotModified => return (304, 0..0),
        Verdict::Failed => return (412, 0..0),
        Verdict::Send { range } => range,
    };
    let Some(asked) = request
        .get("range")
        .filter(|_| range && request.method() == "GET")
    else {
        return (200, all);
    };
    let Some(size) = size else {
        return (200, all);
    };
    match ranges(asked, size, MAX_PARTS) {
        // Several parts are not worth their frames from memory.
        Ranges::Whole | Ranges::Many(_) => (200, all),
        Ranges::One(part) => (206, part),
        Ranges::Unsatisfiable => (416, 0..0),
    }
}

/// What a request for something that is not kept gets, if it wants nothing else.
pub(crate) const NOT_CACHED: u16 = 504;

/// Notes in the record what the answer tells of itself.
pub(crate) fn tell(record: &mut Record, word: &'static str, field: &Status) {
    record.cache = Some(word);
    record.cache_field = Some(field.to_string());
}
