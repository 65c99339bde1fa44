//! `server` blocks: names and what holds where no location does.
//!
//! Not here: `listen` (`listen`) and locations (`location`).

use super::super::tree::Directive;
use super::level::Level;
use super::{Builder, place};
use crate::config::model::{HostPattern, Location, Locations, Server};

impl Builder<'_> {
    pub(super) fn server(&mut self, directive: &Directive, http: &Level) {
        let block = directive.block.as_deref().unwrap_or_default();
        let number = self.servers.len();
        let mut level = http.clone();
        let mut names = Vec::new();
        let mut name = None;
        let mut listens = false;
        for inner in block {
            match inner.name.text.as_str() {
                "server_name" => {
                    for word in &inner.args {
                        name.get_or_insert_with(|| word.text.trim_start_matches('.').to_owned());
                        self.server_name(inner, &word.text, &mut names);
                    }
                }
                "listen" => {
                    listens = true;
                    self.listen(inner, number);
                }
                _ => {}
            }
        }
        level.referers.names.clone_from(&names);
        self.apply(&mut level, block);
        if !listens {
            self.default_listen(directive, number);
        }
        self.check_tls(directive, &level.tls);
        // A server without a name answers requests without one.
        if names.is_empty() {
            names.push(HostPattern::Exact(String::new()));
        }
        let mut locations = Locations::default();
        let mut named = Vec::new();
        self.locations(block, &level, &mut locations, &mut Some(&mut named), "");
        let script = self.script(block, None);
        let rules = self.server_rules(block, &level);
        self.find_named(block, &named);
        let quota = self.quota(block);
        self.servers.push(Server {
            at: place(directive),
            names,
            name: name.unwrap_or_default(),
            rules,
            script,
            locations,
            named,
            field_names: level.field_names,
            merge_slashes: level.merge_slashes,
            real_ip: Some(level.real_ip),
            timeouts: level.timeouts,
            heads: level.heads.limits(),
            tls: level.tls.rules(),
            http2: level.http2,
            quota,
        });
    }

    pub(super) fn server_name(
        &mut self,
        directive: &Directive,
        text: &str,
        names: &mut Vec<HostPattern>,
    ) {
        if let Some(source) = text.strip_prefix('~') {
            if let Some(pattern) = self.pattern(directive, source, true) {
                names.push(HostPattern::Regex(pattern));
            }
            return;
        }
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
        let lower = if text == "$hostname" {
            let host = nix::unistd::gethostname().unwrap_or_default();
            host.to_string_lossy().to_ascii_lowercase()
        } else {
            lower
        };
        if let Some(rest) = lower.strip_prefix("*.") {
            names.push(HostPattern::Suffix(format!(".{rest}")));
        } else if let Some(rest) = lower.strip_prefix('.') {
            names.push(HostPattern::Exact(rest.to_owned()));
            names.push(HostPattern::Suffix(format!(".{rest}")));
        } else if let Some(rest) = lower.strip_suffix('*').filter(|rest| rest.ends_with('.')) {
            names.push(HostPattern::Prefix(rest.to_owned()));
        } else if lower.contains('*') || lower.contains('/') {
            let message = format!("invalid server name or wildcard \"{text}\"");
            let help = "a star stands for whole labels, at the beginning or the end";
            self.wrong(directive, message, help);
        } else {
            names.push(HostPattern::Exact(lower));
        }
    }

    /// Every `@name` that the server's directives go to has to be one of its locations.
    fn find_named(&mut self, block: &[Directive], named: &[(String, Location)]) {
        for directive in block {
            let last = directive.args.last().map(|word| word.text.as_str());
            let goes = matches!(directive.name.text.as_str(), "error_page" | "try_files");
            if goes
                && let Some(name) = last.and_then(|last| last.strip_prefix('@'))
                && !named.iter().any(|(known, _)| known == name)
            {
                self.missing_named(&directive.at, name);
            }
            if let Some(block) = &directive.block {
                self.find_named(block, named);
            }
        }
    }
}
