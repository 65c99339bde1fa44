//! Addresses in gunicorn's notation, and the sockets they stand for.
//!
//! `HOST`, `HOST:PORT`, `[V6]:PORT`, `tcp://…`, `unix:PATH`, `fd://N`; and ours beside them: `fd:NAME`, `:PORT`, `PORT`.
//! Not here: binding.

use std::net::{SocketAddr, ToSocketAddrs as _};

use trine_config::ListenAddr;

use super::value::quoted;

/// An address as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Host(String, u16),
    Path(String),
    Descriptor(i32),
}

/// Takes an address apart as gunicorn does.
///
/// # Errors
/// gunicorn's sentence.
pub(crate) fn parse(text: &str, default_port: &str) -> Result<Given, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Given::Path(
            path.strip_prefix("//").unwrap_or(path).to_owned(),
        ));
    }
    if let Some(number) = text.strip_prefix("fd://") {
        let number = number.trim().parse();
        return number
            .map(Given::Descriptor)
            .map_err(|_| format!("{} is not a valid file descriptor.", quoted(&text[5..])));
    }
    let text = text.strip_prefix("tcp://").unwrap_or(text);
    let (host, port) = if text.contains('[') && text.contains(']') {
        let host = text.split(']').next().unwrap_or_default();
        let port = text.split_once("]:").map_or(default_port, |(_, port)| port);
        (host.get(1..).unwrap_or_default(), port)
    } else if let Some((host, rest)) = text.split_once(':') {
        (host, rest.split(':').next().unwrap_or_default())
    } else if text.is_empty() {
        ("0.0.0.0", default_port)
    } else {
        (text, default_port)
    };
    let number = super::validate::integer(port, 10).and_then(|port| u16::try_from(port).ok());
    match number {
        Some(port) => Ok(Given::Host(host.to_lowercase(), port)),
        None => Err(format!("{} is not a valid port number.", quoted(port))),
    }
}

/// What to listen on. A name is looked up, IPv4 first, as gunicorn binds it.
///
/// # Errors
/// One sentence.
pub(crate) fn listen(text: &str) -> Result<ListenAddr, String> {
    let text = text.trim();
    let named = text
        .strip_prefix("fd:")
        .is_some_and(|name| !name.starts_with("//"));
    let port_alone = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if named || port_alone || text.starts_with(':') {
        return text
            .parse()
            .map_err(|error: trine_config::Invalid| error.to_string());
    }
    match parse(text, "8000")? {
        Given::Path(path) if path.is_empty() || path.ends_with('/') || path[1..].contains('\0') => {
            Err(format!("{} is not a valid path of a socket.", quoted(text)))
        }
        Given::Path(path) => Ok(ListenAddr::Unix(path.into())),
        Given::Descriptor(number) if number < 0 => Err(format!(
            "{} is not a valid file descriptor.",
            quoted(&number.to_string())
        )),
        Given::Descriptor(number) => Ok(ListenAddr::FdNumber(number)),
        Given::Host(host, port) => resolve(&host, port).map(ListenAddr::Tcp),
    }
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let host = if host == "*" { "0.0.0.0" } else { host };
    let found = (host, port).to_socket_addrs().map_err(|error| {
        format!(
            "{} is not an address, and no host of that name is known: {error}",
            quoted(host)
        )
    })?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| format!("the host {} has no address", quoted(host)))
}
