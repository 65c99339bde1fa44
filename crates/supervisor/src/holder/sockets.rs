//! Listening sockets the holder keeps by key, from the brain's order to bind until its order to let go.
//! Not here: which program gets which.

use super::kept::{Keeper, KeptSocket, Unpacking};
use super::wire::{BindOrder, Failure, Report};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use trine_config::ListenAddr;
use trine_service::listeners::{self, BindOptions, Inherited, Listener, Origin, SocketFile};
use trine_sys::epoll::{Epoll, Event, Interest};

#[derive(Debug)]
pub struct Sockets {
    held: BTreeMap<String, Held>,
    /// Handed down to us; an order may ask for one of them.
    inherited: Inherited,
    /// Readable once when somebody connects to a socket that the brain serves.
    door: Epoll,
}

#[derive(Debug)]
struct Held {
    listener: Listener,
    /// The brain's own copy, made when it asked for one.
    copy: Option<Rc<OwnedFd>>,
}

impl Sockets {
    pub fn new(inherited: Inherited) -> io::Result<Self> {
        Ok(Self {
            held: BTreeMap::new(),
            inherited,
            door: Epoll::new()?,
        })
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<BorrowedFd<'_>> {
        self.held.get(key).map(|held| held.listener.as_fd())
    }

    pub fn release(&mut self, key: &str) {
        if let Some(Held { listener, copy }) = self.held.remove(key)
            && copy.is_some()
        {
            // The brain may have its copy open still, which would keep it in the epoll.
            let _ = self.door.delete(&listener);
        }
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
        if give {
            held.give(&self.door)
                .map_err(|err| Failure::of("dup", &err))?;
        }
        let fds = held.copy.iter().filter(|_| give).cloned().collect();
        Ok((held.listener.addr.to_string(), fds))
    }

    /// What to wait at for somebody who wants to talk to the brain.
    #[must_use]
    pub fn door(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }

    /// Takes note of those who knocked.
    pub fn answer_door(&self) {
        let mut events = [Event::EMPTY; 8];
        while matches!(self.door.wait(&mut events, 0), Ok(8)) {}
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

    /// Writes down what another program in our place needs.
    pub fn pack(&mut self, keeper: &mut Keeper) -> io::Result<Vec<KeptSocket>> {
        let mut all = Vec::new();
        for (key, held) in &self.held {
            let file = &held.listener.file;
            let file = file.as_ref().map(|file| {
                let lock = keeper.keep(file.lock())?;
                Ok::<_, io::Error>((file.path().to_owned(), lock))
            });
            all.push(KeptSocket {
                key: key.clone(),
                fd: keeper.keep(&held.listener)?,
                own: held.listener.origin == Origin::Own,
                file: file.transpose()?,
                given: held.copy.is_some(),
            });
        }
        Ok(all)
    }

    pub fn pack_inherited(&mut self, keeper: &mut Keeper) -> io::Result<Vec<(String, i32, i32)>> {
        let left = self.inherited.iter();
        left.map(|one| Ok((one.name.clone(), one.number, keeper.keep(&one.fd)?)))
            .collect()
    }

    /// The reverse of [`Self::pack`].
    pub fn unpack(&mut self, kept: Vec<KeptSocket>, fds: &mut Unpacking) -> io::Result<()> {
        for one in kept {
            let fd = fds.take(one.fd)?;
            let addr = trine_sys::net::local_addr(&fd)?;
            let file = one
                .file
                .map(|(path, lock)| Ok::<_, io::Error>(SocketFile::again(path, fds.take(lock)?)));
            let origin = if one.own {
                Origin::Own
            } else {
                Origin::Inherited
            };
            let mut held = Held {
                listener: Listener {
                    fd,
                    addr,
                    origin,
                    file: file.transpose()?,
                },
                copy: None,
            };
            if one.given {
                held.give(&self.door)?;
            }
            self.held.insert(one.key, held);
        }
        Ok(())
    }
}

impl Held {
    fn give(&mut self, door: &Epoll) -> io::Result<()> {
        if self.copy.is_none() {
            let copy = self.listener.as_fd().try_clone_to_owned()?;
            door.add(&self.listener, 0, Interest::EPOLLIN | Interest::EPOLLET)?;
            self.copy = Some(Rc::new(copy));
        }
        Ok(())
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
