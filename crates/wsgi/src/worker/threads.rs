//! The worker with several threads: the loop owns the sockets and reads whole requests, the threads only ever see
//! complete ones. A request changes threads once, on its way in; its answer is written by the thread that made it, and
//! only what the client does not take at once goes back to the loop.
//!
//! A thread that is done does not wake the loop unless there is something to do: the next bytes of the client will.
//! Invariant: while a request is with a thread, the loop neither reads nor closes its connection.
//! Not here: the loop itself (`io`), Python's side of the threads (`python::threads`).

mod answer;
mod brisk;
mod hall;
mod link;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trine_sys::epoll;

use crate::access_log::{AccessLog, SlowLog};
use crate::python::{self, App, Caller, CallerThread, Gil, Hooks, RequestHooks, Site, Worker};
use crate::slots::Slots;

use super::conn::{Conn, State};
use super::io::{Io, To, Token};
use super::outbox::Sent;
use super::recycle::Recycling;
use super::serving::GIVEN;
use super::share::LONG;
use super::watch::{Watch, Watcher};

use answer::{Desk, serve};
use hall::{Finished, Hall, Job};
use link::Link;

/// The notice of the threads' wake-up in the loop.
const WAKE: u8 = 7;
/// How long a request may wait for a thread at a short call before another is woken.
const UNCALLED: Duration = Duration::from_millis(1);
/// How long threads may take to end when there is nothing left to do.
const JOIN_SECONDS: f64 = 5.0;

#[derive(Debug)]
pub struct Threads {
    hall: Arc<Hall>,
    threads: Vec<CallerThread>,
    /// By place of the connection; the token tells whether it is still the same one.
    links: Vec<Option<(Token, Arc<Link>)>>,
    count: usize,
    /// Other workers wait for the same listeners, so we only accept while a thread is free.
    polite: bool,
    _watcher: Option<Watcher>,
}

/// What the threads share beside their work.
#[derive(Debug)]
pub struct Shared {
    pub slots: Arc<Slots>,
    pub slot: usize,
    pub access: Option<AccessLog>,
    pub slow: Option<Arc<SlowLog>>,
    /// What the access log wants of `environ`.
    pub wanted: Vec<String>,
    pub polite: bool,
    /// Requests that take longer are interrupted.
    pub limit: Option<Duration>,
    /// The hooks around requests, and the `worker` that they get.
    pub hooks: Hooks,
    pub worker: Worker,
    pub recycling: Arc<Recycling>,
}

impl Threads {
    /// Starts `count` threads.
    pub fn start(
        gil: Gil<'_>,
        io: &mut Io,
        app: &App,
        sites: &[Site],
        count: usize,
        shared: Shared,
    ) -> io::Result<Self> {
        let Shared {
            slots,
            slot,
            access,
            polite,
            limit,
            hooks,
            worker,
            recycling,
            slow,
            wanted,
        } = shared;
        let watch = limit.map(|limit| Arc::new(Watch::new(limit, count, Arc::clone(&slots), slot)));
        let watcher = match &watch {
            Some(watch) => {
                let interrupt = python::interrupt_threads(Arc::clone(watch));
                Some(watch.start(interrupt)?)
            }
            None => None,
        };
        let hall = Arc::new(Hall::new(count, access, Arc::clone(&slots), slot)?);
        io.watch(hall.wake_fd(), WAKE)?;
        io.hands_over = true;
        let mut threads = Vec::new();
        for index in 0..count {
            let mut caller = Caller::new(gil, app, sites).map_err(io::Error::other)?;
            let ended = Arc::clone(&recycling);
            let ended = move || ended.ask("a hook has set worker.alive to False");
            let around = RequestHooks::new(gil, &hooks, &worker, ended);
            caller.set_hooks(around.map_err(io::Error::other)?);
            caller.want(&wanted);
            let slow = slow.clone();
            let recycling = Arc::clone(&recycling);
            let (hall, slots) = (Arc::clone(&hall), Arc::clone(&slots));
            let watch = watch.clone();
            let work = move |gil: Gil<'_>| {
                let watch = watch.as_deref();
                let desk = Desk {
                    hall: &hall,
                    slots: &slots,
                    slot,
                    index,
                    watch,
                    recycling: &recycling,
                    slow: slow.as_deref(),
                };
                serve(gil, caller, &desk);
            };
            let name = format!("trine-wsgi-{index}");
            threads.push(python::spawn_thread(gil, &name, work).map_err(io::Error::other)?);
        }
        Ok(Self {
            hall,
            threads,
            links: Vec::new(),
            count,
            polite,
            _watcher: watcher,
        })
    }

    /// Turns the loop until something comes that is the worker's business. Call it detached from Python.
    pub fn turn(&mut self, io: &mut Io) -> io::Result<()> {
        loop {
            // While requests wait for a thread, somebody else may become free.
            self.hall.rest();
            // Or the one that is awake may be at a long call.
            let limit = match (self.hall.has_uncalled(), self.has_waiting(io)) {
                (true, _) => Some(UNCALLED),
                (false, true) => Some(LONG),
                (false, false) => None,
            };
            let count = io.wait(limit)?;
            let quiet = count == 0 && limit.is_none();
            if count == 0 && limit.is_some() {
                self.hall.call_one();
            }
            self.serve_ready(io);
            if quiet || io.has_notice() || io.is_drained() {
                return Ok(());
            }
        }
    }

    fn serve_ready(&mut self, io: &mut Io) {
        loop {
            while let Some(token) = io.next_ready() {
                self.dispatch(io, token);
            }
            if io.take_notice(WAKE) {
                let _ = epoll::eventfd_take(self.hall.wake_fd());
            }
            if io.take_notice(GIVEN) {
                io.adopt_given();
            }
            if self.hall.take_stall() {
                io.be_wary();
            }
            let told = self.hall.told();
            let touched = io.take_touched();
            if told.is_empty() && touched.is_empty() {
                break;
            }
            for token in told {
                self.look(io, token, false);
            }
            for (token, expired) in touched {
                self.look(io, token, expired);
            }
        }
        io.flush_dirty();
        self.relieve(io);
        self.mind_the_door(io);
    }

    fn has_waiting(&self, io: &Io) -> bool {
        io.sharing.is_some() && !io.draining && self.hall.waiting() > 0
    }

    /// Gives requests that wait for a thread to workers that have one, once all of ours are at long calls or one has
    /// waited for long; where nobody has one, to those where fewer wait.
    fn relieve(&mut self, io: &mut Io) {
        if !self.has_waiting(io) {
            return;
        }
        let waited_long = || self.hall.oldest_waits().is_some_and(|waits| waits >= LONG);
        let all_began_before = |age: Duration| self.have_all_been_busy_for(age, io);
        let stuck = all_began_before(LONG) || all_began_before(Duration::ZERO) && waited_long();
        if !stuck {
            return;
        }
        if !io.has_free_sibling() {
            return self.even_out(io);
        }
        // Who has waited for longest goes first.
        for job in self.hall.take_waiting() {
            self.hand_over(io, job, To::Free);
        }
        self.even_out(io);
    }

    /// Gives those that came last to workers with a shorter line, where they come before.
    fn even_out(&mut self, io: &mut Io) {
        let mut mine = self.hall.waiting();
        while io.shortest_line().is_some_and(|others| others + 2 <= mine) {
            let Some(job) = self.hall.take_last() else {
                return;
            };
            if !self.hand_over(io, job, To::ShortestLine) {
                return;
            }
            mine -= 1;
        }
    }

    /// Gives a request that waits to another worker, or puts it back in line. Returns whether it is given.
    fn hand_over(&mut self, io: &mut Io, job: Job, to: To) -> bool {
        let Job {
            token,
            exchange,
            link,
            ..
        } = job;
        io.put_out(token, link.rest());
        io.put_back(token, exchange);
        let given = io.give(token, to);
        if !given {
            self.dispatch(io, token);
        }
        given
    }

    fn have_all_been_busy_for(&self, age: Duration, io: &Io) -> bool {
        let Some(sharing) = &io.sharing else {
            return false;
        };
        let slots = &sharing.slots;
        let before = slots.now().saturating_sub(age.as_millis() as u64);
        let running = slots.running(sharing.slot);
        let mut threads = running.iter().take(self.count);
        threads.all(|thread| thread.since().is_some_and(|since| since <= before))
    }

    fn dispatch(&mut self, io: &mut Io, token: Token) {
        if io.is_awaited(token) && self.hall.busy() + 1 >= self.count {
            // One thread at least never waits for a client.
            return io.ask_now(token);
        }
        let Some(conn) = io.get(token) else {
            return;
        };
        // What epoll has told already it will not tell again.
        let (fd, wanted) = (Arc::clone(&conn.fd), conn.readable || conn.ended);
        let http = conn.door.is_none();
        let Some(exchange) = io.take(token) else {
            return;
        };
        // Bytes from before (100 Continue) must not come after the answer.
        io.flush(token);
        let link = self.link(token);
        let out = io.take_out(token);
        let clear = out.is_empty() && http;
        link.start(out, wanted);
        let keep_alive = io.may_keep();
        io.expect_back(token);
        self.hall.push(Job {
            token,
            exchange,
            fd,
            keep_alive,
            clear,
            link,
        });
    }

    fn link(&mut self, token: Token) -> Arc<Link> {
        let index = token.index();
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        match &mut self.links[index] {
            Some((known, link)) if *known == token => Arc::clone(link),
            place => {
                let link = Arc::new(Link::default());
                *place = Some((token, Arc::clone(&link)));
                link
            }
        }
    }

    /// Something happened on a connection that a thread is at, or was.
    fn look(&mut self, io: &mut Io, token: Token, expired: bool) {
        let Some(Some((known, link))) = self.links.get(token.index()) else {
            return;
        };
        if *known != token
            || !io
                .get(token)
                .is_some_and(|conn| matches!(conn.state, State::Running | State::Awaiting(_)))
        {
            return;
        }
        let link = Arc::clone(link);
        if let Some(finished) = link.take_finished() {
            return Self::back(io, token, &link, finished);
        }
        Self::look_for_body(io, token, &link);
        // Still at it: perhaps there is something of its answer to send.
        let now = io.now_ms();
        let Some(conn) = io.get_mut(token) else {
            return;
        };
        // The time that is over may have been that of looking after it, and the client's begins only now.
        let stalled = expired && conn.watch_out && conn.deadline <= now;
        if conn.broken || stalled {
            link.break_off();
            return;
        }
        match link.flush(&conn.fd) {
            Ok(Sent::All) => io.expect_back(token),
            Ok(Sent::Blocked) => io.expect_room(token),
            Err(_) => {
                conn.broken = true;
                link.break_off();
            }
        }
    }

    /// The body that a thread waits for, if it does.
    fn look_for_body(io: &mut Io, token: Token, link: &Link) {
        if let Some(length) = link.take_asked() {
            io.await_body(token, length);
        }
        let is_awaited = |conn: &Conn| matches!(conn.state, State::Awaiting(_));
        if io.get(token).is_some_and(is_awaited) {
            let came = io.collect(token);
            link.tell_body(io.collected(token), came);
        }
    }

    /// A request is back from its thread.
    fn back(io: &mut Io, token: Token, link: &Link, finished: Finished) {
        let Finished {
            exchange,
            keep,
            let_go,
            had_socket,
            at,
        } = finished;
        if let_go {
            io.let_go(token);
            return io.recycle(exchange);
        }
        if had_socket {
            io.take_socket_back(token);
        }
        io.put_out(token, link.rest());
        io.mark_dirty(token);
        io.finish(token, exchange, keep);
        io.idle_since(token, at);
    }

    /// Takes back everything that threads are done with and did not tell of; the others will tell.
    pub fn recall(&mut self, io: &mut Io) {
        for token in io.tokens() {
            self.look(io, token, false);
        }
        io.flush_dirty();
    }

    /// Accepts only while a thread is free, where other workers could take the connection instead.
    fn mind_the_door(&mut self, io: &mut Io) {
        if !self.polite || io.draining {
            return;
        }
        let free = self.hall.busy() < self.count;
        if free != io.accepting {
            // Told before looking again, so that a thread that becomes free in between wakes us.
            self.hall.want_free(!free);
            let free = self.hall.busy() < self.count;
            let _ = if free {
                io.accept_more(true)
            } else {
                io.close_door()
            };
        }
    }

    /// Ends the threads. `false`: one is stuck.
    pub fn end(&mut self, gil: Gil<'_>) -> bool {
        self.hall.close();
        let began = Instant::now();
        self.threads.iter().all(|thread| {
            let left = Duration::from_secs_f64(JOIN_SECONDS).saturating_sub(began.elapsed());
            thread.join(gil, left.as_secs_f64())
        })
    }

    pub fn reopen_log(&self) {
        self.hall.with_access(AccessLog::reopen);
    }
}
