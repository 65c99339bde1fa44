//! `location` blocks: which paths they hold, and what answers there.
//!
//! Not here: what they are handed from outside (`level`), or proxying (`proxy`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::family::Family;
use super::level::Level;
use super::script::Around;
use super::{Builder, arg, place};
use crate::config::model::{
    Content, Files, Folder, Kinds, Location, Locations, Matcher, Return, ReturnBody, Rules,
    TryFiles, TryLast,
};
use crate::template::Template;

impl Builder<'_> {
    /// The locations of one block. `outer` is the path of the location they are nested in.
    pub(super) fn locations(
        &mut self,
        block: &[Directive],
        level: &Level,
        into: &mut Locations,
        named: &mut Option<&mut Vec<(String, Location)>>,
        outer: &str,
    ) {
        for directive in block {
            if directive.name.text == "location" {
                self.location(directive, level, into, named, outer);
            }
        }
        into.sort();
    }

    fn location(
        &mut self,
        directive: &Directive,
        outside: &Level,
        into: &mut Locations,
        named: &mut Option<&mut Vec<(String, Location)>>,
        outer: &str,
    ) {
        let Some((matcher, name)) = self.matcher(directive) else {
            return;
        };
        let path = matcher.path().to_owned();
        let is_path = !matches!(matcher, Matcher::Regex(_) | Matcher::Named);
        if is_path && !path.starts_with(outer) {
            let message = format!("location \"{path}\" is outside location \"{outer}\"");
            self.wrong(directive, message, "");
        }
        if into
            .plain
            .iter()
            .any(|other| same(&other.matcher, &matcher))
        {
            let message = format!("duplicate location \"{path}\"");
            self.wrong(directive, message, "");
            return;
        }
        let block = directive.block.as_deref().unwrap_or_default();
        let mut level = outside.clone();
        self.apply(&mut level, block);
        let around = Around {
            level: &level,
            block,
            matcher: &matcher,
        };
        let script = self.script(block, Some(&around));
        let except = block.iter().find(|inner| inner.name.text == "limit_except");
        let limit_except = except.and_then(|except| self.limit_except(except, &around));
        let rules = Rules {
            script,
            limit_except,
            ..self.location_rules(block, &level, &matcher)
        };
        let mut nested = Locations::default();
        let inner = if is_path { path.as_str() } else { outer };
        self.locations(block, &level, &mut nested, &mut None, inner);
        self.rules.push(rules);
        let location = Location {
            at: place(directive),
            rules: self.rules.len() - 1,
            nested,
            matcher,
        };
        match (&location.matcher, name) {
            (Matcher::Named, Some(name)) => match named {
                Some(list) if list.iter().any(|(known, _)| *known == name) => {
                    self.wrong(directive, format!("duplicate location \"@{name}\""), "");
                }
                Some(list) => list.push((name, location)),
                None => {
                    let message =
                        format!("named location \"@{name}\" can be on the server level only");
                    self.wrong(directive, message, "");
                }
            },
            (Matcher::Regex(_), _) => into.regexes.push(location),
            _ => into.plain.push(location),
        }
    }

    /// Which paths, from `[= | ^~ | ~ | ~*] uri` or `@name`.
    fn matcher(&mut self, directive: &Directive) -> Option<(Matcher, Option<String>)> {
        let (kind, text) = match directive.args.as_slice() {
            [one] if self.own.is_some() => ("", one.text.as_str()),
            [one] => split_kind(&one.text),
            [kind, text] => (kind.text.as_str(), text.text.as_str()),
            _ => return None,
        };
        let prefix = |stops| Matcher::Prefix {
            path: text.to_owned(),
            stops,
        };
        Some(match kind {
            "" => match text.strip_prefix('@') {
                Some(name) => return Some((Matcher::Named, Some(name.to_owned()))),
                None => (prefix(false), None),
            },
            "below" if self.own.is_some() => (Matcher::Below(text.to_owned()), None),
            "=" => (Matcher::Exact(text.to_owned()), None),
            "^~" => (prefix(true), None),
            "~" => (Matcher::Regex(self.pattern(directive, text, false)?), None),
            "~*" => (Matcher::Regex(self.pattern(directive, text, true)?), None),
            other => {
                let message = format!("invalid location modifier \"{other}\"");
                self.wrong(directive, message, "it is one of = ^~ ~ ~*");
                return None;
            }
        })
    }

    /// What holds in a server where no location does: its files.
    pub(super) fn server_rules(&mut self, block: &[Directive], level: &Level) -> usize {
        let matcher = Matcher::Prefix {
            path: String::new(),
            stops: false,
        };
        let only: Vec<_> = block
            .iter()
            .filter(|directive| matches!(directive.name.text.as_str(), "try_files" | "stub_status"))
            .cloned()
            .collect();
        let rules = self.location_rules(&only, level, &matcher);
        self.rules.push(rules);
        self.rules.len() - 1
    }

    pub(super) fn location_rules(
        &mut self,
        block: &[Directive],
        level: &Level,
        matcher: &Matcher,
    ) -> Rules {
        let mut folder = Folder::Root(level.root.clone());
        let mut rules = Rules {
            max_body: level.max_body,
            bodies: self.bodies(&level.bodies),
            timeouts: Some(level.timeouts),
            access: level.guard.access.clone(),
            satisfy_any: level.guard.satisfy_any,
            auth: level.guard.auth(),
            auth_delay: level.guard.delay,
            auth_request: level.sub.auth_request(),
            mirror: level.sub.mirror(),
            secure_link: level.sub.secure_link(),
            slice: level.sub.slice,
            referers: level.referers.list.clone(),
            limit_requests: level.limits.requests(),
            limit_connections: level.limits.connections(),
            rate: level.limits.rate(),
            error_pages: level.error_pages.clone(),
            chunks: level.chunks,
            recursive_errors: level.recursive_errors,
            headers: level.headers.clone(),
            trailers: level.trailers.clone(),
            early_hints: level.early_hints.clone(),
            expires: level.expires.clone(),
            replace: level.replace.rules(),
            additions: level.replace.additions(),
            compression: level.compression.rules().map(Arc::new),
            via: level.via.clone(),
            signature: level.signature.clone(),
            logs: level.logs.clone(),
            log_not_found: level.log_not_found,
            redirects: level.redirects,
            kinds: self.shared_kinds(level),
            charset: level.charset_from.clone(),
            script_name: level.pass(Family::FastCgi).gateway.script_name(),
            ..Rules::empty()
        };
        let mut content = None;
        for directive in block {
            match directive.name.text.as_str() {
                "internal" => rules.internal = true,
                "trine_files" => {
                    let root = arg(directive, 0).as_bytes().to_vec();
                    content = Some(Content::Files(Files {
                        folder: Folder::Alias {
                            folder: Template::literal(root),
                            strip: matcher.path().len(),
                        },
                        index: level.index.clone(),
                        index_redirects: false,
                        hides: true,
                        random_index: level.files.random_index(),
                        listing: level.files.listing(),
                        how: level.files.how(&level.compression),
                    }));
                }
                "alias" => folder = self.alias(directive, matcher),
                "try_files" => rules.try_files = self.try_files(directive),
                "stub_status" => content = Some(Content::Status),
                "proxy_pass" => {
                    let pass = self.proxy_pass(directive, matcher, level.pass(Family::Proxy));
                    let pass = pass.map(|pass| self.own_words(pass, block));
                    self.check_health(pass.as_ref(), block);
                    content = pass.map(|pass| level.resolving(pass));
                }
                "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" => {
                    let family = match directive.name.text.as_str() {
                        "fastcgi_pass" => Family::FastCgi,
                        "uwsgi_pass" => Family::Uwsgi,
                        _ => Family::Scgi,
                    };
                    let pass = self.gateway_pass(directive, family, level.pass(family));
                    self.check_health(pass.as_ref(), block);
                    content = pass.map(|pass| level.resolving(pass));
                }
                _ => {}
            }
        }
        let files = Files {
            folder,
            index: level.index.clone(),
            index_redirects: true,
            hides: self.is_house(),
            random_index: level.files.random_index(),
            listing: level.files.listing(),
            how: level.files.how(&level.compression),
        };
        let has_folder =
            level.has_root || matches!(files.folder, Folder::Alias { .. } | Folder::Whole(_));
        match content {
            Some(content) => {
                rules.content = content;
                rules.fallback_files = Some(files);
            }
            None if has_folder => rules.content = Content::Files(files),
            None => rules.content = Content::Nothing,
        }
        rules
    }

    /// Types are shared by all locations that have the same.
    fn shared_kinds(&self, level: &Level) -> Arc<Kinds> {
        let kinds = level.kinds();
        let known = self.rules.last().map(|rules| &rules.kinds);
        match known {
            Some(known) if **known == *kinds => Arc::clone(known),
            _ => kinds,
        }
    }

    fn alias(&mut self, directive: &Directive, matcher: &Matcher) -> Folder {
        let text = arg(directive, 0).to_owned();
        let folder = self.path_template(directive, &text);
        match matcher {
            Matcher::Regex(_) => Folder::Whole(folder),
            Matcher::Named => {
                let message = "the \"alias\" directive cannot be used inside the named location";
                self.wrong(directive, message, "use `root`");
                Folder::Root(folder)
            }
            _ => Folder::Alias {
                folder,
                strip: matcher.path().len(),
            },
        }
    }

    /// `return code [text | URL]`, or `return URL`.
    pub(super) fn fixed(&mut self, directive: &Directive) -> Option<Return> {
        let first = arg(directive, 0).to_owned();
        let second = directive.args.get(1).map(|word| word.text.clone());
        let is_url = |text: &str| {
            ["http://", "https://", "$scheme"]
                .iter()
                .any(|start| text.starts_with(start))
        };
        if second.is_none() && is_url(&first) {
            return Some(Return {
                status: 302,
                body: ReturnBody::Location(self.template(directive, &first)),
            });
        }
        let status = match first.parse() {
            Ok(status @ 0..=999) => status,
            _ => {
                let message = format!("invalid return code \"{first}\"");
                self.wrong(directive, message, "");
                return None;
            }
        };
        let body = match second {
            // No page of ours stands for what is no error; a text that is empty stands for none.
            None if matches!(status, 200..=203 | 205..=299) => {
                ReturnBody::Text(Template::default())
            }
            Some(text) if text.is_empty() && status >= 400 => ReturnBody::None,
            None => ReturnBody::None,
            Some(text) => {
                let template = self.template(directive, &text);
                if matches!(status, 301 | 302 | 303 | 307 | 308) {
                    ReturnBody::Location(template)
                } else {
                    ReturnBody::Text(template)
                }
            }
        };
        Some(Return { status, body })
    }

    fn try_files(&mut self, directive: &Directive) -> Option<TryFiles> {
        let (last, paths) = directive.args.split_last()?;
        let paths = paths.iter().map(|word| word.text.clone());
        let paths: Vec<String> = paths.collect();
        let paths = paths
            .iter()
            .map(|path| match path.strip_suffix('/') {
                Some(folder) => (self.template(directive, folder), true),
                None => (self.template(directive, path), false),
            })
            .collect();
        let last = if let Some(name) = last.text.strip_prefix('@') {
            TryLast::Named(name.to_owned())
        } else if let Some(status) = last.text.strip_prefix('=') {
            match status.parse() {
                Ok(status @ 0..=999) => TryLast::Status(status),
                _ => {
                    self.wrong(directive, format!("invalid code \"{status}\""), "");
                    return None;
                }
            }
        } else {
            TryLast::Uri(self.template(directive, &last.text))
        };
        Some(TryFiles { paths, last })
    }
}

pub(crate) fn split_kind(text: &str) -> (&str, &str) {
    for kind in ["^~", "~*", "~", "="] {
        if let Some(rest) = text.strip_prefix(kind) {
            return (kind, rest);
        }
    }
    ("", text)
}

fn same(one: &Matcher, other: &Matcher) -> bool {
    match (one, other) {
        (Matcher::Exact(one), Matcher::Exact(other)) => one == other,
        (Matcher::Prefix { path: one, .. }, Matcher::Prefix { path: other, .. }) => one == other,
        _ => false,
    }
}
