//! `listen` of `stream`: addresses, and whose they are.
//!
//! Not here: `listen` of `http` (`listen`), opening sockets.

use trine_config::ListenAddr;

use super::super::tree::Directive;
use super::{Builder, arg};
use crate::config::model::{HostPattern, Listen};

impl Builder<'_> {
    pub(super) fn stream_listen(
        &mut self,
        directive: &Directive,
        server: usize,
        names: &[HostPattern],
    ) {
        let text = arg(directive, 0);
        let has_port = text.starts_with("unix:")
            || text.bytes().all(|byte| byte.is_ascii_digit())
            || text
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let own = self.own.and_then(|_| text.strip_prefix("fd:"));
        let own = own.and_then(|_| text.parse().ok());
        let addr = own.or_else(|| super::listen::address(text).filter(|_| has_port));
        let Some(addr) = addr else {
            let message = format!("no port in \"{text}\" of the \"listen\" directive");
            self.wrong(
                directive,
                message,
                "write a port, ADDRESS:PORT or unix:/path",
            );
            return;
        };
        let mut listen = Listen {
            streams: vec![server],
            ..super::listen::plain(addr)
        };
        for word in directive.args.iter().skip(1) {
            let text = word.text.as_str();
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            match key {
                "udp" => {
                    listen.udp = true;
                    if matches!(listen.addr, ListenAddr::Unix(_)) {
                        let help = "write a port or ADDRESS:PORT";
                        let message = "datagrams are not taken on Unix sockets";
                        self.wrong(directive, message, help);
                    }
                }
                "proxy_protocol" => listen.proxy_protocol = true,
                "backlog" => match value.parse() {
                    Ok(count) => listen.backlog = count,
                    Err(_) => self.wrong(directive, format!("invalid backlog \"{value}\""), ""),
                },
                "ssl" => listen.tls = true,
                "default_server" => listen.has_default = true,
                "reuseport" | "deferred" | "bind" | "so_keepalive" | "ipv6only" | "fastopen"
                | "rcvbuf" | "sndbuf" | "setfib" | "accept_filter" | "multipath" => {}
                _ => self.wrong(directive, format!("invalid parameter \"{text}\""), ""),
            }
        }
        // Datagrams are no connections: these belong to those.
        let clash = directive.args.iter().skip(1).find(|word| {
            let key = word.text.split('=').next().unwrap_or_default();
            [
                "ssl",
                "proxy_protocol",
                "backlog",
                "so_keepalive",
                "fastopen",
            ]
            .contains(&key)
        });
        if let Some(word) = clash.filter(|_| listen.udp) {
            let key = word.text.split('=').next().unwrap_or_default();
            let message =
                format!("\"listen\" directive \"{key}\" parameter is incompatible with \"udp\"");
            self.wrong(directive, message, "remove one of them");
        }
        let same = |one: &Listen| one.addr == listen.addr && one.udp == listen.udp;
        let Some(index) = self.listens.iter().position(same) else {
            self.listens.push(listen);
            return;
        };
        let known = self.listens[index].clone();
        // Each has to be told from the others: by a name of its own.
        let named =
            |names: &[HostPattern]| !matches!(names, [HostPattern::Exact(name)] if name.is_empty());
        let others = &self.streams.servers;
        let is_told = named(names)
            || known.streams.iter().all(|other| {
                *other != server && others.get(*other).is_none_or(|other| named(&other.names))
            });
        if known.streams.is_empty() || known.streams.contains(&server) || !is_told || listen.udp {
            let message = format!("duplicate \"{text}\" address and port pair");
            let help =
                "an address is one server's of `stream`, or theirs who have names (`server_name`)";
            self.wrong(directive, message, help);
            return;
        }
        if known.has_default && listen.has_default {
            let message = format!("a duplicate default server for {}", listen.addr);
            self.wrong(directive, message, "");
        }
        let merged = &mut self.listens[index];
        merged.tls |= listen.tls;
        merged.proxy_protocol |= listen.proxy_protocol;
        merged.backlog = merged.backlog.max(listen.backlog);
        merged.has_default |= listen.has_default;
        if listen.has_default {
            merged.streams.insert(0, server);
        } else {
            merged.streams.push(server);
        }
    }
}
