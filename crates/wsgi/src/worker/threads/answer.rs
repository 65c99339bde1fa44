//! A thread's side: takes requests, calls the application, writes the answer.
//!
//! The interpreter lock is let go once per request, for the last write and the wait for the next request together.
//! Not here: reading requests (the loop's), meeting it (`hall`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use trine_http1::BodyLength;

use crate::access_log::SlowLog;
use crate::python::{self, Caller, Gil, Gone, NoBody, Sink, Verdict};
use crate::slots::Slots;
use crate::worker::body::Body;
use crate::worker::date::DateCache;
use crate::worker::io::STALL;
use crate::worker::outbox::{FileSpan, Outbox, Sent};
use crate::worker::recycle::Recycling;
use crate::worker::tally;
use crate::worker::transport::Transport;
use crate::worker::watch::Watch;

use super::brisk::Pace;
use super::hall::{Finished, Hall, Job};
use super::link::Link;

/// After a call that took longer, answers go out before the application cleans up.
const SHORT: Duration = Duration::from_millis(1);

/// Where a thread works.
pub(super) struct Desk<'a> {
    pub hall: &'a Hall,
    pub slots: &'a Slots,
    /// The worker's.
    pub slot: usize,
    /// Its own among the worker's threads.
    pub index: usize,
    pub watch: Option<&'a Watch>,
    pub recycling: &'a Recycling,
    pub slow: Option<&'a SlowLog>,
}

/// The life of one thread.
pub(super) fn serve(gil: Gil<'_>, mut caller: Caller, desk: &Desk<'_>) {
    let Desk {
        hall,
        slots,
        slot,
        index,
        watch,
        recycling,
        slow,
    } = *desk;
    if let Some(watch) = watch {
        match python::thread_number(gil) {
            Ok(number) => watch.seat(index).thread.store(number, Relaxed),
            Err(error) => tracing::error!("requests of this thread cannot be interrupted: {error}"),
        }
    }
    let worker = slots.worker(slot);
    let running = slots.running(slot).get(index);
    let mut date = DateCache::default();
    let mut memory = Outbox::default();
    let mut eager = false;
    let mut pace = Pace::default();
    let mut next = gil.detached(|| hall.next());
    while let Some(job) = next {
        let Job {
            token,
            mut exchange,
            fd,
            keep_alive,
            clear,
            link,
        } = job;
        let began = Instant::now();
        pace.begin();
        if let Some(running) = running {
            let request = exchange.request();
            running.begin(slots.at(began), request.method(), request.target());
        }
        if let Some(watch) = watch {
            watch.begin(index, began, clear.then(|| Arc::clone(&fd)));
        }
        let mut sink = ThreadSink {
            gil,
            watch: watch.map(|watch| (watch, index)),
            fd: &fd,
            link: &link,
            out: memory.take(),
            date: *date.at(began),
            told: &|| hall.tell(token),
            stalled: &|| hall.note_stall(),
            clear,
            eager,
        };
        let mut verdict = caller.call(gil, &mut exchange, keep_alive, &mut sink);
        let mut out = sink.out;
        if let Some(watch) = watch {
            let seat = watch.seat(index);
            let ended = seat.end();
            if ended.interrupted {
                python::call_off(gil, seat);
            }
            if ended.answered {
                let _ = out.take();
                (verdict.keep, verdict.status) = (false, 504);
            }
        }
        let at = Instant::now();
        let took = at - began;
        eager = took > SHORT;
        if let Some(brisk) = pace.end(took) {
            hall.set_brisk(brisk);
        }
        if let Some(running) = running {
            running.end();
        }
        let queued = tally::waited(&exchange, began);
        worker.count(verdict.status, took, queued);
        recycling.after_request(worker, at);
        hall.with_access(|access| {
            access.log(&tally::record(&exchange, &verdict, &caller, took, queued));
            access.flush();
        });
        if let Some(slow) = slow.filter(|slow| slow.wants(took)) {
            slow.tell(&tally::record(&exchange, &verdict, &caller, took, queued));
        }
        let Verdict {
            mut keep,
            let_go,
            had_socket,
            ..
        } = verdict;
        let finish = move |out: &mut Outbox| {
            if link.has_rest() {
                link.leave(out.take());
            } else {
                match out.flush(&fd) {
                    Ok(Sent::All) => {}
                    Ok(Sent::Blocked) => drop(link.leave(out.take())),
                    Err(_) => {
                        let _ = out.take();
                        keep = false;
                    }
                }
            }
            // The loop closes the connection by dropping the last handle.
            drop(fd);
            let finished = Finished {
                exchange,
                keep,
                let_go,
                had_socket,
                at,
            };
            hall.finish(token, &link, finished);
        };
        next = match hall.try_next() {
            // Others wait: one write is cheaper than fighting for the lock twice.
            Some(job) => {
                finish(&mut out);
                Some(job)
            }
            None => {
                let (job, came) = gil.detached(|| {
                    finish(&mut out);
                    (hall.next(), Instant::now())
                });
                // From here to there it was the interpreter lock that was waited for.
                let waited = came.elapsed().as_micros() as u64;
                worker.lock_us.fetch_add(waited, Relaxed);
                job
            }
        };
        memory = out;
    }
}

/// Where a thread's answer goes: straight to the socket, as long as that takes it.
struct ThreadSink<'a, 'py> {
    gil: Gil<'py>,
    watch: Option<(&'a Watch, usize)>,
    fd: &'a Arc<Transport>,
    link: &'a Link,
    out: Outbox,
    date: [u8; 29],
    told: &'a (dyn Fn() + Sync),
    stalled: &'a (dyn Fn() + Sync),
    /// Nothing of earlier answers waits to be sent.
    clear: bool,
    eager: bool,
}

impl ThreadSink<'_, '_> {
    /// Waits for the client, who may take as long as the request may, and is cut off then.
    fn wait_for_room(&self) -> bool {
        let link = self.link;
        let Some((watch, index)) = self.watch else {
            return self.gil.detached(|| link.wait_for_room(None));
        };
        let seat = watch.seat(index);
        seat.set_waits(true);
        let until = watch.deadline(index);
        let room = self.gil.detached(|| link.wait_for_room(until));
        seat.set_waits(false);
        if !room {
            seat.start_over();
        }
        room
    }
}

impl Sink for ThreadSink<'_, '_> {
    fn out(&mut self) -> &mut Vec<u8> {
        self.out.bytes()
    }

    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone> {
        if let Some((watch, index)) = self.watch
            && !watch.seat(index).speak()
        {
            let _ = self.out.take();
            return Err(Gone);
        }
        if !self.link.has_rest() {
            match self.out.write(self.fd, data, tail) {
                Ok(Sent::All) => return Ok(()),
                Ok(Sent::Blocked) => {}
                Err(_) => {
                    let _ = self.out.take();
                    return Err(Gone);
                }
            }
        } else {
            self.out.bytes().extend_from_slice(data);
            self.out.bytes().extend_from_slice(tail);
        }
        let alive = self.link.leave(self.out.take());
        (self.told)();
        if !alive {
            return Err(Gone);
        }
        if wait && self.link.needs_room() {
            return self.wait_for_room().then_some(()).ok_or(Gone);
        }
        Ok(())
    }

    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone> {
        let offset = i64::try_from(offset).map_err(|_| Gone)?;
        self.out.set_file(FileSpan {
            file,
            offset,
            left: len,
        });
        Ok(())
    }

    fn body(&mut self, length: BodyLength) -> Result<Body, NoBody> {
        let seat = self.watch.map(|(watch, index)| watch.seat(index));
        let until = self.watch.and_then(|(watch, index)| watch.deadline(index));
        let link = self.link;
        link.ask_for_body(length);
        (self.told)();
        if let Some(seat) = seat {
            seat.set_waits(true);
        }
        let came = self.gil.detached(|| link.wait_for_body(until, STALL));
        if came.is_none() {
            (self.stalled)();
        }
        let body = came.unwrap_or_else(|| Err(NoBody::late()));
        if let Some(seat) = seat {
            seat.set_waits(false);
            if body.is_err() {
                seat.start_over();
            }
        }
        body
    }

    fn socket(&mut self) -> io::Result<OwnedFd> {
        if let Some((watch, index)) = self.watch
            && !watch.seat(index).speak()
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !self.clear {
            return Err(io::Error::other(
                "earlier answers are still being sent, or it is shared with a web server",
            ));
        }
        self.fd.duplicate()
    }

    fn date(&mut self) -> [u8; 29] {
        self.date
    }

    fn eager(&self) -> bool {
        self.eager
    }
}
