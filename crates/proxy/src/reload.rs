//! A new configuration for a running daemon: everything that can fail happens before anything is changed.
//!
//! Not here: when to reload (see `daemon`), or what a core does with it (`engine`).

use std::sync::Arc;

use tokio::sync::oneshot;
use trine_service::exit::chain;
use trine_service::listeners::Inherited;

use crate::access_log::Target;
use crate::config::{self, AccessLog, Config, Reading};
use crate::cores::{Core, Order, Setup};
use crate::error::Error;
use crate::invoke;
use crate::listen::{Changes, DoorBook};
use crate::tls;

/// A configuration that is ready to be put into effect.
pub(crate) struct Prepared {
    pub(crate) config: Arc<Config>,
    pub(crate) logs: Vec<Arc<Target>>,
    /// In the order of [`Config::listens`].
    pub(crate) tls: Arc<[tls::Door]>,
    pub(crate) changes: Changes,
}

/// Opens all that a configuration needs and that is not open yet.
pub(crate) fn prepare(
    config: Config,
    book: &DoorBook,
    cores: usize,
    inherited: &mut Inherited,
) -> Result<Prepared, Error> {
    let tls = tls::doors(&config).map_err(Error::Tls)?;
    let logs = open_logs(&config)?;
    let changes = book
        .prepare(&config, cores, inherited)
        .map_err(Error::listen)?;
    Ok(Prepared {
        config: Arc::new(config),
        logs,
        tls: tls.into(),
        changes,
    })
}

/// Opens the access logs.
pub(crate) fn open_logs(config: &Config) -> Result<Vec<Arc<Target>>, Error> {
    let open = |log: &AccessLog| {
        Target::open(log).map_err(|source| Error::AccessLog {
            path: log.path.clone().unwrap_or_default(),
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

/// Puts a configuration into effect on all cores.
pub(crate) async fn apply(prepared: &mut Prepared, cores: &[Core]) {
    let mut replies = Vec::new();
    for (core, open) in cores.iter().zip(std::mem::take(&mut prepared.changes.open)) {
        let setup = Setup {
            config: Arc::clone(&prepared.config),
            doors: Arc::clone(&prepared.changes.doors),
            open,
            logs: prepared.logs.clone(),
            tls: Arc::clone(&prepared.tls),
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
    differs("user", old.user != new.user);
    differs("control", old.control != new.control);
    differs("pidfile", old.pidfile != new.pidfile);
    differs("log", old.log != new.log);
    keys
}

/// One line for an error that keeps a new configuration from being used.
pub(crate) fn line(error: &Error) -> String {
    chain(error)
}
