//! `sticky`: what tells which server a request belongs to.
//!
//! Not here: the `route` of a server (see `upstream`).

use std::sync::Arc;
use std::time::Duration;

use super::super::tree::Directive;
use super::super::units;
use super::{Builder, arg};
use crate::config::model::{CookieEnd, Learn, Sticky, StickyCookie};
use crate::template::Template;

/// The longest id of a server.
pub(super) const LONGEST_ROUTE: usize = 32;
/// A zone has at least eight pages.
const SMALLEST_ZONE: u64 = 8 * 4096;
/// Of a session that is learned.
const TIMEOUT: Duration = Duration::from_secs(600);

impl Builder<'_> {
    /// `sticky cookie|route|learn …`.
    pub(super) fn sticky(&mut self, directive: &Directive, upstream: &str) -> Option<Arc<Sticky>> {
        match arg(directive, 0) {
            "cookie" => self.sticky_cookie(directive),
            "route" => {
                let texts = directive.args.iter().skip(1);
                let lookup: Option<_> = texts
                    .map(|word| {
                        let Some(name) = word.text.strip_prefix('$') else {
                            let message = format!("invalid variable name \"{}\"", word.text);
                            self.wrong(directive, message, "write one such as $cookie_route");
                            return None;
                        };
                        Some(self.variable(directive, name))
                    })
                    .collect();
                Some(Sticky {
                    lookup: lookup?,
                    cookie: None,
                    learn: None,
                })
            }
            "learn" => self.sticky_learn(directive, upstream),
            other => {
                let message = format!("unknown parameter \"{other}\"");
                self.wrong(directive, message, "it is one of cookie, route, learn");
                None
            }
        }
        .map(Arc::new)
    }

    fn variable(&mut self, directive: &Directive, name: &str) -> Template {
        self.template(directive, &format!("${{{name}}}"))
    }

    /// What nginx says about a directive.
    fn bad_sticky(&mut self, directive: &Directive, what: &str, help: &str) {
        self.wrong(directive, format!("\"sticky\" directive {what}"), help);
    }

    /// `cookie NAME [expires=TIME|max] [domain=D] [path=P] [httponly] [secure] [samesite=S]`.
    fn sticky_cookie(&mut self, directive: &Directive) -> Option<Sticky> {
        let name = directive.args.get(1)?.text.clone();
        if name.is_empty() {
            self.bad_sticky(directive, "empty cookie name", "write one such as srv_id");
            return None;
        }
        let lookup = vec![self.variable(directive, &format!("cookie_{name}"))];
        let mut cookie = StickyCookie {
            name,
            expires: None,
            domain: None,
            path: None,
            http_only: false,
            secure: false,
            same_site: None,
        };
        for word in directive.args.iter().skip(2) {
            let (key, value) = match word.text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word.text.as_str(), None),
            };
            let taken = match key {
                "expires" => cookie.expires.is_some(),
                "domain" => cookie.domain.is_some(),
                "path" => cookie.path.is_some(),
                "httponly" => cookie.http_only,
                "secure" => cookie.secure,
                "samesite" => cookie.same_site.is_some(),
                _ => false,
            };
            if taken {
                let what = format!("parameter \"{key}\" is duplicate");
                self.bad_sticky(directive, &what, "");
                return None;
            }
            match (key, value) {
                ("domain" | "path", Some("")) => {
                    self.bad_sticky(directive, &format!("no value for \"{key}\""), "");
                    return None;
                }
                ("domain", Some(value)) => cookie.domain = Some(self.template(directive, value)),
                ("path", Some(value)) => cookie.path = Some(value.to_owned()),
                ("expires", Some("max")) => cookie.expires = Some(CookieEnd::Never),
                ("expires", Some(value)) => {
                    let time = units::time(value).filter(|_| !value.ends_with("ms"));
                    let Some(time) = time else {
                        let what = "invalid \"expires\" parameter value";
                        self.bad_sticky(directive, what, "write one such as 1h, or max");
                        return None;
                    };
                    cookie.expires = Some(CookieEnd::After(time));
                }
                ("httponly", None) => cookie.http_only = true,
                ("secure", None) => cookie.secure = true,
                ("samesite", Some(value)) => {
                    let value = self.template(directive, value);
                    if value.as_literal().is_some_and(|text| !is_same_site(text)) {
                        let what = "invalid \"samesite\" parameter value";
                        self.bad_sticky(directive, what, "it is one of strict, lax, none");
                        return None;
                    }
                    cookie.same_site = Some(value);
                }
                _ => {
                    self.unknown_parameter(directive, &word.text);
                    return None;
                }
            }
        }
        Some(Sticky {
            lookup,
            cookie: Some(cookie),
            learn: None,
        })
    }

    fn unknown_parameter(&mut self, directive: &Directive, text: &str) {
        self.wrong(directive, format!("unknown parameter \"{text}\""), "");
    }

    /// `learn create=$V … lookup=$V … zone=NAME:SIZE [timeout=TIME] [header] [sync]`.
    fn sticky_learn(&mut self, directive: &Directive, upstream: &str) -> Option<Sticky> {
        let (mut create, mut lookup) = (Vec::new(), Vec::new());
        let (mut zone, mut timeout, mut at_head) = (None, None, false);
        for word in directive.args.iter().skip(1) {
            let done = match word.text.split_once('=') {
                Some(("zone", _)) if zone.is_some() => Err("duplicate zone"),
                Some(("zone", text)) => sticky_zone(text).map(|found| zone = Some(found)),
                Some(("timeout", _)) if timeout.is_some() => Err("duplicate timeout"),
                Some(("timeout", text)) => match units::time(text) {
                    Some(time) if !time.is_zero() => {
                        timeout = Some(time);
                        Ok(())
                    }
                    _ => Err("invalid timeout"),
                },
                Some((key @ ("create" | "lookup"), text)) => match text.strip_prefix('$') {
                    Some(name) => {
                        let list = if key == "create" {
                            &mut create
                        } else {
                            &mut lookup
                        };
                        list.push(self.variable(directive, name));
                        Ok(())
                    }
                    None if key == "create" => Err("missing variable in the \"create\" parameter"),
                    None => Err("missing variable in the \"lookup\" parameter"),
                },
                None if word.text == "header" => {
                    at_head = true;
                    Ok(())
                }
                None if word.text == "sync" => {
                    let what = "the parameter \"sync\" is ignored: sessions are not shared with other machines";
                    self.warnings.push(directive.at.clone(), what, "");
                    Ok(())
                }
                _ => {
                    self.unknown_parameter(directive, &word.text);
                    return None;
                }
            };
            if let Err(what) = done {
                self.bad_sticky(directive, what, "");
                return None;
            }
        }
        let missing = if lookup.is_empty() {
            "lookup"
        } else if create.is_empty() {
            "create"
        } else {
            "zone"
        };
        let (false, Some((zone, size))) = (lookup.is_empty() || create.is_empty(), zone) else {
            let what = format!("\"{missing}\" parameter is not specified");
            self.bad_sticky(directive, &what, "");
            return None;
        };
        let of_learn =
            |other: &Arc<Sticky>| other.learn.as_ref().is_some_and(|one| one.zone == zone);
        let other = self
            .upstreams
            .iter()
            .find(|other| other.sticky.as_ref().is_some_and(of_learn));
        if let Some(other) = other
            .map(|other| other.name.clone())
            .filter(|other| other != upstream)
        {
            let message = format!("sticky zone \"{zone}\" is already used in upstream \"{other}\"");
            self.wrong(directive, message, "give each upstream a zone of its own");
            return None;
        }
        Some(Sticky {
            lookup,
            cookie: None,
            learn: Some(Learn {
                create,
                zone,
                size,
                timeout: timeout.unwrap_or(TIMEOUT),
                at_head,
            }),
        })
    }
}

/// `NAME:SIZE`.
fn sticky_zone(text: &str) -> Result<(String, u64), &'static str> {
    let (name, size) = text.split_once(':').ok_or("zone size is not specified")?;
    if name.is_empty() {
        return Err("zone name is not specified");
    }
    let size = units::size(size).ok_or("invalid zone size")?;
    if size < SMALLEST_ZONE {
        return Err("zone is too small");
    }
    Ok((name.to_owned(), size))
}

/// Whether a cookie can have it.
pub(crate) fn is_same_site(text: &[u8]) -> bool {
    [&b"strict"[..], b"lax", b"none"]
        .iter()
        .any(|one| one.eq_ignore_ascii_case(text))
}
