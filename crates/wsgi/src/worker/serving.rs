//! A booted worker: serves until it is told to end, by calling the application itself or by its threads.
//!
//! Not here: the steps before and after (`life`), the loop (`io`), calling the application (`inline`, `threads`).

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use trine_service::signals::{Came, Signal, SignalPipe};
use trine_sys::process;

use crate::access_log::{AccessLog, SlowLog};
use crate::config::Settings;
use crate::notice::Notice;
use crate::python::{self, App, Caller, Gil, Hook, RequestHooks, Verdict};
use crate::slots::Stage;

use super::boot::{Boot, NotBooted};
use super::exchange::Exchange;
use super::inline::Inline;
use super::io::Io;
use super::recycle::Recycling;
use super::share::{SharedIo, Sharer, lock};
use super::tally;
use super::threads::{Shared, Threads};
use super::watch::{self, Watch};

/// gunicorn's code for an exception that nobody caught.
const CRASHED: i32 = 255;
/// Its code after ABRT.
const ABORTED: i32 = 1;

const SIGNALS: u8 = 0;
const LIFELINE: u8 = 1;
/// Another worker gave a connection; `threads` has 7.
pub(super) const GIVEN: u8 = 6;

/// How serving ended.
pub(super) enum End {
    /// Everything was finished.
    Finished,
    /// There may be requests that were not; the exit code.
    Cut { code: i32 },
}

pub(super) struct Worker {
    io: SharedIo,
    mode: Mode,
    boot: Boot,
    slow: Option<Arc<SlowLog>>,
    recycling: Arc<Recycling>,
}

/// Who calls the application.
enum Mode {
    Inline(Box<Inline>, Option<AccessLog>),
    Threads(Threads),
}

impl Worker {
    /// Opens what it needs; why it cannot is told to log and arbiter.
    pub(super) fn new(gil: Gil<'_>, app: &App, mut boot: Boot) -> Result<Self, NotBooted> {
        let listeners = std::mem::take(&mut boot.listeners);
        let mut io = Io::new(boot.rules(), listeners)
            .map_err(|error| boot.failed(&format!("cannot watch the listeners: {error}")))?;
        io.sharing = boot.sharing();
        let io = Arc::new(Mutex::new(io));
        let slow = open_slow_log(&boot.settings)
            .map_err(|error| boot.failed(&format!("cannot open slow_request_log: {error}")))?
            .map(Arc::new);
        let access = open_access_log(&boot.settings).map_err(|(path, error)| {
            boot.failed(&format!("cannot open {}: {error}", path.display()))
        })?;
        let say = boot.say.try_clone();
        let say = say.map_err(|error| boot.failed(&error.to_string()))?;
        let (requests, memory) = (boot.max_requests, boot.settings.max_worker_memory);
        let recycling = Arc::new(Recycling::new(say, requests, memory));
        let threads = boot.settings.threads;
        let seats = u32::try_from(threads).unwrap_or(u32::MAX);
        boot.slots.worker(boot.slot).seats.store(seats, Relaxed);
        let mode = if threads > 1 {
            let shared = Shared {
                hooks: boot.settings.hooks.clone(),
                worker: boot.hooked.worker.share(gil),
                recycling: Arc::clone(&recycling),
                slots: Arc::clone(&boot.slots),
                slot: boot.slot,
                access,
                slow: slow.clone(),
                wanted: wanted_environ(&boot.settings).to_vec(),
                polite: boot.siblings,
                limit: watch::limit(&boot.settings),
            };
            Threads::start(gil, &mut lock(&io), app, &boot.sites, threads, shared)
                .map(Mode::Threads)
        } else {
            start_inline(gil, app, &boot, &io, &recycling)
                .map(|inline| Mode::Inline(Box::new(inline), access))
        };
        let mode = mode.map_err(|error| boot.failed(&error.to_string()))?;
        if let Err(why) = boot.booting_hook(gil, Hook::PostWorkerInit) {
            boot.refuse(&why);
            return Err(NotBooted);
        }
        boot.hooked.worker.has_app(gil, app);
        Ok(Self {
            io,
            mode,
            boot,
            slow,
            recycling,
        })
    }

    fn io(&self) -> MutexGuard<'_, Io> {
        lock(&self.io)
    }

    /// Serves until it is told to end, or the arbiter is gone.
    pub(super) fn serve(&mut self, gil: Gil<'_>, pipe: &mut SignalPipe) -> End {
        let watched = {
            let mut io = self.io();
            io.watch(pipe.as_fd(), SIGNALS)
                .and_then(|()| match &self.boot.lifeline {
                    Some(lifeline) => io.watch(lifeline, LIFELINE),
                    None => Ok(()),
                })
                .and_then(|()| match self.boot.channels.of(self.boot.slot) {
                    Some(channel) => io.watch(&channel.take, GIVEN),
                    None => Ok(()),
                })
        };
        if let Err(error) = watched {
            tracing::error!("Exception in worker process: {error}");
            return End::Cut { code: CRASHED };
        }
        self.io().shown = Some((Arc::clone(&self.boot.slots), self.boot.slot));
        self.boot
            .slots
            .worker(self.boot.slot)
            .set_stage(Stage::Serving);
        self.boot.say(&Notice::Ready);
        if process::getppid() != self.boot.arbiter {
            self.arbiter_gone();
        }
        loop {
            if self.is_drained() {
                let ended = match &mut self.mode {
                    Mode::Inline(..) => true,
                    Mode::Threads(threads) => threads.end(gil),
                };
                return if ended {
                    End::Finished
                } else {
                    End::Cut { code: 0 }
                };
            }
            let turned = self.turn(gil);
            if let Err(error) = turned {
                tracing::error!("Exception in worker process: {error}");
                return End::Cut { code: CRASHED };
            }
            if let Some(code) = gil.run_signal_handlers() {
                for came in pipe.drain_with_senders() {
                    self.mind_sender(came);
                }
                return End::Cut { code: code.into() };
            }
            let signalled = self.io().take_notice(SIGNALS);
            if signalled {
                for came in pipe.drain_with_senders() {
                    self.mind_sender(came);
                    match came.signal {
                        Signal::SIGTERM if process::getppid() != self.boot.arbiter => {
                            self.arbiter_gone()
                        }
                        Signal::SIGTERM => self.drain(),
                        Signal::SIGUSR1 => self.reopen_logs(gil),
                        Signal::SIGHUP => {
                            tracing::info!("Hang up: worker (pid:{})", process::getpid());
                            self.boot
                                .say(&Notice::Recycle("it was sent SIGHUP".to_owned()));
                        }
                        _ => return End::Cut { code: 0 },
                    }
                }
            }
            let gone = self.io().take_notice(LIFELINE);
            if gone {
                self.arbiter_gone();
            }
            self.take_given();
            self.serve_inline(gil);
            if python::is_aborted() {
                return End::Cut { code: ABORTED };
            }
        }
    }

    /// Takes connections that other workers gave.
    fn take_given(&self) {
        let mut io = self.io();
        if io.take_notice(GIVEN) || io.draining {
            io.adopt_given();
        }
    }

    /// Every request is answered, and nobody is about to give another.
    fn is_drained(&self) -> bool {
        let mut io = self.io();
        if !io.is_drained() {
            return false;
        }
        // They are at it for a few instructions, unless they have just died.
        let until = Instant::now() + Duration::from_millis(100);
        let giving = &self.boot.slots.worker(self.boot.slot).giving;
        while giving.load(SeqCst) > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        io.adopt_given();
        io.is_drained()
    }

    /// A signal from somebody else than the arbiter is told to it, who would wonder about our end.
    fn mind_sender(&self, came: Came) {
        let Some(sender) = came.sender else { return };
        let arbiter = self.boot.arbiter;
        let ours = [arbiter, process::getpid()]
            .iter()
            .any(|pid| pid.as_raw() == sender.pid)
            || process::getppid() != arbiter;
        if ours || came.signal == Signal::SIGUSR1 {
            return;
        }
        let text = format!("{} came from {sender}", came.signal);
        tracing::warn!("Worker (pid:{}): {text}", process::getpid());
        self.boot.say(&Notice::Signalled(text));
    }

    /// Sleeps until there is something to do. With threads, does it too, unless it is ours.
    fn turn(&mut self, gil: Gil<'_>) -> std::io::Result<()> {
        let io = &self.io;
        match &mut self.mode {
            Mode::Inline(..) => {
                let (slots, slot) = (&self.boot.slots, self.boot.slot);
                slots.set_turn(slot, None);
                let woke = gil.detached(|| {
                    let mut io = lock(io);
                    io.wait(None).map(|_| io.now())
                })?;
                let now = Instant::now();
                slots.set_turn(slot, Some(now));
                // Threads of the application's own may have held the interpreter lock.
                let waited = (now - woke).as_micros() as u64;
                if waited > 0 {
                    slots.worker(slot).lock_us.fetch_add(waited, Relaxed);
                }
                Ok(())
            }
            Mode::Threads(threads) => gil.detached(|| threads.turn(&mut lock(io))),
        }
    }

    fn serve_inline(&mut self, gil: Gil<'_>) {
        let Self {
            io,
            mode,
            boot,
            slow,
            recycling,
        } = self;
        let Mode::Inline(inline, access) = mode else {
            return;
        };
        let slots = &*boot.slots;
        let slot = slots.worker(boot.slot);
        let running = slots.running(boot.slot).first();
        let started_at = std::cell::Cell::new(Instant::now());
        let started = |exchange: &Exchange, now: Instant| {
            started_at.set(now);
            if let Some(running) = running {
                let request = exchange.request();
                running.begin(slots.at(now), request.method(), request.target());
            }
        };
        let done = |exchange: &Exchange, verdict: &Verdict, caller: &Caller, took: Duration| {
            if let Some(running) = running {
                running.end();
            }
            let queued = tally::waited(exchange, started_at.get());
            slot.count(verdict.status, took, queued);
            recycling.after_request(slot, started_at.get() + took);
            let slow = slow.as_ref().filter(|slow| slow.wants(took));
            if access.is_some() || slow.is_some() {
                let record = tally::record(exchange, verdict, caller, took, queued);
                if let Some(access) = access.as_mut() {
                    access.log(&record);
                }
                if let Some(slow) = slow {
                    slow.tell(&record);
                }
            }
        };
        inline.serve_ready(gil, io, started, done);
        if let Some(access) = access.as_mut() {
            access.flush();
        }
    }

    fn drain(&mut self) {
        self.boot
            .slots
            .worker(self.boot.slot)
            .set_stage(Stage::Draining);
        if let Mode::Threads(threads) = &mut self.mode {
            threads.recall(&mut lock(&self.io));
        }
        let alone = self.boot.slots.stopping() || self.boot.settings.reuse_port;
        self.io().start_drain(alone);
    }

    fn arbiter_gone(&mut self) {
        if let Some(lifeline) = self.boot.lifeline.take() {
            self.io().unwatch(lifeline.as_fd());
            tracing::warn!("Parent changed, shutting down: the arbiter is gone");
            // Nobody is left to end us, should a request never end: the alarm's default action does.
            let seconds = self.boot.settings.graceful_timeout.as_secs().max(1);
            nix::unistd::alarm::set(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        self.boot.slots.set_stopping();
        self.drain();
    }

    fn reopen_logs(&mut self, gil: Gil<'_>) {
        let _ = self.boot.log.reopen();
        self.boot.hooked.logger.logger.reopen(gil);
        if let Some(slow) = &self.slow {
            slow.reopen();
        }
        match &mut self.mode {
            Mode::Inline(_, Some(access)) => access.reopen(),
            Mode::Inline(_, None) => {}
            Mode::Threads(threads) => threads.reopen_log(),
        }
    }
}

/// The application called by this thread itself.
fn start_inline(
    gil: Gil<'_>,
    app: &App,
    boot: &Boot,
    io: &SharedIo,
    recycling: &Arc<Recycling>,
) -> std::io::Result<Inline> {
    let sharer = lock(io).sharing.is_some();
    let sharer = sharer
        .then(|| Sharer::start(io, Arc::clone(&boot.slots), boot.slot))
        .transpose()?;
    let watch = watch::limit(&boot.settings)
        .map(|limit| Watch::new(limit, 1, Arc::clone(&boot.slots), boot.slot));
    let ended = Arc::clone(recycling);
    let ended = move || ended.ask("a hook has set worker.alive to False");
    let hooks = RequestHooks::new(gil, &boot.settings.hooks, &boot.hooked.worker, ended);
    let hooks = hooks.map_err(std::io::Error::other)?;
    let mut caller = Caller::new(gil, app, &boot.sites).map_err(std::io::Error::other)?;
    caller.set_hooks(hooks);
    caller.want(wanted_environ(&boot.settings));
    Inline::new(gil, caller, watch, sharer)
}

fn open_access_log(settings: &Settings) -> Result<Option<AccessLog>, (PathBuf, std::io::Error)> {
    let Some(path) = &settings.log.accesslog else {
        return Ok(None);
    };
    if python::is_log_relayed() {
        return Ok(None);
    }
    let format = (!settings.log.access_log_json).then(|| settings.log.access_log_format.clone());
    let log = AccessLog::open(path, format);
    log.map(Some).map_err(|error| (path.clone(), error))
}

fn open_slow_log(settings: &Settings) -> std::io::Result<Option<SlowLog>> {
    let limit = settings.log.slow_request_time;
    let path = settings.log.slow_request_log.as_deref();
    limit.map(|limit| SlowLog::open(limit, path)).transpose()
}

/// What the access log wants of `environ`.
fn wanted_environ(settings: &Settings) -> &[String] {
    if settings.log.accesslog.is_none() || settings.log.access_log_json {
        return &[];
    }
    settings.log.access_log_format.environ()
}
