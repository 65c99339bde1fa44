//! `upstream` blocks, and the addresses of servers.
//!
//! Not here: choosing one for a request.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::names::NamesLevel;
use super::sticky::LONGEST_ROUTE;
use super::{Builder, arg, place};
use crate::config::model::{
    KeepAlive, LeastTime, Method, PeerAddr, Queue, Upstream, UpstreamServer,
};

/// `host`, `host:port`, `[::1]:port` or `unix:/path`.
pub(crate) fn peer_address(text: &str, default_port: u16) -> Option<PeerAddr> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path.trim_end_matches(':'));
        let usable = path.is_absolute() && trine_sys::net::fits_unix_path(&path);
        return usable.then_some(PeerAddr::Unix(path));
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(PeerAddr::Ip(addr));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(addr) = bare.parse::<IpAddr>() {
        return Some(PeerAddr::Ip(SocketAddr::new(addr, default_port)));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0)?),
        None => (text, default_port),
    };
    if name == "localhost" {
        return Some(PeerAddr::Ip(([127, 0, 0, 1], port).into()));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!name.is_empty() && name.bytes().all(good)).then(|| PeerAddr::Name(name.to_owned(), port))
}

impl Builder<'_> {
    pub(super) fn upstream(&mut self, directive: &Directive) {
        let name = arg(directive, 0).to_owned();
        if self
            .upstreams
            .iter()
            .any(|other| other.name == name && other.stream.is_none())
        {
            self.wrong(directive, format!("duplicate upstream \"{name}\""), "");
        }
        let mut keepalive = KeepAlive::default();
        let mut method = Method::RoundRobin;
        let mut queue = None;
        let mut health = None;
        let mut capacity = None;
        let mut sticky = None;
        let mut names = NamesLevel::default();
        self.apply_names(&mut names, directive.block.as_deref().unwrap_or_default());
        let (mut primaries, mut backups) = (Vec::new(), Vec::new());
        for inner in directive.block.as_deref().unwrap_or_default() {
            match inner.name.text.as_str() {
                "server" => {
                    if let Some((server, backup)) = self.upstream_server(inner, &method) {
                        if server.resolve {
                            self.followers.push((name.clone(), inner.at.clone()));
                        }
                        let list = if backup { &mut backups } else { &mut primaries };
                        list.push(server);
                    }
                }
                "keepalive" => match arg(inner, 0).parse() {
                    Ok(count) => keepalive.count = count,
                    Err(_) => {
                        let message = format!(
                            "invalid value \"{}\" in \"keepalive\" directive",
                            arg(inner, 0)
                        );
                        self.wrong(inner, message, "write how many connections are kept");
                    }
                },
                "keepalive_requests" => match arg(inner, 0).parse() {
                    Ok(count) => keepalive.requests = count,
                    Err(_) => self.invalid_number(inner),
                },
                "keepalive_time" => keepalive.time = self.time(inner).unwrap_or(keepalive.time),
                "keepalive_timeout" => {
                    keepalive.timeout = self.time(inner).unwrap_or(keepalive.timeout);
                }
                "least_conn" => method = Method::LeastConn,
                "least_time" => method = self.least_time(inner),
                "ip_hash" => method = Method::IpHash,
                "hash" => method = self.hash(inner),
                "random" => method = self.random(inner),
                "sticky" if sticky.is_some() => {
                    self.wrong(
                        inner,
                        "\"sticky\" directive is duplicate",
                        "remove one of them",
                    );
                }
                "sticky" => sticky = self.sticky(inner, &name),
                "queue" => queue = self.queue(inner),
                "trine_capacity" => capacity = self.control_socket(inner),
                "health_check" => health = self.health_check(inner, &name, true),
                _ => {}
            }
        }
        if primaries.is_empty() {
            let message = format!("no servers are inside upstream \"{name}\"");
            self.wrong(directive, message, "");
        }
        let count = primaries.len();
        primaries.extend(backups);
        self.upstreams.push(Upstream {
            name,
            primaries: count,
            servers: primaries,
            method,
            sticky,
            keepalive,
            queue,
            health,
            names: names.rules(),
            capacity,
            implicit: false,
            stream: None,
            port: 80,
        });
    }

    /// A server, and whether it is for emergencies.
    pub(super) fn upstream_server(
        &mut self,
        directive: &Directive,
        method: &Method,
    ) -> Option<(UpstreamServer, bool)> {
        let text = arg(directive, 0);
        let Some(addr) = peer_address(text, 80) else {
            let message = format!("invalid host in upstream \"{text}\"");
            self.wrong(directive, message, "write HOST:PORT or unix:/path");
            return None;
        };
        let mut server = UpstreamServer {
            text: text.to_owned(),
            at: place(directive),
            resolve: self.is_house() && matches!(addr, PeerAddr::Name(..)),
            ..UpstreamServer::new(addr)
        };
        let mut backup = false;
        for word in directive.args.iter().skip(1) {
            let (key, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            let number = value.parse::<u32>().ok();
            let good = match (key, number) {
                ("backup", _) if value.is_empty() => {
                    backup = true;
                    let hashes = !matches!(
                        method,
                        Method::RoundRobin | Method::LeastConn | Method::LeastTime(_)
                    );
                    if hashes {
                        let message = "balancing method does not support parameter \"backup\"";
                        self.wrong(directive, message, "");
                    }
                    true
                }
                ("down", _) if value.is_empty() => {
                    server.down = true;
                    true
                }
                ("drain", _) if value.is_empty() => {
                    server.drain = true;
                    true
                }
                ("resolve", _) if value.is_empty() => {
                    server.resolve = matches!(server.addr, PeerAddr::Name(..));
                    true
                }
                ("service", _) if !value.is_empty() => {
                    let has_port = text.contains(':');
                    if has_port || !matches!(server.addr, PeerAddr::Name(..)) {
                        let message = format!("service upstream \"{text}\" may not have port");
                        self.wrong(directive, message, "SRV records say which");
                    }
                    server.service = Some(value.to_owned());
                    true
                }
                ("route", _) if value.is_empty() || value.len() > LONGEST_ROUTE => {
                    let message = if value.is_empty() {
                        "route is empty".to_owned()
                    } else {
                        format!("route is longer than {LONGEST_ROUTE}")
                    };
                    self.wrong(directive, message, "write a short word, such as route=a");
                    true
                }
                ("route", _) => {
                    server.route = Some(value.to_owned());
                    true
                }
                ("weight", Some(weight @ 1..=65535)) => {
                    server.weight = weight;
                    true
                }
                ("max_fails", Some(number)) => {
                    server.max_fails = number;
                    true
                }
                ("max_conns", Some(number)) => {
                    server.max_conns = number;
                    true
                }
                ("fail_timeout" | "slow_start", _) => match units::time(value) {
                    Some(time) => {
                        if key == "fail_timeout" {
                            server.fail_timeout = time;
                        } else {
                            server.slow_start = time;
                        }
                        true
                    }
                    None => false,
                },
                _ => false,
            };
            if !good {
                let help = match key {
                    "weight" => "write a weight from 1 to 65535",
                    _ => "",
                };
                let message = format!("invalid parameter \"{}\"", word.text);
                self.wrong(directive, message, help);
            }
        }
        if server.service.is_some() && !server.resolve {
            let message = format!("service upstream \"{text}\" requires \"resolve\" parameter");
            self.wrong(directive, message, "add resolve");
        }
        Some((server, backup))
    }

    fn hash(&mut self, directive: &Directive) -> Method {
        let key = arg(directive, 0).to_owned();
        let key = self.template(directive, &key);
        let consistent = match arg(directive, 1) {
            "" => false,
            "consistent" => true,
            other => {
                self.wrong(directive, format!("invalid parameter \"{other}\""), "");
                false
            }
        };
        Method::Hash { key, consistent }
    }

    pub(super) fn random(&mut self, directive: &Directive) -> Method {
        let two = match (arg(directive, 0), arg(directive, 1)) {
            ("", _) => false,
            ("two", "" | "least_conn") => true,
            ("two", other) | (other, _) => {
                self.wrong(directive, format!("invalid parameter \"{other}\""), "");
                false
            }
        };
        Method::Random { two }
    }

    /// `least_time header|last_byte [inflight]`.
    fn least_time(&mut self, directive: &Directive) -> Method {
        let last_byte = match arg(directive, 0) {
            "header" => false,
            "last_byte" => true,
            other => {
                let message = format!("invalid value \"{other}\"");
                self.wrong(directive, message, "it is header or last_byte");
                false
            }
        };
        let inflight = match arg(directive, 1) {
            "" => false,
            "inflight" => true,
            other => {
                self.wrong(directive, format!("invalid parameter \"{other}\""), "");
                false
            }
        };
        Method::LeastTime(LeastTime {
            last_byte,
            inflight,
        })
    }

    /// `queue NUMBER [timeout=TIME]`.
    fn queue(&mut self, directive: &Directive) -> Option<Queue> {
        let Ok(most) = arg(directive, 0).parse() else {
            self.invalid_number(directive);
            return None;
        };
        let text = arg(directive, 1);
        let timeout = match text.strip_prefix("timeout=") {
            _ if text.is_empty() => Some(Duration::from_secs(60)),
            Some(time) => units::time(time),
            None => None,
        };
        if timeout.is_none() {
            self.wrong(directive, format!("invalid parameter \"{text}\""), "");
        }
        timeout.map(|timeout| Queue { most, timeout })
    }

    /// `trine_capacity PATH`.
    fn control_socket(&mut self, directive: &Directive) -> Option<PathBuf> {
        let text = arg(directive, 0);
        let path = PathBuf::from(text.strip_prefix("unix:").unwrap_or(text));
        if path.is_absolute() && trine_sys::net::fits_unix_path(&path) {
            return Some(path);
        }
        let message = format!("invalid control socket \"{text}\"");
        let help = "write the path of trine-wsgi's control socket, such as /run/app/control.sock";
        self.wrong(directive, message, help);
        None
    }

    /// What should be a number is none.
    pub(super) fn invalid_number(&mut self, directive: &Directive) {
        self.wrong(directive, "invalid number", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, want: &str| {
            let got = peer_address(text, 80).map_or("none".to_owned(), |peer| peer.to_string());
            assert_eq!(got, want, "{text}");
        };
        check("app", "app:80");
        check("app:8000", "app:8000");
        check("127.0.0.1", "127.0.0.1:80");
        check("[::1]:81", "[::1]:81");
        check("[::1]", "[::1]:80");
        check("unix:/run/a.sock", "unix:/run/a.sock");
        check("unix:/run/a.sock:", "unix:/run/a.sock");
        check("localhost:8000", "127.0.0.1:8000");
        check("unix:relative", "none");
        check("a b", "none");
        check("app:0", "none");
        check("app:http", "none");
    }
}
