//! `limit_req`, `limit_conn`, `limit_rate` and the zones that they count in.
//!
//! Not here: counting (`limit`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg, is_on};
use crate::config::model::{ConnectionLimits, RateLimit, RequestLimits};
use crate::limit::zone::{Key, Kind, Zone};
use crate::limit::{LogLevel, bucket, connections};
use crate::template::Template;

/// A zone has at least eight pages.
const SMALLEST_ZONE: u64 = 8 * 4096;

/// What a block hands down about limits.
#[derive(Debug, Clone)]
pub(super) struct LimitLevel {
    requests: RequestLimits,
    connections: ConnectionLimits,
    rate: Option<Template>,
    after: Option<Template>,
}

impl LimitLevel {
    pub(super) fn new() -> Self {
        Self {
            requests: RequestLimits {
                limits: Vec::new(),
                status: 503,
                level: LogLevel::Error,
                dry_run: false,
            },
            connections: ConnectionLimits {
                limits: Vec::new(),
                status: 503,
                level: LogLevel::Error,
                dry_run: false,
            },
            rate: None,
            after: None,
        }
    }

    pub(super) fn requests(&self) -> Option<Arc<RequestLimits>> {
        let any = !self.requests.limits.is_empty();
        any.then(|| Arc::new(self.requests.clone()))
    }

    pub(super) fn connections(&self) -> Option<Arc<ConnectionLimits>> {
        let any = !self.connections.limits.is_empty();
        any.then(|| Arc::new(self.connections.clone()))
    }

    pub(super) fn rate(&self) -> Option<Arc<RateLimit>> {
        (self.rate.is_some() || self.after.is_some()).then(|| {
            Arc::new(RateLimit {
                rate: self.rate.clone().unwrap_or_default(),
                after: self.after.clone().unwrap_or_default(),
            })
        })
    }
}

impl Builder<'_> {
    pub(super) fn apply_limits(&mut self, level: &mut LimitLevel, block: &[Directive]) {
        let mut requests: Option<Vec<bucket::Limit>> = None;
        let mut connections: Option<Vec<connections::Limit>> = None;
        for directive in block {
            match directive.name.text.as_str() {
                "limit_req" => {
                    let own = requests.get_or_insert_default();
                    if let Some(limit) = self.limit_req(directive) {
                        if own.iter().any(|other| other.zone == limit.zone) {
                            self.wrong(directive, "\"limit_req\" directive is duplicate", "");
                        }
                        own.push(limit);
                    }
                }
                "limit_req_status" => self.limit_status(directive, &mut level.requests.status),
                "limit_req_log_level" => self.limit_level(directive, &mut level.requests.level),
                "limit_req_dry_run" => level.requests.dry_run = is_on(directive),
                "limit_conn" => {
                    let own = connections.get_or_insert_default();
                    if let Some(limit) = self.limit_conn(directive, false) {
                        if own.iter().any(|other| other.zone == limit.zone) {
                            self.wrong(directive, "\"limit_conn\" directive is duplicate", "");
                        }
                        own.push(limit);
                    }
                }
                "limit_conn_status" => self.limit_status(directive, &mut level.connections.status),
                "limit_conn_log_level" => self.limit_level(directive, &mut level.connections.level),
                "limit_conn_dry_run" => level.connections.dry_run = is_on(directive),
                "limit_rate" => level.rate = self.size_template(directive),
                "limit_rate_after" => level.after = self.size_template(directive),
                _ => {}
            }
        }
        if let Some(requests) = requests {
            level.requests.limits = requests;
        }
        if let Some(connections) = connections {
            level.connections.limits = connections;
        }
    }

    fn limit_status(&mut self, directive: &Directive, slot: &mut u16) {
        match arg(directive, 0).parse::<u16>() {
            Ok(status @ 400..=599) => *slot = status,
            Ok(_) => self.wrong(directive, "value must be between 400 and 599", ""),
            Err(_) => self.wrong(directive, "invalid number", ""),
        }
    }

    pub(super) fn limit_level(&mut self, directive: &Directive, slot: &mut LogLevel) {
        *slot = match arg(directive, 0) {
            "info" => LogLevel::Info,
            "notice" => LogLevel::Notice,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            other => {
                let message = format!("invalid value \"{other}\"");
                return self.wrong(directive, message, "it is one of info, notice, warn, error");
            }
        };
    }

    /// A size that may come from a variable.
    pub(super) fn size_template(&mut self, directive: &Directive) -> Option<Template> {
        let text = arg(directive, 0).to_owned();
        if !text.contains('$') && units::size(&text).is_none() {
            self.invalid(directive);
            return None;
        }
        Some(self.template(directive, &text))
    }

    /// `limit_req_zone key zone=name:size rate=N`, `limit_conn_zone key zone=name:size`.
    pub(super) fn zone(
        &mut self,
        directive: &Directive,
        key: impl Fn(&mut Self, &Directive, &str) -> Key,
    ) {
        let counts_requests = directive.name.text == "limit_req_zone";
        let mut named = None;
        let mut rate = 1000;
        for word in directive.args.iter().skip(1) {
            if let Some(text) = word.text.strip_prefix("zone=") {
                named = self.zone_size(directive, &word.text, text);
                if named.is_none() {
                    return;
                }
            } else if let Some(text) = word.text.strip_prefix("rate=").filter(|_| counts_requests) {
                let (text, scale) = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
                    (Some(number), _) => (number, 1),
                    (None, Some(number)) => (number, 60),
                    (None, None) => (text, 1),
                };
                match text.parse::<u32>() {
                    Ok(number) if number > 0 => rate = u64::from(number) * 1000 / scale,
                    _ => {
                        let message = format!("invalid rate \"{}\"", word.text);
                        return self.wrong(directive, message, "write one such as rate=10r/s");
                    }
                }
            } else if word.text != "sync" {
                let message = format!("invalid parameter \"{}\"", word.text);
                return self.wrong(directive, message, "");
            }
        }
        let Some((name, size)) = named else {
            let message = format!("\"{}\" must have \"zone\" parameter", directive.name.text);
            return self.wrong(directive, message, "");
        };
        if let Some(other) = self.zones.iter().find(|zone| zone.name == name) {
            let same = matches!(other.kind, Kind::Requests { .. }) == counts_requests;
            let message = if same {
                format!(
                    "{} \"{name}\" is already bound to key \"{}\"",
                    directive.name.text, other.key_text
                )
            } else {
                format!("the shared memory zone \"{name}\" is already declared for a different use")
            };
            return self.wrong(directive, message, "");
        }
        let key_text = arg(directive, 0).to_owned();
        let key = key(self, directive, &key_text);
        let kind = if counts_requests {
            Kind::Requests { rate }
        } else {
            Kind::Connections
        };
        self.zones.push(Zone::new(name, key, key_text, size, kind));
    }

    /// `name:size`.
    fn zone_size(
        &mut self,
        directive: &Directive,
        word: &str,
        text: &str,
    ) -> Option<(String, u64)> {
        let found = text
            .split_once(':')
            .and_then(|(name, size)| Some((name, units::size(size)?)));
        match found {
            Some((name, size)) if !name.is_empty() && size >= SMALLEST_ZONE => {
                Some((name.to_owned(), size))
            }
            Some((name, _)) if !name.is_empty() => {
                self.wrong(directive, format!("zone \"{word}\" is too small"), "");
                None
            }
            _ => {
                let help = "write one such as zone=one:10m";
                self.wrong(directive, format!("invalid zone size \"{word}\""), help);
                None
            }
        }
    }

    /// The zone of that name, if it counts the right thing.
    fn find_zone(
        &mut self,
        directive: &Directive,
        name: &str,
        for_sessions: bool,
    ) -> Option<usize> {
        let for_requests = directive.name.text == "limit_req";
        let found = self.zones.iter().position(|zone| {
            zone.name == name
                && matches!(zone.kind, Kind::Requests { .. }) == for_requests
                && zone.is_for_sessions() == for_sessions
        });
        if found.is_none() {
            let message = format!("zero size shared memory zone \"{name}\"");
            let help = format!("define it by `{}_zone`", directive.name.text);
            self.wrong(directive, message, &help);
        }
        found
    }

    /// `limit_req zone=name [burst=N] [nodelay | delay=N]`.
    fn limit_req(&mut self, directive: &Directive) -> Option<bucket::Limit> {
        let mut zone = None;
        let (mut burst, mut delay) = (0, 0);
        for word in &directive.args {
            let text = word.text.as_str();
            if let Some(name) = text.strip_prefix("zone=") {
                zone = Some(name.to_owned());
            } else if let Some(number) = text.strip_prefix("burst=") {
                match number.parse::<u32>() {
                    Ok(number) if number > 0 => burst = u64::from(number) * 1000,
                    _ => {
                        self.wrong(directive, format!("invalid burst value \"{text}\""), "");
                        return None;
                    }
                }
            } else if let Some(number) = text.strip_prefix("delay=") {
                match number.parse::<u32>() {
                    Ok(number) if number > 0 => delay = u64::from(number) * 1000,
                    _ => {
                        self.wrong(directive, format!("invalid delay value \"{text}\""), "");
                        return None;
                    }
                }
            } else if text == "nodelay" {
                delay = u64::MAX;
            } else {
                self.wrong(directive, format!("invalid parameter \"{text}\""), "");
                return None;
            }
        }
        let Some(name) = zone else {
            let message = "\"limit_req\" must have \"zone\" parameter";
            self.wrong(directive, message, "");
            return None;
        };
        let zone = self.find_zone(directive, &name, false)?;
        Some(bucket::Limit { zone, burst, delay })
    }

    /// `limit_conn name number`.
    pub(super) fn limit_conn(
        &mut self,
        directive: &Directive,
        for_sessions: bool,
    ) -> Option<connections::Limit> {
        let text = arg(directive, 1);
        let most = match text.parse::<u32>() {
            Ok(0) | Err(_) => {
                let message = format!("invalid number of connections \"{text}\"");
                self.wrong(directive, message, "");
                return None;
            }
            Ok(most) if most > 65_535 => {
                self.wrong(directive, "connection limit must be less 65536", "");
                return None;
            }
            Ok(most) => most,
        };
        let name = arg(directive, 0).to_owned();
        let zone = self.find_zone(directive, &name, for_sessions)?;
        Some(connections::Limit { zone, most })
    }
}
