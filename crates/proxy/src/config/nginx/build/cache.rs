//! `proxy_cache` and the directives around it. Not here: the cache itself (`cache`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::family::Family;
use super::{Builder, arg, is_on};
use crate::cache::Zone;
use crate::cache::disk::{Bounds, Disk};
use crate::config::model::{CacheRules, Stale};
use crate::template::Template;

/// A zone is at least this large, as in nginx.
const SMALLEST: u64 = 8 * 4096;
/// nginx's `inactive`, and its `proxy_cache_lock_timeout` and `_age`.
const INACTIVE: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(5);
/// Without `max_size` nginx fills the disk; this much is enough for a site and too little to stop a server.
const MOST_ON_DISK: u64 = 10 << 30;

/// What stands at most once in a block.
const ONCE: [&str; 14] = [
    "cache",
    "cache_key",
    "cache_use_stale",
    "cache_lock",
    "cache_lock_timeout",
    "cache_lock_age",
    "cache_background_update",
    "cache_revalidate",
    "cache_convert_head",
    "cache_max_range_offset",
    "cache_min_uses",
    "cache_methods",
    "cache_heed_requests",
    "cache_heuristics",
];
/// Fields by which some applications answer another request than the one that the key tells of; whoever sends them could have
/// the answer kept for others.
const UNKEYED: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// What a block hands down about caching.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheLevel {
    /// The zone's index, and whether there is none on purpose.
    zone: Option<usize>,
    key: Option<Template>,
    valid: Vec<(Option<Vec<u16>>, u64)>,
    bypass: Vec<Template>,
    no_store: Vec<Template>,
    stale: Stale,
    lock: bool,
    lock_timeout: Option<Duration>,
    lock_age: Option<Duration>,
    purge: Vec<Template>,
    in_background: bool,
    no_validation: bool,
    keeps_head: bool,
    range_offset: Option<u64>,
    min_uses: u32,
    ignored: Vec<String>,
    heeds_requests: bool,
    guesses: bool,
}

impl CacheLevel {
    /// Another directive excludes it.
    pub(super) fn clear(&mut self) {
        self.zone = None;
    }
}

impl Builder<'_> {
    /// Returns whether this block has answers cached.
    pub(super) fn apply_cache(
        &mut self,
        level: &mut CacheLevel,
        family: Family,
        block: &[Directive],
    ) -> bool {
        let mut valid = None;
        let mut caches = false;
        let mut bypass: Option<Vec<Template>> = None;
        let mut no_store: Option<Vec<Template>> = None;
        let mut purge: Option<Vec<Template>> = None;
        let mut met: Vec<&str> = Vec::new();
        for directive in block {
            let first = arg(directive, 0);
            let word = family.rest_of(directive);
            if ONCE.contains(&word) && met.contains(&word) {
                let message = format!("\"{}\" directive is duplicate", directive.name.text);
                self.wrong(directive, message, "");
                continue;
            }
            met.push(word);
            match word {
                "cache" if first == "off" => level.zone = None,
                "cache" => {
                    caches = true;
                    level.zone = self.caches.iter().position(|zone| zone.name == first);
                    if level.zone.is_none() {
                        let name = &directive.name.text;
                        let message = format!("\"{name}\" zone \"{first}\" is unknown");
                        self.wrong(directive, message, &format!("define it by `{name}_path`"));
                    }
                }
                "cache_key" => {
                    let text = first.to_owned();
                    level.key = Some(self.template(directive, &text));
                }
                "cache_valid" => {
                    if let Some(rule) = self.cache_valid(directive) {
                        valid.get_or_insert_with(Vec::new).push(rule);
                    }
                }
                "cache_bypass" => {
                    let own = self.templates(directive);
                    bypass.get_or_insert_default().extend(own);
                }
                "no_cache" => {
                    let own = self.templates(directive);
                    no_store.get_or_insert_default().extend(own);
                }
                "cache_use_stale" => level.stale = self.cache_stale(directive),
                "cache_lock" => level.lock = is_on(directive),
                "cache_lock_timeout" => level.lock_timeout = self.time(directive),
                "cache_lock_age" => level.lock_age = self.time(directive),
                "cache_background_update" => level.in_background = is_on(directive),
                "cache_revalidate" => level.no_validation = !is_on(directive),
                "cache_heed_requests" => level.heeds_requests = is_on(directive),
                "cache_heuristics" => level.guesses = is_on(directive),
                "cache_convert_head" => level.keeps_head = !is_on(directive),
                "cache_max_range_offset" => match units::size(first) {
                    Some(bytes) => level.range_offset = Some(bytes),
                    None => self.invalid(directive),
                },
                "cache_purge" => {
                    let own = self.templates(directive);
                    purge.get_or_insert_default().extend(own);
                }
                "cache_min_uses" => match first.parse() {
                    Ok(number) => level.min_uses = number,
                    Err(_) => self.invalid(directive),
                },
                "ignore_headers" => {
                    level.ignored = directive
                        .args
                        .iter()
                        .map(|word| word.text.to_ascii_lowercase())
                        .collect();
                }
                "cache_methods" => {
                    let others = directive
                        .args
                        .iter()
                        .find(|word| !matches!(word.text.as_str(), "GET" | "HEAD"));
                    if let Some(other) = others {
                        let message = format!("answers to {} are not kept", other.text);
                        self.wrong(directive, message, "leave GET and HEAD");
                    }
                }
                _ => {}
            }
        }
        if let Some(valid) = valid {
            level.valid = valid;
        }
        if let Some(bypass) = bypass {
            level.bypass = bypass;
        }
        if let Some(no_store) = no_store {
            level.no_store = no_store;
        }
        if let Some(purge) = purge {
            level.purge = purge;
        }
        caches
    }

    fn templates(&mut self, directive: &Directive) -> Vec<Template> {
        directive
            .args
            .iter()
            .map(|word| self.template(directive, &word.text))
            .collect()
    }

    /// What holds for a location that forwards.
    pub(super) fn cache_rules(
        &self,
        level: &CacheLevel,
        family: Family,
    ) -> Option<Arc<CacheRules>> {
        let zone = level.zone?;
        let key = level.key.clone().or_else(|| {
            // nginx leaves the host and the port that the client named out of it, and so serves one site's answers to another.
            let key = match family {
                Family::Proxy => "$scheme$proxy_host$host$is_request_port$request_port$request_uri",
                Family::FastCgi | Family::Uwsgi | Family::Scgi => {
                    "$scheme$host$is_request_port$request_port$request_uri"
                }
            };
            Template::parse(key, &self.names).ok()
        })?;
        let parts = key.tells_slice();
        let unkeyed = UNKEYED.into_iter().filter(|name| !key.tells_field(name));
        let unkeyed = unkeyed.collect();
        let ignores = |name: &str| level.ignored.iter().any(|ignored| ignored == name);
        Some(Arc::new(CacheRules {
            zone,
            key,
            unkeyed,
            valid: level.valid.clone(),
            bypass: level.bypass.clone(),
            no_store: level.no_store.clone(),
            stale: level.stale.clone(),
            purge: level.purge.clone(),
            lock_age: level.lock_age.unwrap_or(PATIENCE),
            in_background: level.in_background,
            validates: !level.no_validation,
            // Other protocols tell the method by a variable of the configuration's.
            converts_head: family == Family::Proxy && !level.keeps_head,
            range_offset: level.range_offset,
            lock: level.lock.then(|| level.lock_timeout.unwrap_or(PATIENCE)),
            min_uses: level.min_uses.max(1),
            ignored: level.ignored.clone(),
            policy: trine_cache::Rules {
                guess: level.guesses,
                cookies: ignores("set-cookie"),
                // nginx does not listen to clients about this, and a reload in a browser would go past the cache.
                heed_requests: level.heeds_requests,
                parts,
            },
        }))
    }

    /// `[code …] time`.
    fn cache_valid(&mut self, directive: &Directive) -> Option<(Option<Vec<u16>>, u64)> {
        let (time, codes) = directive.args.split_last()?;
        let Some(time) = units::time(&time.text) else {
            let message = format!("invalid time value \"{}\"", time.text);
            self.wrong(directive, message, "");
            return None;
        };
        let mut statuses = Vec::new();
        for code in codes {
            if code.text == "any" {
                return Some((None, time.as_secs()));
            }
            match code.text.parse() {
                Ok(status @ 100..=599) => statuses.push(status),
                _ => {
                    let message = format!("invalid status \"{}\"", code.text);
                    self.wrong(directive, message, "");
                    return None;
                }
            }
        }
        if statuses.is_empty() {
            statuses = vec![200, 301, 302];
        }
        Some((Some(statuses), time.as_secs()))
    }

    fn cache_stale(&mut self, directive: &Directive) -> Stale {
        let mut stale = Stale::default();
        for word in &directive.args {
            match word.text.as_str() {
                "error" => stale.on_error = true,
                "timeout" => stale.on_timeout = true,
                "updating" => stale.while_updating = true,
                "invalid_header" => stale.on_error = true,
                "off" => return Stale::default(),
                other => {
                    let status = other
                        .strip_prefix("http_")
                        .and_then(|code| code.parse().ok())
                        .filter(|status| matches!(status, 403 | 404 | 429 | 500 | 502..=504));
                    match status {
                        Some(status) => stale.statuses.push(status),
                        None => {
                            let message = format!("invalid value \"{other}\"");
                            self.wrong(directive, message, "");
                        }
                    }
                }
            }
        }
        stale
    }

    /// `proxy_cache_path path keys_zone=name:size [levels=…] [inactive=…] [max_size=…]`.
    pub(super) fn cache_path(&mut self, directive: &Directive) {
        let folder = PathBuf::from(arg(directive, 0));
        let folder = self.prefix.join(folder);
        let mut named = None;
        let mut levels = Vec::new();
        let (mut inactive, mut most, mut least_free) = (INACTIVE, MOST_ON_DISK, 0);
        for word in directive.args.iter().skip(1) {
            let (name, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            let bad = match name {
                "keys_zone" => {
                    named = value
                        .split_once(':')
                        .and_then(|(name, size)| Some((name.to_owned(), units::size(size)?)))
                        .filter(|(name, size)| !name.is_empty() && *size >= SMALLEST);
                    named.is_none()
                }
                "levels" => {
                    let read: Option<Vec<usize>> = value
                        .split(':')
                        .map(|level| level.parse().ok().filter(|level| matches!(level, 1 | 2)))
                        .collect();
                    let read = read.filter(|read| read.len() <= 3);
                    levels = read.clone().unwrap_or_default();
                    read.is_none()
                }
                "inactive" => {
                    let read = units::time(value);
                    inactive = read.unwrap_or(INACTIVE);
                    read.is_none()
                }
                "max_size" => {
                    let read = units::size(value);
                    most = read.unwrap_or(MOST_ON_DISK);
                    read.is_none()
                }
                // How nginx's manager, loader and purger share their work out: there are none here.
                "use_temp_path" | "purger" if !matches!(value, "on" | "off") => true,
                "use_temp_path" | "purger" | "manager_files" | "manager_sleep"
                | "manager_threshold" | "loader_files" | "loader_sleep" | "loader_threshold"
                | "purger_files" | "purger_sleep" | "purger_threshold" => false,
                "min_free" => {
                    let read = units::size(value);
                    least_free = read.unwrap_or(0);
                    read.is_none()
                }
                _ => true,
            };
            if bad {
                let message = format!("invalid \"{name}\" value \"{}\"", word.text);
                return self.wrong(directive, message, "");
            }
        }
        let Some((name, size)) = named else {
            let name = &directive.name.text;
            let message = format!("\"{name}\" must have \"keys_zone\" parameter");
            return self.wrong(directive, message, "write keys_zone=NAME:10m");
        };
        if self.caches.iter().any(|zone| zone.name == name) {
            let message = format!("duplicate zone \"{name}\"");
            return self.wrong(directive, message, "");
        }
        let bounds = Bounds {
            most,
            least_free,
            inactive,
        };
        let disk = Disk::new(folder, levels, bounds);
        let memory = usize::try_from(size).unwrap_or(usize::MAX);
        let zone = Zone::new(name, memory, inactive, Some(Arc::new(disk)));
        self.caches.push(zone);
    }
}
