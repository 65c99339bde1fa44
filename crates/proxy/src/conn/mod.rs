//! One client connection: waits for a request, has it served, logs it, and waits for the next one.
//!
//! `body` reads request bodies, `reply` writes our own answers, `record` is what the log gets, `frame` is a write
//! that may take several turns, `serve` decides who answers. Not here: how anything is answered.

pub(crate) mod body;
pub(crate) mod frame;
pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod serve;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use trine_http1::{BodyLength, Limits, Policy, Request, RequestError};

use crate::config::Timeouts;
use crate::deadline::{Call, Place};
use crate::engine::{Engine, Generation};
use crate::headers::forwarded::Peer;
use crate::stream::{Glance, Stream};
use crate::upstream::fault::Fault;
use crate::upstream::pool::add;
use crate::workbench::Workbench;
use record::Record;

/// How long a client may go on sending after we have answered and are done with it, and how long it may be silent.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) engine: Rc<Engine>,
    pub(crate) stream: Stream,
    pub(crate) place: Place,
    pub(crate) peer: Peer,
    /// The peer's address as it is written in fields and logs.
    pub(crate) peer_text: String,
    /// Which listener it came in by, and that one's port.
    pub(crate) door: usize,
    pub(crate) port: u16,
    /// The configuration that the connection's last request was served by.
    generation: std::cell::RefCell<Rc<Generation>>,
    /// Whether to look out for the client's leaving; pointless once it has sent more than was asked for.
    watching: Cell<bool>,
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Keep,
    Close,
    /// The client may still be sending: read on for a while, so that it gets the answer and not a reset.
    Linger,
    /// The answer is incomplete, which must not look like its end.
    Reset,
}

/// Why a wait was cut short.
#[derive(Debug)]
pub(crate) enum Interrupted {
    Late,
    /// The client closed its connection.
    Gone(Option<io::Error>),
}

/// Why there is no request.
enum NoHead {
    /// Nothing has come.
    Nothing,
    /// The client closed, is silent, or the daemon drains.
    Quiet,
    Late,
    Bad(RequestError),
}

impl Conn {
    pub(crate) fn new(
        engine: Rc<Engine>,
        stream: Stream,
        peer: Peer,
        door: usize,
        port: u16,
    ) -> Self {
        let peer_text = match peer {
            Peer::Ip(addr) => addr.to_string(),
            Peer::Unix => "unix:".to_owned(),
        };
        let generation = engine.generation().into();
        let place = engine.deadlines.place(door);
        Self {
            engine,
            stream,
            place,
            peer,
            peer_text,
            door,
            port,
            generation,
            watching: Cell::new(true),
        }
    }

    /// Serves requests until either side has had enough.
    pub(crate) async fn run(self) {
        let figures = &self.engine.figures;
        add(&figures.connections, 1);
        let mut served = false;
        while self.idle(served).await {
            let mut bench = self.engine.store.bench();
            let ending = self.busy(&mut bench).await;
            self.engine.store.give_back(bench);
            match ending {
                None => continue,
                Some(Ending::Keep) => {
                    served = true;
                    continue;
                }
                Some(Ending::Close) => {}
                Some(Ending::Linger) => self.linger().await,
                Some(Ending::Reset) => self.stream.reset_when_closed(),
            }
            break;
        }
    }

    /// Waits for a request to begin, without a buffer. Returns false if none will come.
    async fn idle(&self, served: bool) -> bool {
        let timeouts = self.timeouts();
        let timeout = if served {
            timeouts.keepalive
        } else {
            timeouts.header
        };
        let mut armed = false;
        let call = poll_fn(|cx| {
            if let Poll::Ready(ready) = self.stream.poll_readable(cx) {
                // An error comes up again when it is read.
                drop(ready);
                return Poll::Ready(None);
            }
            if !self.is_welcome() {
                return Poll::Ready(Some(Call::Leave));
            }
            if !armed {
                armed = true;
                self.place.set(Some(Instant::now() + timeout));
                self.place.set_idle(true);
            }
            self.place.poll(cx).map(Some)
        });
        let call = call.await;
        self.place.set_idle(false);
        match call {
            None => true,
            // A request may have come in this very moment, before the runtime has noticed: it still gets its answer.
            Some(Call::Leave) if self.stream.has_bytes() => {
                poll_fn(|cx| self.stream.poll_readable(cx)).await.is_ok()
            }
            Some(Call::Leave) => false,
            Some(Call::Late) => false,
        }
    }

    /// Serves requests, one after the other, until nothing more is there. `None` if there was nothing at all: the
    /// runtime takes a new socket to be readable until it has tried.
    async fn busy(&self, bench: &mut Workbench) -> Option<Ending> {
        loop {
            let started = match self.read_head(bench).await {
                Ok(()) => Instant::now(),
                Err(NoHead::Nothing) => return None,
                Err(NoHead::Quiet) => return Some(Ending::Close),
                Err(NoHead::Late) => {
                    let why = "it did not finish its request's head in time";
                    return Some(self.refuse(bench, 408, why).await);
                }
                Err(NoHead::Bad(error)) => {
                    let status = if error == RequestError::UnsupportedVersion {
                        505
                    } else {
                        error.status()
                    };
                    return Some(self.refuse(bench, status, error).await);
                }
            };
            self.watching.set(true);
            let mut record = Record::new(started);
            let ending = serve::serve(self, bench, &mut record).await;
            self.finish(bench, &record);
            self.engine.store.reunite(bench);
            match ending {
                Ending::Keep if bench.input.is_empty() => return Some(Ending::Keep),
                Ending::Keep => {}
                // Closing with bytes unread resets the connection, and the answer may be lost.
                Ending::Close if !bench.input.is_empty() => return Some(Ending::Linger),
                Ending::Close | Ending::Linger | Ending::Reset => return Some(ending),
            }
            bench.input.compact();
        }
    }

    /// Reads until a head is complete; what follows it is left unread.
    async fn read_head(&self, bench: &mut Workbench) -> Result<(), NoHead> {
        let timeout = self.timeouts().header;
        let limits = Limits::default();
        let Workbench { input, head, .. } = bench;
        let mut armed = false;
        poll_fn(|cx| {
            loop {
                if !input.is_empty() {
                    match head.parse(input.unread(), &limits, &Policy::default()) {
                        Ok(Some(length)) => {
                            input.consume(length);
                            return Poll::Ready(Ok(()));
                        }
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Err(NoHead::Bad(error))),
                    }
                }
                if !input.make_room(limits.head + 1024) {
                    // Cannot be: the parser refuses a head before it is that long.
                    return Poll::Ready(Err(NoHead::Quiet));
                }
                match self.stream.poll_read(cx, input.space()) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Quiet)),
                    Poll::Ready(Ok(count)) => input.filled(count),
                    Poll::Pending if input.is_empty() => {
                        return Poll::Ready(Err(NoHead::Nothing));
                    }
                    Poll::Pending => break,
                }
            }
            if !armed {
                armed = true;
                self.place.set(Some(Instant::now() + timeout));
            }
            self.place.poll(cx).map(|_| Err(NoHead::Late))
        })
        .await
    }

    /// Answers a request that cannot be read, and is done with the client.
    async fn refuse(
        &self,
        bench: &mut Workbench,
        status: u16,
        why: impl std::fmt::Display,
    ) -> Ending {
        tracing::info!(client = %self.peer_text, status, "refused the client's request: {why}");
        let mut record = Record::new(Instant::now());
        record.headless = true;
        let reply = reply::Reply::status(status);
        record.status = status;
        let time = &self.engine.time;
        record.body_bytes = reply.write(
            &mut bench.out,
            time,
            trine_http1::Version::Http11,
            reply::Closing::Close,
            false,
        );
        let ending = if self.send(&bench.out).await.is_ok() {
            Ending::Linger
        } else {
            Ending::Close
        };
        self.finish(bench, &record);
        ending
    }

    /// Counts and logs a request that is over.
    fn finish(&self, bench: &Workbench, record: &Record) {
        self.engine.figures.count(record);
        let request = (!record.headless).then(|| bench.head.on(bench.input.all()));
        self.engine.log.write(self, request, record);
    }

    /// Reads a small body of known length whole, so that its request takes no upstream's time while it comes, and
    /// can be sent again.
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
        let timeout = self.timeouts().body;
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
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(Fault::ClientGone {
                            while_: "it sent its body",
                            source: Some(error),
                        }));
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
        })
        .await
    }

    /// Reads a body that nobody wants, of `length` bytes, and forgets it.
    async fn skip(&self, bench: &mut Workbench, length: u64) -> Result<(), Fault> {
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

    /// Sends all of `bytes`.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.send_part(bytes, false).await
    }

    /// Sends all of `bytes`; `more` follows at once.
    pub(crate) async fn send_part(&self, bytes: &[u8], more: bool) -> Result<(), Fault> {
        let mut sent = 0;
        let mut seen = usize::MAX;
        poll_fn(
            |cx| match frame::poll_write_all(cx, &self.stream, bytes, &mut sent, more) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::ClientGone {
                    while_: "it got its answer",
                    source: Some(error),
                })),
                Poll::Pending => {
                    let moved = std::mem::replace(&mut seen, sent) != sent;
                    self.poll_send_late(cx, moved).map(Err)
                }
            },
        )
        .await
    }

    /// Sees to it that a client takes what it is sent, a bit at a time. `moved`: it just took some.
    pub(crate) fn poll_send_late(&self, cx: &mut Context<'_>, moved: bool) -> Poll<Fault> {
        let timeout = self.timeouts().send;
        if moved {
            self.place.set(Some(Instant::now() + timeout));
        }
        self.place
            .poll(cx)
            .map(|_| Fault::ClientSendTimeout(timeout))
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
    async fn linger(&self) {
        self.stream.shutdown_write();
        let end = Instant::now() + LINGER;
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
                    .set(Some(end.min(Instant::now() + LINGER_SILENCE)));
            }
            self.place.poll(cx).map(drop)
        })
        .await;
        self.engine.store.give_back_bulk(buffer);
    }

    /// Whether another request may follow this one on the connection.
    pub(crate) fn may_keep(&self, request: &Request<'_>) -> bool {
        request.keep_alive() && self.is_welcome()
    }

    /// Whether the daemon goes on, and with this connection's door.
    fn is_welcome(&self) -> bool {
        !self.engine.is_draining() && self.engine.knows_door(self.door)
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.generation.borrow().config.timeouts
    }

    /// The configuration for a new request: the newest that still knows this connection's listener.
    fn renew(&self) -> Rc<Generation> {
        let newest = self.engine.generation();
        if newest.listen(self.door).is_some() {
            *self.generation.borrow_mut() = newest;
        }
        Rc::clone(&self.generation.borrow())
    }
}
