//! Where others find the supervisor itself: its log, its pid file and its control socket, at the beginning and when a
//! configuration moves them.
//! Not here: HTTP servers of the configuration (`servers`), what the control socket answers (`control`).

use super::control::Control;
use super::http::Site;
use super::main_log::Opened;
use super::rpc::Rpc;
use super::supervisor::Supervisor;
use super::table::Table;
use crate::config::{Config, Habits};
use crate::error::Error;
use crate::holder::wire::{BindOrder, Order, WireError};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trine_control::server;
use trine_service::exit::chain;
use trine_service::listeners::{Listener, Origin};

/// The holder's key of the control socket; of one that a configuration has moved, followed by its path.
pub(super) const CONTROL_KEY: &str = "control";
const CONTROL_BACKLOG: u32 = 128;

/// A control socket that the holder has bound.
#[derive(Debug)]
pub(super) struct Door {
    key: String,
    fd: OwnedFd,
}

/// One that answers.
#[derive(Debug)]
pub(super) struct OpenDoor {
    key: String,
    pub(super) stop: CancellationToken,
}

/// What may fail of a change is done.
#[derive(Debug)]
pub(super) struct Prepared {
    log: Opened,
    door: Option<Door>,
}

impl Supervisor {
    /// Writes the pid file that the configuration names. `anew`: no earlier brain has.
    pub(super) fn write_pidfile(&mut self, anew: bool) -> Result<(), Error> {
        let config = self.config.clone();
        if anew && config.pidfile.is_none() {
            return Ok(());
        }
        self.put_pidfile(&config, anew)?
    }

    /// Has the holder write it, and remove the one it had written elsewhere. `Err`: why it cannot, for people.
    fn put_pidfile(&mut self, config: &Config, anew: bool) -> Result<Result<(), Error>, Error> {
        let of_supervisord = config.habits == Habits::Supervisord;
        let path = match &config.pidfile {
            None => String::new(),
            Some(path) => {
                if of_supervisord && anew {
                    // Whoever it names: the sockets have decided that there is nobody else.
                    let _ = std::fs::remove_file(path);
                }
                match make_folder(path).and_then(|()| text(path)) {
                    Ok(path) => path,
                    Err(err) => return Ok(Err(err)),
                }
            }
        };
        let written = self.link.call(|ticket| Order::Pidfile { ticket, path })?;
        Ok(match written {
            Err(failure) if of_supervisord => {
                tracing::error!(critical = true, "could not write pidfile: {}", failure.text);
                Ok(())
            }
            written => written
                .map(drop)
                .map_err(|failure| Error::Refused { failure }),
        })
    }

    /// The control socket, held by the holder like any other, so that clients wait a moment while brains change.
    pub(super) fn control_socket(&mut self, table: &mut Table) -> Result<Option<Door>, Error> {
        let mut held = std::mem::take(&mut table.control);
        let path = self.config.control.clone();
        let found = path.as_deref().and_then(|path| {
            let moved = held.remove_entry(&moved_key(path));
            moved.or_else(|| held.remove_entry(CONTROL_KEY))
        });
        // An earlier brain may have died while it moved.
        let unnamed = held.into_keys().map(|key| Order::Release { key });
        self.link.send(&unnamed.collect::<Vec<_>>())?;
        match (found, path) {
            (Some((key, fd)), _) => Ok(Some(Door { key, fd })),
            (None, None) => Ok(None),
            (None, Some(path)) => {
                let bound = self.bind_control(CONTROL_KEY.to_owned(), &path)?;
                bound.map(Some)
            }
        }
    }

    fn bind_control(&mut self, key: String, path: &Path) -> Result<Result<Door, Error>, Error> {
        let address = match make_folder(path).and_then(|()| text(path)) {
            Ok(path) => format!("unix:{path}"),
            Err(err) => return Ok(Err(err)),
        };
        let bind = BindOrder {
            address,
            mode: trine_control::socket::MODE,
            owner: None,
            backlog: CONTROL_BACKLOG,
            blocking: false,
        };
        let bound = self.link.call(|ticket| Order::Bind {
            ticket,
            key: key.clone(),
            bind,
            give: true,
        })?;
        let fd = match bound {
            Ok((_, fds)) => fds.into_iter().next(),
            Err(failure) => return Ok(Err(Error::Refused { failure })),
        };
        let fd = fd.ok_or(Error::Protocol(WireError::Descriptors))?;
        Ok(Ok(Door { key, fd }))
    }

    /// From now on the control socket answers.
    pub(super) fn open_control(&mut self, door: Option<Door>) -> Result<(), Error> {
        let (Some(Door { key, fd }), Some(handle)) = (door, self.servers.handle.clone()) else {
            return Ok(());
        };
        let addr = trine_sys::net::local_addr(&fd).map_err(|source| Error::Brain {
            doing: "use the control socket",
            source,
        })?;
        let listener = Listener {
            fd,
            addr,
            origin: Origin::Inherited,
            file: None,
        };
        let rpc = Rpc::new(handle.clone(), self.config.has_main_interface());
        let hub = self.hub.clone();
        let site = Site::new(handle.clone(), rpc, hub.clone());
        let service = Arc::new(Control { handle, hub, site });
        let stop = CancellationToken::new();
        let serving = server::serve(listener, service, stop.clone());
        self.servers.tasks.spawn(serving);
        self.servers.control = Some(OpenDoor { key, stop });
        Ok(())
    }

    /// Does what may fail when another configuration says where we are found: all or nothing. The problems, a line
    /// each.
    pub(super) fn prepare_move(
        &mut self,
        config: &Config,
    ) -> Result<Result<Prepared, Vec<String>>, Error> {
        let mut problems = Vec::new();
        let log = Opened::new(config);
        let log = log.map_err(|err| problems.push(format!("log: {}", chain(&err))));
        let mut door = None;
        if let Some(path) = config.control.as_deref().filter(|_| self.moves(config)) {
            match self.bind_control(moved_key(path), path)? {
                Ok(bound) => door = Some(bound),
                Err(err) => problems.push(format!("control: {}", chain(&err))),
            }
        }
        // Last, as it cannot be taken back.
        if problems.is_empty()
            && config.pidfile != self.config.pidfile
            && let Err(err) = self.put_pidfile(config, true)?
        {
            problems.push(format!("pidfile: {}", chain(&err)));
        }
        match log {
            Ok(log) if problems.is_empty() => Ok(Ok(Prepared { log, door })),
            _ => {
                let taken = door
                    .into_iter()
                    .map(|Door { key, .. }| Order::Release { key });
                self.link.send(&taken.collect::<Vec<_>>())?;
                Ok(Err(problems))
            }
        }
    }

    /// From now on we are found where the configuration in force says, and no longer where `old` said.
    pub(super) fn move_to(&mut self, prepared: Prepared, old: &Config) -> Result<(), Error> {
        self.log.go_on_in(prepared.log);
        if !self.moves(old) {
            return Ok(());
        }
        if let Some(OpenDoor { key, stop }) = self.servers.control.take() {
            stop.cancel(); // an answer that is under way is given
            self.link.send(&[Order::Release { key }])?;
        }
        self.open_control(prepared.door)
    }

    fn moves(&self, other: &Config) -> bool {
        self.config.control != other.control
    }
}

fn moved_key(path: &Path) -> String {
    format!("{CONTROL_KEY}/{}", path.display())
}

pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
        path: folder.to_owned(),
        source,
    })
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Path {
        path: path.to_owned(),
    })
}
