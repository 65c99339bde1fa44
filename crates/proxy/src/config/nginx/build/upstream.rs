//! `upstream` blocks, and the addresses of servers.
//!
//! Not here: choosing one for a request.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::super::tree::Directive;
use super::{Builder, arg};
use crate::config::model::{PeerAddr, Upstream};

/// nginx's default since 1.29.7.
const KEEPALIVE: usize = 32;

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
        if self.upstreams.iter().any(|other| other.name == name) {
            self.wrong(directive, format!("duplicate upstream \"{name}\""), "");
        }
        let mut keepalive = KEEPALIVE;
        let (mut primaries, mut backups) = (Vec::new(), Vec::new());
        for inner in directive.block.as_deref().unwrap_or_default() {
            match inner.name.text.as_str() {
                "server" => {
                    if let Some((peer, weight, backup)) = self.peer(inner) {
                        let list = if backup { &mut backups } else { &mut primaries };
                        list.extend(std::iter::repeat_n(peer, weight));
                    }
                }
                "keepalive" => match arg(inner, 0).parse() {
                    Ok(count) => keepalive = count,
                    Err(_) => self.invalid(inner),
                },
                _ => {}
            }
        }
        if primaries.is_empty() {
            let message = format!("no servers are inside upstream \"{name}\"");
            self.wrong(directive, message, "");
        }
        self.upstreams.push(Upstream {
            name,
            primaries: primaries.len(),
            peers: interleave(primaries).into_iter().chain(backups).collect(),
            keepalive,
        });
    }

    /// Address, weight, and whether it is for emergencies; `None` for one that is down.
    fn peer(&mut self, directive: &Directive) -> Option<(PeerAddr, usize, bool)> {
        let text = arg(directive, 0);
        let Some(peer) = peer_address(text, 80) else {
            let message = format!("invalid host in upstream \"{text}\"");
            self.wrong(directive, message, "write HOST:PORT or unix:/path");
            return None;
        };
        let (mut weight, mut backup, mut down) = (1, false, false);
        for word in directive.args.iter().skip(1) {
            let (key, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            match key {
                "backup" => backup = true,
                "down" => down = true,
                "weight" => match value.parse() {
                    Ok(given @ 1..=256) => weight = given,
                    _ => {
                        let message = format!("invalid parameter \"{}\"", word.text);
                        self.wrong(directive, message, "write a weight from 1 to 256");
                    }
                },
                // A server that fails is passed over for the request; resolving is done for each connection.
                "max_fails" | "fail_timeout" | "resolve" => {}
                _ => {
                    let message = format!("invalid parameter \"{}\"", word.text);
                    self.wrong(directive, message, "it is not supported; remove it");
                }
            }
        }
        (!down).then_some((peer, weight, backup))
    }
}

/// Spreads what stands several times, so that a heavy server does not get its share in one go.
fn interleave(list: Vec<PeerAddr>) -> Vec<PeerAddr> {
    let mut kinds: Vec<(PeerAddr, usize)> = Vec::new();
    for peer in list {
        match kinds.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, count)) => *count += 1,
            None => kinds.push((peer, 1)),
        }
    }
    let total: usize = kinds.iter().map(|(_, count)| count).sum();
    // nginx's smooth weighted round robin, played through once.
    let mut credit = vec![0i64; kinds.len()];
    let mut out = Vec::with_capacity(total);
    for _ in 0..total {
        for (credit, (_, count)) in credit.iter_mut().zip(&kinds) {
            *credit += i64::try_from(*count).unwrap_or(0);
        }
        let Some(best) = (0..kinds.len()).rev().max_by_key(|&index| credit[index]) else {
            break;
        };
        credit[best] -= i64::try_from(total).unwrap_or(0);
        out.push(kinds[best].0.clone());
    }
    out
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

    #[test]
    fn weights_are_spread() {
        let peer = |port| PeerAddr::Name("h".to_owned(), port);
        let list = vec![
            peer(1),
            peer(1),
            peer(1),
            peer(1),
            peer(1),
            peer(2),
            peer(3),
        ];
        let order: String = interleave(list)
            .iter()
            .map(|peer| peer.to_string().pop().unwrap())
            .collect();
        assert_eq!(order, "1121311");
    }
}
