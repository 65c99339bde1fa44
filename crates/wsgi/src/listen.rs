//! The sockets to accept on: made, or handed down.
//!
//! Not here: what an address means (`config`), accepting.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use trine_config::ListenAddr;
use trine_service::listeners::{BindOptions, Inherited, Listener, Origin, bind, inherited};
use trine_sys::fdpass::set_nonblocking;
use trine_sys::net::local_addr;

use crate::config::Settings;
use crate::error::Error;

/// gunicorn's default address.
const DEFAULT_BIND: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);
/// How often an address is tried before it is given up, and the time in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The sockets to accept on: those of the settings, each taken over if it was handed down. Sockets that were handed
/// down and fit none of the settings are used instead of them, as gunicorn does.
pub(crate) fn listeners(settings: &Settings) -> Result<Vec<Listener>, Error> {
    let mut handed = inherited()?;
    let mut addresses = settings.bind.clone();
    let mut found: Vec<Listener> = Vec::new();
    let before = handed.iter().count();
    let taken: Vec<Option<_>> = addresses.iter().map(|addr| handed.take(addr)).collect();
    let named = addresses
        .iter()
        .any(|addr| matches!(addr, ListenAddr::Fd(_) | ListenAddr::FdNumber(_)));
    if before > 0 && !named && taken.iter().all(Option::is_none) {
        return handed
            .take_all()
            .into_iter()
            .map(|one| inherited_listener(one.fd))
            .collect();
    }
    if addresses.is_empty() {
        addresses.push(ListenAddr::Tcp(DEFAULT_BIND.into()));
    }
    let options = BindOptions {
        backlog: settings.backlog,
        unix_mode: 0o777 & !settings.umask,
        reuse_port: settings.reuse_port,
    };
    let mut taken = taken.into_iter();
    for addr in &addresses {
        found.push(match taken.next().flatten() {
            Some(fd) => inherited_listener(fd)?,
            None => bind_patiently(addr, &options)?,
        });
    }
    Ok(found)
}

/// Tries as often as gunicorn does, and complains in its words: a predecessor may be about to let go.
fn bind_patiently(addr: &ListenAddr, options: &BindOptions) -> Result<Listener, Error> {
    let named = match addr {
        ListenAddr::Tcp(addr) => format!("('{}', {})", addr.ip(), addr.port()),
        ListenAddr::Unix(path) => path.display().to_string(),
        named => named.to_string(),
    };
    for attempt in 1..=ATTEMPTS {
        let source = match bind(addr, options, &mut Inherited::default()) {
            Err(trine_service::Error::Listen { source, .. }) => source,
            other => return Ok(other?),
        };
        match source.kind() {
            ErrorKind::AddrInUse => tracing::error!("Connection in use: {named}"),
            ErrorKind::AddrNotAvailable => tracing::error!("Invalid address: {named}"),
            _ => {}
        }
        let why = match source.raw_os_error() {
            Some(number) => format!("[Errno {number}] {}", Errno::from_raw(number).desc()),
            None => source.to_string(),
        };
        tracing::error!("connection to {named} failed: {why}");
        if attempt < ATTEMPTS {
            tracing::debug!("Retrying in 1 second.");
            thread::sleep(PAUSE);
        }
    }
    tracing::error!("Can't connect to {named}");
    Err(Error::Bind)
}

fn inherited_listener(fd: std::os::fd::OwnedFd) -> Result<Listener, Error> {
    // systemd and others hand down blocking sockets; two workers wake for one connection, and one must come back.
    set_nonblocking(&fd, true).map_err(Error::Arbiter)?;
    let addr = local_addr(&fd).map_err(Error::Arbiter)?;
    Ok(Listener {
        fd,
        addr,
        origin: Origin::Inherited,
        file: None,
    })
}
