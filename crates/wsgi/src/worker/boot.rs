//! What a worker is forked with, and what it tells the arbiter.
//!
//! Not here: the steps of its life (`life`), serving (`serving`).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use trine_service::logging::LogHandle;
use trine_sys::{file, process, signals};

use crate::config::Settings;
use crate::notice::Notice;
use crate::python::{self, App, Arg, Fact, Gil, Hook, HookError, Logger, Server, Site};
use crate::slots::Slots;

use super::io::{Listening, Rules, Sharing};
use super::share::Channels;

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

/// The reason was told already.
pub(super) struct NotBooted;

impl Boot {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            tls: self.tls.clone(),
            ..self.settings.rules(self.siblings)
        }
    }

    /// The other workers, if there can be any and connections can be given.
    pub(super) fn sharing(&self) -> Option<Sharing> {
        self.channels.of(self.slot).filter(|_| self.siblings)?;
        Some(Sharing {
            slots: Arc::clone(&self.slots),
            slot: self.slot,
            channels: Arc::clone(&self.channels),
            next: self.slot + 1,
        })
    }

    /// Tells the arbiter.
    pub(super) fn say(&self, notice: &Notice) {
        // If the arbiter is gone, the end of its lifeline says so.
        let _ = file::write(&self.say, &notice.encode());
    }

    /// Calls a hook with `server`, where it wants one, and `worker`.
    pub(super) fn hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), HookError> {
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
    pub(super) fn booting_hook(&self, gil: Gil<'_>, hook: Hook) -> Result<(), String> {
        self.hook(gil, hook).map_err(|error| {
            tracing::error!("Exception in worker process\n{}", error.traceback);
            error.to_string()
        })
    }

    pub(super) fn set_up_logger(&self, gil: Gil<'_>) -> Result<(), String> {
        let Logging {
            logger,
            set_up_anew,
        } = &self.hooked.logger;
        if *set_up_anew {
            logger.set_up(gil, self.settings.shown.as_ref(), &self.log)?;
        }
        Ok(())
    }

    pub(super) fn become_worker(&self, gil: Gil<'_>) {
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

    /// Tells the log, too.
    pub(super) fn failed(&self, why: &str) -> NotBooted {
        tracing::error!("Exception in worker process: {why}");
        self.refuse(why);
        NotBooted
    }

    /// Tells the arbiter why there is no worker.
    pub(super) fn refuse(&self, why: &str) {
        self.say(&Notice::Failed(why.to_owned()));
    }
}

impl Hooked {
    pub(super) fn share(&self, gil: Gil<'_>) -> Self {
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
