//! The worker with one thread: it polls, parses, calls the application and sends, without any hand-over.
//!
//! Answers of a batch of ready connections go out together after their calls (write batching), as long as the calls
//! are short: a slow one never holds back the answers of those before it for long.
//! While the application streams to a slow client, the loop goes on receiving and sending for all the others; only
//! the next call has to wait.
//! Not here: the loop itself (`io`), signals (`worker`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trine_http1::BodyLength;

use crate::python::{self, Caller, Gil, Gone, NoBody, Sink, Verdict};

use super::body::Body;

use super::exchange::Exchange;
use super::io::{Io, Token};
use super::outbox::{FileSpan, Sent};
use super::share::{Sharer, lock};
use super::watch::{Watch, Watcher};

/// The oldest answer of a batch waits no longer than this for the calls after it.
const BATCH: Duration = Duration::from_millis(4);
/// While calls, with the clean-up after them, take longer than this on average, answers go out at once.
const SHORT: Duration = Duration::from_millis(1);

/// Calls the application for every complete request and tells `done` of each.
#[derive(Debug)]
pub struct Inline {
    pub caller: Caller,
    watch: Option<(Arc<Watch>, Watcher)>,
    /// Gives away what waits behind a long call, if there is anybody to give it to.
    sharer: Option<Sharer>,
    /// Memory for the next answer.
    memory: Vec<u8>,
    /// How long calls took of late: each new one counts for an eighth.
    usual: Duration,
    batch_began: Option<Instant>,
}

impl Inline {
    /// `watch` has one seat.
    pub fn new(
        gil: Gil<'_>,
        caller: Caller,
        watch: Option<Watch>,
        sharer: Option<Sharer>,
    ) -> io::Result<Self> {
        let watch = match watch {
            Some(watch) => {
                let watch = Arc::new(watch);
                let interrupt =
                    python::interrupt_main(gil, Arc::clone(&watch)).map_err(io::Error::other)?;
                let watcher = watch.start(interrupt)?;
                Some((watch, watcher))
            }
            None => None,
        };
        Ok(Self {
            caller,
            watch,
            sharer,
            memory: Vec::new(),
            usual: Duration::ZERO,
            batch_began: None,
        })
    }

    /// Serves everything that the last wait brought.
    pub fn serve_ready(
        &mut self,
        gil: Gil<'_>,
        shared: &Mutex<Io>,
        started: impl Fn(&Exchange, Instant),
        mut done: impl FnMut(&Exchange, &Verdict, &Caller, Duration),
    ) {
        let mut clock = Instant::now();
        let mut io = lock(shared);
        while let Some(token) = io.next_ready() {
            let Some(mut exchange) = io.take(token) else {
                continue;
            };
            started(&exchange, clock);
            let keep_alive = io.may_keep();
            let watch = self.watch.as_ref().map(|(watch, _)| &**watch);
            if let Some(watch) = watch {
                watch.begin(0, clock, io.clear_socket(token));
            }
            let mut sink = InlineSink {
                date: *io.date(),
                io: shared,
                token,
                out: std::mem::take(&mut self.memory),
                gil,
                watch,
                eager: self.usual > SHORT,
            };
            // During the call the loop is anybody's.
            drop(io);
            if let Some(sharer) = &self.sharer {
                sharer.begin();
            }
            let mut verdict = self.caller.call(gil, &mut exchange, keep_alive, &mut sink);
            io = lock(shared);
            io.take_back();
            io.add_out(token, &mut sink.out);
            self.memory = sink.out;
            if watch.is_some_and(|watch| watch.seat(0).end().answered) {
                io.forget_out(token);
                (verdict.keep, verdict.status) = (false, 504);
            }
            let now = Instant::now();
            let took = now - clock;
            clock = now;
            done(&exchange, &verdict, &self.caller, took);
            if verdict.let_go {
                io.let_go(token);
                io.recycle(exchange);
            } else {
                if verdict.had_socket {
                    io.take_socket_back(token);
                }
                io.mark_dirty(token);
                io.finish(token, exchange, verdict.keep);
            }
            self.usual = (self.usual * 7 + took) / 8;
            let began = *self.batch_began.get_or_insert(now);
            if self.usual > SHORT || now - began > BATCH {
                io.flush_dirty();
                self.batch_began = None;
            }
            // While calls last, others put requests in line without end; a stop is heard between two calls all the same.
            if io.has_notice() {
                io.absorb();
                break;
            }
        }
        io.flush_dirty();
        self.batch_began = None;
    }
}

/// Where the inline worker's answers go: the connection's outbox.
struct InlineSink<'a, 'py> {
    io: &'a Mutex<Io>,
    token: Token,
    out: Vec<u8>,
    date: [u8; 29],
    gil: Gil<'py>,
    watch: Option<&'a Watch>,
    eager: bool,
}

impl InlineSink<'_, '_> {
    /// Waits for the client, who may take as long as the request may, and is cut off then.
    fn wait_until_sent(&mut self) -> bool {
        let (io, token, watch) = (self.io, self.token, self.watch);
        let Some(watch) = watch else {
            return self.gil.detached(|| lock(io).drive_until_sent(token, None));
        };
        watch.seat(0).set_waits(true);
        let until = watch.deadline(0);
        let sent = self
            .gil
            .detached(|| lock(io).drive_until_sent(token, until));
        watch.seat(0).set_waits(false);
        if !sent {
            watch.seat(0).start_over();
        }
        sent
    }
}

impl Sink for InlineSink<'_, '_> {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone> {
        if self.watch.is_some_and(|watch| !watch.seat(0).speak()) {
            return Err(Gone);
        }
        let sent = {
            let mut io = lock(self.io);
            io.add_out(self.token, &mut self.out);
            io.write(self.token, data, tail)
        };
        match sent {
            Ok(Sent::All) => Ok(()),
            Ok(Sent::Blocked) if !wait => Ok(()),
            Ok(Sent::Blocked) => self.wait_until_sent().then_some(()).ok_or(Gone),
            Err(_) => Err(Gone),
        }
    }

    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone> {
        let offset = i64::try_from(offset).map_err(|_| Gone)?;
        let mut io = lock(self.io);
        io.add_out(self.token, &mut self.out);
        io.set_file(
            self.token,
            FileSpan {
                file,
                offset,
                left: len,
            },
        );
        Ok(())
    }

    fn body(&mut self, length: BodyLength) -> Result<Body, NoBody> {
        let (io, token, watch) = (self.io, self.token, self.watch);
        let until = watch.and_then(|watch| watch.deadline(0));
        if let Some(watch) = watch {
            watch.seat(0).set_waits(true);
        }
        let body = self
            .gil
            .detached(|| lock(io).drive_until_body(token, length, until));
        if let Some(watch) = watch {
            watch.seat(0).set_waits(false);
            if body.is_err() {
                watch.seat(0).start_over();
            }
        }
        body
    }

    fn socket(&mut self) -> io::Result<OwnedFd> {
        if self.watch.is_some_and(|watch| !watch.seat(0).speak()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        lock(self.io).lend_socket(self.token)
    }

    fn date(&mut self) -> [u8; 29] {
        self.date
    }

    fn eager(&self) -> bool {
        self.eager
    }
}
