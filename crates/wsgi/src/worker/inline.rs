//! The worker with one thread: it polls, parses, calls the application and sends, without any hand-over.
//!
//! Answers of a batch of ready connections go out together after their calls (write batching), as long as the calls
//! are short: a slow one never holds back the answers of those before it for long.
//! While the application streams to a slow client, the loop goes on receiving and sending for all the others; only
//! the next call has to wait.
//! Not here: the loop itself (`io`), signals (`worker`).

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::python::{Caller, Gil, Gone, Sink, Verdict};

use super::exchange::Exchange;
use super::io::{Io, Token};
use super::outbox::{FileSpan, Sent};

/// The oldest answer of a batch waits no longer than this for the calls after it.
const BATCH: Duration = Duration::from_millis(4);
/// While calls, with the clean-up after them, take longer than this on average, answers go out at once.
const SHORT: Duration = Duration::from_millis(1);

/// Calls the application for every complete request and tells `done` of each.
#[derive(Debug)]
pub struct Inline {
    pub caller: Caller,
    /// How long calls took of late: each new one counts for an eighth.
    usual: Duration,
    batch_began: Option<Instant>,
}

impl Inline {
    #[must_use]
    pub fn new(caller: Caller) -> Self {
        Self {
            caller,
            usual: Duration::ZERO,
            batch_began: None,
        }
    }

    /// Serves everything that the last wait brought.
    pub fn serve_ready(
        &mut self,
        gil: Gil<'_>,
        io: &mut Io,
        started: impl Fn(&Exchange, Instant),
        mut done: impl FnMut(&Exchange, &Verdict, &Caller, Duration),
    ) {
        let mut clock = Instant::now();
        while let Some(token) = io.next_ready() {
            let Some(mut exchange) = io.take(token) else {
                continue;
            };
            started(&exchange, clock);
            let keep_alive = !io.draining && !io.rules.deadlines.keepalive.is_zero();
            let mut sink = InlineSink {
                io,
                token,
                gil,
                eager: self.usual > SHORT,
            };
            let verdict = self.caller.call(gil, &mut exchange, keep_alive, &mut sink);
            let now = Instant::now();
            let took = now - clock;
            clock = now;
            done(&exchange, &verdict, &self.caller, took);
            io.mark_dirty(token);
            io.finish(token, exchange, verdict.keep);
            self.usual = (self.usual * 7 + took) / 8;
            let began = *self.batch_began.get_or_insert(now);
            if self.usual > SHORT || now - began > BATCH {
                io.flush_dirty();
                self.batch_began = None;
            }
        }
        io.flush_dirty();
        self.batch_began = None;
    }
}

/// Where the inline worker's answers go: the connection's outbox.
struct InlineSink<'a, 'py> {
    io: &'a mut Io,
    token: Token,
    gil: Gil<'py>,
    eager: bool,
}

impl Sink for InlineSink<'_, '_> {
    fn out(&mut self) -> &mut Vec<u8> {
        self.io.out(self.token)
    }

    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone> {
        match self.io.write(self.token, data, tail) {
            Ok(Sent::All) => Ok(()),
            Ok(Sent::Blocked) if !wait => Ok(()),
            Ok(Sent::Blocked) => {
                let (io, token) = (&mut *self.io, self.token);
                let sent = self.gil.detached(|| io.drive_until_sent(token));
                sent.then_some(()).ok_or(Gone)
            }
            Err(_) => Err(Gone),
        }
    }

    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone> {
        let offset = i64::try_from(offset).map_err(|_| Gone)?;
        self.io.set_file(
            self.token,
            FileSpan {
                file,
                offset,
                left: len,
            },
        );
        Ok(())
    }

    fn date(&mut self) -> [u8; 29] {
        *self.io.date()
    }

    fn eager(&self) -> bool {
        self.eager
    }
}
