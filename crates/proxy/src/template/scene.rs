//! What the variables of a request are taken from.
//!
//! Not here: the variables themselves (`variables`).

use trine_http1::{BodyLength, Request, Response};

use super::named::Variable;
use crate::config::{Config, Content, Files};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::conn::told;
use crate::limit::pace::Rate;
use crate::pattern::Captures;

/// What a request's variables are taken from.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) conn: &'a Conn,
    /// `None` when its head could not be read.
    pub(crate) request: Option<Request<'a>>,
    pub(crate) record: &'a Record,
    pub(crate) config: &'a Config,
    /// What the upstream has answered.
    pub(crate) answer: Option<Response<'a>>,
    /// The head that goes to the client, as far as it is written.
    pub(crate) sent: &'a [u8],
    /// Groups of an expression that was matched for this string alone.
    pub(crate) captures: Option<&'a Captures>,
    /// How the body goes on to an upstream, where the length in its head is not the client's word.
    pub(crate) body: Option<BodyLength>,
}

impl<'a> Scene<'a> {
    /// A request that nothing has been answered to.
    pub(crate) fn new(
        conn: &'a Conn,
        config: &'a Config,
        request: Option<Request<'a>>,
        record: &'a Record,
    ) -> Self {
        Self {
            conn,
            request,
            record,
            config,
            answer: None,
            sent: b"",
            captures: None,
            body: None,
        }
    }
}

impl Scene<'_> {
    /// Who asked for what.
    pub(crate) fn told(&self) -> told::Told {
        told::Told::of(self.conn, self.config, self.request, self.record)
    }

    /// The host that a redirect of ours names.
    pub(crate) fn host_for_redirect(&self, own_name: bool) -> Vec<u8> {
        let mut host = Vec::new();
        if own_name && !self.server_name().is_empty() {
            host.extend_from_slice(self.server_name());
        } else {
            Variable::Host.write(&mut host, self);
        }
        host
    }

    /// The value of an argument of the request.
    pub(crate) fn argument(&self, name: &str) -> Option<&[u8]> {
        argument(self.args(), name)
    }

    pub(super) fn args(&self) -> Option<&[u8]> {
        match &self.record.visit.args {
            Some(args) => Some(args),
            None => self.request?.query(),
        }
    }

    /// The folder of the location.
    pub(super) fn files(&self) -> Option<&Files> {
        let rules = self.config.rules(self.record.visit.rules);
        match &rules.content {
            Content::Files(files) => Some(files),
            _ => rules.fallback_files.as_ref(),
        }
    }

    /// The part of the path that is the script, with the index behind a slash.
    pub(super) fn script_name(&self, out: &mut Vec<u8>) {
        let path = &self.record.visit.path[..];
        let rules = self.config.rules(self.record.visit.rules);
        let Some(rule) = &rules.script_name else {
            return out.extend_from_slice(path);
        };
        let captures = rule.split.as_ref().and_then(|split| split.captures(path));
        let script = captures.as_ref().and_then(|groups| groups.number(1));
        let script = script.unwrap_or(path);
        out.extend_from_slice(script);
        if script.ends_with(b"/") {
            out.extend_from_slice(&rule.index);
        }
    }

    /// What follows the script.
    pub(super) fn path_info(&self) -> Option<Vec<u8>> {
        let rules = self.config.rules(self.record.visit.rules);
        let split = rules.script_name.as_ref()?.split.as_ref()?;
        let captures = split.captures(&self.record.visit.path)?;
        captures.number(2).map(<[u8]>::to_vec)
    }

    pub(super) fn groups(&self) -> Option<&Captures> {
        self.captures.or(self.record.visit.captures.as_deref())
    }

    pub(super) fn server_name(&self) -> &[u8] {
        let server = self.config.servers.get(self.record.visit.server);
        server.map_or(b"", |server| server.name.as_bytes())
    }

    pub(super) fn proxy(&self) -> Option<(&str, u16)> {
        match &self.config.rules(self.record.visit.rules).content {
            crate::config::Content::Proxy(pass) => Some((&pass.host, pass.port)),
            _ => None,
        }
    }
}

/// How fast the answer may go out, in bytes for a second, by the upstream's word or that of `set $limit_rate`.
pub(super) fn given_rate(scene: &Scene<'_>) -> Option<u64> {
    scene.record.limited.rate.or_else(|| {
        let value = scene.record.visit.vars.get(scene.config.rate_slot?)?;
        size(value.as_ref()?)
    })
}

/// The same, or else by the location's word.
pub(crate) fn rate(scene: &Scene<'_>) -> Option<Rate> {
    let rules = scene.config.rules(scene.record.visit.rules);
    let given = given_rate(scene);
    let of = |template: Option<&super::Template>| size(&template?.value(scene));
    let bytes = given.or_else(|| of(rules.rate.as_ref().map(|rate| &rate.rate)))?;
    let after = of(rules.rate.as_ref().map(|rate| &rate.after)).unwrap_or(0);
    (bytes > 0).then_some(Rate { bytes, after })
}

fn size(text: &[u8]) -> Option<u64> {
    crate::config::nginx::size(std::str::from_utf8(text).ok()?)
}

fn argument<'a>(args: Option<&'a [u8]>, name: &str) -> Option<&'a [u8]> {
    args?.split(|&byte| byte == b'&').find_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        pair[..equals]
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| &pair[equals + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let args = Some(&b"a=1&B=2&c&d="[..]);
        assert_eq!(argument(args, "a"), Some(&b"1"[..]));
        assert_eq!(argument(args, "b"), Some(&b"2"[..]));
        assert_eq!(argument(args, "c"), None);
        assert_eq!(argument(args, "d"), Some(&b""[..]));
        assert_eq!(argument(None, "a"), None);
    }
}
