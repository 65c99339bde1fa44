//! What supervisord.conf needs of this machine: users, groups, folders, host names. supervisord refuses a file that
//! names what is not there, so it is looked up while the file is read, and told with the line.
//! Not here: becoming anybody, or making folders.

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use trine_config::ListenAddr;
use trine_sys::privileges;

/// A user who exists, by name or number.
pub(super) fn user(text: &str) -> Result<String, String> {
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    match privileges::find_user(user) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(format!("there is no user {user:?}")),
        Err(err) => return Err(format!("user {user:?} cannot be looked up: {err}")),
    }
    match group.map(privileges::find_group) {
        None | Some(Ok(Some(_))) => Ok(text.to_owned()),
        Some(Ok(None)) => Err(format!("there is no group {:?}", group.unwrap_or_default())),
        Some(Err(err)) => Err(format!("the group of {text:?} cannot be looked up: {err}")),
    }
}

/// `user` or `user:group`.
pub(super) fn owner(text: &str) -> Result<String, String> {
    user(text)
}

pub(super) fn folder(base: &Path, text: &str) -> Result<PathBuf, String> {
    let path = super::values::path(base, text);
    if path.is_dir() {
        Ok(path)
    } else {
        Err(format!("{} is no folder", path.display()))
    }
}

/// `host:port` as an address to listen on.
pub(super) fn resolve(text: &str) -> Result<String, String> {
    let expected = || format!("expected tcp://HOST:PORT, found {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(expected());
    }
    if let Ok(address @ ListenAddr::Tcp(_)) = text.parse::<ListenAddr>() {
        return Ok(address.to_string());
    }
    let found = text
        .to_socket_addrs()
        .map_err(|err| format!("{host:?} cannot be looked up: {err}"))?;
    let mut all: Vec<_> = found.collect();
    all.sort_by_key(std::net::SocketAddr::is_ipv6);
    all.first().map(ToString::to_string).ok_or_else(expected)
}
