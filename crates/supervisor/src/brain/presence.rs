//! Where others find the supervisor itself: its control socket and its pid file.
//! Not here: HTTP servers of the configuration (`servers`), what the control socket answers (`control`).

use super::supervisor::Supervisor;
use super::table::Table;
use crate::config::Habits;
use crate::error::Error;
use crate::holder::wire::{BindOrder, Order, WireError};
use std::path::Path;
use trine_service::listeners::{Listener, Origin};

/// Of the holder's keys.
pub(super) const CONTROL_KEY: &str = "control";
const CONTROL_BACKLOG: u32 = 128;

impl Supervisor {
    pub(super) fn write_pidfile(&mut self, is_first: bool) -> Result<(), Error> {
        let Some(path) = self.config.pidfile.clone() else {
            return Ok(());
        };
        let of_supervisord = self.config.habits == Habits::Supervisord;
        if of_supervisord && is_first {
            // Whoever it names: the sockets have decided that there is nobody else.
            let _ = std::fs::remove_file(&path);
        }
        make_folder(&path)?;
        let path = text(&path)?;
        let written = self.link.call(|ticket| Order::Pidfile { ticket, path })?;
        match written {
            Err(failure) if of_supervisord => {
                tracing::error!(critical = true, "could not write pidfile: {}", failure.text);
                Ok(())
            }
            written => written
                .map(drop)
                .map_err(|failure| Error::Refused { failure }),
        }
    }

    /// The control socket, held by the holder like any other, so that clients wait a moment while brains change.
    pub(super) fn control_socket(&mut self, table: &mut Table) -> Result<Option<Listener>, Error> {
        let Some(path) = self.config.control.clone() else {
            return Ok(None);
        };
        let fd = match table.control.take() {
            Some(fd) => fd,
            None => {
                make_folder(&path)?;
                let bind = BindOrder {
                    address: format!("unix:{}", text(&path)?),
                    mode: trine_control::socket::MODE,
                    owner: None,
                    backlog: CONTROL_BACKLOG,
                    blocking: false,
                };
                let key = CONTROL_KEY.to_owned();
                let bound = self.link.call(|ticket| Order::Bind {
                    ticket,
                    key,
                    bind,
                    give: true,
                })?;
                let (_, fds) = bound.map_err(|failure| Error::Refused { failure })?;
                fds.into_iter()
                    .next()
                    .ok_or(Error::Protocol(WireError::Descriptors))?
            }
        };
        let addr = trine_sys::net::local_addr(&fd).map_err(|source| Error::Brain {
            doing: "use the control socket",
            source,
        })?;
        Ok(Some(Listener {
            fd,
            addr,
            origin: Origin::Inherited,
            file: None,
        }))
    }
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
