//! The sockets to accept on: handed down by a supervisor or by the arbiter before us, or bound here; again on reload.
//!
//! Not here: who accepts on them (`worker`).

use std::env;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::rc::Rc;

use trine_config::ListenAddr;
use trine_service::listeners::{
    BindOptions, Inherited, Listener, Origin, SocketFile, bind, inherited,
};
use trine_sys::fdpass::{adopt, set_nonblocking};
use trine_sys::net::{SockAddr, local_addr};

use crate::config::Settings;
use crate::error::Error;
use crate::listen::bind_patiently;

/// gunicorn's default address.
const DEFAULT_BIND: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);
/// Descriptors that the arbiter before us has left open, as `5,6`: gunicorn's variable.
const HANDED: &str = "GUNICORN_FD";

/// The sockets of the settings at start. Each is taken over if it was handed down. Sockets that were handed down and
/// fit none of the settings are used instead of them, as gunicorn does.
pub(super) fn open(settings: &Settings) -> Result<Vec<Rc<Listener>>, Error> {
    if settings.reuse_port {
        // Tried, so that a problem is told now.
        for addr in &wanted(settings) {
            bind_patiently(addr, &options(settings))?;
        }
        return Ok(Vec::new());
    }
    let mut before = from_predecessor()?;
    let mut handed = inherited()?;
    let wanted = wanted(settings);
    let named = |addr: &ListenAddr| matches!(addr, ListenAddr::Fd(_) | ListenAddr::FdNumber(_));
    let mut taken: Vec<Option<Listener>> = Vec::new();
    for addr in &wanted {
        let own = before.iter().position(|listener| is_at(listener, addr));
        taken.push(match (own, handed.take(addr)) {
            (Some(index), _) => Some(before.remove(index)),
            (None, Some(fd)) => Some(taken_over(fd, Origin::Inherited)?),
            (None, None) => None,
        });
    }
    let fits_none = taken.iter().all(Option::is_none) && !wanted.iter().any(named);
    if fits_none && (!before.is_empty() || !handed.is_empty()) {
        let others = handed.take_all().into_iter();
        let others: Result<Vec<_>, Error> = others
            .map(|one| taken_over(one.fd, Origin::Inherited))
            .collect();
        return Ok(before.into_iter().chain(others?).map(Rc::new).collect());
    }
    let mut found = Vec::new();
    for (addr, taken) in wanted.iter().zip(taken) {
        found.push(Rc::new(match taken {
            Some(listener) => listener,
            None => given(bind_patiently(addr, &options(settings))?, settings),
        }));
    }
    Ok(found)
}

/// With `reuse_port` the arbiter holds none, or connections would wait for it.
pub(super) fn each_workers_own(settings: &Settings) -> Result<Vec<Rc<Listener>>, Error> {
    wanted(settings)
        .iter()
        .map(|addr| make(addr, settings).map(Rc::new))
        .collect()
}

/// The sockets of a reload: those that are there already stay the same ones, the others are bound now. If one cannot
/// be, nothing has changed.
pub(super) fn reopen(
    settings: &Settings,
    in_force: &Settings,
    now: &[Rc<Listener>],
) -> Result<Vec<Rc<Listener>>, Error> {
    if settings.bind == in_force.bind {
        return Ok(now.to_vec());
    }
    let old = wanted(in_force);
    let mut found = Vec::new();
    for addr in &wanted(settings) {
        // By what was written first: port 0 is another one each time.
        let by_place = old
            .iter()
            .position(|one| one == addr)
            .and_then(|place| now.get(place));
        let there = by_place.or_else(|| now.iter().find(|listener| is_at(listener, addr)));
        found.push(match there {
            Some(listener) => Rc::clone(listener),
            None => Rc::new(make(addr, settings)?),
        });
    }
    Ok(found)
}

fn wanted(settings: &Settings) -> Vec<ListenAddr> {
    if settings.bind.is_empty() {
        vec![ListenAddr::Tcp(DEFAULT_BIND.into())]
    } else {
        settings.bind.clone()
    }
}

fn make(addr: &ListenAddr, settings: &Settings) -> Result<Listener, Error> {
    let listener = bind(addr, &options(settings), &mut Inherited::default())?;
    Ok(given(listener, settings))
}

pub(super) fn options(settings: &Settings) -> BindOptions {
    BindOptions {
        backlog: settings.backlog,
        unix_mode: 0o777 & !settings.umask,
        reuse_port: settings.reuse_port,
    }
}

/// The file of a Unix socket becomes the workers' user's, as with gunicorn. Only root can do that; for all others they
/// are the same.
pub(super) fn given(listener: Listener, settings: &Settings) -> Listener {
    if let SockAddr::Unix(path) = &listener.addr {
        let _ = chown(path, Some(settings.user), Some(settings.group));
    }
    listener
}

fn is_at(listener: &Listener, addr: &ListenAddr) -> bool {
    match (&listener.addr, addr) {
        (SockAddr::Tcp(ours), ListenAddr::Tcp(wanted)) => ours == wanted,
        (SockAddr::Unix(ours), ListenAddr::Unix(wanted)) => ours == wanted,
        _ => false,
    }
}

/// What the arbiter before us left open. They are our own: once it is gone, we remove their files at the end.
fn from_predecessor() -> Result<Vec<Listener>, Error> {
    let Ok(numbers) = env::var(HANDED) else {
        return Ok(Vec::new());
    };
    let numbers = numbers
        .split(',')
        .filter_map(|number| number.trim().parse().ok());
    numbers
        .map(|number| taken_over(adopt(number).map_err(Error::Arbiter)?, Origin::Own))
        .collect()
}

fn taken_over(fd: OwnedFd, origin: Origin) -> Result<Listener, Error> {
    // systemd and others hand down blocking sockets; two workers wake for one connection, and one must come back.
    set_nonblocking(&fd, true).map_err(Error::Arbiter)?;
    let addr = local_addr(&fd).map_err(Error::Arbiter)?;
    Ok(Listener {
        fd,
        addr,
        origin,
        file: None,
    })
}

/// The files of our own Unix sockets that nobody looks after: we do from now on.
pub(super) fn claim_files(listeners: &mut [Rc<Listener>]) {
    for listener in listeners {
        let SockAddr::Unix(path) = listener.addr.clone() else {
            continue;
        };
        if listener.origin == Origin::Inherited || listener.file.is_some() {
            continue;
        }
        // Alone in the hands of the arbiter, so it can be changed.
        if let Some(listener) = Rc::get_mut(listener) {
            listener.file = SocketFile::claim(&path).ok();
        }
    }
}

/// Leaves the files of our sockets to the arbiter after us.
pub(super) fn leave_files(listeners: &mut [Rc<Listener>]) {
    for listener in listeners.iter_mut().filter_map(Rc::get_mut) {
        if let Some(file) = listener.file.take() {
            file.leave();
        }
    }
}
