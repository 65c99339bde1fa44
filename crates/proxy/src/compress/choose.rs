//! Whether and how an answer is compressed: nginx's rules, and RFC 9110's where those are silent.
//!
//! Pure. Not here: doing it.

use std::time::SystemTime;

use trine_http1::{Request, Version};

use crate::config::{CodingRules, CompressionRules, Proxied};

/// What compression does to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// Nothing.
    Plain,
    /// Nothing, but for another client it might: caches have to know.
    PlainButVaries,
    Encode(&'a CodingRules),
}

/// What an answer is like, before it is compressed.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a [u8],
    /// If it is known.
    pub(crate) length: Option<u64>,
    /// It has a `Content-Encoding` already.
    pub(crate) encoded: bool,
    /// Its other fields, by their lower-case names.
    pub(crate) field: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    pub(crate) now: SystemTime,
}

/// Whether and how an answer is compressed.
pub(crate) fn choose<'r>(
    rules: &'r CompressionRules,
    request: &Request<'_>,
    answer: &Answer<'_>,
) -> Choice<'r> {
    // RFC 9110 section 7.7: others must not change it either.
    let forbidden = || (answer.field)("cache-control").is_some_and(|cc| has(cc, "no-transform"));
    if answer.encoded || !matches!(answer.status, 200 | 403 | 404) {
        return Choice::Plain;
    }
    let fits = |coding: &&CodingRules| {
        answer
            .length
            .is_none_or(|length| length >= coding.min_length)
            && is_listed(&coding.types, answer.content_type)
    };
    let mut fitting = rules.codings.iter().filter(fits).peekable();
    if fitting.peek().is_none() || forbidden() {
        return Choice::Plain;
    }
    if !may(rules, request, answer) {
        return Choice::PlainButVaries;
    }
    let plain = weight(request, "identity", false).unwrap_or(0.0);
    let mut best = (plain.max(f32::MIN_POSITIVE), None);
    for coding in fitting {
        let weight = weight(request, coding.coding.name(), true).unwrap_or(0.0);
        let better = match best.1 {
            None => weight >= best.0,
            Some(_) => weight > best.0,
        };
        if better {
            best = (weight, Some(coding));
        }
    }
    best.1.map_or(Choice::PlainButVaries, Choice::Encode)
}

/// Whether this client may get gzip at all: what `gunzip` asks.
pub(crate) fn takes_gzip(
    rules: &CompressionRules,
    request: &Request<'_>,
    answer: &Answer<'_>,
) -> bool {
    accepts(request, "gzip") && may(rules, request, answer)
}

/// Whether the client is one that answers are compressed for, if it accepts a coding.
fn may(rules: &CompressionRules, request: &Request<'_>, answer: &Answer<'_>) -> bool {
    if request.version() == Version::Http10 && !rules.http10 {
        return false;
    }
    if request.get("via").is_some() && !is_for_proxies(rules.proxied, request, answer) {
        return false;
    }
    rules.disabled.is_empty()
        || request.get("user-agent").is_none_or(|agent| {
            !rules
                .disabled
                .iter()
                .any(|pattern| pattern.captures(agent).is_some())
        })
}

/// `gzip_proxied`, in nginx's order.
fn is_for_proxies(proxied: Proxied, request: &Request<'_>, answer: &Answer<'_>) -> bool {
    if !proxied.some {
        return false;
    }
    if proxied.any || (proxied.auth && request.get("authorization").is_some()) {
        return true;
    }
    let date = |name| {
        let text = std::str::from_utf8((answer.field)(name)?).ok()?;
        httpdate::parse_http_date(text).ok()
    };
    if (answer.field)("expires").is_some() {
        let Some(expires) = date("expires").filter(|_| proxied.expired) else {
            return false;
        };
        return expires < date("date").unwrap_or(answer.now);
    }
    if let Some(control) = (answer.field)("cache-control") {
        return [
            (proxied.no_cache, "no-cache"),
            (proxied.no_store, "no-store"),
            (proxied.private, "private"),
        ]
        .iter()
        .any(|(on, word)| *on && has(control, word));
    }
    !(proxied.no_last_modified && (answer.field)("last-modified").is_some()
        || proxied.no_etag && (answer.field)("etag").is_some())
}

/// Whether a list of directives has this one, with a value or without.
fn has(list: &[u8], word: &str) -> bool {
    list.split(|&byte| byte == b',').any(|item| {
        let name = item.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
    })
}

/// Whether a content type is `text/html` or one of those listed.
pub(crate) fn is_listed(types: &[String], content_type: &[u8]) -> bool {
    let kind = content_type.split(|&byte| byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"text/html")
        || types
            .iter()
            .any(|known| known == "*" || kind.eq_ignore_ascii_case(known.as_bytes()))
}

/// RFC 9110 section 12.5.3: the coding or `*`, with a weight above nothing.
pub(crate) fn accepts(request: &Request<'_>, wanted: &str) -> bool {
    weight(request, wanted, true).is_some_and(|weight| weight > 0.0)
}

/// How much the client likes a coding; `any`: `*` stands for it too.
fn weight(request: &Request<'_>, wanted: &str, any: bool) -> Option<f32> {
    let mut of_any = None;
    for field in request.get_all("accept-encoding") {
        for item in field.split(|&byte| byte == b',') {
            let mut parts = item.split(|&byte| byte == b';');
            let coding = parts.next().unwrap_or_default().trim_ascii();
            let weight = parts.find_map(|part| {
                let part = part.trim_ascii();
                let value = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="))?;
                std::str::from_utf8(value).ok()?.parse::<f32>().ok()
            });
            let weight = weight.unwrap_or(1.0);
            let is_old_name = wanted == "gzip" && coding.eq_ignore_ascii_case(b"x-gzip");
            if coding.eq_ignore_ascii_case(wanted.as_bytes()) || is_old_name {
                return Some(weight);
            }
            if coding == b"*" && any {
                of_any = Some(weight);
            }
        }
    }
    of_any
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use trine_http1::{Limits, Policy, RequestHead};

    use super::*;
    use crate::compress::Coding;
    use crate::pattern::Pattern;

    fn rules() -> CompressionRules {
        let of = |coding, types: &[&str]| CodingRules {
            coding,
            types: types.iter().map(|&kind| kind.to_owned()).collect(),
            level: 1,
            min_length: 20,
            window: 0,
        };
        CompressionRules {
            codings: vec![
                of(Coding::Br, &["application/json"]),
                of(Coding::Zstd, &["application/json"]),
                of(Coding::Gzip, &["application/json", "text/plain"]),
            ],
            vary: true,
            ..CompressionRules::default()
        }
    }

    /// `answer`: status, length (`-`: unknown), content type, then fields.
    #[track_caller]
    fn check_with(rules: &CompressionRules, fields: &str, answer: &str, want: &str) {
        let bytes = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            fields
                .split('|')
                .filter(|field| !field.is_empty())
                .map(|field| field.trim().to_owned() + "\r\n")
                .collect::<String>()
        );
        let mut head = RequestHead::default();
        head.parse(bytes.as_bytes(), &Limits::default(), &Policy::default())
            .unwrap()
            .unwrap();
        let mut words = answer.split('|').map(str::trim);
        let status = words.next().unwrap().parse().unwrap();
        let length = words.next().unwrap().parse().ok();
        let content_type = words.next().unwrap().as_bytes();
        let rest: Vec<(&str, &str)> = words.map(|word| word.split_once(": ").unwrap()).collect();
        let field = |name: &str| {
            let found = rest.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_bytes())
        };
        let answer = Answer {
            status,
            content_type,
            length,
            encoded: field("content-encoding").is_some(),
            field: &field,
            now: UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000),
        };
        let got = match choose(rules, &head.on(bytes.as_bytes()), &answer) {
            Choice::Plain => "plain",
            Choice::PlainButVaries => "varies",
            Choice::Encode(rules) => rules.coding.name(),
        };
        assert_eq!(got, want, "{fields}");
    }

    #[track_caller]
    fn check(fields: &str, answer: &str, want: &str) {
        check_with(&rules(), fields, answer, want);
    }

    const JSON: &str = "200 | 20 | application/json; charset=utf-8";

    #[test]
    fn which_answers() {
        let gzip = "Accept-Encoding: gzip";
        check(gzip, JSON, "gzip");
        check(gzip, "200 | 19 | application/json", "plain");
        check(gzip, "200 | - | application/json", "gzip");
        check(gzip, "403 | 99 | text/html", "gzip");
        check(gzip, "404 | 99 | text/HTML", "gzip");
        check(gzip, "206 | 99 | text/html", "plain");
        check(gzip, "500 | 99 | text/html", "plain");
        check(gzip, "200 | 99 | image/png", "plain");
        check(gzip, "200 | 99 | text/html | content-encoding: br", "plain");
        check(
            gzip,
            "200 | 99 | text/html | cache-control: public, No-Transform",
            "plain",
        );
        // Each coding has its own types.
        check("Accept-Encoding: br, gzip", "200 | 99 | text/plain", "gzip");
        check("Accept-Encoding: br", "200 | 99 | text/plain", "varies");
    }

    #[test]
    fn weights() {
        for (accept, want) in [
            ("", "varies"),
            ("br, gzip", "br"),
            ("gzip, zstd, br", "br"),
            ("gzip, zstd", "zstd"),
            ("gzip;q=1, br;q=0.9", "gzip"),
            ("br;q=0.1, zstd;q=0.2, gzip;q=0.15", "zstd"),
            ("gzip;q=0", "varies"),
            ("*", "br"),
            ("*, br;q=0", "zstd"),
            ("*;q=0, gzip", "gzip"),
            ("*;q=0", "varies"),
            ("gzip;q=0.5, identity", "varies"),
            ("gzip;q=0.5, identity;q=0.5", "gzip"),
            ("gzip, identity;q=0", "gzip"),
            ("x-gzip", "gzip"),
            ("GZIP; Q=0.3", "gzip"),
            ("gzip;q=bad", "gzip"),
            ("deflate", "varies"),
        ] {
            check(&format!("Accept-Encoding: {accept}"), JSON, want);
        }
    }

    #[test]
    fn requests_that_came_through_a_proxy() {
        let set = |change: fn(&mut Proxied)| {
            let mut all = rules();
            all.proxied.some = true;
            change(&mut all.proxied);
            all
        };
        let via = "Accept-Encoding: gzip | Via: 1.1 x";
        let check = |rules: &CompressionRules, more: &str, fields: &str, want| {
            check_with(
                rules,
                &format!("{via}{more}"),
                &format!("{JSON}{fields}"),
                want,
            );
        };
        check(&rules(), "", "", "varies");
        check(&set(|proxied| proxied.any = true), "", "", "gzip");
        let auth = set(|proxied| proxied.auth = true);
        check(
            &auth,
            "| Authorization: x",
            "| cache-control: public",
            "gzip",
        );
        check(&auth, "", "| cache-control: public", "varies");
        let old = "| expires: Thu, 01 Jan 1970 00:00:01 GMT";
        let far = "| expires: Thu, 31 Dec 2037 23:55:55 GMT";
        let expired = set(|proxied| proxied.expired = true);
        check(&expired, "", old, "gzip");
        check(&expired, "", far, "varies");
        check(&expired, "", "| expires: 0", "varies");
        check(
            &expired,
            "",
            "| expires: Wed, 15 Nov 2023 00:00:00 GMT | date: Thu, 16 Nov 2023 00:00:00 GMT",
            "gzip",
        );
        let no_cache = set(|proxied| proxied.no_cache = true);
        check(&no_cache, "", old, "varies");
        check(&no_cache, "", "| cache-control: a, no-cache=x", "gzip");
        check(&no_cache, "", "| cache-control: no-store", "varies");
        // nginx compresses what says nothing of caches.
        check(&no_cache, "", "", "gzip");
        let modified = set(|proxied| proxied.no_last_modified = true);
        check(&modified, "", "| last-modified: x", "varies");
        check(&modified, "", "| etag: x", "gzip");
    }

    #[test]
    fn clients_that_are_left_out() {
        let disabled = CompressionRules {
            disabled: vec![Pattern::new("Old/[12]", true).unwrap()],
            ..rules()
        };
        let gzip = "Accept-Encoding: gzip | User-Agent:";
        check_with(&disabled, &format!("{gzip} old/2"), JSON, "varies");
        check_with(&disabled, &format!("{gzip} old/3"), JSON, "gzip");
    }
}
