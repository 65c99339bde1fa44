//! Reads a request's body before anybody is asked for an answer, so that a slow client costs nobody's time but ours,
//! and so that the request can be sent again.
//!
//! Not here: which bodies (`upstream::forward`), or what they are kept in (`spool`).

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use trine_http1::BodyLength;

use super::Conn;
use super::body::{ClientBody, Intake};
use super::record::Record;
use crate::config::{Config, Rules};
use crate::spool::{Full, Spool};
use crate::upstream::fault::Fault;
use crate::workbench::Workbench;

/// How a body is read ahead.
pub(crate) struct Spooling<'a> {
    pub(crate) config: &'a Config,
    pub(crate) rules: &'a Rules,
    /// It is of no use until all of it is there.
    pub(crate) needs_all: bool,
}

impl Conn {
    /// Reads a small body of known length whole, behind its head.
    pub(crate) async fn collect_small(
        &self,
        bench: &mut Workbench,
        length: BodyLength,
    ) -> Result<(), Fault> {
        let BodyLength::Known(length) = length else {
            return Ok(());
        };
        let input = &mut bench.input;
        let Ok(length) = usize::try_from(length) else {
            return Ok(());
        };
        if length > input.capacity() - input.start() {
            return Ok(());
        }
        let mut moved = true;
        poll_fn(|cx| {
            while input.unread().len() < length {
                match self.stream.poll_read(cx, input.space()) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it sent its body",
                            source: None,
                        }));
                    }
                    Poll::Ready(Ok(count)) => {
                        input.filled(count);
                        self.sends.moved(count);
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it sent its body",
                            source: Some(error),
                        }));
                    }
                    Poll::Pending => return self.poll_body_late(cx, &mut moved).map(Err),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Reads a body into a spool, which then stands in front of it. Where there is no room for all of it the rest is
    /// left to be read when it is sent, unless that would be of no use.
    pub(crate) async fn spool_body(
        &self,
        bench: &mut Workbench,
        body: &mut ClientBody,
        how: &Spooling<'_>,
        record: &mut Record,
    ) -> Result<(), Fault> {
        let (config, rules) = (how.config, &how.rules.bodies);
        let quota = config.servers[record.visit.server].quota.clone();
        let mut spool = Box::new(Spool::new(rules.room.clone(), quota, rules.file));
        spool.open_named().map_err(Fault::Keep)?;
        if let Some(held) = body.held() {
            let kept = spool.append(&bench.input.all()[held]);
            kept.map_err(Fault::Keep)?;
            record.body_file = spool.path().map(Into::into);
            body.put_in_front(spool);
            return Ok(());
        }
        let mut moved = true;
        let read = poll_fn(|cx| {
            loop {
                let Workbench {
                    input, bulk, page, ..
                } = &mut *bench;
                let mut intake = Intake {
                    stream: &self.stream,
                    store: &self.engine.store,
                    input,
                    bulk,
                    page,
                    lane: &self.sends,
                };
                let piece = match body.poll_live(cx, &mut intake) {
                    Poll::Ready(Ok(Some(piece))) => piece,
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault.into())),
                    Poll::Pending => return self.poll_body_late(cx, &mut moved).map(Err),
                };
                moved = true;
                let bytes = &body.buffer(input, bulk, page)[piece];
                if let Err(full) = spool.append(bytes) {
                    return Poll::Ready(if how.needs_all {
                        Err(Fault::Keep(full))
                    } else {
                        Ok(Some(full))
                    });
                }
            }
        });
        match read.await? {
            Some(full @ (Full::Disk { .. } | Full::Quota(_))) => {
                let why = trine_service::exit::chain(&full);
                tracing::error!(client = %self.peer_text, "a request's body is sent on as it comes: {why}");
            }
            Some(Full::Room) | None => {}
        }
        record.body_file = spool.path().map(Into::into);
        if config.tells_body && body.is_read() {
            record.body_text = spool.in_memory().map(<[u8]>::to_vec);
        }
        body.put_in_front(spool);
        Ok(())
    }

    /// Sees to it that a body comes in time. `moved`: some of it just came.
    fn poll_body_late(&self, cx: &mut Context<'_>, moved: &mut bool) -> Poll<Fault> {
        let timeouts = self.timeouts();
        let (timeout, rate) = (timeouts.body, timeouts.body_rate);
        let now = Instant::now();
        let late_at = self.sends.late_at(rate, now);
        if std::mem::take(moved) {
            let at = now + timeout;
            self.place
                .set(Some(late_at.map_or(at, |late| at.min(late))));
        }
        self.place.poll(cx).map(|_| match late_at {
            Some(late) if late <= now => Fault::BodyTooSlow(rate),
            _ => Fault::BodyTimeout(timeout),
        })
    }
}
