//! `Set-Cookie` fields of upstreams, rewritten: `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`.
//!
//! Not here: which field goes out (`upstream::relay`).

use crate::config::{CookieFlags, CookieName, CookieRule, CookieRules, SameSite};
use crate::template::Scene;

/// A cookie's name and value, or one of its attributes.
struct Part<'a> {
    name: &'a [u8],
    value: Option<std::borrow::Cow<'a, [u8]>>,
}

/// The field's new value; `None` if it stays as it is.
pub(crate) fn rewrite(rules: &CookieRules, value: &[u8], scene: &Scene<'_>) -> Option<Vec<u8>> {
    if rules.is_empty() {
        return None;
    }
    let mut parts: Vec<Part<'_>> = value.split(|&byte| byte == b';').map(part).collect();
    let mut changed = false;
    for part in parts.iter_mut().skip(1) {
        let list = if part.name.eq_ignore_ascii_case(b"domain") {
            &rules.domains
        } else if part.name.eq_ignore_ascii_case(b"path") {
            &rules.paths
        } else {
            continue;
        };
        let old = part.value.as_deref().unwrap_or_default();
        if let Some(new) = list.iter().find_map(|rule| replaced(rule, old, scene)) {
            part.value = Some(new.into());
            changed = true;
        }
    }
    let name = parts.first().map_or(&b""[..], |first| first.name);
    let flags = rules.flags.iter().find(|(wanted, _)| match wanted {
        CookieName::Is(template) => template.value(scene).eq_ignore_ascii_case(name),
        CookieName::Like(pattern) => pattern.captures(name).is_some(),
    });
    if let Some((_, flags)) = flags {
        set_flags(&mut parts, *flags);
        changed = true;
    }
    changed.then(|| joined(&parts))
}

fn part(text: &[u8]) -> Part<'_> {
    let text = text.trim_ascii_start();
    match memchr::memchr(b'=', text) {
        Some(at) => Part {
            name: &text[..at],
            value: Some(text[at + 1..].into()),
        },
        None => Part {
            name: text,
            value: None,
        },
    }
}

fn joined(parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        if !out.is_empty() {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(part.name);
        if let Some(value) = &part.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

fn replaced(rule: &CookieRule, old: &[u8], scene: &Scene<'_>) -> Option<Vec<u8>> {
    match rule {
        CookieRule::Domain { from, to } => {
            // A dot in front is neither compared nor replaced.
            let bare = old.strip_prefix(b".").unwrap_or(old);
            if !from.value(scene).eq_ignore_ascii_case(bare) {
                return None;
            }
            let mut new = old[..old.len() - bare.len()].to_vec();
            to.write(&mut new, scene);
            Some(new)
        }
        CookieRule::Path { from, to } => {
            let rest = old.strip_prefix(&from.value(scene)[..])?;
            let mut new = to.value(scene);
            new.extend_from_slice(rest);
            Some(new)
        }
        CookieRule::Like { from, to } => {
            let captures = from.captures(old)?;
            let scene = Scene {
                captures: Some(&captures),
                ..*scene
            };
            Some(to.value(&scene))
        }
    }
}

fn set_flags(parts: &mut Vec<Part<'_>>, flags: CookieFlags) {
    let is = |part: &Part<'_>, name: &str| part.name.eq_ignore_ascii_case(name.as_bytes());
    let mut flags = flags;
    let mut kept = Vec::with_capacity(parts.len() + 3);
    for (number, mut part) in parts.drain(..).enumerate() {
        if number > 0 {
            if is(&part, "secure") && flags.secure.take_if(|_| true) == Some(false) {
                continue;
            }
            if is(&part, "httponly") && flags.http_only.take_if(|_| true) == Some(false) {
                continue;
            }
            if is(&part, "samesite") {
                match flags.same_site.take() {
                    Some(SameSite::Remove) => continue,
                    Some(site) => {
                        part.name = b"SameSite";
                        part.value = site.name().map(|name| name.as_bytes().into());
                    }
                    None => {}
                }
            }
        }
        kept.push(part);
    }
    let mut add = |name: &'static str, value: Option<&'static str>| {
        kept.push(Part {
            name: name.as_bytes(),
            value: value.map(|value| value.as_bytes().into()),
        });
    };
    if flags.secure == Some(true) {
        add("Secure", None);
    }
    if flags.http_only == Some(true) {
        add("HttpOnly", None);
    }
    if let Some(name) = flags.same_site.and_then(SameSite::name) {
        add("SameSite", Some(name));
    }
    *parts = kept;
}
