//! Waits on a client: for it to take what it is sent, for it to leave or to be done.
//!
//! Each ends by itself in time. Not here: what is read or sent.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::{Conn, frame};
use crate::limit::pace::Pace;
use crate::stream::{Glance, Next, Stream};
use crate::template::{self, Scene};
use crate::upstream::fault::Fault;
use crate::workbench::Workbench;

/// Why a wait was cut short.
#[derive(Debug)]
pub(crate) enum Interrupted {
    Late,
    /// The client closed its connection.
    Gone(Option<io::Error>),
}

impl Conn {
    /// Reads a body that nobody wants, of `length` bytes, and forgets it.
    pub(super) async fn skip(&self, bench: &mut Workbench, length: u64) -> Result<(), Fault> {
        let here = bench
            .input
            .unread()
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        bench.input.consume(here);
        let mut left = length - here as u64;
        if left == 0 {
            return Ok(());
        }
        let timeout = self.timeouts().body;
        let mut buffer = self.engine.store.bulk();
        let mut moved = true;
        let done = poll_fn(|cx| {
            while left > 0 {
                buffer.clear();
                let space = buffer.space();
                let most = usize::try_from(left)
                    .unwrap_or(space.len())
                    .min(space.len());
                match self.stream.poll_read(cx, &mut space[..most]) {
                    Poll::Ready(Ok(0) | Err(_)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it sent its body",
                            source: None,
                        }));
                    }
                    Poll::Ready(Ok(count)) => {
                        left -= count as u64;
                        moved = true;
                    }
                    Poll::Pending => {
                        if std::mem::take(&mut moved) {
                            self.place.set(Some(Instant::now() + timeout));
                        }
                        return self
                            .place
                            .poll(cx)
                            .map(|_| Err(Fault::BodyTimeout(timeout)));
                    }
                }
            }
            Poll::Ready(Ok(()))
        });
        let done = done.await;
        self.engine.store.give_back_bulk(buffer);
        done
    }

    /// From now on the answer to this request goes out no faster than its location says.
    pub(crate) fn set_pace(&self, scene: &Scene<'_>) {
        if let Some(rate) = template::rate(scene) {
            *self.pace.borrow_mut() = Some(Pace::new(rate, scene.record.started));
        }
    }

    /// How much of the answer may go out now.
    pub(crate) fn poll_pace(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.pace.borrow_mut().as_mut() {
            None => Poll::Ready(usize::MAX),
            Some(pace) => pace.poll(cx),
        }
    }

    /// Notes what has gone out.
    pub(crate) fn paced(&self, bytes: usize) {
        self.takes.moved(bytes);
        if let Some(pace) = self.pace.borrow_mut().as_mut() {
            pace.sent(bytes as u64);
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.send_part(bytes, Next::Any).await
    }

    /// Sends all of `bytes`; `then` follows.
    pub(crate) async fn send_part(&self, bytes: &[u8], then: Next) -> Result<(), Fault> {
        let mut sent = 0;
        let mut seen = usize::MAX;
        poll_fn(|cx| {
            while sent < bytes.len() {
                let most = ready!(self.poll_pace(cx));
                let part = &bytes[..sent.saturating_add(most).min(bytes.len())];
                let before = sent;
                let done = frame::poll_write_all(cx, &self.stream, part, &mut sent, then);
                self.paced(sent - before);
                match done {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it got its answer",
                            source: Some(error),
                        }));
                    }
                    Poll::Pending => {
                        let moved = std::mem::replace(&mut seen, sent) != sent;
                        return self.poll_send_late(cx, moved).map(Err);
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sees to it that a client takes what it is sent, a bit at a time. `moved`: it just took some.
    pub(crate) fn poll_send_late(&self, cx: &mut Context<'_>, moved: bool) -> Poll<Fault> {
        let timeouts = self.timeouts();
        let (timeout, rate) = (timeouts.send, timeouts.send_rate);
        let now = Instant::now();
        let late_at = self.takes.late_at(rate, now);
        if moved {
            let at = now + timeout;
            self.place
                .set(Some(late_at.map_or(at, |late| at.min(late))));
        }
        self.place.poll(cx).map(|_| match late_at {
            Some(late) if late <= now => Fault::TakesTooSlowly(rate),
            _ => Fault::ClientSendTimeout(timeout),
        })
    }

    /// Waits for `work`, but not beyond `at`, nor longer than the client stays.
    pub(crate) async fn within<T>(
        &self,
        at: Option<Instant>,
        watch: bool,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        let mut armed = false;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if watch && let Poll::Ready(source) = self.poll_gone(cx) {
                return Poll::Ready(Err(Interrupted::Gone(source)));
            }
            if !armed {
                armed = true;
                self.place.set(at);
            }
            self.place.poll(cx).map(|_| Err(Interrupted::Late))
        })
        .await
    }

    /// Ready when the client has closed its connection. As in nginx, a client that closes its sending side while it
    /// waits counts as gone: on TCP the two cannot be told apart.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        if let Some(stream) = self.stream.http2() {
            return stream.poll_gone(cx);
        }
        if matches!(&*self.stream, Stream::Inner(_)) {
            // Whoever waits for it looks after the client.
            return Poll::Pending;
        }
        if let Some(tls) = self.stream.tls() {
            if !self.watching.get() {
                return Poll::Pending;
            }
            return match ready!(tls.poll_gone(cx)) {
                Ok(true) => Poll::Ready(None),
                Ok(false) => {
                    self.watching.set(false);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Some(error)),
            };
        }
        while self.watching.get() {
            if let Err(error) = ready!(self.stream.poll_readable(cx)) {
                return Poll::Ready(Some(error));
            }
            match self.stream.glance() {
                Glance::Closed => return Poll::Ready(None),
                Glance::Bytes => self.watching.set(false),
                Glance::Quiet => {}
            }
        }
        Poll::Pending
    }

    /// Closes in a way that lets the client read our answer, whatever it may still be sending.
    pub(crate) async fn linger(&self) {
        let timeouts = self.timeouts();
        // What is held back for it goes out with it.
        self.stream.shutdown_write();
        if !timeouts.lingers {
            return;
        }
        let end = Instant::now() + timeouts.linger;
        let mut buffer = self.engine.store.bulk();
        let mut moved = true;
        poll_fn(|cx| {
            loop {
                buffer.clear();
                match self.stream.poll_read(cx, buffer.space()) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Pending => break,
                }
            }
            if std::mem::take(&mut moved) {
                self.place
                    .set(Some(end.min(Instant::now() + timeouts.linger_silence)));
            }
            self.place.poll(cx).map(drop)
        })
        .await;
        self.engine.store.give_back_bulk(buffer);
    }
}
