//! A new configuration for a running daemon: everything that can fail happens before anything is changed.
//!
//! Not here: when to reload (see `daemon`), or what a core does with it (`engine`).

use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;
use trine_control::message::ReloadReport;
use trine_service::exit::chain;
use trine_service::listeners::Inherited;

use crate::access_log::{LogThread, Target};
use crate::config::{self, AccessLog, AccessPlace, Config, Reading};
use crate::cores::{Core, Order, Setup};
use crate::daemon::{Daemon, room_for, tell};
use crate::error::Error;
use crate::invoke;
use crate::limit::zone;
use crate::listen::{Changes, DoorBook, NewDoor};
use crate::spool;
use crate::tally::Tally;
use crate::tls;
use crate::upstream::fleet::Fleet;
use crate::upstream::names;

/// A configuration that is ready to be put into effect.
pub(crate) struct Prepared {
    pub(crate) config: Arc<Config>,
    pub(crate) logs: Vec<Arc<Target>>,
    /// In the order of [`Config::listens`].
    pub(crate) tls: Arc<[tls::Door]>,
    /// Watches the files that `tls` was read from.
    pub(crate) files: tls::Watch,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) changes: Changes,
}

/// Opens all that a configuration needs and that is not open yet. `fresh`: for cores that are to be started.
pub(crate) fn prepare(
    config: Arc<Config>,
    book: &DoorBook,
    cores: usize,
    fresh: bool,
    fleet: Option<&Fleet>,
    inherited: &mut Inherited,
    thread: &LogThread,
) -> Result<Prepared, Error> {
    let files = tls::Watch::new(&config);
    let tls = tls::doors(&config, &book.keyring).map_err(Error::Tls)?;
    let logs = open_logs(&config, thread)?;
    for disk in config.caches.iter().filter_map(|zone| zone.disk.as_ref()) {
        disk.prepare(config.user.as_ref())
            .map_err(|source| Error::CacheFolder {
                path: disk.folder.clone(),
                source,
            })?;
    }
    for folder in &config.spools {
        spool::prepare(folder, config.user.as_ref()).map_err(|source| Error::SpoolFolder {
            path: folder.path.clone(),
            source,
        })?;
    }
    let changes = book
        .prepare(&config, cores, fresh, inherited)
        .map_err(Error::listen)?;
    let names = fleet.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.names));
    names::start::look_up(&config, &names)?;
    Ok(Prepared {
        fleet: Fleet::new(&config, &names, fleet).map_err(Error::Tls)?,
        config,
        logs,
        tls: tls.into(),
        files,
        changes,
    })
}

/// Opens the access logs.
pub(crate) fn open_logs(config: &Config, thread: &LogThread) -> Result<Vec<Arc<Target>>, Error> {
    let open = |log: &AccessLog| {
        Target::open(log, thread).map_err(|source| Error::AccessLog {
            path: match &log.place {
                AccessPlace::File(path) => path.clone(),
                AccessPlace::Stdout | AccessPlace::Syslog(_) => std::path::PathBuf::new(),
            },
            source,
        })
    };
    config.access_logs.iter().map(open).collect()
}

/// Reads the file again. The problems are for people.
pub(crate) fn read(reading: &Reading) -> Result<Config, Vec<String>> {
    config::load(reading)
        .config
        .map_err(|problems| invoke::lines(&problems, reading.is_yaml()))
}

/// Starts cores with a configuration; they serve when this returns.
pub(crate) fn start(prepared: &mut Prepared, room: usize) -> Result<Vec<Core>, Error> {
    let open = std::mem::take(&mut prepared.changes.open);
    let tally = Arc::default();
    let start = |(number, open): (usize, _)| {
        let setup = prepared.setup(open, room, &tally);
        Core::start(number, setup).map_err(|source| Error::Core { number, source })
    };
    open.into_iter().enumerate().map(start).collect()
}

impl Prepared {
    fn setup(&self, open: Vec<NewDoor>, room: usize, tally: &Arc<Tally>) -> Setup {
        Setup {
            config: Arc::clone(&self.config),
            doors: Arc::clone(&self.changes.doors),
            open,
            logs: self.logs.clone(),
            tls: Arc::clone(&self.tls),
            fleet: Arc::clone(&self.fleet),
            tally: Arc::clone(tally),
            room,
        }
    }
}

/// Puts a configuration into effect on all cores.
pub(crate) async fn apply(prepared: &mut Prepared, cores: &[Core]) {
    let mut replies = Vec::new();
    for (core, open) in cores.iter().zip(std::mem::take(&mut prepared.changes.open)) {
        // They have their own already.
        let setup = prepared.setup(open, 0, &Arc::default());
        let (done, reply) = oneshot::channel();
        if core
            .tell(Order::Apply {
                setup,
                close: prepared.changes.close.clone(),
                done,
            })
            .await
        {
            replies.push(reply);
        }
    }
    for reply in replies {
        // A core that has failed is noticed by the daemon's loop.
        let _ = reply.await;
    }
}

/// What the file says that only a restart can change.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut differs = |key, differs: bool| {
        if differs {
            keys.push(key);
        }
    };
    differs("threads", old.threads != new.threads);
    differs("user", old.user != new.user);
    differs("control", old.control != new.control);
    let of_nginx = !old.log.targets.is_empty() && !new.log.targets.is_empty();
    differs("log", old.log != new.log && !of_nginx);
    keys
}

/// One line for an error that keeps a new configuration from being used.
pub(crate) fn line(error: &Error) -> String {
    chain(error)
}

impl Daemon {
    /// Reads the file again and puts it into effect, unless anything is wrong with it.
    pub(crate) async fn reload(&mut self, dry_run: bool) -> ReloadReport {
        if !dry_run {
            tell(self.notifier.reloading());
        }
        let mut result = self.try_reload(dry_run).await;
        if let (false, true, Err(problems)) = (dry_run, self.cores.is_empty(), &mut result) {
            // WINCH had it stop serving: with the file as it was, rather than not at all.
            let again = self.serve_again(Arc::clone(&self.config));
            problems.extend(again.err().map(|error| line(&error)));
        }
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
            state.failed_reloads += u64::from(!report.ok);
            state.listeners = listeners(&self.book);
            state.caches.clone_from(&self.config.caches);
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
        let mut config = read(&self.reading)?;
        zone::adopt(&mut config, &self.config)?;
        crate::cache::zone::adopt(&mut config.caches, &self.config.caches);
        if dry_run {
            return Ok(());
        }
        let restart = needs_restart(&self.config, &config);
        let targets = crate::cli::log_targets(&config.log);
        self.log
            .retarget(&targets)
            .map_err(|error| vec![chain(&error)])?;
        let told = |error: Error| vec![line(&error)];
        if self.cores.is_empty() {
            self.serve_again(Arc::new(config)).map_err(told)?;
        } else {
            let (config, cores) = (Arc::new(config), self.cores.len());
            let mut prepared = prepare(
                config,
                &self.book,
                cores,
                false,
                Some(&self.fleet),
                &mut self.inherited,
                &self.log_thread,
            )
            .map_err(told)?;
            self.book.commit(&mut prepared.changes);
            apply(&mut prepared, &self.cores).await;
            self.config = prepared.config;
            self.files = prepared.files;
            self.fleet = prepared.fleet;
            self.watch_upstreams();
        }
        self.succession.move_pidfile(self.config.pidfile.as_deref());
        if !restart.is_empty() {
            tracing::warn!(
                "changed, but only in effect after a restart: {}",
                restart.join(", ")
            );
        }
        Ok(())
    }

    /// Opens all log files again by their names.
    pub(crate) async fn reopen_logs(&mut self) {
        if let Err(error) = self.log.reopen() {
            tracing::error!("{}", trine_service::exit::chain(&error));
        }
        match open_logs(&self.config, &self.log_thread) {
            Ok(targets) => {
                for core in &self.cores {
                    core.tell(Order::Logs(targets.clone())).await;
                }
                tracing::info!("reopened the logs");
            }
            Err(error) => {
                tracing::error!("the access logs go on into the old files: {}", line(&error))
            }
        }
    }

    /// Reads certificates and keys again, which have changed. What cannot be used leaves the old ones in effect.
    pub(crate) async fn renew_certificates(&mut self) {
        match tls::doors(&self.config, &self.book.keyring) {
            Ok(doors) => {
                let doors: Arc<[tls::Door]> = doors.into();
                for core in &self.cores {
                    core.tell(Order::Certificates(Arc::clone(&doors))).await;
                }
                tracing::info!("certificates have changed, the new ones are in effect");
            }
            Err(error) => {
                let error = Error::Tls(error);
                tracing::error!(
                    "certificates have changed and cannot be used, the old ones go on: {}",
                    line(&error)
                );
            }
        }
    }

    /// Starts cores again on the sockets that are open.
    fn serve_again(&mut self, config: Arc<Config>) -> Result<(), Error> {
        let threads = config.threads;
        let mut prepared = prepare(
            config,
            &self.book,
            threads,
            true,
            Some(&self.fleet),
            &mut self.inherited,
            &self.log_thread,
        )?;
        self.cores = start(&mut prepared, room_for(threads))?;
        self.book.commit(&mut prepared.changes);
        self.config = prepared.config;
        self.files = prepared.files;
        self.fleet = prepared.fleet;
        self.publish_cores();
        self.watch_upstreams();
        Ok(())
    }
}

pub(crate) fn listeners(book: &DoorBook) -> Vec<trine_control::message::ListenerStatus> {
    let status =
        |(address, inherited)| trine_control::message::ListenerStatus { address, inherited };
    book.open_doors().map(status).collect()
}

pub(crate) fn status_text(book: &DoorBook) -> String {
    let addresses: Vec<_> = book.open_doors().map(|(address, _)| address).collect();
    format!("serving on {}", addresses.join(", "))
}
