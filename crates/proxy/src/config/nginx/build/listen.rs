//! `listen`: addresses, and which server is the default of each.
//!
//! Not here: opening sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use trine_config::ListenAddr;

use super::super::tree::Directive;
use super::{Builder, arg};
use crate::config::model::Listen;

const BACKLOG: u32 = 511;
const UNIX_MODE: u32 = 0o666;

/// What stands behind the address.
struct Parameters {
    default: bool,
    backlog: u32,
    tls: bool,
    http2: bool,
    proxy_protocol: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            default: false,
            backlog: BACKLOG,
            tls: false,
            http2: false,
            proxy_protocol: false,
        }
    }
}

impl Builder<'_> {
    pub(super) fn listen(&mut self, directive: &Directive, server: usize) {
        let text = arg(directive, 0);
        let own = self.own.and_then(|_| text.strip_prefix("fd:"));
        let own = own.and_then(|_| text.parse().ok());
        let Some(addr) = own.or_else(|| address(text)) else {
            let message = format!("invalid port in \"{text}\" of the \"listen\" directive");
            let help = "write a port, ADDRESS:PORT or unix:/path";
            self.wrong(directive, message, help);
            return;
        };
        let mut door = Parameters::default();
        for word in directive.args.iter().skip(1) {
            let text = word.text.as_str();
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            match key {
                "default_server" | "default" => door.default = true,
                "backlog" => match value.parse() {
                    Ok(count) => door.backlog = count,
                    Err(_) => self.wrong(directive, format!("invalid backlog \"{value}\""), ""),
                },
                "ssl" => door.tls = true,
                "http2" => door.http2 = true,
                "spdy" | "quic" => {
                    let message = format!("\"{key}\" is not supported");
                    self.wrong(
                        directive,
                        message,
                        "remove it: HTTP/1.1 and HTTP/2 are served",
                    );
                }
                "proxy_protocol" => door.proxy_protocol = true,
                // Each core has its own socket anyway; the others tune what needs no tuning.
                "reuseport" | "deferred" | "bind" | "so_keepalive" | "ipv6only" | "fastopen"
                | "rcvbuf" | "sndbuf" | "setfib" | "accept_filter" | "multipath" => {}
                _ => self.wrong(directive, format!("invalid parameter \"{text}\""), ""),
            }
        }
        self.add_listen(directive, addr, server, &door);
    }

    /// A server without `listen`: port 80, or 8000 for those who may not have it.
    pub(super) fn default_listen(&mut self, directive: &Directive, server: usize) {
        let port = if nix::unistd::geteuid().is_root() {
            80
        } else {
            8000
        };
        let addr = ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
        self.add_listen(directive, addr, server, &Parameters::default());
    }

    fn add_listen(
        &mut self,
        directive: &Directive,
        addr: ListenAddr,
        server: usize,
        door: &Parameters,
    ) {
        let known = self
            .listens
            .iter()
            .position(|listen| listen.addr == addr && listen.streams.is_empty());
        let index = known.unwrap_or_else(|| {
            self.listens.push(Listen {
                backlog: door.backlog,
                ..plain(addr.clone())
            });
            self.listens.len() - 1
        });
        let listen = &mut self.listens[index];
        if listen.servers.contains(&server) {
            self.wrong(directive, format!("a duplicate listen {addr}"), "");
            return;
        }
        listen.backlog = listen.backlog.max(door.backlog);
        listen.tls |= door.tls;
        listen.http2 |= door.http2;
        listen.proxy_protocol |= door.proxy_protocol;
        if door.default && listen.has_default {
            let message = format!("a duplicate default server for {addr}");
            self.wrong(directive, message, "");
        } else if door.default {
            listen.has_default = true;
            listen.servers.insert(0, server);
        } else {
            listen.servers.push(server);
        }
    }
}

/// An address with nothing said about it.
pub(super) fn plain(addr: ListenAddr) -> Listen {
    Listen {
        addr,
        mode: UNIX_MODE,
        backlog: BACKLOG,
        servers: Vec::new(),
        has_default: false,
        tls: false,
        http2: false,
        proxy_protocol: false,
        streams: Vec::new(),
        udp: false,
    }
}

/// `80`, `*:80`, `127.0.0.1`, `127.0.0.1:80`, `[::]:80`, `localhost:80`, `unix:/path`.
pub(super) fn address(text: &str) -> Option<ListenAddr> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        let usable = path.is_absolute() && trine_sys::net::fits_unix_path(&path);
        return usable.then_some(ListenAddr::Unix(path));
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(ListenAddr::Tcp(addr));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = text.parse::<u16>().ok().filter(|port| *port != 0)?;
        return Some(ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into()));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(addr) = bare.parse::<IpAddr>() {
        return Some(ListenAddr::Tcp((addr, 80).into()));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "80"));
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let ip = match host {
        "*" => Ipv4Addr::UNSPECIFIED,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(ListenAddr::Tcp((ip, port).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, want: &str| {
            let got = address(text).map_or("none".to_owned(), |addr| addr.to_string());
            assert_eq!(got, want, "{text}");
        };
        check("80", "0.0.0.0:80");
        check("*:8080", "0.0.0.0:8080");
        check("127.0.0.1", "127.0.0.1:80");
        check("127.0.0.1:81", "127.0.0.1:81");
        check("[::]:80", "[::]:80");
        check("[::1]", "[::1]:80");
        check("localhost:8000", "127.0.0.1:8000");
        check("unix:/run/x.sock", "unix:/run/x.sock");
        check("0", "none");
        check("70000", "none");
        check("example.org:80", "none");
    }
}
