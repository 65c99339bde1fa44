//! The client's side of an answer that is put together: its head, and the bytes of the parts in a row.
//!
//! Not here: the parts (`super`).

use std::ops::Range;
use std::rc::Rc;

use trine_http1::{
    CHUNK_END, LAST_CHUNK, Request, Response, Version, default_reason, write_chunk_head,
    write_header, write_status_line,
};

use super::want::{Wanted, first_byte, fits, wants};
use super::{Make, Part};
use crate::cache::is_condition;
use crate::compress::{self, Answer, Then};
use crate::config::{Content, Rules};
use crate::conn::record::Record;
use crate::conn::reply::{Closing, Reply, write_connection, write_number};
use crate::conn::subrequest::request_bytes;
use crate::conn::told::{Told, tell};
use crate::conn::{Conn, Ending};
use crate::engine::Generation;
use crate::filter::{self, Chain, Plan, Shown};
use crate::template::Scene;
use crate::upstream::Group;
use crate::upstream::fault::Fault;
use crate::workbench::Workbench;

/// Serves the client's request. An error is what is answered instead.
pub(in crate::conn) async fn serve(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Rc<Generation>,
    group: &Rc<Group>,
    record: &mut Record,
    make: Make,
) -> Result<Ending, Reply> {
    let request = bench.head.on(bench.input.all());
    let config = &*generation.config;
    let closing = if conn.may_keep(&request) {
        Closing::Keep
    } else {
        Closing::Close
    };
    let method = request.method();
    let ask = |record: &Record, slice| {
        let leaves_out = |name: &[u8]| make != Make::Forced && is_condition(name);
        let bytes = request_bytes(&request, leaves_out);
        Part::ask(conn, generation, group, record, bytes, slice)
    };
    let slice = match make {
        Make::Slices(size) => Some((first_byte(&request) / size * size, size)),
        Make::Whole | Make::Forced => None,
    };
    let mut part = ask(record, slice);
    // What is kept is kept for others too.
    let keeps = match &config.rules(record.visit.rules).content {
        Content::Proxy(pass) => pass.cache.is_some(),
        _ => false,
    };
    let Ok(begins) = conn.within(None, true, part.begins(method)).await else {
        if !keeps {
            part.abandon();
        }
        record.status = 499;
        return Ok(Ending::Close);
    };
    if !begins {
        let own = part.record().await;
        record.status = own.as_ref().map_or(499, Record::shown_status);
        own.into_iter().for_each(|own| record.learn(own));
        return Ok(Ending::Close);
    }
    let told = |record: &Record| Told::of(conn, config, Some(request), record);
    let wants = match wants(make, slice, &request, &part.answer()) {
        Ok(wants) => wants,
        Err(why) => {
            tell!(error, told(record), "{why}");
            return Err(Reply::status(502));
        }
    };
    if wants.made && matches!(wants.status, 412 | 416) {
        let total = wants.total.unwrap_or(0);
        part.drain().await;
        if let Some(own) = part.record().await {
            record.learn(own);
        }
        if wants.status == 412 {
            return Err(Reply::status(412));
        }
        return Err(Reply::with(
            416,
            "Content-Range",
            format!("bytes */{total}"),
        ));
    }
    let rules = config.rules(part.own.rules.get().unwrap_or(record.visit.rules));
    conn.set_pace(&Scene::new(conn, config, Some(request), record));
    let dressed = {
        let scene = Scene::new(conn, config, Some(request), record);
        dress(
            conn,
            rules,
            &scene,
            &request,
            &part.answer(),
            &wants,
            closing,
        )
    };
    let (mut sink, closing) = dressed.map_err(|fault| {
        tell!(error, told(record), "{fault}");
        Reply::status(500)
    })?;
    record.status = wants.status;
    let tag = part.answer().get("etag").map(<[u8]>::to_vec);
    let mut at = slice.map_or(0, |(start, _)| start);
    let end = if sink.silent { at } else { wants.window.end };
    let mut first = None;
    // The last bytes of all may be far behind the slice that has told how long all is.
    let sent = loop {
        match sink
            .part(conn, &mut part, &mut at, &wants.window, end)
            .await
        {
            Ok(()) => {}
            Err(fault) => break Err(fault),
        }
        let (Some((_, size)), true) = (slice.filter(|_| wants.made), at < end) else {
            break sink.end(conn).await;
        };
        let start = at.max(wants.window.start) / size * size;
        let next = ask(record, Some((start, size)));
        let before = std::mem::replace(&mut part, next);
        if first.is_none() {
            first = before.record().await;
        }
        at = start;
        let is_there = match conn.within(None, true, part.begins(method)).await {
            Ok(is_there) => is_there,
            Err(_) => break Err(gone()),
        };
        let fits = match is_there {
            true => fits(&part.answer(), (start, size), tag.as_deref(), wants.total),
            false => Err("no answer for a slice".to_owned()),
        };
        if let Err(why) = fits {
            tell!(error, told(record), "{why}");
            break Err(Fault::CutBody(None));
        }
    };
    record.body_bytes = sink.sent;
    record.packed = sink.chain.as_ref().map(Chain::tally).unwrap_or_default();
    let ending = match (&sent, closing) {
        (Ok(()), Closing::Keep) => Ending::Keep,
        (Ok(()), Closing::Close) => Ending::Close,
        (Err(fault), _) => {
            if matches!(fault, Fault::ClientGone { .. }) {
                record.status = 499;
            }
            Ending::Reset
        }
    };
    if sent.is_err() && !keeps {
        part.abandon();
        return Ok(ending);
    }
    if sent.is_ok() && make != Make::Forced {
        // Who keeps it wants all of it.
        part.drain().await;
    }
    let own = match first {
        Some(first) => Some(first),
        None if part.decoder.is_done() => part.record().await,
        None => None,
    };
    if let Some(own) = own {
        record.learn(own);
    }
    Ok(ending)
}

/// The client has left.
fn gone() -> Fault {
    Fault::ClientGone {
        while_: "it got its answer",
        source: None,
    }
}

/// Writes the head, and says how the body goes out.
fn dress(
    conn: &Conn,
    rules: &Rules,
    scene: &Scene<'_>,
    request: &Request<'_>,
    answer: &Response<'_>,
    wants: &Wanted,
    closing: Closing,
) -> Result<(Sink, Closing), Fault> {
    let status = wants.status;
    let bodiless = matches!(status, ..200 | 204 | 304);
    // That nothing has changed is told of the whole.
    let unchanged = wants.made && status == 304;
    let whole = if !unchanged && (bodiless || status == 206) || !rules.filters() {
        filter::PLAIN
    } else {
        let about = Answer {
            status: if unchanged { 200 } else { status },
            content_type: answer.get("content-type").unwrap_or_default(),
            length: wants.total,
            encoded: answer.get("content-encoding").is_some(),
            field: &|name| answer.get(name),
            now: conn.engine.time.now(),
        };
        Plan::new(rules, request, &about)
    };
    let plan = if bodiless { filter::PLAIN } else { whole };
    let length = match wants.total {
        Some(total) if !plan.changes() => {
            let window = wants.window.start..wants.window.end.min(total);
            Some(window.end - window.start)
        }
        _ => None,
    };
    let silent = bodiless || request.method() == "HEAD";
    let chunked = !silent && length.is_none() && request.version() == Version::Http11;
    let closing = if silent || chunked || length.is_some() {
        closing
    } else {
        Closing::Close
    };
    let mut out = Vec::with_capacity(1024);
    let reason = if status == answer.status() {
        answer.reason()
    } else {
        default_reason(status).as_bytes()
    };
    write_status_line(&mut out, Version::Http11, status, reason);
    for (name, value) in answer.headers() {
        match plan.shows(name) {
            _ if leaves_out(name, wants) => {}
            _ if unchanged && whole.shows(name) == Shown::Not => {}
            Shown::AsItIs => write_header(&mut out, name, value),
            Shown::Weak => write_header(&mut out, name, &compress::weak(value)),
            Shown::Not => {}
        }
    }
    plan.write(&mut out);
    let parts = wants.made && status == 200 && length.is_some() && !plan.changes();
    if parts && answer.get("accept-ranges").is_none() {
        out.extend_from_slice(b"Accept-Ranges: bytes\r\n");
    }
    if let (206, Some(total)) = (status, wants.total) {
        let Range { start, end } = wants.window;
        let range = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
        if wants.made {
            write_header(&mut out, b"Content-Range", range.as_bytes());
        }
    }
    match length {
        Some(length) if !bodiless => write_number(&mut out, b"Content-Length", length),
        _ if chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    write_connection(&mut out, closing, request.version());
    out.extend_from_slice(b"\r\n");
    let chain = if silent {
        None
    } else {
        plan.chain(wants.total, plan.texts(scene))
            .map_err(Fault::Filter)?
    };
    let sink = Sink {
        out,
        chunked,
        silent,
        chain,
        sent: 0,
    };
    Ok((sink, closing))
}

/// Whether a field is told anew, or not at all.
fn leaves_out(name: &[u8], wants: &Wanted) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    is("connection")
        || is("keep-alive")
        || is("transfer-encoding")
        || is("content-length")
        || wants.made && is("content-range")
        || wants.made && wants.status != 200 && is("accept-ranges")
        // Without a body nothing tells what the body is (RFC 9110, 15.4.5).
        || wants.made && wants.status == 304 && is("content-type")
}

/// The body on its way to the client.
struct Sink {
    /// What goes out next.
    out: Vec<u8>,
    chunked: bool,
    /// There is no body.
    silent: bool,
    chain: Option<Chain>,
    /// Content bytes that went out.
    sent: u64,
}

impl Sink {
    /// Sends what the client wants of one part, whose next byte is number `at` of the whole.
    async fn part(
        &mut self,
        conn: &Conn,
        part: &mut Part,
        at: &mut u64,
        window: &Range<u64>,
        end: u64,
    ) -> Result<(), Fault> {
        while *at < end {
            let piece = conn.within(None, true, part.piece()).await;
            let piece = piece.map_err(|_| gone())?;
            let piece = piece.map_err(|_| Fault::CutBody(None))?;
            let Some(piece) = piece else { break };
            let bytes = &part.buffer[piece];
            let length = bytes.len() as u64;
            let place = |byte: u64| {
                let byte = byte.clamp(*at, *at + length) - *at;
                usize::try_from(byte).unwrap_or(bytes.len())
            };
            let wanted = &bytes[place(window.start)..place(window.end)];
            *at += length;
            if !wanted.is_empty() {
                self.put(conn, wanted, Then::More).await?;
                self.flush(conn).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, conn: &Conn, bytes: &[u8], then: Then) -> Result<(), Fault> {
        let Some(mut chain) = self.chain.take() else {
            self.frame(bytes);
            return Ok(());
        };
        let presses = &conn.engine.presses;
        let mut made = Vec::new();
        let work = chain.run(presses, bytes, then, &mut made);
        work.await.map_err(Fault::Filter)?;
        self.frame(&made);
        while chain.is_busy() {
            self.flush(conn).await?;
            made.clear();
            let more = chain.more(presses, &mut made);
            more.await.map_err(Fault::Filter)?;
            self.frame(&made);
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// Gathers it for the client.
    fn frame(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.chunked {
            write_chunk_head(&mut self.out, bytes.len());
        }
        self.out.extend_from_slice(bytes);
        if self.chunked {
            self.out.extend_from_slice(CHUNK_END);
        }
        self.sent += bytes.len() as u64;
    }

    async fn flush(&mut self, conn: &Conn) -> Result<(), Fault> {
        if !self.out.is_empty() {
            conn.send(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// All of it was put.
    async fn end(&mut self, conn: &Conn) -> Result<(), Fault> {
        if self.chain.is_some() {
            self.put(conn, b"", Then::End).await?;
        }
        if self.chunked {
            self.out.extend_from_slice(LAST_CHUNK);
        }
        self.flush(conn).await
    }
}
