//! Reads an answer on although its client does not take it, so that the server that gives it is free again.
//!
//! Not here: which answers (`forward`), or what they wait in (`spool`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use trine_http1::Response;

use super::exchange::Exchange;
use super::fault::Fault;
use super::relay::Relay;
use crate::config::{BodyFile, ProxyPass, Quota, Room};
use crate::headers::media_type;
use crate::limit::pace::{Pace, Rate};
use crate::spool::{Full, Spool};
use crate::workbench::Input;

/// A client that has room again within this time is as fast as its server: nothing is written to disk for it.
const SLOW: Duration = Duration::from_millis(200);

/// How an answer is read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Room for what its client does not take; `None`: it waits in the server.
    pub(super) room: Option<(Room, Option<Arc<Quota>>)>,
    /// It is read no faster than this.
    pub(super) pace: Option<Pace>,
    /// The connection may serve again after it.
    pub(super) keeps: bool,
    ahead: Option<Ahead>,
    /// When all of it was there.
    pub(super) received: Option<Instant>,
}

/// What was read and not yet sent.
#[derive(Debug)]
struct Ahead {
    spool: Spool,
    /// How much of it is on its way.
    at: u64,
    /// The client has turned out to be slow.
    spills: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Reading {
    pub(super) fn new(pass: &ProxyPass, answer: &Response<'_>, quota: Option<Arc<Quota>>) -> Self {
        Self {
            room: reads_ahead(pass, answer).then(|| (pass.buffers.room.clone(), quota)),
            ..Self::default()
        }
    }

    pub(super) fn set_rate(&mut self, bytes: u64) {
        let rate = Rate { bytes, after: 0 };
        self.pace = (bytes > 0).then(|| Pace::new(rate, Instant::now()));
    }

    /// Where what is being sent lies: in a buffer of its own, once it was read ahead.
    pub(super) fn buffer<'b>(&self, answer: &'b Input, sending: &'b Input) -> &'b Input {
        if self.ahead.is_some() {
            sending
        } else {
            answer
        }
    }
}

/// Whether an answer is read ahead of its client: not if it is one whose parts are news, which nobody wants late.
fn reads_ahead(pass: &ProxyPass, answer: &Response<'_>) -> bool {
    if pass.shaping.obeys("x-accel-buffering") {
        match answer.get("x-accel-buffering") {
            Some(word) if word.eq_ignore_ascii_case(b"yes") => return true,
            Some(word) if word.eq_ignore_ascii_case(b"no") => return false,
            _ => {}
        }
    }
    const NEWS: [&[u8]; 4] = [
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/grpc",
        b"multipart/x-mixed-replace",
    ];
    let kind = media_type(answer).unwrap_or_default();
    let is = |news: &&[u8]| {
        kind.get(..news.len())
            .is_some_and(|kind| kind.eq_ignore_ascii_case(news))
    };
    pass.buffers.answers && !NEWS.iter().any(is)
}

impl Relay {
    /// The client takes nothing for now: goes on reading, as far as there is room.
    pub(super) fn read_ahead(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Fault> {
        let Some((room, quota)) = &self.reading.room else {
            return Ok(());
        };
        if self.reading.ahead.is_none() {
            if self.is_received() {
                return Ok(());
            }
            let mut sending = exchange.conn.engine.store.bulk();
            self.frame
                .move_data(exchange.bench.answer.all(), &mut sending);
            exchange.bench.sending = sending;
            self.reading.ahead = Some(Ahead {
                spool: Spool::new(room.clone(), quota.clone(), BodyFile::Never),
                at: 0,
                spills: false,
                patience: None,
            });
        }
        // What comes from the server says nothing about the client.
        let moved = exchange.clock.quiet();
        let done = self.fill(cx, exchange);
        exchange.clock.restore(moved);
        done
    }

    fn fill(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_>) -> Result<(), Fault> {
        while !self.is_received() {
            let Some(ahead) = &mut self.reading.ahead else {
                return Ok(());
            };
            if !ahead.spool.has_room(ahead.spills) {
                if ahead.spills {
                    return Ok(());
                }
                let patience = &mut ahead.patience;
                let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(SLOW)));
                if patience.as_mut().poll(cx).is_pending() {
                    return Ok(());
                }
                ahead.spills = true;
                continue;
            }
            let Poll::Ready(piece) = self.poll_piece(cx, exchange)? else {
                return Ok(());
            };
            let piece = piece.unwrap_or(0..0);
            let is_last = self.is_received();
            exchange.take_down(piece.clone(), is_last);
            let bytes = &exchange.bench.answer.all()[piece];
            let Some(ahead) = &mut self.reading.ahead else {
                return Ok(());
            };
            let kept = if ahead.spills {
                ahead.spool.append(bytes)
            } else {
                ahead.spool.append_to_memory(bytes);
                Ok(())
            };
            match kept {
                Ok(()) | Err(Full::Room) => {}
                Err(full) => tell_full(exchange, &full),
            }
        }
        self.release(exchange);
        Ok(())
    }

    /// The next piece of what was read ahead. Whether there was one: else what comes next is sent as it comes.
    pub(super) fn load_ahead(&mut self, exchange: &mut Exchange<'_>) -> Result<bool, Fault> {
        let Some(ahead) = &mut self.reading.ahead else {
            return Ok(false);
        };
        let sending = &mut exchange.bench.sending;
        sending.clear();
        let count = ahead.spool.read_at(ahead.at, sending.space());
        let count = count.map_err(Fault::SpoolAnswer)?;
        if count == 0 {
            let sending = std::mem::replace(sending, Input::new(0));
            exchange.conn.engine.store.give_back_bulk(sending);
            self.reading.ahead = None;
            return Ok(false);
        }
        ahead.at += count as u64;
        if ahead.at == ahead.spool.len() {
            ahead.spool.reset();
            ahead.at = 0;
        }
        let is_last = ahead.spool.len() == 0 && self.is_received();
        self.make(exchange, 0..count, is_last, false)?;
        Ok(true)
    }

    /// The server has done all it had to do: its connection is for others.
    fn release(&mut self, exchange: &mut Exchange<'_>) {
        self.reading.received.get_or_insert_with(Instant::now);
        if !exchange.upload.is_over() || !exchange.codec.is_settled() {
            return;
        }
        let clean = exchange.bench.answer.is_empty() && exchange.upload.is_complete();
        if let Some(link) = exchange.link.take()
            && self.reading.keeps
            && clean
        {
            link.give_back(Instant::now());
        }
    }
}

fn tell_full(exchange: &Exchange<'_>, full: &Full) {
    let why = trine_service::exit::chain(full);
    tracing::error!(client = %exchange.conn.peer_text, "an answer waits for its client at its server: {why}");
}
