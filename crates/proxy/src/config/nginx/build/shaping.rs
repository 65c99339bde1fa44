//! `proxy_cookie_…`, `proxy_method`, `proxy_set_body`, `proxy_pass_request_…`, `proxy_ignore_headers`.
//!
//! Not here: `proxy_pass` itself (`proxy`).

use super::super::tree::Directive;
use super::family::Family;
use super::{Builder, arg, is_on};
use crate::config::model::{CookieFlags, CookieName, CookieRule, SameSite, Shaping};

/// Fields that upstreams may give orders by.
const OBEYED: [&str; 9] = [
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "Expires",
    "Cache-Control",
    "Set-Cookie",
    "Vary",
];

impl Builder<'_> {
    pub(super) fn apply_shaping(
        &mut self,
        level: &mut Shaping,
        family: Family,
        block: &[Directive],
    ) {
        let (mut domains, mut paths, mut flags, mut ignored) = (None, None, None, None);
        for directive in block {
            let first = arg(directive, 0);
            let is_off = first == "off" && directive.args.len() == 1;
            if directive.name.text == "otel_trace_context" {
                level.traces = first == "propagate";
                if !matches!(first, "propagate" | "ignore") {
                    let help = "write propagate (a trace is passed on, or begun) or ignore";
                    // It is read once for each protocol.
                    if family == Family::Proxy {
                        self.wrong(directive, format!("\"{first}\" is not supported"), help);
                    }
                }
            }
            match family.rest_of(directive) {
                "cookie_domain" | "cookie_path" => {
                    let is_domain = family.rest_of(directive) == "cookie_domain";
                    let list: &mut Vec<CookieRule> = if is_domain {
                        domains.get_or_insert_default()
                    } else {
                        paths.get_or_insert_default()
                    };
                    if directive.args.len() == 2 {
                        list.extend(self.cookie_rule(directive, is_domain));
                    } else if !is_off {
                        self.wrong(directive, format!("invalid parameter \"{first}\""), "");
                    }
                }
                "cookie_flags" => {
                    let list: &mut Vec<_> = flags.get_or_insert_default();
                    if !is_off {
                        list.extend(self.cookie_flags(directive));
                    }
                }
                "ignore_headers" => {
                    let list: &mut Vec<String> = ignored.get_or_insert_default();
                    for word in &directive.args {
                        let known = OBEYED
                            .iter()
                            .any(|known| known.eq_ignore_ascii_case(&word.text));
                        if !known {
                            let message = format!("invalid value \"{}\"", word.text);
                            self.wrong(directive, message, "");
                        }
                        list.push(word.text.to_ascii_lowercase());
                    }
                }
                "method" => level.method = Some(self.template(directive, first)),
                "set_body" => level.body = Some(self.template(directive, first)),
                "ignore_client_abort" => level.ignores_abort = is_on(directive),
                "pass_request_headers" => level.passes_fields = is_on(directive),
                "force_ranges" => level.forces_ranges = is_on(directive),
                "pass_trailers" => level.passes_trailers = is_on(directive),
                "pass_request_body" => level.passes_body = is_on(directive),
                _ => {}
            }
        }
        let cookies = &mut level.cookies;
        if let Some(domains) = domains {
            cookies.domains = domains;
        }
        if let Some(paths) = paths {
            cookies.paths = paths;
        }
        if let Some(flags) = flags {
            cookies.flags = flags;
        }
        if let Some(ignored) = ignored {
            level.ignored = ignored;
        }
    }

    fn cookie_rule(&mut self, directive: &Directive, is_domain: bool) -> Option<CookieRule> {
        let (from, to) = (arg(directive, 0).to_owned(), arg(directive, 1).to_owned());
        // A domain is replaced behind its dot, if it has one.
        let to = self.template(
            directive,
            to.strip_prefix('.').filter(|_| is_domain).unwrap_or(&to),
        );
        if let Some(source) = from.strip_prefix('~') {
            let (source, caseless) = match source.strip_prefix('*') {
                Some(source) => (source, true),
                None => (source, is_domain),
            };
            let from = self.pattern(directive, source, caseless)?;
            return Some(CookieRule::Like { from, to });
        }
        Some(if is_domain {
            let from = self.template(directive, from.strip_prefix('.').unwrap_or(&from));
            CookieRule::Domain { from, to }
        } else {
            let from = self.template(directive, &from);
            CookieRule::Path { from, to }
        })
    }

    /// `proxy_cookie_flags cookie [flag] …`.
    fn cookie_flags(&mut self, directive: &Directive) -> Option<(CookieName, CookieFlags)> {
        let name = arg(directive, 0).to_owned();
        let name = match name.strip_prefix('~') {
            Some(source) => CookieName::Like(self.pattern(directive, source, true)?),
            None => CookieName::Is(self.template(directive, &name)),
        };
        let mut flags = CookieFlags::default();
        for word in directive.args.iter().skip(1) {
            match word.text.as_str() {
                "secure" => flags.secure = Some(true),
                "nosecure" => flags.secure = Some(false),
                "httponly" => flags.http_only = Some(true),
                "nohttponly" => flags.http_only = Some(false),
                "samesite=strict" => flags.same_site = Some(SameSite::Strict),
                "samesite=lax" => flags.same_site = Some(SameSite::Lax),
                "samesite=none" => flags.same_site = Some(SameSite::None),
                "nosamesite" => flags.same_site = Some(SameSite::Remove),
                other => {
                    let message = format!("invalid parameter \"{other}\"");
                    self.wrong(directive, message, "");
                    return None;
                }
            }
        }
        Some((name, flags))
    }
}
