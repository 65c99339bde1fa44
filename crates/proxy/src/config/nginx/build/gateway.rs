//! `fastcgi_pass`, `uwsgi_pass`, `scgi_pass`, and the directives that only these protocols have.
//!
//! Not here: what `proxy_…` has as well (`proxy`, by family), or forwarding.

use std::sync::Arc;

use super::super::tree::Directive;
use super::family::Family;
use super::proxy::ProxyLevel;
use super::{Builder, arg, is_on};
use crate::config::model::{
    Gateway, Param, Protocol, ProxyPass, ProxyTarget, Rebase, ScriptName, Shaping,
};
use crate::pattern::Pattern;

/// What a block hands down about one of these protocols.
#[derive(Clone, Default)]
pub(super) struct GatewayLevel {
    rules: Gateway,
    index: Vec<u8>,
    split: Option<Pattern>,
}

impl GatewayLevel {
    /// How `$fastcgi_script_name` is made, if it is not simply the path.
    pub(super) fn script_name(&self) -> Option<Arc<ScriptName>> {
        (self.split.is_some() || !self.index.is_empty()).then(|| {
            Arc::new(ScriptName {
                index: self.index.clone(),
                split: self.split.clone(),
            })
        })
    }
}

impl Family {
    fn protocol(self) -> Protocol {
        match self {
            Self::Proxy => Protocol::Http1,
            Self::FastCgi => Protocol::FastCgi,
            Self::Uwsgi => Protocol::Uwsgi,
            Self::Scgi => Protocol::Scgi,
        }
    }
}

impl Builder<'_> {
    pub(super) fn apply_gateway(
        &mut self,
        level: &mut GatewayLevel,
        family: Family,
        block: &[Directive],
    ) {
        let mut params: Option<Vec<Param>> = None;
        let mut caught: Option<Vec<Vec<u8>>> = None;
        for directive in block {
            let first = arg(directive, 0);
            match family.rest_of(directive) {
                "param" => {
                    let param = self.param(directive);
                    params.get_or_insert_default().extend(param);
                }
                "index" => level.index = first.as_bytes().to_vec(),
                "split_path_info" => level.split = self.split(directive),
                "role" => match first {
                    "authorizer" => level.rules.authorizer = true,
                    "responder" => level.rules.authorizer = false,
                    other => {
                        let message = format!("invalid value \"{other}\"");
                        let help = match other {
                            "filter" => {
                                "filters are not called; have a responder fetch what it changes"
                            }
                            _ => "it is authorizer or responder",
                        };
                        self.wrong(directive, message, help);
                    }
                },
                "keep_conn" => level.rules.keep = is_on(directive),
                "catch_stderr" => {
                    let list = caught.get_or_insert_default();
                    list.push(first.as_bytes().to_vec());
                }
                "string" => level.rules.behind = first.as_bytes().to_vec(),
                "modifier1" => self.modifier(directive, &mut level.rules.modifiers.0),
                "modifier2" => self.modifier(directive, &mut level.rules.modifiers.1),
                _ => {}
            }
        }
        if let Some(params) = params {
            level.rules.params = params;
        }
        if let Some(caught) = caught {
            level.rules.caught = caught;
        }
    }

    /// `fastcgi_param name value [if_not_empty]`.
    fn param(&mut self, directive: &Directive) -> Option<Param> {
        let if_not_empty = match directive.args.get(2).map(|word| word.text.as_str()) {
            None => false,
            Some("if_not_empty") => true,
            Some(other) => {
                let message = format!("invalid parameter \"{other}\"");
                self.wrong(directive, message, "the only one is `if_not_empty`");
                return None;
            }
        };
        let name = arg(directive, 0).to_owned();
        if name.is_empty() || name.contains('\0') {
            self.wrong(directive, "a variable without a name", "");
            return None;
        }
        Some(Param {
            value: self.template(directive, arg(directive, 1)),
            name,
            if_not_empty,
        })
    }

    fn split(&mut self, directive: &Directive) -> Option<Pattern> {
        let source = arg(directive, 0);
        let pattern = self.pattern(directive, source, false)?;
        if pattern.groups() != 2 {
            let message = format!("pattern \"{source}\" must have 2 captures");
            let help = "the first is the script, the second what follows it";
            self.wrong(directive, message, help);
            return None;
        }
        Some(pattern)
    }

    fn modifier(&mut self, directive: &Directive, slot: &mut u8) {
        match arg(directive, 0).parse() {
            Ok(number) => *slot = number,
            Err(_) => self.wrong(directive, "value must be between 0 and 255", ""),
        }
    }

    /// `fastcgi_pass` and the like in a location.
    pub(super) fn gateway_pass(
        &mut self,
        directive: &Directive,
        family: Family,
        level: &ProxyLevel,
    ) -> Option<ProxyPass> {
        let url = arg(directive, 0).to_owned();
        let (secure, address) = match (family, url.split_once("://")) {
            (Family::Uwsgi, Some(("uwsgi", rest))) => (false, rest),
            (Family::Uwsgi, Some(("suwsgi", rest))) => (true, rest),
            _ => (false, url.as_str()),
        };
        let target = if address.contains('$') {
            ProxyTarget::Dynamic(self.template(directive, address))
        } else {
            if !self.has_port(address) {
                let message = format!("no port in upstream \"{address}\"");
                self.wrong(
                    directive,
                    message,
                    "write HOST:PORT, unix:/path or an upstream",
                );
                return None;
            }
            ProxyTarget::Group(self.group(directive, address, 0)?)
        };
        let mut pass = self.pass(level, target, Rebase::Keep, Vec::new());
        pass.protocol = family.protocol();
        pass.gateway = Some(Box::new(level.gateway.rules.clone()));
        pass.port = 0;
        // nginx tells clients what these applications call themselves.
        pass.shown.push("server".to_owned());
        if secure {
            address.clone_into(&mut pass.host);
            pass.tls = self.pass_tls(directive, level.dial(), true);
        }
        // Neither has a meaning here, whatever a block says of proxying.
        pass.shaping = Shaping {
            method: None,
            body: None,
            ..pass.shaping
        };
        Some(pass)
    }

    /// Whether it is complete by itself, or names an upstream.
    fn has_port(&self, address: &str) -> bool {
        let is_known = |upstream: &crate::config::model::Upstream| upstream.name == address;
        address.starts_with("unix:")
            || self.upstreams.iter().any(is_known)
            || address
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    }
}
