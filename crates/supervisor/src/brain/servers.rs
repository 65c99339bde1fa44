//! The sockets of the HTTP servers: bound by the holder, so that clients wait a moment while brains change.
//! Not here: answering on them (`http`), or sockets of programs (`sockets`).

use super::http::{Guard, ServerSocket};
use super::start;
use super::supervisor::Supervisor;
use crate::config::HttpServer;
use crate::error::Error;
use crate::holder::wire::{BindOrder, Order};
use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;

/// Of the holder's keys.
pub(super) const SERVER_PREFIX: &str = "server/";
const BACKLOG: u32 = 128;

impl Supervisor {
    /// All servers of the configuration. `held`: what an earlier brain had bound.
    pub(super) fn http_servers(
        &mut self,
        held: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<Vec<ServerSocket>, Error> {
        let mut sockets = Vec::new();
        for server in self.config.servers.clone() {
            let key = format!("{SERVER_PREFIX}{}", server.name);
            let fd = match held.remove(&key) {
                Some(fd) => fd,
                None => self.bind_server(key, &server)?,
            };
            if server.credentials.is_none() && !server.is_unix() {
                tracing::warn!(
                    "the server on {} lets everybody do everything: it has no username and password",
                    server.address
                );
            }
            sockets.push(ServerSocket {
                fd,
                is_unix: server.is_unix(),
                guard: Guard::new(server.credentials),
                get_actions: server.get_actions,
            });
        }
        Ok(sockets)
    }

    fn bind_server(&mut self, key: String, server: &HttpServer) -> Result<OwnedFd, Error> {
        let refused = |what: String| Error::Sockets {
            problems: format!("{}: {what}", server.name),
        };
        let owner = server.owner.as_deref().map(start::identity).transpose();
        let owner = owner.map_err(refused)?.map(|who| (who.uid, who.gid));
        let bind = BindOrder {
            address: address(&server.address).map_err(refused)?,
            mode: server.mode,
            owner,
            backlog: BACKLOG,
            blocking: false,
        };
        let bound = self.link.call(|ticket| Order::Bind {
            ticket,
            key,
            bind,
            give: true,
        })?;
        let (_, fds) = bound.map_err(|failure| refused(failure.text))?;
        let fd = fds.into_iter().next();
        fd.ok_or(Error::Protocol(crate::holder::wire::WireError::Descriptors))
    }
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
