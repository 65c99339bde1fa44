//! The control thread: starts the cores, obeys signals and the control API, ends the cores.
//!
//! A signal or a call becomes one step here; nothing else changes what the daemon is doing. Not here: requests, the
//! answers of the control API (`control`), and how it ends (`drain`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trine_control::message::ReloadReport;
use trine_control::server;
use trine_service::Phase;
use trine_service::listeners::{Inherited, inherited};
use trine_service::logging::LogHandle;
use trine_service::pidfile::PidFile;
use trine_service::readiness::Notifier;
use trine_service::signals::{AsyncSignals, Signal, SignalPipe};
use trine_sys::limits::{self, Resource};

use crate::cli::Cli;
use crate::config::{Config, Reading};
use crate::control::{Ask, Desk, Public};
use crate::cores::{Core, Order, Setup};
use crate::error::Error;
use crate::listen::DoorBook;
use crate::reload;

/// Starts everything, runs until told to stop, and stops everything.
pub(crate) async fn run(cli: &Cli, config: Config, log: LogHandle) -> Result<(), Error> {
    let catch = [
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ];
    let mut signals = SignalPipe::new(&catch)?.into_async()?;
    raise_limit();
    let pidfile = config.pidfile.as_ref().map(PidFile::create).transpose()?;
    let inherited = inherited()?;
    let control = cli.control.as_ref().or(config.control.as_ref());
    let control = control
        .map(|path| trine_control::bind(path))
        .transpose()
        .map_err(Error::listen)?;
    let (mut daemon, mut asks) = Daemon::start(cli.reading(), config, log, inherited)?;

    let stop_control = CancellationToken::new();
    let desk = Arc::new(daemon.desk());
    let serve_control = async {
        match control {
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
        let result = daemon.work(&mut signals, &mut asks).await;
        daemon.public.phase.set(Phase::Gone);
        daemon.announce();
        stop_control.cancel();
        result
    };
    let (served, worked) = tokio::join!(serve_control, work);
    drop(pidfile);
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
fn room_for(cores: usize) -> usize {
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
    reading: Reading,
    pub(crate) config: Arc<Config>,
    pub(crate) cores: Vec<Core>,
    book: DoorBook,
    inherited: Inherited,
    log: LogHandle,
    pub(crate) notifier: Notifier,
    pub(crate) public: Arc<Public>,
    asks: mpsc::Sender<Ask>,
}

impl Daemon {
    /// Opens the doors and starts the cores; all of them serve when this returns.
    fn start(
        reading: Reading,
        config: Config,
        log: LogHandle,
        mut inherited: Inherited,
    ) -> Result<(Self, mpsc::Receiver<Ask>), Error> {
        let mut book = DoorBook::default();
        let threads = config.threads;
        let mut prepared = reload::prepare(config, &book, threads, &mut inherited)?;
        let room = room_for(threads);
        let mut cores = Vec::new();
        for (number, open) in std::mem::take(&mut prepared.changes.open)
            .into_iter()
            .enumerate()
        {
            let setup = Setup {
                config: Arc::clone(&prepared.config),
                doors: Arc::clone(&prepared.changes.doors),
                open,
                logs: prepared.logs.clone(),
                tls: Arc::clone(&prepared.tls),
                room,
            };
            cores
                .push(Core::start(number, setup).map_err(|source| Error::Core { number, source })?);
        }
        book.commit(&mut prepared.changes);
        let (asks, inbox) = mpsc::channel(16);
        let daemon = Self {
            reading,
            config: prepared.config,
            cores,
            book,
            inherited,
            log,
            notifier: Notifier::from_env(),
            public: Arc::default(),
            asks,
        };
        Ok((daemon, inbox))
    }

    fn desk(&self) -> Desk {
        let orders = self.cores.iter().map(Core::orders).collect();
        Desk::new(Arc::clone(&self.public), orders, self.asks.clone())
    }

    /// Serves until told to stop, then ends the cores.
    async fn work(
        &mut self,
        signals: &mut AsyncSignals,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), Error> {
        self.ready();
        loop {
            let step = tokio::select! {
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
            Signal::SIGINT => Step::Stop,
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

    /// Reads the file again and puts it into effect, unless anything is wrong with it.
    async fn reload(&mut self, dry_run: bool) -> ReloadReport {
        if !dry_run {
            tell(self.notifier.reloading());
        }
        let result = self.try_reload(dry_run).await;
        let report = ReloadReport {
            ok: result.is_ok(),
            time: jiff::Timestamp::now(),
            dry_run,
            problems: result.err().unwrap_or_default(),
        };
        if dry_run {
            return report;
        }
        for problem in &report.problems {
            tracing::error!("cannot reload: {problem}");
        }
        let text = if report.ok {
            let text = status_text(&self.book);
            tracing::info!("reloaded; {text}");
            text
        } else {
            let text = format!(
                "{}; the last reload failed, the configuration before it is in effect",
                status_text(&self.book)
            );
            tracing::error!("{text}");
            text
        };
        let generation = self.public.update(|state| {
            state.generation += u64::from(report.ok);
            state.listeners = listeners(&self.book);
            state.status_text.clone_from(&text);
            state.last_reload = Some(report.clone());
            state.generation
        });
        let data =
            json!({ "ok": report.ok, "generation": generation, "problems": report.problems });
        self.public.events.push("reload", data);
        tell(self.notifier.ready_with(&text));
        report
    }

    async fn try_reload(&mut self, dry_run: bool) -> Result<(), Vec<String>> {
        let config = reload::read(&self.reading)?;
        if dry_run {
            return Ok(());
        }
        let restart = reload::needs_restart(&self.config, &config);
        let prepared = reload::prepare(config, &self.book, self.cores.len(), &mut self.inherited);
        let mut prepared = prepared.map_err(|error| vec![reload::line(&error)])?;
        reload::apply(&mut prepared, &self.cores).await;
        self.book.commit(&mut prepared.changes);
        self.config = prepared.config;
        if !restart.is_empty() {
            tracing::warn!(
                "changed, but only in effect after a restart: {}",
                restart.join(", ")
            );
        }
        Ok(())
    }

    /// Opens all log files again by their names.
    async fn reopen_logs(&mut self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!("{}", trine_service::exit::chain(&error));
        }
        match reload::open_logs(&self.config) {
            Ok(targets) => {
                for core in &self.cores {
                    core.tell(Order::Logs(targets.clone())).await;
                }
                tracing::info!("reopened the logs");
            }
            Err(error) => tracing::error!(
                "the access logs go on into the old files: {}",
                reload::line(&error)
            ),
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

fn listeners(book: &DoorBook) -> Vec<trine_control::message::ListenerStatus> {
    let status = |(addr, inherited): (&trine_sys::net::SockAddr, bool)| {
        trine_control::message::ListenerStatus {
            address: addr.to_string(),
            inherited,
        }
    };
    book.open_doors().map(status).collect()
}

fn status_text(book: &DoorBook) -> String {
    let addresses: Vec<_> = book
        .open_doors()
        .map(|(addr, _)| addr.to_string())
        .collect();
    format!("serving on {}", addresses.join(", "))
}

/// How long the control API waits for a core's figures.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
