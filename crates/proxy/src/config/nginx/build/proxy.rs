//! `proxy_pass` and the `proxy_…` directives around it, some of which other protocols have as well.
//!
//! Not here: `upstream` blocks (`upstream`), or forwarding.

use std::time::Duration;

use trine_config::Place;

use super::super::tree::Directive;
use super::cache::CacheLevel;
use super::dial::DialLevel;
use super::family::Family;
use super::gateway::GatewayLevel;
use super::spool::BufferLevel;
use super::store::StoreLevel;
use super::upstream::peer_address;
use super::{Builder, arg, is_on, place};
use crate::config::model::{
    KeepAlive, Matcher, NEXT_STATUSES, NextUpstream, Outgoing, PeerAddr, Protocol, ProxyPass,
    ProxyTarget, Rebase, RedirectRule, RequestFields, Shaping, Upstream,
};
use crate::template::Template;

/// What a block hands down about proxying.
#[derive(Clone)]
pub(super) struct ProxyLevel {
    family: Family,
    fields: Vec<(String, Template)>,
    hidden: Vec<String>,
    shown: Vec<String>,
    redirects: Redirects,
    connect_timeout: Duration,
    send_timeout: Duration,
    read_timeout: Duration,
    intercepts_errors: bool,
    next: NextUpstream,
    shaping: Shaping,
    buffers: BufferLevel,
    cache: CacheLevel,
    store: StoreLevel,
    dial: DialLevel,
    outgoing: Outgoing,
    pub(super) gateway: GatewayLevel,
}

#[derive(Clone)]
enum Redirects {
    Default,
    /// `default` beside others.
    Rules(Vec<Redirect>),
    Off,
}

/// One `proxy_redirect`, as it was typed: what it means depends on the location.
#[derive(Clone)]
enum Redirect {
    Default,
    Pair(Directive),
}

impl ProxyLevel {
    pub(super) fn new(family: Family) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            family,
            fields: Vec::new(),
            hidden: Vec::new(),
            shown: Vec::new(),
            redirects: Redirects::Default,
            connect_timeout: minute,
            send_timeout: minute,
            read_timeout: minute,
            intercepts_errors: false,
            next: NextUpstream::default(),
            shaping: Shaping::default(),
            buffers: BufferLevel::new(),
            cache: CacheLevel::default(),
            store: StoreLevel::new(),
            dial: DialLevel::new(),
            outgoing: Outgoing::default(),
            gateway: GatewayLevel::default(),
        }
    }

    pub(super) fn dial(&self) -> &DialLevel {
        &self.dial
    }

    /// With our own defaults.
    pub(super) fn house(family: Family) -> Self {
        Self {
            buffers: BufferLevel::house(),
            ..Self::new(family)
        }
    }
}

/// Whether a URL asks for TLS.
pub(crate) fn is_https(url: &str) -> bool {
    url.get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// `http://NAME[:PORT][/URI]` or `http://unix:/path[:/URI]`: whom it names, and the rest.
pub(crate) fn split_url(url: &str) -> Option<(&str, Option<&str>)> {
    let scheme = if is_https(url) { 8 } else { 7 };
    let rest = url
        .get(..scheme)
        .filter(|scheme| {
            scheme.eq_ignore_ascii_case("http://") || scheme.eq_ignore_ascii_case("https://")
        })
        .map(|_| &url[scheme..])?;
    if let Some(path) = rest.strip_prefix("unix:") {
        return Some(match path.find(':') {
            Some(colon) => {
                let uri = &path[colon + 1..];
                (&rest[..5 + colon], (!uri.is_empty()).then_some(uri))
            }
            None => (rest, None),
        });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (target, uri) = rest.split_at(end);
    (!target.is_empty()).then(|| (target, (!uri.is_empty()).then_some(uri)))
}

impl Builder<'_> {
    pub(super) fn apply_proxy(&mut self, level: &mut ProxyLevel, block: &[Directive]) {
        let family = level.family;
        self.apply_shaping(&mut level.shaping, family, block);
        self.apply_buffers(&mut level.buffers, family, block);
        let mut fields: Option<Vec<(String, Template)>> = None;
        let mut hidden: Option<Vec<String>> = None;
        let mut shown: Option<Vec<String>> = None;
        let mut rules: Option<Vec<Redirect>> = None;
        for directive in block {
            let first = arg(directive, 0);
            match family.rest_of(directive) {
                "set_header" => {
                    let value = arg(directive, 1).to_owned();
                    let value = self.template(directive, &value);
                    fields
                        .get_or_insert_default()
                        .push((first.to_owned(), value));
                }
                "hide_header" => {
                    hidden
                        .get_or_insert_default()
                        .push(first.to_ascii_lowercase());
                }
                "pass_header" => {
                    shown
                        .get_or_insert_default()
                        .push(first.to_ascii_lowercase());
                }
                "redirect" => match first {
                    "off" => level.redirects = Redirects::Off,
                    "default" => rules.get_or_insert_default().push(Redirect::Default),
                    _ if directive.args.len() == 2 => {
                        let rule = Redirect::Pair(directive.clone());
                        rules.get_or_insert_default().push(rule);
                    }
                    _ => self.wrong(
                        directive,
                        format!("invalid parameter \"{first}\""),
                        "write default, off, or what is replaced and by what",
                    ),
                },
                "bind" | "socket_keepalive" => {
                    self.apply_outgoing(&mut level.outgoing, family, directive);
                }
                "connect_timeout" => self.patience(directive, &mut level.connect_timeout),
                "send_timeout" => self.patience(directive, &mut level.send_timeout),
                "read_timeout" => self.patience(directive, &mut level.read_timeout),
                "next_upstream" => self.next_upstream(directive, &mut level.next),
                "next_upstream_tries" => match first.parse() {
                    Ok(tries) => level.next.tries = tries,
                    Err(_) => self.invalid_number(directive),
                },
                "next_upstream_timeout" => self.patience(directive, &mut level.next.within),
                "intercept_errors" => level.intercepts_errors = is_on(directive),
                name if name.starts_with("ssl_") => {
                    self.apply_dial(&mut level.dial, family, directive);
                }
                "http_version" if !matches!(first, "1.0" | "1.1") => {
                    let message = format!("invalid value \"{first}\"");
                    self.wrong(directive, message, "HTTP/1.1 is spoken to upstreams");
                }
                _ => {}
            }
        }
        let caches = self.apply_cache(&mut level.cache, family, block);
        let stores = self.apply_store(&mut level.store, family, block);
        self.exclude(level, (caches, stores), block);
        self.apply_gateway(&mut level.gateway, family, block);
        if let Some(fields) = fields {
            level.fields = fields;
        }
        if let Some(hidden) = hidden {
            level.hidden = hidden;
        }
        if let Some(shown) = shown {
            level.shown = shown;
        }
        if let Some(rules) = rules {
            level.redirects = Redirects::Rules(rules);
        }
    }

    /// An answer is either cached or stored: a block that says one of them is done with the other.
    fn exclude(&mut self, level: &mut ProxyLevel, own: (bool, bool), block: &[Directive]) {
        let prefix = level.family.prefix();
        match own {
            (false, false) => {}
            (true, false) => level.store.clear(),
            (false, true) => level.cache.clear(),
            (true, true) => {
                let mut both = block.iter().filter(|one| {
                    matches!(level.family.rest_of(one), "cache" | "store") && arg(one, 0) != "off"
                });
                let last = both.next_back();
                if let Some(directive) = last {
                    let name = level.family.rest_of(directive);
                    let other = if name == "cache" { "store" } else { "cache" };
                    let message = format!(
                        "\"{prefix}{name}\" directive is incompatible with \"{prefix}{other}\""
                    );
                    self.wrong(directive, message, "keep one of them");
                }
            }
        }
    }

    fn patience(&mut self, directive: &Directive, slot: &mut Duration) {
        if let Some(time) = self.time(directive) {
            *slot = time;
        }
    }

    fn next_upstream(&mut self, directive: &Directive, next: &mut NextUpstream) {
        let NextUpstream { tries, within, .. } = *next;
        let mut new = NextUpstream {
            error: false,
            timeout: false,
            tries,
            within,
            ..NextUpstream::default()
        };
        let mut off = false;
        for word in &directive.args {
            let status = word
                .text
                .strip_prefix("http_")
                .and_then(|status| status.parse::<u16>().ok());
            let bit = NEXT_STATUSES
                .iter()
                .position(|&known| known != 0 && Some(known) == status);
            match word.text.as_str() {
                "error" => new.error = true,
                "timeout" => new.timeout = true,
                "invalid_header" => new.invalid_header = true,
                "non_idempotent" => new.non_idempotent = true,
                // Stale answers are the cache's matter.
                "updating" => {}
                "off" => off = true,
                text => match bit {
                    Some(bit) => new.statuses |= 1 << bit,
                    None => {
                        let message = format!("invalid value \"{text}\"");
                        self.wrong(directive, message, "");
                    }
                },
            }
        }
        if off {
            (new.error, new.timeout, new.invalid_header) = (false, false, false);
            new.statuses = 0;
        }
        *next = new;
    }

    /// `proxy_pass` in a location.
    pub(super) fn proxy_pass(
        &mut self,
        directive: &Directive,
        matcher: &Matcher,
        level: &ProxyLevel,
    ) -> Option<ProxyPass> {
        let url = arg(directive, 0);
        if url.contains('$') {
            let url = url.to_owned();
            let target = self.template(directive, &url);
            let redirects = self.redirects(level, None);
            let mut pass = self.pass(level, ProxyTarget::Dynamic(target), Rebase::Keep, redirects);
            let lower = url.to_ascii_lowercase();
            if !lower.starts_with("http://") {
                let always = lower.starts_with("https://");
                pass.tls = self.pass_tls(directive, &level.dial, always);
            }
            return Some(pass);
        }
        let secure = is_https(url);
        let port = if secure { 443 } else { 80 };
        let Some((target, uri)) = split_url(url) else {
            let help = "write http://HOST:PORT, http://UPSTREAM or http://unix:/path";
            self.wrong(directive, "invalid URL prefix", help);
            return None;
        };
        let index = self.group(directive, target, port)?;
        let path = matcher.path();
        let rebase = match uri {
            None => Rebase::Keep,
            Some(_) if matches!(matcher, Matcher::Regex(_) | Matcher::Named) => {
                let message = "\"proxy_pass\" cannot have URI part in location given by regular expression, \
                     or inside named location, or inside \"if\" statement, or inside \"limit_except\" block";
                self.wrong(directive, message, "");
                return None;
            }
            Some(uri) => Rebase::Replace {
                with: uri.to_owned(),
                strip: path.len(),
            },
        };
        let from = match uri {
            Some(_) => url.to_owned(),
            None => format!("{url}{path}"),
        };
        let default = (!path.is_empty()).then(|| RedirectRule::Prefix {
            from: Template::literal(from),
            to: Template::literal(path),
        });
        let redirects = self.redirects(level, default);
        let mut pass = self.pass(level, ProxyTarget::Group(index), rebase, redirects);
        pass.port = port;
        if secure {
            pass.tls = self.pass_tls(directive, &level.dial, true);
        }
        if target.starts_with("unix:") {
            "localhost".clone_into(&mut pass.host);
        } else {
            target.clone_into(&mut pass.host);
            if let Some((_, port)) = target.rsplit_once(':') {
                pass.port = port.parse().unwrap_or(pass.port);
            }
        }
        Some(pass)
    }

    pub(super) fn pass(
        &mut self,
        level: &ProxyLevel,
        target: ProxyTarget,
        rebase: Rebase,
        redirects: Vec<RedirectRule>,
    ) -> ProxyPass {
        let mut fields = level.fields.clone();
        let has_host = fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !has_host && let Ok(host) = Template::parse("$proxy_host", &self.names) {
            fields.insert(0, ("Host".to_owned(), host));
        }
        ProxyPass {
            protocol: Protocol::Http1,
            names: None,
            outgoing: Outgoing {
                patient: self.is_house(),
                ..level.outgoing.clone()
            },
            target,
            rebase,
            host: String::new(),
            port: 80,
            tls: None,
            fields: RequestFields::Set(fields),
            gateway: None,
            hidden: level.hidden.clone(),
            shown: level.shown.clone(),
            redirects,
            connect_timeout: level.connect_timeout,
            send_timeout: level.send_timeout,
            read_timeout: level.read_timeout,
            total_timeout: None,
            next: level.next,
            intercepts_errors: level.intercepts_errors,
            shaping: level.shaping.clone(),
            store: level.store.rules(),
            cache: self.cache_rules(&level.cache, level.family),
            buffers: self.buffers(&level.buffers),
        }
    }

    /// What only YAML files say of proxying.
    pub(super) fn own_words(&mut self, mut pass: ProxyPass, block: &[Directive]) -> ProxyPass {
        for directive in block {
            match directive.name.text.as_str() {
                "trine_forwarded" => {
                    pass.fields = RequestFields::Forwarded;
                    pass.redirects.clear();
                }
                "trine_total_timeout" => pass.total_timeout = self.time(directive),
                _ => {}
            }
        }
        pass
    }

    /// The upstream of that name; an address is an upstream of its own.
    pub(super) fn group(
        &mut self,
        directive: &Directive,
        target: &str,
        port: u16,
    ) -> Option<usize> {
        // The same address without a port is another one with TLS.
        let fits = |upstream: &Upstream| {
            upstream.name == target
                && upstream.stream.is_none()
                && (!upstream.implicit || upstream.port == port)
        };
        let known = self.upstreams.iter().position(fits);
        if known.is_some() {
            return known;
        }
        let Some(peer) = peer_address(target, port) else {
            let message = format!("invalid host in upstream \"{target}\"");
            self.wrong(directive, message, "");
            return None;
        };
        let mut keepalive = KeepAlive::default();
        if self.is_house() {
            keepalive.count = 64;
        }
        let mut upstream = Upstream {
            port,
            ..Upstream::single(target, peer, keepalive)
        };
        let server = &mut upstream.servers[0];
        server.at = place(directive);
        server.resolve = self.is_house() && matches!(server.addr, PeerAddr::Name(..));
        self.upstreams.push(upstream);
        Some(self.upstreams.len() - 1)
    }

    fn redirects(
        &mut self,
        level: &ProxyLevel,
        default: Option<RedirectRule>,
    ) -> Vec<RedirectRule> {
        let list = match &level.redirects {
            Redirects::Off => return Vec::new(),
            Redirects::Default => return default.into_iter().collect(),
            Redirects::Rules(list) => list.clone(),
        };
        let mut default = default;
        let mut rules = Vec::new();
        for redirect in list {
            match redirect {
                Redirect::Default => rules.extend(default.take()),
                Redirect::Pair(directive) => {
                    let (from, to) = (arg(&directive, 0), arg(&directive, 1));
                    let to = self.template(&directive, to);
                    let rule = if let Some(source) = from.strip_prefix('~') {
                        let caseless = source.starts_with('*');
                        let source = source.trim_start_matches('*');
                        let pattern = self.pattern(&directive, source, caseless);
                        pattern.map(|from| RedirectRule::Regex { from, to })
                    } else {
                        let from = self.template(&directive, from);
                        Some(RedirectRule::Prefix { from, to })
                    };
                    rules.extend(rule);
                }
            }
        }
        rules
    }

    /// A named location that somebody goes to has to be there.
    pub(super) fn missing_named(&mut self, at: &Place, name: &str) {
        self.problems.push(
            at.clone(),
            format!("could not find named location \"@{name}\""),
            "",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |url: &str, want: &str| {
            let got = split_url(url).map_or("none".to_owned(), |(target, uri)| {
                format!("{target} {}", uri.unwrap_or("-"))
            });
            assert_eq!(got, want, "{url}");
        };
        check("http://app", "app -");
        check("http://app:8000/", "app:8000 /");
        check("HTTP://app/a?b", "app /a?b");
        check("http://unix:/run/a.sock", "unix:/run/a.sock -");
        check("http://unix:/run/a.sock:", "unix:/run/a.sock -");
        check("http://unix:/run/a.sock:/x", "unix:/run/a.sock /x");
        check("http://", "none");
        check("app:8000", "none");
        check("https://app", "app -");
        check("https://app:8443/a", "app:8443 /a");
        check("ftp://app", "none");
    }
}
