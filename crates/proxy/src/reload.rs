//! A new configuration for a running daemon: everything that can fail happens before anything is changed.
//!
//! Not here: when to reload (see `daemon`), or what a core does with it (`engine`).

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;
use trine_config::Problems;
use trine_service::exit::chain;
use trine_service::listeners::Inherited;

use crate::access_log::Target;
use crate::config::{self, Config};
use crate::cores::{Core, Order, Setup};
use crate::error::Error;
use crate::listen::{Changes, DoorBook};

/// A configuration that is ready to be put into effect.
pub(crate) struct Prepared {
    pub(crate) config: Arc<Config>,
    pub(crate) log: Option<Arc<Target>>,
    pub(crate) changes: Changes,
}

/// Opens all that a configuration needs and that is not open yet.
pub(crate) fn prepare(
    config: Config,
    book: &DoorBook,
    cores: usize,
    inherited: &mut Inherited,
) -> Result<Prepared, Error> {
    let log = open_log(&config)?;
    let changes = book
        .prepare(&config, cores, inherited)
        .map_err(Error::listen)?;
    Ok(Prepared {
        config: Arc::new(config),
        log,
        changes,
    })
}

/// Opens the access log, if there is one.
pub(crate) fn open_log(config: &Config) -> Result<Option<Arc<Target>>, Error> {
    let Some(log) = &config.access_log else {
        return Ok(None);
    };
    Target::open(log)
        .map(Some)
        .map_err(|source| Error::AccessLog {
            path: log.path.clone().unwrap_or_default(),
            source,
        })
}

/// Reads the file again. The problems are for people.
pub(crate) fn read(path: &Path) -> Result<Config, Vec<String>> {
    config::load(path).map_err(|problems| lines(&problems))
}

pub(crate) fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Puts a configuration into effect on all cores.
pub(crate) async fn apply(prepared: &mut Prepared, cores: &[Core]) {
    let mut replies = Vec::new();
    for (core, open) in cores.iter().zip(std::mem::take(&mut prepared.changes.open)) {
        let setup = Setup {
            config: Arc::clone(&prepared.config),
            doors: Arc::clone(&prepared.changes.doors),
            open,
            log: prepared.log.clone(),
            room: 0,
        };
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
    differs("control", old.control != new.control);
    differs("pidfile", old.pidfile != new.pidfile);
    differs("log", old.log != new.log);
    keys
}

/// One line for an error that keeps a new configuration from being used.
pub(crate) fn line(error: &Error) -> String {
    chain(error)
}
