//! The control thread: starts the cores, obeys signals and the control API, ends the cores.
//!
//! A signal or a call becomes one step here; nothing else changes what the daemon is doing. Not here: requests, the
//! answers of the control API (`control`), and how it ends (`drain`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trine_control::server;
use trine_service::Phase;
use trine_service::listeners::{Inherited, inherited};
use trine_service::logging::LogHandle;
use trine_service::readiness::Notifier;
use trine_service::signals::{AsyncSignals, Signal, SignalPipe};
use trine_sys::limits::{self, Resource};

use crate::access_log::LogThread;
use crate::cli::Cli;
use crate::config::{Config, Reading};
use crate::control::{Ask, Desk, Public};
use crate::cores::Core;
use crate::error::Error;
use crate::launch::{self, Launch};
use crate::listen::DoorBook;
use crate::reload::{self, listeners, status_text};
use crate::tls::Watch;
use crate::upgrade::Succession;
use crate::upstream::fleet::Fleet;
use crate::upstream::monitor::Monitor;

/// Starts everything, runs until told to stop, and stops everything.
pub(crate) async fn run(
    cli: &Cli,
    config: Config,
    log: LogHandle,
    launch: Launch,
) -> Result<(), Error> {
    let catch = [
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
        Signal::SIGCHLD,
    ];
    let mut signals = SignalPipe::new(&catch)?.into_async()?;
    raise_limit();
    let waiting_parent = launch.waiting_parent().map_err(Error::Background)?;
    let succession = Succession::begin(launch, config.pidfile.as_deref())?;
    let inherited = inherited()?;
    let control = cli.control.clone().or_else(|| config.control.clone());
    let alone = succession.alone.clone();
    let bind = |path: &PathBuf| trine_control::bind(path).map_err(Error::listen);
    // A successor has it once its predecessor is gone.
    let early = control.as_ref().filter(|_| alone.is_cancelled());
    let early = early.map(bind).transpose()?;
    let keep_stderr = cli.logs_to_stderr(&config.log);
    let (mut daemon, mut asks) = Daemon::start(cli, config, log, inherited, succession)?;

    let stop_control = CancellationToken::new();
    let desk = Arc::new(daemon.desk());
    let serve_control = async {
        tokio::select! {
            () = alone.cancelled() => {}
            () = stop_control.cancelled() => return Ok(()),
        }
        let listener = match (early, &control) {
            (Some(listener), _) => Some(listener),
            (None, Some(path)) => bind(path)
                .inspect_err(|error| tracing::error!("{}", trine_service::exit::chain(error)))
                .ok(),
            (None, None) => None,
        };
        match listener {
            Some(listener) => server::serve(listener, desk, stop_control.clone())
                .await
                .map_err(Error::Control),
            None => {
                stop_control.cancelled().await;
                Ok(())
            }
        }
    };
    let work = async {
        daemon.ready();
        let told = waiting_parent.map_or(Ok(()), |parent| launch::say_started(parent, keep_stderr));
        if let Err(error) = told {
            tracing::warn!("cannot tell who started us: {error}");
        }
        let result = daemon.work(&mut signals, &mut asks).await;
        daemon.public.phase.set(Phase::Gone);
        daemon.announce();
        stop_control.cancel();
        result
    };
    let (served, worked) = tokio::join!(serve_control, work);
    worked.and(served)
}

/// Each client and each of its requests takes a descriptor or two.
fn raise_limit() {
    let wanted = limits::get(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    if let Err(error) = limits::raise(Resource::RLIMIT_NOFILE, wanted) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// How many descriptors each of so many cores may use for connections: some are left for the daemon itself.
pub(crate) fn room_for(cores: usize) -> usize {
    let (limit, _) = limits::get(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30);
    limit.saturating_sub(24 + 8 * cores).max(16) / cores
}

/// What the daemon should do next.
enum Step {
    Go,
    Drain,
    Stop,
}

pub(crate) struct Daemon {
    pub(crate) reading: Reading,
    pub(crate) config: Arc<Config>,
    /// Watches the files of its certificates.
    pub(crate) files: Watch,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) cores: Vec<Core>,
    /// Those that were told by WINCH to finish, while the daemon goes on.
    pub(crate) retiring: Vec<Core>,
    pub(crate) book: DoorBook,
    pub(crate) inherited: Inherited,
    pub(crate) log: LogHandle,
    pub(crate) log_thread: LogThread,
    pub(crate) succession: Succession,
    pub(crate) notifier: Notifier,
    pub(crate) public: Arc<Public>,
    /// Watches the upstream servers.
    pub(crate) monitor: Monitor,
    asks: mpsc::Sender<Ask>,
}

impl Daemon {
    /// Opens the doors and starts the cores; all of them serve when this returns.
    fn start(
        cli: &Cli,
        config: Config,
        log: LogHandle,
        mut inherited: Inherited,
        succession: Succession,
    ) -> Result<(Self, mpsc::Receiver<Ask>), Error> {
        let mut book = DoorBook::default();
        let log_thread = LogThread::start();
        let threads = config.threads;
        let mut prepared = reload::prepare(
            Arc::new(config),
            &book,
            threads,
            true,
            None,
            &mut inherited,
            &log_thread,
        )?;
        let cores = reload::start(&mut prepared, room_for(threads))?;
        book.commit(&mut prepared.changes);
        let (asks, inbox) = mpsc::channel(16);
        let mut daemon = Self {
            reading: cli.reading(),
            fleet: prepared.fleet,
            config: prepared.config,
            files: prepared.files,
            cores,
            retiring: Vec::new(),
            book,
            inherited,
            log,
            log_thread,
            succession,
            notifier: Notifier::from_env(),
            public: Arc::default(),
            monitor: Monitor::default(),
            asks,
        };
        daemon.publish_cores();
        daemon.watch_upstreams();
        Ok((daemon, inbox))
    }

    /// Whom the control API asks for figures.
    pub(crate) fn publish_cores(&self) {
        let orders = self.cores.iter().map(Core::orders).collect();
        self.public.update(|state| state.cores = orders);
    }

    /// The configuration in effect is the one whose servers are watched and told about.
    pub(crate) fn watch_upstreams(&mut self) {
        let fleet = Arc::clone(&self.fleet);
        self.public.update(|state| state.fleet = Some(fleet));
        let cores = self.cores.iter().map(Core::orders).collect();
        self.monitor
            .follow(&self.config, &self.fleet, cores, &self.public);
    }

    fn desk(&self) -> Desk {
        Desk::new(Arc::clone(&self.public), self.asks.clone())
    }

    /// Serves until told to stop, then ends the cores.
    async fn work(
        &mut self,
        signals: &mut AsyncSignals,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), Error> {
        loop {
            let step = tokio::select! {
                () = self.files.changed() => {
                    self.renew_certificates().await;
                    Step::Go
                }
                number = failed(&mut self.retiring) => {
                    self.retired(number);
                    Step::Go
                }
                signal = signals.next() => self.signal(signal.map_err(Error::Runtime)?).await,
                Some(ask) = asks.recv() => self.answer(ask).await,
                number = failed(&mut self.cores) => return Err(self.core_failure(number)),
            };
            match step {
                Step::Go => {}
                Step::Drain => return self.drain(signals, asks).await,
                Step::Stop => return self.stop().await,
            }
        }
    }

    fn ready(&mut self) {
        self.public.update(|state| {
            state.generation = 1;
            state.listeners = listeners(&self.book);
            state.caches.clone_from(&self.config.caches);
            state.status_text = status_text(&self.book);
        });
        self.public.phase.set(Phase::Ready);
        self.announce();
        let text = status_text(&self.book);
        tell(self.notifier.ready_with(&text));
        tracing::info!(cores = self.cores.len(), "{text}");
    }

    async fn signal(&mut self, signal: Signal) -> Step {
        tracing::info!("received {signal}");
        match signal {
            Signal::SIGHUP => {
                self.reload(false).await;
                Step::Go
            }
            Signal::SIGUSR1 => {
                self.reopen_logs().await;
                Step::Go
            }
            Signal::SIGUSR2 => {
                self.upgrade();
                Step::Go
            }
            Signal::SIGWINCH => {
                self.quiesce().await;
                Step::Go
            }
            Signal::SIGCHLD => {
                self.neighbour_ended();
                Step::Go
            }
            Signal::SIGINT => Step::Stop,
            // nginx's meaning for nginx's file.
            Signal::SIGTERM if !self.reading.is_yaml() => Step::Stop,
            _ => Step::Drain,
        }
    }

    async fn answer(&mut self, ask: Ask) -> Step {
        match ask {
            Ask::Reload { dry_run, reply } => {
                let report = self.reload(dry_run).await;
                // The caller may have left.
                let _ = reply.send(report);
                Step::Go
            }
            Ask::Drain => Step::Drain,
            Ask::Stop => Step::Stop,
        }
    }

    /// Tells those who follow the events which phase it is.
    pub(crate) fn announce(&self) {
        self.public
            .events
            .push("phase", json!({ "phase": self.public.phase.get() }));
    }
}

/// Resolves when a core ends, which none should before it is told to.
async fn failed(cores: &mut [Core]) -> usize {
    let mut ends: Vec<_> = cores
        .iter_mut()
        .map(|core| Box::pin(core.ended()))
        .collect();
    std::future::poll_fn(|cx| {
        for (number, end) in ends.iter_mut().enumerate() {
            if end.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// A service manager that does not listen is its own problem.
pub(crate) fn tell(result: Result<(), trine_service::Error>) {
    if let Err(error) = result {
        tracing::warn!("{}", trine_service::exit::chain(&error));
    }
}

/// How long the control API waits for a core's figures.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
