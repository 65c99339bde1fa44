//! Passes an upstream's answer on to the client, as it comes.
//!
//! The body is taken out of the upstream's framing and put into the client's. What is left of the request's body
//! goes on meanwhile. Not here: reading the answer's head (see `exchange`), or protocols after an upgrade.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use trine_http1::{BodyDecoder, CHUNK_END, write_chunk_head};

use super::ahead::Reading;
use super::dress::{Dress, Framing, write_head};
use super::exchange::{Exchange, Wait};
use super::fault::Fault;
use super::filtered::Filtered;
use crate::compress::Then;
use crate::conn::frame::Frame;
use crate::conn::reply::Closing;
use crate::filter::Tally;
use crate::stream::Next;
use crate::turn;
use crate::workbench::{Input, Workbench};

/// What follows the content of the last chunk that has content.
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// An answer on its way to the client.
#[derive(Debug)]
pub(crate) struct Relay {
    decoder: BodyDecoder,
    pub(super) frame: Frame,
    pub(super) chunked: bool,
    /// The client asked by HEAD what was asked for by GET: the body is not for it.
    silent: bool,
    /// The body is changed on its way.
    pub(super) filtered: Option<Filtered>,
    /// Fields may follow the content.
    pub(super) has_trailers: bool,
    /// The last chunk is next, with the fields behind it.
    pub(super) ends: bool,
    /// All of the answer is in the frame, or went out before.
    pub(super) complete: bool,
    /// Content bytes made for the client so far.
    pub(crate) body_bytes: u64,
    pub(super) reading: Reading,
    /// The client's connection is closed as soon as all has gone out.
    pub(super) closes: bool,
    /// The buffer for heads, while a large one is in its place.
    small: Option<Box<Input>>,
}

impl Relay {
    /// Begins with the head that `exchange` has read. `closing` is what the client is told, unless the framing needs
    /// the connection's end.
    pub(crate) fn new(
        exchange: &mut Exchange<'_>,
        closing: Closing,
        dress: &Dress<'_>,
        reading: Reading,
    ) -> Result<(Self, Closing), Fault> {
        let silent = exchange.fetch.as_ref().is_some_and(|fetch| fetch.converts);
        let (length, told) = {
            let request = exchange.bench.head.on(exchange.bench.input.all());
            let told = exchange.head().body(request.method());
            let length = exchange.head().body("GET");
            (if silent { length } else { told }, told)
        };
        let (framing, closing, chain) = write_head(
            exchange.conn,
            exchange.bench,
            exchange.head_at,
            told,
            closing,
            dress,
        )?;
        let chunked = framing == Framing::Chunked;
        let mut relay = Self {
            decoder: BodyDecoder::new(length),
            frame: Frame::default(),
            chunked,
            silent,
            filtered: chain.map(|chain| Filtered::new(chain, told)),
            has_trailers: chunked && dress.has_trailers(exchange),
            ends: false,
            complete: false,
            body_bytes: 0,
            reading,
            closes: false,
            small: None,
        };
        // What has already come goes out together with the head.
        let piece = relay.take(exchange)?;
        relay.load(exchange, piece.unwrap_or(0..0), true)?;
        Ok((relay, closing))
    }

    /// Sends all of the answer. `heard` is called whenever more of it may have come, `end` is the last
    /// chunk, if fields may follow the content.
    pub(crate) async fn run(
        &mut self,
        exchange: &mut Exchange<'_>,
        mut heard: impl FnMut(&mut Exchange<'_>),
        end: impl Fn(&Self, &Exchange<'_>) -> Vec<u8>,
    ) -> Result<(), Fault> {
        turn::after_others().await;
        poll_fn(|cx| {
            let mut done = self.poll(cx, exchange);
            while self.ends && self.frame.is_sent() {
                self.ends = false;
                self.complete = true;
                let mut last = end(self, exchange);
                self.frame.load(&mut last, b"", 0..0, b"");
                exchange.bench.out = last;
                done = self.poll(cx, exchange);
            }
            heard(exchange);
            done
        })
        .await
    }

    /// What follows the content, if it is an upstream's.
    pub(crate) fn decoder(&self) -> &BodyDecoder {
        &self.decoder
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
                let Workbench {
                    out,
                    answer,
                    sending,
                    ..
                } = &mut *exchange.bench;
                let buffer = self.reading.buffer(answer, sending);
                // Nothing may be waited for between the last bytes and the end that they are held back for.
                let ends = self.closes
                    && self.complete
                    && most == usize::MAX
                    && exchange.fetch.is_none()
                    && exchange.codec.is_over() != Some(false);
                let then = if ends { Next::End } else { Next::Any };
                conn.holds.set(ends);
                let stream = &conn.stream;
                let frame = &mut self.frame;
                match frame.poll_write(cx, stream, out, buffer.all(), most, then) {
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
            if self.complete || self.ends {
                return Poll::Ready(Ok(()));
            }
            if self.filtered.as_ref().is_some_and(Filtered::is_busy) {
                match self.poll_filter(cx, exchange) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                    Poll::Pending => break Wait::Nothing,
                }
            }
            if self.load_ahead(exchange)? {
                continue;
            }
            match self.poll_piece(cx, exchange) {
                Poll::Ready(Ok(piece)) => self.load(exchange, piece.unwrap_or(0..0), false)?,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                // What has come so far is for the client, whenever more comes.
                Poll::Pending if self.flush(exchange)? => {}
                Poll::Pending => break Wait::UpstreamRead,
            }
        };
        if !self.frame.is_sent() {
            self.read_ahead(cx, exchange)?;
        }
        match exchange.poll_upload(cx) {
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Ready(Ok(()))
                if wait == Wait::UpstreamRead && !exchange.pass.shaping.ignores_abort =>
            {
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

    /// All of it has come.
    pub(super) fn is_received(&self) -> bool {
        self.decoder.is_done()
    }

    /// More of the body; `None` at its end.
    pub(super) fn poll_piece(
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
            let most = match &mut self.reading.pace {
                None => usize::MAX,
                Some(pace) => ready!(pace.poll(cx)),
            };
            let space = answer.space();
            let most = most.min(space.len());
            match ready!(exchange.link.stream().poll_read(cx, &mut space[..most])) {
                Ok(0) if exchange.codec.is_over() == Some(false) => {
                    return Poll::Ready(Err(Fault::CutBody(None)));
                }
                Ok(0) => {
                    self.decoder.eof().map_err(|_| Fault::CutBody(None))?;
                    return Poll::Ready(Ok(None));
                }
                Ok(count) => {
                    answer.filled(count);
                    exchange.traffic.received += count as u64;
                    exchange.codec.received(answer, count)?;
                    exchange.clock.moved();
                    if let Some(pace) = &mut self.reading.pace {
                        pace.sent(count as u64);
                    }
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
    fn load(
        &mut self,
        exchange: &mut Exchange<'_>,
        piece: Range<usize>,
        start: bool,
    ) -> Result<(), Fault> {
        let is_last = self.decoder.is_done();
        exchange.take_down(piece.clone(), is_last);
        self.make(exchange, piece, is_last, start)
    }

    /// The same for a piece of what is being sent, wherever that lies.
    pub(super) fn make(
        &mut self,
        exchange: &mut Exchange<'_>,
        piece: Range<usize>,
        is_last: bool,
        start: bool,
    ) -> Result<(), Fault> {
        if self.filtered.is_some() {
            let then = if is_last { Then::End } else { Then::More };
            return self.filter(exchange, piece, then);
        }
        if !start {
            exchange.bench.out.clear();
        }
        self.end(is_last);
        let Workbench {
            out,
            answer,
            sending,
            ..
        } = &mut *exchange.bench;
        let buffer = self.reading.buffer(answer, sending);
        if self.silent {
            self.frame.load(out, b"", 0..0, b"");
            return Ok(());
        }
        self.body_bytes += piece.len() as u64;
        let tail: &'static [u8] = match (self.chunked, piece.is_empty(), self.complete) {
            (false, _, _) | (true, true, false) => b"",
            (true, true, true) => trine_http1::LAST_CHUNK,
            (true, false, false) => CHUNK_END,
            (true, false, true) => LAST_CHUNK_END,
        };
        if self.chunked && !piece.is_empty() {
            write_chunk_head(out, piece.len());
        }
        self.frame.load(out, buffer.all(), piece, tail);
        Ok(())
    }

    /// What was compressed of it.
    pub(crate) fn tally(&self) -> Tally {
        let filtered = self.filtered.as_ref();
        filtered.map(Filtered::tally).unwrap_or_default()
    }

    /// All content is in the frame.
    pub(super) fn end(&mut self, is_last: bool) {
        self.ends = is_last && self.has_trailers;
        self.complete = is_last && !self.has_trailers;
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
