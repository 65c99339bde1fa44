//! The arbiter: holds the listeners, forks workers, watches over them. One thread, no runtime, one poll loop.
//!
//! `state` decides, `perform` does, with `spawn` for forks and `reload` for new settings; `children` knows the processes, `control`
//! answers the control socket.
//! Invariants: no thread is ever started here, so forking is safe; READY is said only once a worker has imported the
//! application; a reload that fails leaves the old generation serving.
//! Not here: requests (`worker`).

mod cause;
mod children;
mod control;
pub mod daemon;
mod deaths;
mod hooks;
mod listeners;
mod measure;
mod metrics;
mod oom;
mod perform;
mod personal;
mod reload;
mod report;
mod spawn;
pub mod state;
mod upgrade;

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use trine_control::{EventLog, ReloadReport};
use trine_service::listeners::Listener;
use trine_service::logging::LogHandle;
use trine_service::readiness::Notifier;
use trine_service::signals::{Came, Signal, SignalPipe};
use trine_service::{Phase, PhaseCell};
use trine_sys::epoll::{Epoll, Event as Ready, Interest};
use trine_sys::{file, process};

use crate::config::{Settings, Sources};
use crate::error::Error;
use crate::python::{self, App, Gil, Hook, Logger, Server};
use crate::slots::Slots;
use crate::worker::identity;
use crate::worker::share::Channels;

use children::Children;
use control::Control;
use oom::OomWatch;
use state::{Event, Policy, State};
use upgrade::Succession;

pub use upgrade::Launch;

/// How long INT and QUIT let workers go on.
const QUICK: Duration = Duration::from_secs(2);
/// Between ABRT and KILL.
const ABORT: Duration = Duration::from_secs(1);
/// Events that the control socket can tell again.
const EVENTS: usize = 1024;
/// Places for workers, at least; TTIN and reloads need more than there are workers.
const PLACES: usize = 64;
/// Channels between workers, at least.
const CHANNELS: usize = 8;

const CAUGHT: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// What a token in epoll stands for; the lower half is a number of its own.
mod token {
    pub(super) const SIGNALS: u64 = 1 << 32;
    pub(super) const CONTROL: u64 = 2 << 32;
    pub(super) const CONTROL_CLIENT: u64 = 3 << 32;
    pub(super) const EXITED: u64 = 4 << 32;
    pub(super) const NOTICE: u64 = 5 << 32;
    pub(super) const SUCCESSOR: u64 = 6 << 32;
    pub(super) const PREDECESSOR: u64 = 7 << 32;
}

pub struct Arbiter {
    sources: Sources,
    /// In force; the workers of a generation are forked with those of their own.
    settings: BTreeMap<u64, Arc<Settings>>,
    /// By generation: a reload may change them.
    listeners: BTreeMap<u64, Vec<Rc<Listener>>>,
    /// Certificates and keys as they were read last, by generation.
    tls: BTreeMap<u64, Arc<ServerConfig>>,
    slots: Arc<Slots>,
    /// By which workers give each other connections.
    channels: Arc<Channels>,
    /// Sockets of single workers so far, which numbers them.
    sockets_made: u64,
    epoll: Rc<Epoll>,
    /// `None` in a forked worker, on its way to its own life.
    signals: Option<SignalPipe>,
    /// Workers wait for the end of the first, which comes when the second is closed: with us.
    lifeline: (OwnedFd, Option<OwnedFd>),
    children: Children,
    oom: OomWatch,
    state: State,
    policy: Policy,
    preloaded: Option<App>,
    control: Option<Control>,
    notifier: Notifier,
    phase: PhaseCell,
    log: LogHandle,
    events: EventLog,
    last_reload: Option<ReloadReport>,
    started: Instant,
    exit: Option<u8>,
    /// gunicorn's `server`.
    server: Server,
    /// gunicorn's `log`.
    logger: Logger,
    /// The generation whose settings it is set up for.
    logged_for: u64,
    told: measure::Told,
    /// Counts workers, as `worker.age` does.
    worker_age: i64,
    /// The number of workers that `nworkers_changed` was told last.
    workers_told: usize,
    /// The start is to be called off with this code.
    halt: Option<u8>,
    succession: Succession,
    /// Variables that settings have set, and what they were before.
    variables: BTreeMap<String, Option<String>>,
}

impl std::fmt::Debug for Arbiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arbiter")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What the arbiter is made from.
#[derive(Debug)]
pub struct Start {
    pub sources: Sources,
    pub settings: Settings,
    pub launch: Launch,
    pub preloaded: Option<App>,
    pub log: LogHandle,
    pub logger: Logger,
}

impl Arbiter {
    pub fn new(gil: Gil<'_>, start: Start) -> Result<Self, Error> {
        let Start {
            sources,
            settings,
            launch,
            preloaded,
            log,
            logger,
        } = start;
        let server = hooks::server(gil, &settings, &logger)?;
        // Python's handlers first: ours call those that were there before.
        python::catch_signals(gil).map_err(|text| Error::Hook { text, code: 1 })?;
        let places = PLACES.max(settings.workers * 3);
        let slots = Slots::new(places, settings.threads.max(1)).map_err(Error::Arbiter)?;
        // A reload has twice the workers for a while; who comes beyond that only gives.
        let channels = Channels::new(CHANNELS.max(settings.workers * 2)).map_err(Error::Arbiter)?;
        let epoll = Rc::new(Epoll::new().map_err(Error::Arbiter)?);
        let mut caught = CAUGHT.to_vec();
        // As the first process of a container we get everybody's orphans.
        caught.extend((process::getpid().as_raw() == 1).then_some(Signal::SIGCHLD));
        let signals = SignalPipe::new(&caught)?;
        epoll
            .add(signals.as_fd(), token::SIGNALS, Interest::EPOLLIN)
            .map_err(Error::Arbiter)?;
        let succession = Succession::begin(launch, &settings)?;
        let control = match &settings.control {
            // It is the other arbiter's until that is gone.
            Some(_) if succession.is_second() => None,
            Some(path) => Some(Control::bind(
                path,
                settings.control_mode,
                Rc::clone(&epoll),
            )?),
            None => None,
        };
        let (read, write) = file::pipe_cloexec_nonblock().map_err(Error::Arbiter)?;
        let workers = settings.workers;
        let state = State::new(workers);
        let logged_for = state.generation();
        Ok(Self {
            sources,
            policy: policy_of(&settings),
            settings: BTreeMap::from([(state.generation(), Arc::new(settings))]),
            listeners: BTreeMap::new(),
            tls: BTreeMap::new(),
            slots: Arc::new(slots),
            channels: Arc::new(channels),
            sockets_made: 0,
            epoll,
            signals: Some(signals),
            lifeline: (read, Some(write)),
            children: Children::default(),
            oom: OomWatch::new(),
            state,
            preloaded,
            control,
            notifier: Notifier::from_env(),
            phase: PhaseCell::new(),
            log,
            events: EventLog::new(EVENTS),
            last_reload: None,
            started: Instant::now(),
            exit: None,
            server,
            logger,
            logged_for,
            told: measure::Told::default(),
            worker_age: 0,
            workers_told: workers,
            halt: None,
            succession,
            variables: BTreeMap::new(),
        })
    }

    /// Runs until everything has ended. Forked workers never return from here.
    pub fn run(mut self, gil: Gil<'_>) -> Result<(), Error> {
        self.watch_predecessor()?;
        self.show_master(gil);
        self.note_variables(&self.settings_of(self.state.generation()));
        self.first_workers_hook(gil)?;
        self.starting_hook(gil, Hook::OnStarting)?;
        let settings = self.settings_of(self.state.generation());
        identity::give_logs(&settings);
        self.listeners
            .insert(self.state.generation(), listeners::open(&settings)?);
        if !self.succession.is_shared() {
            self.listeners
                .values_mut()
                .for_each(|all| listeners::claim_files(all));
        }
        drop(settings);
        self.show_listeners(gil);
        self.announce_start();
        self.starting_hook(gil, Hook::WhenReady)?;
        self.happen(gil, Event::Start);
        let mut ready = [Ready::EMPTY; 64];
        while self.exit.is_none() {
            let timeout = self.timeout();
            let count = {
                let epoll = Rc::clone(&self.epoll);
                let wait = Wait(&epoll, &mut ready);
                gil.detached(move || wait.run(timeout))
                    .map_err(Error::Arbiter)?
            };
            for event in ready.iter().take(count) {
                self.dispatch(gil, event);
            }
            if gil.run_signal_handlers().is_some() {
                // A handler that a configuration set wants the end; gunicorn's master leaves as well.
                self.happen(gil, Event::Stop);
            }
            self.look_for_hung(gil);
            self.look_for_aged(gil);
            self.happen(gil, Event::Tick);
            self.beat();
            self.measure(gil);
        }
        self.phase.set(Phase::Gone);
        tracing::info!("Shutting down: {}", self.succession.name());
        if let Err(error) = self.server_hook(gil, Hook::OnExit) {
            tracing::error!("{error}");
        }
        match self.exit {
            None | Some(0) => Ok(()),
            Some(code) => {
                let error = Error::Boot { code };
                tracing::error!("Reason: {error}");
                Err(error)
            }
        }
    }

    fn dispatch(&mut self, gil: Gil<'_>, event: &Ready) {
        let number = event.token() as u32;
        match event.token() & !u64::from(u32::MAX) {
            token::SIGNALS => {
                let came = self
                    .signals
                    .as_mut()
                    .map(SignalPipe::drain_with_senders)
                    .unwrap_or_default();
                for one in came {
                    self.signal(gil, one);
                }
            }
            token::EXITED => self.child_exited(gil, number as state::Pid),
            token::NOTICE => self.child_notice(gil, number as state::Pid),
            token::CONTROL => {
                if let Some(control) = &mut self.control {
                    control.accept();
                }
            }
            token::SUCCESSOR => self.successor_ended(gil),
            token::PREDECESSOR => self.promote(gil),
            token::CONTROL_CLIENT => self.control_client(gil, number),
            _ => {}
        }
    }

    fn signal(&mut self, gil: Gil<'_>, came: Came) {
        let name = came
            .signal
            .as_str()
            .trim_start_matches("SIG")
            .to_lowercase();
        tracing::info!("Handling signal: {name}");
        if let Some(sender) = came.sender {
            tracing::info!("{} came from {sender}", came.signal);
        }
        match came.signal {
            Signal::SIGTERM => self.happen(gil, Event::Stop),
            Signal::SIGINT | Signal::SIGQUIT => {
                if self.state.is_stopping() {
                    tracing::info!("Quick shutdown requested");
                }
                self.happen(gil, Event::QuickStop);
            }
            Signal::SIGHUP => {
                tracing::info!("Hang up: {}", self.succession.name());
                self.reload(gil);
            }
            Signal::SIGTTIN => self.more_workers(gil),
            Signal::SIGTTOU => self.happen(gil, Event::Fewer),
            Signal::SIGUSR1 => self.reopen_logs(gil),
            Signal::SIGUSR2 => self.upgrade(gil),
            Signal::SIGWINCH if self.settings_of(self.state.generation()).daemon => {
                tracing::info!("graceful stop of workers");
                self.happen(gil, Event::Empty);
            }
            Signal::SIGWINCH => tracing::debug!("SIGWINCH ignored. Not daemonized"),
            Signal::SIGCHLD => self.reap_orphans(gil),
            _ => {}
        }
    }

    /// The soonest of what has to be looked at without anybody telling.
    fn timeout(&self) -> i32 {
        let now = Instant::now();
        let tick = self.state.next_tick(&self.policy);
        let hung = self.next_hung_look(now);
        let beat = self
            .notifier
            .watchdog_interval()
            .map(|interval| now + interval / 2);
        let (age, measure) = (self.next_age(), self.next_measure());
        let Some(next) = [tick, hung, beat, age, measure].into_iter().flatten().min() else {
            return -1;
        };
        // One more, so that the deadline is over when the wait is.
        let wait = next.saturating_duration_since(now).as_millis() + 1;
        i32::try_from(wait).unwrap_or(i32::MAX)
    }

    fn beat(&self) {
        if self.notifier.watchdog_interval().is_some() {
            let _ = self.notifier.watchdog();
        }
    }
}

/// The wait as a value that may leave the interpreter lock behind: the loop is this thread's alone.
struct Wait<'a>(&'a Epoll, &'a mut [Ready]);

impl Wait<'_> {
    fn run(self, timeout: i32) -> std::io::Result<usize> {
        self.0.wait(self.1, timeout)
    }
}

fn policy_of(settings: &Settings) -> Policy {
    Policy {
        graceful: settings.graceful_timeout,
        quick: QUICK,
        boot: settings.timeout,
        abort: ABORT,
    }
}
