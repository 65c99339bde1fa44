//! `valid_referers`.
//!
//! Not here: looking at a request (`access::referer`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::Builder;
use crate::access::referer::Referers;
use crate::config::model::HostPattern;

/// What a block hands down about them.
#[derive(Debug, Clone, Default)]
pub(super) struct RefererLevel {
    pub(super) list: Option<Arc<Referers>>,
    /// The names of the server around it.
    pub(super) names: Vec<HostPattern>,
}

impl Builder<'_> {
    pub(super) fn apply_referers(&mut self, level: &mut RefererLevel, block: &[Directive]) {
        let named = || block.iter().filter(|one| one.name.text == "valid_referers");
        let Some(first) = named().next() else { return };
        let mut list = Referers::default();
        for directive in named() {
            for word in &directive.args {
                match word.text.as_str() {
                    "none" => list.none = true,
                    "blocked" => list.blocked = true,
                    "" => self.wrong(directive, "invalid referer \"\"", ""),
                    "server_names" => {
                        let names = level.names.iter().cloned();
                        list.hosts.extend(names.map(|name| (name, String::new())));
                    }
                    text => self.referer(directive, text, &mut list),
                }
            }
        }
        if list.hosts.is_empty() && list.regexes.is_empty() {
            let message = "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any valid referer";
            self.wrong(first, message, "name the hosts whose pages may link here");
        }
        level.list = Some(Arc::new(list));
    }

    /// `host[/path]` with a star at either end, or `~expression`.
    fn referer(&mut self, directive: &Directive, text: &str, list: &mut Referers) {
        if let Some(source) = text.strip_prefix('~') {
            list.regexes.extend(self.pattern(directive, source, true));
            return;
        }
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let mut names = Vec::new();
        self.server_name(directive, host, &mut names);
        let names = names.into_iter().map(|name| (name, path.to_owned()));
        list.hosts.extend(names);
    }
}
