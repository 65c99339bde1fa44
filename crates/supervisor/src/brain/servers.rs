//! The HTTP servers of the configuration: their sockets are bound by the holder, so that clients wait a moment while
//! brains change; who answers on them changes with the configuration.
//! Not here: answering (`http`), or sockets of programs (`sockets`).

use super::ask::Handle;
use super::http::{self, Guard, ServerSocket, Site};
use super::presence::OpenDoor;
use super::rpc::Rpc;
use super::start;
use super::supervisor::Supervisor;
use crate::config::{Config, HttpServer};
use crate::error::Error;
use crate::holder::wire::{BindOrder, Failure, Order, WireError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Of the holder's keys.
pub(super) const SERVER_PREFIX: &str = "server/";
const BACKLOG: u32 = 128;

/// Those that answer.
#[derive(Debug, Default)]
pub struct Servers {
    /// `None` until the brain has taken over.
    pub(super) handle: Option<Handle>,
    /// The control socket.
    pub(super) control: Option<OpenDoor>,
    /// By the holder's keys.
    open: BTreeMap<String, Open>,
    /// Whether those have the methods of supervisord.
    has_main_interface: bool,
    pub(super) tasks: JoinSet<io::Result<()>>,
}

#[derive(Debug)]
struct Open {
    server: HttpServer,
    stop: CancellationToken,
}

impl Servers {
    /// Ends them all and waits for answers under way.
    pub(super) async fn end(&mut self) {
        self.open.values().for_each(|open| open.stop.cancel());
        self.control.iter().for_each(|open| open.stop.cancel());
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Supervisor {
    /// At the beginning, before anything is started: has the holder bind what it does not hold yet. `held`: what an
    /// earlier brain had bound.
    pub(super) fn bind_first_servers(
        &mut self,
        held: &BTreeSet<String>,
        is_first: bool,
    ) -> Result<(), Error> {
        let servers = self.config.servers.clone();
        let keys: BTreeSet<String> = servers.iter().map(key).collect();
        if let Some(problems) = collision(&servers) {
            return Err(Error::Sockets { problems });
        }
        for server in servers.iter().filter(|server| !held.contains(&key(server))) {
            match self.bind_server(server)? {
                Ok(_) => {}
                Err(problem) if is_first => return Err(Error::Sockets { problems: problem }),
                // The brain before us died between two servers: no reason to leave the programs alone.
                Err(problem) => tracing::error!("{problem}"),
            }
        }
        self.release_servers(held.difference(&keys).cloned())
    }

    /// From now on the servers answer.
    pub(super) fn open_servers(&mut self, handle: Handle) -> Result<(), Error> {
        self.servers.handle = Some(handle);
        self.match_servers()
    }

    /// What may fail of [`Self::match_servers`] before anything else is changed: binds addresses that are new. All or
    /// none; the problems, a line each.
    pub(super) fn bind_new_servers(&mut self, config: &Config) -> Result<Vec<String>, Error> {
        if let Some(problem) = collision(&config.servers) {
            return Ok(vec![problem]);
        }
        let mut problems = Vec::new();
        for server in &config.servers {
            if self.servers.open.contains_key(&key(server)) {
                continue;
            }
            if let Err(problem) = self.bind_server(server)? {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            self.release_unopened(config)?;
        }
        Ok(problems)
    }

    /// The reverse of [`Self::bind_new_servers`].
    pub(super) fn release_unopened(&mut self, config: &Config) -> Result<(), Error> {
        let keys = config.servers.iter().map(key);
        let unopened: Vec<String> = keys
            .filter(|key| !self.servers.open.contains_key(key))
            .collect();
        self.release_servers(unopened.into_iter())
    }

    /// Makes those that answer the ones that the configuration in force names. Who asks one that is to go gets the answer
    /// that is under way.
    pub(super) fn match_servers(&mut self) -> Result<(), Error> {
        let Some(handle) = self.servers.handle.clone() else {
            return Ok(());
        };
        let wanted = self.config.servers.clone();
        let has_main = self.config.has_main_interface();
        let answer_alike =
            std::mem::replace(&mut self.servers.has_main_interface, has_main) == has_main;
        let is_wanted = |open: &Open| answer_alike && wanted.contains(&open.server);
        let mut unnamed = Vec::new();
        let open = std::mem::take(&mut self.servers.open);
        for (key, open) in open {
            if is_wanted(&open) {
                self.servers.open.insert(key, open);
                continue;
            }
            open.stop.cancel();
            let stays = |server: &HttpServer| is_same_socket(server, &open.server);
            if !wanted.iter().any(stays) {
                unnamed.push(key);
            }
        }
        self.release_servers(unnamed.into_iter())?;
        let rpc = Rpc::new(handle.clone(), has_main);
        let site = Site::new(handle, rpc, self.hub.clone());
        for server in wanted {
            if self.servers.open.contains_key(&key(&server)) {
                continue;
            }
            match self.bind_server(&server)? {
                Ok(fd) => self.open_server(server, fd, &site),
                Err(problem) => tracing::error!("{problem}"),
            }
        }
        Ok(())
    }

    fn open_server(&mut self, server: HttpServer, fd: OwnedFd, site: &Site) {
        if server.credentials.is_none() && !server.is_unix() {
            tracing::warn!(
                "the server on {} lets everybody do everything: it has no username and password",
                server.address
            );
        }
        let socket = ServerSocket {
            fd,
            is_unix: server.is_unix(),
            guard: Guard::new(server.credentials.clone()),
        };
        let site = site.with_actions_by_get(server.get_actions);
        let stop = CancellationToken::new();
        while self.servers.tasks.try_join_next().is_some() {} // those that have ended meanwhile
        self.servers
            .tasks
            .spawn(http::serve(socket, site, stop.clone()));
        let open = Open { server, stop };
        self.servers.open.insert(key(&open.server), open);
    }

    /// Has the holder bind it, unless it holds it already, and gives our copy. `Err`: why it cannot be, for people.
    fn bind_server(&mut self, server: &HttpServer) -> Result<Result<OwnedFd, String>, Error> {
        let refused = |what: String| format!("{}: {what}", server.name);
        let owner = server.owner.as_deref().map(start::identity).transpose();
        let (owner, address) = match (owner, address(&server.address)) {
            (Ok(owner), Ok(address)) => (owner.map(|who| (who.uid, who.gid)), address),
            (Err(what), _) | (_, Err(what)) => return Ok(Err(refused(what))),
        };
        let bind = BindOrder {
            address,
            mode: server.mode,
            owner,
            backlog: BACKLOG,
            blocking: false,
        };
        let key = key(server);
        let bound = self.link.call(|ticket| Order::Bind {
            ticket,
            key,
            bind,
            give: true,
        })?;
        let fds = match bound {
            Ok((_, fds)) => fds,
            Err(Failure { text, .. }) => return Ok(Err(refused(text))),
        };
        let fd = fds.into_iter().next();
        fd.map(Ok).ok_or(Error::Protocol(WireError::Descriptors))
    }

    fn release_servers(&mut self, keys: impl Iterator<Item = String>) -> Result<(), Error> {
        let orders: Vec<Order> = keys.map(|key| Order::Release { key }).collect();
        self.link.send(&orders)
    }
}

/// Whatever its name, so that a server that is only called otherwise stays bound.
fn key(server: &HttpServer) -> String {
    format!("{SERVER_PREFIX}{}", server.address)
}

/// Servers that would be in each other's way, for people.
fn collision(servers: &[HttpServer]) -> Option<String> {
    let mut seen = BTreeMap::new();
    servers.iter().find_map(|server| {
        let other = seen.insert(key(server), &server.name)?;
        let (name, address) = (&server.name, &server.address);
        Some(format!("{name}: {address} is taken by {other} already"))
    })
}

/// Whether what is bound for one can go on for the other.
fn is_same_socket(one: &HttpServer, other: &HttpServer) -> bool {
    key(one) == key(other) && (one.mode, &one.owner) == (other.mode, &other.owner)
}

/// A host's name is looked up; everything else is as the holder wants it already.
fn address(text: &str) -> Result<String, String> {
    if text.parse::<trine_config::ListenAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let found = text
        .to_socket_addrs()
        .map_err(|err| format!("cannot look up {text}: {err}"))?;
    let found: Vec<_> = found.collect();
    // IPv4 first, as supervisord knows nothing else.
    let chosen = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    chosen
        .map(ToString::to_string)
        .ok_or_else(|| format!("{text} has no address"))
}
