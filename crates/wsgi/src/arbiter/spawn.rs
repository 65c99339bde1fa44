//! Forking a worker: what it gets, and what of the arbiter's it lets go.
//!
//! Not here: when one is forked (`state`), its life (`worker`).

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::json;
use trine_service::listeners::{Listener, Origin};
use trine_sys::epoll::Interest;
use trine_sys::net::SockAddr;
use trine_sys::{file, process, signals};

use crate::config::Settings;
use crate::config::settings::WorkerClass;
use crate::python::{Forked, Gil, Site, Worker, fork};
use crate::worker::recycle::limit_of_requests;
use crate::worker::{self, Boot, Hooked, Logging, io::Listening, tls};

use super::children::Child;
use super::state::Pid;
use super::{Arbiter, listeners, token};

/// What one fork has that no other has.
struct Own {
    personal: Option<Rc<Listener>>,
    slot: usize,
    generation: u64,
    say: OwnedFd,
    arbiter: process::Pid,
    mask: signals::Mask,
    tls: Option<Arc<ServerConfig>>,
}

/// gunicorn's code for a worker that cannot boot.
const BOOT_FAILED: i32 = 3;

impl Arbiter {
    pub(super) fn try_spawn(&mut self, gil: Gil<'_>, generation: u64) -> std::io::Result<Pid> {
        let full = || std::io::Error::other("there are too many workers already");
        let slot = self
            .children
            .free_slot(self.slots.count())
            .ok_or_else(full)?;
        let settings = self.settings_of(generation);
        let tls = self.tls_of(generation, &settings)?;
        let object = self
            .new_worker(gil, generation, &settings)
            .map_err(std::io::Error::other)?;
        self.pre_fork(gil, &settings, &object)?;
        let (notice, say) = file::pipe_cloexec_nonblock()?;
        self.slots.reset(slot);
        let personal = self.personal_socket(slot, &settings);
        let arbiter = process::getpid();
        // A signal that comes in between is the child's own only once it has its own handlers.
        let mask = signals::block_all()?;
        match fork(gil) {
            Ok(Forked::Child) => {
                drop(notice);
                let logger = Logging {
                    logger: self.logger.clone(),
                    set_up_anew: generation != self.logged_for,
                };
                let hooked = Hooked {
                    logger,
                    server: self.server.share(gil),
                    worker: object,
                };
                let own = Own {
                    personal,
                    slot,
                    generation,
                    say,
                    arbiter,
                    mask,
                    tls,
                };
                let boot = self.become_worker(gil, settings, own, hooked);
                let code = worker::run(gil, boot);
                process::exit_now(code)
            }
            Ok(Forked::Parent(pid)) => {
                signals::restore(&mask)?;
                self.server.adopt(gil, pid.as_raw(), &object);
                self.adopt(pid, slot, generation, notice, object)?;
                let alone = !self.has_siblings(&settings);
                if let Some(child) = self.children.get_mut(pid.as_raw()) {
                    (child.personal, child.alone) = (personal, alone);
                }
                Ok(pid.as_raw())
            }
            Err(error) => {
                signals::restore(&mask)?;
                Err(error)
            }
        }
    }

    /// Certificates and keys for a new worker: renewed ones if they can be used, else those that its siblings have.
    fn tls_of(
        &mut self,
        generation: u64,
        settings: &Settings,
    ) -> io::Result<Option<Arc<ServerConfig>>> {
        let Some(wanted) = &settings.tls else {
            return Ok(None);
        };
        match (tls::load(wanted), self.tls.get(&generation)) {
            (Ok(read), _) => {
                self.tls.insert(generation, Arc::clone(&read));
                Ok(Some(read))
            }
            (Err(error), Some(before)) => {
                let problem = trine_service::exit::chain(&error);
                tracing::warn!(
                    "the new worker serves with the certificate of the others: {problem}"
                );
                Ok(Some(Arc::clone(before)))
            }
            (Err(error), None) => Err(io::Error::other(error)),
        }
    }

    /// In the child: lets go of everything that is the arbiter's.
    fn become_worker(
        &mut self,
        gil: Gil<'_>,
        settings: Arc<Settings>,
        own: Own,
        hooked: Hooked,
    ) -> Boot {
        let Own {
            personal,
            slot,
            generation,
            say,
            arbiter,
            mask,
            tls,
        } = own;
        self.signals = None;
        self.control = None;
        self.succession.forget();
        self.children.clear();
        self.lifeline.1 = None;
        let mut listeners = self.listeners_of(generation);
        self.listeners.clear();
        if settings.reuse_port {
            match listeners::each_workers_own(&settings) {
                Ok(own) => listeners.extend(own),
                Err(error) => {
                    tracing::error!(
                        "Exception in worker process: {}",
                        trine_service::exit::chain(&error)
                    );
                    process::exit_now(BOOT_FAILED);
                }
            }
        }
        listeners.extend(personal.iter().cloned());
        let sites = listeners
            .iter()
            .map(|listener| site(&settings, listener))
            .collect();
        let listening: io::Result<Vec<Listening>> = listeners.into_iter().map(listening).collect();
        let listening = listening.map(|mut all| {
            if let Some(last) = all.last_mut().filter(|_| personal.is_some()) {
                last.personal = true;
            }
            all
        });
        let listening = listening.unwrap_or_else(|error| {
            tracing::error!("Exception in worker process: cannot take the listeners: {error}");
            process::exit_now(BOOT_FAILED)
        });
        self.apply_variables(gil, &settings);
        Boot {
            sites,
            listeners: listening,
            preloaded: self.preloaded.take(),
            slots: Arc::clone(&self.slots),
            channels: Arc::clone(&self.channels),
            siblings: self.has_siblings(&settings),
            slot,
            generation,
            say,
            lifeline: self.lifeline.0.try_clone().ok(),
            arbiter,
            mask,
            log: self.log.clone(),
            // Drawn in the worker, so that each has another.
            max_requests: limit_of_requests(&settings),
            tls,
            settings,
            hooked,
        }
    }

    fn adopt(
        &mut self,
        pid: process::Pid,
        slot: usize,
        generation: u64,
        notice: OwnedFd,
        object: Worker,
    ) -> std::io::Result<()> {
        let number = pid.as_raw();
        let pidfd = process::pidfd_open(pid)?;
        self.epoll.add(
            &pidfd,
            token::EXITED | u64::from(number as u32),
            Interest::EPOLLIN,
        )?;
        self.epoll.add(
            &notice,
            token::NOTICE | u64::from(number as u32),
            Interest::EPOLLIN,
        )?;
        self.children
            .insert(number, Child::new(slot, generation, pidfd, notice, object));
        self.event(
            "worker.started",
            json!({ "pid": number, "generation": generation }),
        );
        Ok(())
    }

    /// Whether a worker that is forked now has, or will have, others to share with.
    pub(super) fn has_siblings(&self, settings: &Settings) -> bool {
        settings.workers > 1 || self.state.target() > 1
    }
}

fn listening(listener: Rc<Listener>) -> io::Result<Listening> {
    Ok(Listening {
        unix: !matches!(listener.addr, SockAddr::Tcp(_)),
        own: listener.origin == Origin::Own,
        personal: false,
        // A reload under way may hold it as well.
        fd: match Rc::try_unwrap(listener) {
            Ok(listener) => listener.fd,
            Err(shared) => shared.fd.try_clone()?,
        },
    })
}

fn site(settings: &Settings, listener: &Listener) -> Site {
    let server = match &listener.addr {
        SockAddr::Tcp(addr) => Some((addr.ip().to_string(), addr.port().to_string())),
        _ => None,
    };
    let script_name = settings
        .raw_env
        .iter()
        .rev()
        .find(|(key, _)| key == "SCRIPT_NAME");
    let script_name = script_name.map(|(_, value)| value.clone());
    Site {
        server,
        script_name: script_name
            .or_else(|| std::env::var("SCRIPT_NAME").ok())
            .unwrap_or_default(),
        multithread: settings.worker_class == WorkerClass::Gthread,
        multiprocess: settings.workers > 1,
        scheme_headers: settings.secure_scheme_headers.clone(),
        secure: settings.tls.is_some(),
        header_map: settings.headers.header_map,
        sendfile: settings.sendfile,
        forwarder_headers: settings.headers.forwarder_headers.clone(),
        error_log: settings.log.errorlog.clone(),
    }
}
