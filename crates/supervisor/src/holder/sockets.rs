//! Listening sockets the holder keeps by key, from the brain's order to bind until its order to let go.
//! Not here: which program gets which.

use super::wire::{BindOrder, Failure, Report};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use trine_config::ListenAddr;
use trine_service::listeners::{self, BindOptions, Inherited, Listener};

#[derive(Debug)]
pub struct Sockets {
    held: BTreeMap<String, Held>,
    /// Handed down to us; an order may ask for one of them.
    inherited: Inherited,
}

#[derive(Debug)]
struct Held {
    listener: Listener,
    /// The brain's own copy, made when it asked for one.
    copy: Option<Rc<OwnedFd>>,
}

impl Sockets {
    #[must_use]
    pub fn new(inherited: Inherited) -> Self {
        Self {
            held: BTreeMap::new(),
            inherited,
        }
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<BorrowedFd<'_>> {
        self.held.get(key).map(|held| held.listener.as_fd())
    }

    pub fn release(&mut self, key: &str) {
        self.held.remove(key);
    }

    /// Binds, unless `key` is held already. Gives the actual address, and a copy for the brain if it wants one.
    pub fn bind(
        &mut self,
        key: String,
        order: &BindOrder,
        give: bool,
    ) -> Result<(String, Vec<Rc<OwnedFd>>), Failure> {
        let held = match self.held.entry(key) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(Held {
                listener: listen(order, &mut self.inherited)?,
                copy: None,
            }),
        };
        if give && held.copy.is_none() {
            let copy = held.listener.as_fd().try_clone_to_owned();
            held.copy = Some(Rc::new(copy.map_err(|err| Failure::of("dup", &err))?));
        }
        let fds = held.copy.iter().filter(|_| give).cloned().collect();
        Ok((held.listener.addr.to_string(), fds))
    }

    /// One report for each, for a new brain.
    pub fn tell(&self) -> impl Iterator<Item = (Report, Vec<Rc<OwnedFd>>)> {
        self.held.iter().map(|(key, held)| {
            let report = Report::Socket {
                key: key.clone(),
                address: held.listener.addr.to_string(),
                given: held.copy.is_some(),
            };
            (report, held.copy.iter().cloned().collect())
        })
    }
}

fn listen(order: &BindOrder, inherited: &mut Inherited) -> Result<Listener, Failure> {
    let address: ListenAddr = order.address.parse().map_err(|err| Failure {
        step: "bind".into(),
        errno: None,
        text: format!("{}: {err}", order.address),
    })?;
    let options = BindOptions {
        backlog: order.backlog,
        unix_mode: order.mode,
        reuse_port: false,
    };
    let listener = listeners::bind(&address, &options, inherited).map_err(|err| {
        let source =
            std::error::Error::source(&err).and_then(|err| err.downcast_ref::<io::Error>());
        Failure {
            step: "bind".into(),
            errno: source.and_then(io::Error::raw_os_error),
            text: trine_service::exit::chain(&err),
        }
    })?;
    if let (Some((uid, gid)), ListenAddr::Unix(path)) = (order.owner, &address) {
        // Until now it was ours alone or had the mode of the order, never more.
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|err| Failure {
            text: format!("cannot give {} away: {err}", path.display()),
            ..Failure::of("bind", &err)
        })?;
    }
    trine_sys::fdpass::set_nonblocking(listener.as_fd(), !order.blocking)
        .map_err(|err| Failure::of("bind", &err))?;
    Ok(listener)
}
