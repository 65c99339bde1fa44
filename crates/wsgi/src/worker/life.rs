//! The life of a worker process, from the fork to its exit code.
//!
//! Not here: the loop (`io`), calling the application (`inline`, `threads`).

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use trine_service::logging::LogHandle;
use trine_service::signals::{Came, Signal, SignalPipe};
use trine_sys::{file, process, signals};

use crate::access_log::{AccessLog, SlowLog};
use crate::config::Settings;
use crate::notice::Notice;
use crate::python::{
    self, App, Arg, Caller, Fact, Gil, Hook, HookError, Logger, RequestHooks, Server, Site, Verdict,
};
use crate::slots::{Slots, Stage};

use super::exchange::Exchange;
use super::identity;
use super::inline::Inline;
use super::io::{Io, Listening, Rules, Sharing};
use super::recycle::Recycling;
use super::share::{Channels, SharedIo, Sharer, lock};
use super::tally;
use super::threads::{Shared, Threads};
use super::watch::{self, Watch};

/// What a worker gets from the arbiter.
#[derive(Debug)]
pub struct Boot {
    pub settings: Arc<Settings>,
    pub sites: Vec<Site>,
    pub listeners: Vec<Listening>,
    pub preloaded: Option<App>,
    pub slots: Arc<Slots>,
    pub slot: usize,
    /// There are other workers, or will be.
    pub siblings: bool,
    /// To give and take connections by.
    pub channels: Arc<Channels>,
    pub generation: u64,
    /// Where it says that it serves, or why it does not.
    pub say: OwnedFd,
    /// Ends when the arbiter does.
    pub lifeline: Option<OwnedFd>,
    pub arbiter: process::Pid,
    /// The signals to let through again.
    pub mask: signals::Mask,
    pub log: LogHandle,
    pub hooked: Hooked,
    /// `max_requests`, with this worker's jitter.
    pub max_requests: Option<u64>,
    /// Certificates and keys, read by the arbiter.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// What hooks get.
#[derive(Debug)]
pub struct Hooked {
    pub logger: Logging,
    pub server: Server,
    pub worker: python::Worker,
}

/// The logger, as the arbiter had it when it forked.
#[derive(Debug)]
pub struct Logging {
    pub logger: Logger,
    /// It is set up for the settings in force, and this worker is of a new generation.
    pub set_up_anew: bool,
}

impl Boot {
    fn rules(&self) -> Rules {
        Rules {
            tls: self.tls.clone(),
            ..self.settings.rules(self.siblings)
        }
    }

    /// The other workers, if there can be any and connections can be given.
    fn sharing(&self) -> Option<Sharing> {
        self.channels.of(self.slot).filter(|_| self.siblings)?;
        Some(Sharing {
            slots: Arc::clone(&self.slots),
            slot: self.slot,
            channels: Arc::clone(&self.channels),
            next: self.slot + 1,
        })
    }

    /// Tells the arbiter.
    fn say(&self, notice: &Notice) {
        // If the arbiter is gone, the end of its lifeline says so.
        let _ = file::write(&self.say, &notice.encode());
    }

    /// Calls a hook with `server`, where it wants one, and `worker`.
    fn hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), HookError> {
        let Hooked { server, worker, .. } = &self.hooked;
        let both = [Arg::Server(server), Arg::Worker(worker)];
        let args = if hook == Hook::PostWorkerInit {
            &both[1..]
        } else {
            &both
        };
        self.settings.hooks.call(gil, hook, args)
    }

    /// As [`Self::hook`]; what it raises means that there is no worker.
    fn booting_hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), String> {
        self.hook(gil, hook).map_err(|error| {
            tracing::error!("Exception in worker process\n{}", error.traceback);
            error.to_string()
        })
    }

    fn set_up_logger(&self, gil: Gil<'_>) -> Result<(), String> {
        let Logging {
            logger,
            set_up_anew,
        } = &self.hooked.logger;
        if *set_up_anew {
            logger.set_up(gil, self.settings.shown.as_ref(), &self.log)?;
        }
        Ok(())
    }

    fn become_worker(&self, gil: Gil<'_>) {
        let (slots, slot) = (Arc::clone(&self.slots), self.slot);
        let count = move || slots.worker(slot).requests.load(Relaxed);
        let pid = Fact::Number(process::getpid().as_raw().into());
        let limit = self
            .max_requests
            .and_then(|limit| i64::try_from(limit).ok());
        let limit = Fact::Number(limit.unwrap_or(i64::MAX));
        self.hooked
            .worker
            .set(gil, &[("pid", pid), ("max_requests", limit)]);
        self.hooked
            .worker
            .become_this_process(gil, &self.settings.hooks, count);
    }
}

/// gunicorn's code for a worker that cannot boot.
const BOOT_FAILED: i32 = 3;
/// gunicorn's code for an exception that nobody caught.
const CRASHED: i32 = 255;
/// Its code after ABRT.
const ABORTED: i32 = 1;
/// How long Python may take to run exit handlers and join the application's threads.
const FINALIZE_SECONDS: u32 = 10;

const SIGNALS: u8 = 0;
const LIFELINE: u8 = 1;
/// Another worker gave a connection; `threads` has 7.
pub(super) const GIVEN: u8 = 6;

/// The worker's whole life; returns its exit code.
pub fn run(gil: Gil<'_>, boot: Boot) -> i32 {
    let caught = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGHUP,
    ];
    let mut pipe = match SignalPipe::new(&caught) {
        Ok(pipe) => pipe,
        Err(error) => return refuse(&boot, &error.to_string(), BOOT_FAILED),
    };
    let _ = signals::restore(&boot.mask);
    let _ = process::set_parent_death_signal(Some(Signal::SIGTERM));
    tracing::info!("Booting worker with pid: {}", process::getpid());
    boot.become_worker(gil);
    gil.enable_faulthandler();
    if boot.settings.spew {
        python::spew(gil);
    }
    if let Err(why) = boot.set_up_logger(gil) {
        tracing::error!("Exception in worker process\n{why}");
        return refuse(&boot, &why, BOOT_FAILED);
    }
    if let Err(why) = boot.booting_hook(gil, Hook::PostFork) {
        return refuse(&boot, &why, BOOT_FAILED);
    }
    if let Err(error) = identity::assume(&boot.settings) {
        let (user, group) = (boot.settings.user, boot.settings.group);
        let why = format!("cannot become user {user} and group {group}: {error}");
        tracing::error!("Exception in worker process: {why}");
        return refuse(&boot, &why, BOOT_FAILED);
    }
    let mut watched = boot.settings.reload_extra_files.clone();
    let app = match &boot.preloaded {
        Some(app) => app.share(gil),
        None => match python::load(gil, &boot.settings.app, boot.settings.paste.as_ref()) {
            Ok(app) => app,
            Err(error) => {
                let why = tell(&error);
                let page = error.syntax_error().filter(|_| boot.settings.reload);
                match page.map(|traceback| python::failing_app(gil, traceback)) {
                    Some(Ok((page, files))) => {
                        watched.extend(files);
                        page
                    }
                    Some(Err(_)) | None => return refuse(&boot, &why, error.exit_code().into()),
                }
            }
        },
    };
    if boot.settings.reload {
        python::watch_files(gil, &watched);
    }
    let hooked = boot.hooked.share(gil);
    let hooks = boot.settings.hooks.clone();
    let (code, finalize) = match Worker::new(gil, &app, boot) {
        Ok(mut worker) => match worker.serve(gil, &mut pipe) {
            End::Finished => (0, true),
            End::Cut { code } => (code, false),
        },
        Err(NotBooted) => (BOOT_FAILED, false),
    };
    tracing::info!("Worker exiting (pid: {})", process::getpid());
    let args = [Arg::Server(&hooked.server), Arg::Worker(&hooked.worker)];
    if let Err(error) = hooks.call(gil, Hook::WorkerExit, &args) {
        tracing::warn!("Exception during worker exit:\n{}", error.traceback);
    }
    // Nothing of Python's may be let go after its end.
    drop((app, hooks, hooked));
    if finalize {
        // The alarm's default action ends the process, should an exit handler or a thread not come to its end.
        nix::unistd::alarm::set(FINALIZE_SECONDS);
        gil.finalize();
    }
    code
}

/// Tells log and arbiter why there is no application.
fn tell(error: &python::LoadError) -> String {
    match error {
        // INT or QUIT came while it imported: nothing is wrong with the application.
        python::LoadError::Import { traceback, .. }
            if traceback.trim_end().ends_with("\nSystemExit: 0") =>
        {
            "it was told to end while it imported the application".to_owned()
        }
        python::LoadError::Import { traceback, summary } => {
            tracing::error!("Exception in worker process\n{traceback}");
            let last = traceback.lines().last().unwrap_or(summary);
            last.to_owned()
        }
        python::LoadError::Unusable { summary, .. } => {
            tracing::error!("{summary}");
            summary.clone()
        }
    }
}

fn refuse(boot: &Boot, why: &str, code: i32) -> i32 {
    boot.say(&Notice::Failed(why.to_owned()));
    code
}

impl Hooked {
    fn share(&self, gil: Gil<'_>) -> Self {
        Self {
            logger: Logging {
                logger: self.logger.logger.clone(),
                set_up_anew: false,
            },
            server: self.server.share(gil),
            worker: self.worker.share(gil),
        }
    }
}

/// The reason was told already.
struct NotBooted;

/// How serving ended.
enum End {
    /// Everything was finished.
    Finished,
    /// There may be requests that were not; the exit code.
    Cut { code: i32 },
}

struct Worker {
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
    fn new(gil: Gil<'_>, app: &App, mut boot: Boot) -> Result<Self, NotBooted> {
        let failed = |boot: &Boot, why: String| {
            tracing::error!("Exception in worker process: {why}");
            let _ = refuse(boot, &why, BOOT_FAILED);
            NotBooted
        };
        let listeners = std::mem::take(&mut boot.listeners);
        let mut io = match Io::new(boot.rules(), listeners) {
            Ok(io) => io,
            Err(error) => {
                return Err(failed(
                    &boot,
                    format!("cannot watch the listeners: {error}"),
                ));
            }
        };
        let slow = match open_slow_log(&boot.settings) {
            Ok(slow) => slow.map(Arc::new),
            Err(error) => {
                return Err(failed(
                    &boot,
                    format!("cannot open slow_request_log: {error}"),
                ));
            }
        };
        let access = match open_access_log(&boot.settings) {
            Ok(access) => access,
            Err((path, error)) => {
                return Err(failed(
                    &boot,
                    format!("cannot open {}: {error}", path.display()),
                ));
            }
        };
        let recycling = match boot.say.try_clone() {
            Ok(say) => Arc::new(Recycling::new(
                say,
                boot.max_requests,
                boot.settings.max_worker_memory,
            )),
            Err(error) => return Err(failed(&boot, error.to_string())),
        };
        io.sharing = boot.sharing();
        let has_siblings = io.sharing.is_some();
        let io = Arc::new(Mutex::new(io));
        let threads = boot.settings.threads;
        let seats = u32::try_from(threads).unwrap_or(u32::MAX);
        let slot = boot.slots.worker(boot.slot);
        slot.seats.store(seats, Relaxed);
        let limit = watch::limit(&boot.settings);
        let mode = if threads > 1 {
            let around = boot.hooked.worker.share(gil);
            let shared = Shared {
                hooks: boot.settings.hooks.clone(),
                worker: around,
                recycling: Arc::clone(&recycling),
                slots: Arc::clone(&boot.slots),
                slot: boot.slot,
                access,
                slow: slow.clone(),
                wanted: wanted_environ(&boot.settings).to_vec(),
                polite: boot.siblings,
                limit,
            };
            Threads::start(gil, &mut lock(&io), app, &boot.sites, threads, shared)
                .map(Mode::Threads)
        } else {
            let slots = Arc::clone(&boot.slots);
            let sharer = has_siblings
                .then(|| Sharer::start(&io, Arc::clone(&slots), boot.slot))
                .transpose();
            let watch = limit.map(|limit| Watch::new(limit, 1, slots, boot.slot));
            let ended = Arc::clone(&recycling);
            let ended = move || ended.ask("a hook has set worker.alive to False");
            let hooks = RequestHooks::new(gil, &boot.settings.hooks, &boot.hooked.worker, ended);
            hooks
                .and_then(|hooks| Ok((hooks, Caller::new(gil, app, &boot.sites)?)))
                .map(|(hooks, mut caller)| {
                    caller.set_hooks(hooks);
                    caller.want(wanted_environ(&boot.settings));
                    caller
                })
                .map_err(std::io::Error::other)
                .and_then(|caller| Inline::new(gil, caller, watch, sharer?))
                .map(|inline| Mode::Inline(Box::new(inline), access))
        };
        let mode = mode.map_err(|error| failed(&boot, error.to_string()))?;
        if let Err(why) = boot.booting_hook(gil, Hook::PostWorkerInit) {
            let _ = refuse(&boot, &why, BOOT_FAILED);
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
    fn serve(&mut self, gil: Gil<'_>, pipe: &mut SignalPipe) -> End {
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
