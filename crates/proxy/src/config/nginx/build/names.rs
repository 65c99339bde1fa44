//! `resolver` and `resolver_timeout`: who is asked for addresses, and for which upstreams again and again.
//!
//! Not here: asking (see `upstream::names`).

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::level::Level;
use super::upstream::peer_address;
use super::{Builder, arg};
use crate::config::model::{Content, NameRules, PeerAddr, ProxyPass, ProxyTarget, Upstream};

/// What a block hands down about it.
#[derive(Debug, Clone, Default)]
pub(super) struct NamesLevel {
    rules: Option<NameRules>,
    timeout: Option<Duration>,
}

/// nginx's `resolver_timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);

impl NamesLevel {
    pub(super) fn rules(&self) -> Option<Arc<NameRules>> {
        let mut rules = self.rules.clone()?;
        rules.timeout = self.timeout.unwrap_or(TIMEOUT);
        Some(Arc::new(rules))
    }
}

impl Level {
    /// Servers that variables name are asked for here.
    pub(super) fn resolving(&self, mut pass: ProxyPass) -> Content {
        if matches!(pass.target, ProxyTarget::Dynamic(_)) {
            pass.names = self.names.rules();
        }
        Content::Proxy(Box::new(pass))
    }
}

impl Builder<'_> {
    pub(super) fn apply_names(&mut self, level: &mut NamesLevel, block: &[Directive]) {
        for directive in block {
            match directive.name.text.as_str() {
                "resolver" => level.rules = self.resolver(directive),
                "resolver_timeout" => level.timeout = self.time(directive),
                _ => {}
            }
        }
    }

    /// `resolver ADDRESS … [valid=TIME] [ipv4=on|off] [ipv6=on|off] [status_zone=NAME]`.
    fn resolver(&mut self, directive: &Directive) -> Option<NameRules> {
        let mut rules = NameRules {
            servers: Vec::new(),
            valid: None,
            ipv4: true,
            ipv6: true,
            timeout: TIMEOUT,
        };
        for word in &directive.args {
            let (key, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            let flag = match value {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            };
            let good = match (key, flag) {
                ("valid", _) => {
                    rules.valid = units::time(value).filter(|time| !time.is_zero());
                    rules.valid.is_some()
                }
                ("ipv4", Some(on)) => {
                    rules.ipv4 = on;
                    true
                }
                ("ipv6", Some(on)) => {
                    rules.ipv6 = on;
                    true
                }
                ("status_zone", _) if !value.is_empty() => true,
                _ if word.text.contains('=') => false,
                _ => {
                    let found = name_servers(&word.text);
                    if found.is_empty() {
                        let message = format!("host not found in resolver \"{}\"", word.text);
                        self.wrong(directive, message, "write the address of a name server");
                    }
                    rules.servers.extend(found);
                    true
                }
            };
            if !good {
                let message = format!("invalid parameter: {}", word.text);
                self.wrong(directive, message, "");
            }
        }
        if arg(directive, 0) == "off" {
            return None;
        }
        if !rules.ipv4 && !rules.ipv6 {
            let message = "\"ipv4\" and \"ipv6\" cannot both be \"off\"";
            self.wrong(directive, message, "leave one of them out");
        }
        if rules.servers.is_empty() {
            self.wrong(directive, "no name servers defined", "name at least one");
            return None;
        }
        Some(rules)
    }

    /// Names that are to be followed need somebody to ask. `level` is that of `http` or `stream`.
    pub(super) fn give_resolvers(&mut self, level: &NamesLevel, of_stream: bool) {
        let house = self.is_house();
        let rules = level.rules();
        let block = if of_stream { "stream" } else { "http" };
        let ours = |one: &&mut Upstream| one.stream.is_some() == of_stream;
        for upstream in self.upstreams.iter_mut().filter(ours) {
            upstream.names = upstream.names.take().or_else(|| rules.clone());
            let follows = upstream.servers.iter().any(|server| server.resolve);
            if follows && upstream.names.is_none() && !house {
                let message = format!(
                    "no resolver defined to resolve names at run time in upstream \"{}\"",
                    upstream.name
                );
                let at = self
                    .followers
                    .iter()
                    .find(|(name, _)| *name == upstream.name);
                if let Some((_, at)) = at {
                    self.problems.push(
                        at.clone(),
                        message,
                        format!("add `resolver ADDRESS` to {block}"),
                    );
                }
            }
        }
    }
}

/// A name is looked up once, by the system.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    match peer_address(text, 53) {
        Some(PeerAddr::Ip(addr)) => vec![addr],
        Some(PeerAddr::Name(name, port)) => (name.as_str(), port)
            .to_socket_addrs()
            .map_or_else(|_| Vec::new(), Iterator::collect),
        Some(PeerAddr::Unix(_)) | None => Vec::new(),
    }
}
