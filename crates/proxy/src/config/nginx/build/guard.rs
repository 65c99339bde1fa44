//! Who may ask: `allow`, `deny`, `satisfy`, `auth_basic` and `limit_except`.
//!
//! Not here: deciding about a request (`access`).

use std::time::Duration;

use super::super::tree::Directive;
use super::script::Around;
use super::{Builder, arg};
use crate::config::model::{Access, BasicAuth, LimitExcept, Who};
use crate::config::values::network;
use crate::template::Template;

/// What a block hands down about this.
#[derive(Debug, Clone, Default)]
pub(super) struct GuardLevel {
    pub(super) access: Vec<Access>,
    pub(super) satisfy_any: bool,
    pub(super) delay: Duration,
    realm: Option<Template>,
    file: Option<Template>,
}

impl GuardLevel {
    /// Both directives have to be there.
    pub(super) fn auth(&self) -> Option<BasicAuth> {
        Some(BasicAuth {
            realm: self.realm.clone()?,
            file: self.file.clone()?,
        })
    }
}

impl Builder<'_> {
    pub(super) fn apply_guard(&mut self, level: &mut GuardLevel, block: &[Directive]) {
        let mut access: Option<Vec<Access>> = None;
        for directive in block {
            let first = arg(directive, 0);
            match directive.name.text.as_str() {
                "allow" | "deny" => {
                    if let Some(who) = self.who(directive) {
                        let allow = directive.name.text == "allow";
                        access.get_or_insert_default().push(Access { allow, who });
                    }
                }
                "satisfy" => match first {
                    "all" => level.satisfy_any = false,
                    "any" => level.satisfy_any = true,
                    _ => self.wrong(directive, format!("invalid value \"{first}\""), ""),
                },
                "auth_basic" => level.realm = Some(self.template(directive, first)),
                "auth_basic_user_file" => {
                    let path = if first.starts_with(['/', '$']) {
                        first.to_owned()
                    } else {
                        self.folder.join(first).to_string_lossy().into_owned()
                    };
                    level.file = Some(self.template(directive, &path));
                }
                "auth_delay" => {
                    if let Some(time) = self.time(directive) {
                        level.delay = time;
                    }
                }
                _ => {}
            }
        }
        if let Some(access) = access {
            level.access = access;
        }
    }

    pub(super) fn who(&mut self, directive: &Directive) -> Option<Who> {
        let text = arg(directive, 0);
        match (text, network(text)) {
            ("all", _) => Some(Who::All),
            ("unix:", _) => Some(Who::Unix),
            (_, Some(network)) => Some(Who::Network(network)),
            (_, None) => {
                let message = format!("invalid parameter \"{text}\"");
                self.wrong(directive, message, "write an address, a network or `all`");
                None
            }
        }
    }

    /// `limit_except GET … { … }`: what holds for the methods that are not named.
    pub(super) fn limit_except(
        &mut self,
        directive: &Directive,
        around: &Around<'_>,
    ) -> Option<LimitExcept> {
        const METHODS: [&str; 14] = [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "MKCOL",
            "COPY",
            "MOVE",
            "OPTIONS",
            "PROPFIND",
            "PROPPATCH",
            "LOCK",
            "UNLOCK",
            "PATCH",
        ];
        let mut methods = Vec::new();
        for word in &directive.args {
            let method = word.text.to_ascii_uppercase();
            if !METHODS.contains(&method.as_str()) {
                let message = format!("invalid method \"{}\"", word.text);
                self.wrong(directive, message, "");
                return None;
            }
            if method == "GET" {
                methods.push("HEAD".to_owned());
            }
            methods.push(method);
        }
        let block = directive.block.as_deref().unwrap_or_default();
        let rules = self.overlaid(around, block);
        Some(LimitExcept { methods, rules })
    }
}
