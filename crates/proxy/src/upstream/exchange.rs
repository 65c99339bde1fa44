//! One request on one upstream connection: sends it, body and all, and reads the head of the answer.
//!
//! Both happen at once, because an upstream may answer before it has read everything. Not here: what the client gets
//! (see `relay`), or trying again (see `forward`).

use std::borrow::Cow;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use trine_http1::{ResponseHead, write_header, write_status_line};

use super::codec::{ANSWER_LIMITS, Codec};
use super::fault::Fault;
use super::pool::{Link, Peer};
use super::store::Storing;
use crate::cache::Fetch;
use crate::config::{ProxyPass, Timeouts};
use crate::conn::Conn;
use crate::conn::body::{ClientBody, Intake};
use crate::conn::frame::Frame;
use crate::conn::record::Traffic;
use crate::stream::{Next, Stream};
use crate::turn;
use crate::workbench::{Input, Workbench};

/// A request under way, with the workbench it is done at.
pub(crate) struct Exchange<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) link: Lent,
    pub(crate) peer: Rc<Peer>,
    pub(crate) pass: &'a ProxyPass,
    pub(crate) body: &'a mut ClientBody,
    pub(crate) bench: &'a mut Workbench,
    /// Takes the answer down for the cache.
    pub(crate) fetch: Option<&'a mut Fetch>,
    /// Takes it down into a file.
    pub(super) storing: Option<Storing>,
    pub(crate) codec: Codec,
    pub(crate) upload: Upload,
    pub(crate) clock: Clock,
    /// What has gone and come.
    pub(crate) traffic: Traffic,
    /// Where the head of the answer begins in its buffer.
    pub(crate) head_at: usize,
}

/// The connection, until the server has done its part.
#[derive(Debug)]
pub(crate) struct Lent(Option<Link>);

impl Lent {
    pub(crate) fn new(link: Link) -> Self {
        Self(Some(link))
    }

    pub(crate) fn stream(&self) -> &Stream {
        self.0
            .as_ref()
            .expect("it is taken only when nothing more is read from it or written to it")
            .stream()
    }

    fn reused(&self) -> bool {
        self.0.as_ref().is_some_and(|link| link.reused)
    }

    /// For others from now on.
    pub(crate) fn take(&mut self) -> Option<Link> {
        self.0.take()
    }
}

/// How far the request has been sent.
#[derive(Debug)]
pub(crate) struct Upload {
    frame: Frame,
    state: UploadState,
    /// The kernel took at least one byte.
    touched: bool,
    /// What is left of a piece that is too long to go out at once.
    rest: Range<usize>,
    /// Nothing comes behind `rest`.
    ends: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadState {
    /// More of the body will follow what the frame holds.
    More,
    /// The frame holds the rest.
    Last,
    Done,
    /// The upstream does not take any more.
    Abandoned,
}

/// What the exchange waits for, and since when.
#[derive(Debug)]
pub(crate) struct Clock {
    waiting: Wait,
    moved: bool,
    /// When the request as a whole is too late, and how long it was given.
    pub(crate) limit: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    UpstreamWrite,
    ClientRead,
    UpstreamRead,
    ClientWrite,
}

impl Upload {
    /// The head is in `request`. `held` is the whole body, if it is there.
    pub(crate) fn new(
        request: &mut Vec<u8>,
        input: &Input,
        held: Option<Range<usize>>,
        codec: &Codec,
    ) -> Self {
        let ends = held.is_some();
        let mut upload = Self {
            frame: Frame::default(),
            state: UploadState::More,
            touched: false,
            rest: held.unwrap_or(0..0),
            ends,
        };
        if ends {
            upload.load(request, input.all(), codec);
        } else {
            upload.frame.load(request, &[], 0..0, b"");
        }
        upload
    }

    /// Makes the frame of what comes next of `rest`, behind what is in `request`.
    fn load(&mut self, request: &mut Vec<u8>, buffer: &[u8], codec: &Codec) {
        let rest = self.rest.clone();
        let end = rest.start.saturating_add(codec.most_piece()).min(rest.end);
        self.rest = end..rest.end;
        let last = self.ends && self.rest.is_empty();
        if last {
            self.state = UploadState::Last;
        }
        let piece = rest.start..end;
        let tail = codec.surround(request, piece.len(), last);
        self.frame.load(request, buffer, piece, tail);
    }

    /// Nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, UploadState::Done | UploadState::Abandoned)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state == UploadState::Done
    }
}

impl Clock {
    pub(crate) fn new(limit: Option<(Instant, Duration)>) -> Self {
        Self {
            waiting: Wait::Nothing,
            moved: true,
            limit,
        }
    }

    /// Something was read or written: the wait begins anew.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// What moves until [`restore`](Self::restore) does not count.
    pub(crate) fn quiet(&self) -> bool {
        self.moved
    }

    pub(crate) fn restore(&mut self, moved: bool) {
        self.moved = moved;
    }
}

impl Exchange<'_> {
    /// Sends the request until the head of a final answer, or of an interim one that matters, is there.
    pub(crate) async fn answer(&mut self) -> Result<(), Fault> {
        if !self.upload.touched {
            turn::after_others().await;
        }
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(Err(fault)) = self.poll_upload(cx) {
            return Poll::Ready(Err(fault));
        }
        if let Poll::Ready(done) = self.poll_head(cx) {
            return Poll::Ready(done);
        }
        let wait = if self.upload.is_over() {
            if !self.pass.shaping.ignores_abort
                && let Poll::Ready(source) = self.conn.poll_gone(cx)
            {
                return Poll::Ready(Err(Fault::ClientGone {
                    while_: "its request was answered",
                    source,
                }));
            }
            Wait::UpstreamRead
        } else if self.upload.frame.is_sent() {
            Wait::ClientRead
        } else {
            Wait::UpstreamWrite
        };
        self.poll_late(cx, wait).map(Err)
    }

    /// Sends what is to be sent; ready when that is over.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            if self.upload.is_over() {
                return Poll::Ready(Ok(()));
            }
            let Workbench {
                input,
                request,
                bulk,
                page,
                ..
            } = &mut *self.bench;
            if !self.upload.frame.is_sent() {
                let buffer = self.body.buffer(input, bulk, page);
                let stream = self.link.stream();
                if !self.upload.touched && !self.link.reused() {
                    let count = self.upload.frame.write_now(stream, request, buffer);
                    if count > 0 {
                        self.upload.touched = true;
                        self.traffic.sent += count as u64;
                        self.clock.moved();
                        continue;
                    }
                }
                match ready!(self.upload.frame.poll_write(
                    cx,
                    stream,
                    request,
                    buffer,
                    usize::MAX,
                    Next::Any,
                )) {
                    Ok(count) => {
                        self.traffic.sent += count as u64;
                        self.upload.touched = true;
                        self.clock.moved();
                    }
                    Err(error) if !self.upload.touched && self.link.reused() => {
                        return Poll::Ready(Err(Fault::Unsent(error)));
                    }
                    // It may have answered before it stopped reading, or without reading at all.
                    Err(_) => self.upload.state = UploadState::Abandoned,
                }
                continue;
            }
            if self.upload.state == UploadState::Last {
                self.upload.state = UploadState::Done;
                continue;
            }
            if self.upload.rest.is_empty() {
                let mut intake = Intake {
                    stream: &self.conn.stream,
                    store: &self.conn.engine.store,
                    input,
                    bulk,
                    page,
                    lane: &self.conn.sends,
                };
                let piece = ready!(self.body.poll_piece(cx, &mut intake))?;
                self.clock.moved();
                self.upload.ends = piece.is_none();
                self.upload.rest = piece.unwrap_or(0..0);
            }
            request.clear();
            let buffer = self.body.buffer(input, bulk, page);
            self.upload.load(request, buffer, &self.codec);
        }
    }

    /// The client has nothing more to send of this request.
    pub(crate) fn has_body(&self) -> bool {
        self.upload.is_complete() || self.body.is_read()
    }

    /// Reads the head of an answer.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Workbench {
            answer,
            answer_head,
            ..
        } = &mut *self.bench;
        loop {
            if !answer.is_empty() || self.codec.has_begun() {
                match self.codec.head(answer, answer_head) {
                    Ok(Some(at)) => {
                        self.head_at = at;
                        self.traffic.head = self.traffic.received - answer.unread().len() as u64;
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(fault) => return Poll::Ready(Err(fault)),
                }
            }
            if !answer.make_room(ANSWER_LIMITS.head + 1024) {
                answer.compact();
            }
            match ready!(self.link.stream().poll_read(cx, answer.space())) {
                Ok(0) if answer.is_empty() && !self.codec.has_begun() => {
                    return Poll::Ready(Err(Fault::Unanswered(None)));
                }
                Ok(0) => return Poll::Ready(Err(Fault::CutHead)),
                Ok(count) => {
                    answer.filled(count);
                    self.traffic.received += count as u64;
                    self.codec.received(answer, count)?;
                    self.clock.moved();
                    if self.codec.has_said(self.pass.caught()) {
                        return Poll::Ready(Err(Fault::Caught));
                    }
                }
                Err(error) if answer.is_empty() && !self.codec.has_begun() => {
                    return Poll::Ready(Err(Fault::Unanswered(Some(error))));
                }
                Err(_) => return Poll::Ready(Err(Fault::CutHead)),
            }
        }
    }

    /// Waits for the peer to say that its answer is at an end, once all of it has gone out. Whether it does is its own
    /// affair: then only the connection is of no use any more.
    pub(crate) async fn settle(&mut self) {
        poll_fn(|cx| {
            loop {
                if self.codec.is_over() != Some(false) {
                    return Poll::Ready(());
                }
                let answer = &mut self.bench.answer;
                answer.clear();
                match self.link.stream().poll_read(cx, answer.space()) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(count)) => {
                        answer.filled(count);
                        self.traffic.received += count as u64;
                        if self.codec.received(answer, count).is_err() {
                            return Poll::Ready(());
                        }
                        self.clock.moved();
                    }
                    Poll::Pending => break,
                }
            }
            if self.conn.poll_gone(cx).is_ready() {
                return Poll::Ready(());
            }
            self.poll_late(cx, Wait::UpstreamRead).map(|_| ())
        })
        .await;
    }

    /// Sees to it that the wait ends in time.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<Fault> {
        let now = Instant::now();
        let of = |which: fn(&Timeouts) -> (Duration, u64)| self.conn.timeout(which);
        let mut rate = 0;
        let (timeout, late_at) = match wait {
            Wait::Nothing => (None, None),
            Wait::UpstreamWrite => (Some(self.pass.send_timeout), None),
            Wait::UpstreamRead => (Some(self.pass.read_timeout), None),
            Wait::ClientRead => {
                let timeout;
                (timeout, rate) = of(|timeouts| (timeouts.body, timeouts.body_rate));
                (Some(timeout), self.conn.sends.late_at(rate, now))
            }
            Wait::ClientWrite => {
                let timeout;
                (timeout, rate) = of(|timeouts| (timeouts.send, timeouts.send_rate));
                (Some(timeout), self.conn.takes.late_at(rate, now))
            }
        };
        if self.clock.moved || self.clock.waiting != wait {
            self.clock.moved = false;
            self.clock.waiting = wait;
            let at = timeout.map(|timeout| now + timeout);
            let limit = self.clock.limit.map(|(limit, _)| limit);
            let earliest = at.into_iter().chain(limit).chain(late_at).min();
            self.conn.place.set(earliest);
        }
        ready!(self.conn.place.poll(cx));
        if let Some((at, given)) = self.clock.limit
            && at <= now
        {
            return Poll::Ready(Fault::Total(given));
        }
        let timeout = timeout.unwrap_or_default();
        Poll::Ready(match wait {
            Wait::UpstreamWrite => Fault::SendTimeout(timeout),
            Wait::Nothing | Wait::UpstreamRead => Fault::ReadTimeout(timeout),
            Wait::ClientRead if late_at.is_some_and(|late| late <= now) => Fault::BodyTooSlow(rate),
            Wait::ClientRead => Fault::BodyTimeout(timeout),
            Wait::ClientWrite if late_at.is_some_and(|late| late <= now) => {
                Fault::TakesTooSlowly(rate)
            }
            Wait::ClientWrite => Fault::ClientSendTimeout(timeout),
        })
    }

    /// The head that was read last.
    pub(crate) fn head(&self) -> trine_http1::Response<'_> {
        self.bench
            .answer_head
            .on(&self.bench.answer.all()[self.head_at..])
    }

    /// The same as bytes, as HTTP/1 has it.
    pub(crate) fn head_text(&self) -> Cow<'_, [u8]> {
        let answer = &self.bench.answer;
        let raw = answer.all().get(self.head_at..answer.start());
        match raw {
            Some(raw) if raw.starts_with(b"HTTP/") => raw.into(),
            _ => {
                let head = self.head();
                let mut text = Vec::with_capacity(512);
                write_status_line(&mut text, head.version(), head.status(), head.reason());
                for (name, value) in head.headers() {
                    write_header(&mut text, name, value);
                }
                text.extend_from_slice(b"\r\n");
                text.into()
            }
        }
    }
}

/// Starts to look for the head of an answer in an empty buffer.
pub(crate) fn clear_answer(answer: &mut Input, head: &mut ResponseHead) {
    answer.clear();
    head.clear();
}
