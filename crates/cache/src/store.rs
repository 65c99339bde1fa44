//! Whether an answer may be stored, and how long it is fresh (RFC 9111, sections 3 and 4.2).
//!
//! Not here: what happens with it later (`reuse`).

use crate::Seconds;
use crate::directives::{Asked, Said, Scope};
use crate::fields::{Fields, delta_seconds};

/// A day: guesses are not stretched further (RFC 9111, 4.2.2 suggests a bound without naming one).
const LONGEST_GUESS: Seconds = 24 * 60 * 60;

/// The choices that RFC 9111 leaves to a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Take a tenth of the time since Last-Modified for the lifetime of an answer that names none.
    pub guess: bool,
    /// Keep answers that set cookies. They are meant for one client more often than they say so.
    pub cookies: bool,
    /// Heed Cache-Control of requests, which section 5.2.1 calls advice.
    pub heed_requests: bool,
    /// Keep parts (206). Right only where the key says which part was asked for, and the same part is asked for always.
    pub parts: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            guess: false,
            cookies: false,
            heed_requests: true,
            parts: false,
        }
    }
}

/// Where an answer's lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// From its own fields.
    Said,
    /// From the configuration, whatever its fields say: nginx's X-Accel-Expires, and proxy_cache_valid behind
    /// proxy_ignore_headers.
    Given(Seconds),
    /// From its own fields, or this if they are silent: nginx's proxy_cache_valid.
    Otherwise(Seconds),
}

/// One request and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    pub method: &'a str,
    pub request: Fields<'a>,
    pub status: u16,
    pub answer: Fields<'a>,
    /// When the request was sent to the origin, and when the head of its answer came.
    pub asked_at: Seconds,
    pub answered_at: Seconds,
}

/// What has to be remembered beside an answer's fields and body.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    pub status: u16,
    /// The age that it came with, at `answered_at` (RFC 9111, 4.2.3: corrected_initial_age).
    pub initial_age: Seconds,
    pub answered_at: Seconds,
    /// How long it is fresh, counted from age 0.
    pub lifetime: Seconds,
    /// Has to be validated before each use.
    pub no_cache: bool,
    /// Must not be used when stale, whatever goes wrong.
    pub never_stale: bool,
    pub stale_while_revalidate: Seconds,
    /// `None`: nothing is said, and the configuration decides.
    pub stale_if_error: Option<Seconds>,
    /// Fields not to be stored: `private="…"`, and `no-cache="…"`, which leaves them usable only after a validation that
    /// brings them anew.
    pub withheld: Vec<String>,
    /// The fields of requests that the answer depends on, in lower case, sorted.
    pub vary: Vec<String>,
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// Only answers to GET are.
    Method,
    /// Interim, partial, 304, or a status whose meaning is unknown while must-understand asks for it.
    Status,
    NoStore,
    Private,
    /// It answers a request with Authorization, and does not say that it is for all (3.5).
    Authorization,
    /// It differs by more than the fields of requests.
    VaryAll,
    Cookie,
    /// Neither a lifetime nor anything to validate it by: it could never be used.
    Useless,
}

/// Statuses whose answers may be stored without a lifetime (RFC 9110, 15.1), but 206.
const BY_DEFAULT: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
/// Final statuses with a meaning of their own (RFC 9110, 15; RFC 6585, 7725, 8297).
const UNDERSTOOD: [u16; 49] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405,
    406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 425, 426, 428,
    429, 431, 451, 500, 501, 502, 503, 504, 505, 507, 511,
];

/// Whether this answer may be stored by a shared cache.
///
/// # Errors
/// The first reason why not.
pub fn judge(exchange: &Exchange<'_>, lifetime: Lifetime, rules: Rules) -> Result<Kept, NotStored> {
    let Exchange {
        request,
        answer,
        status,
        ..
    } = *exchange;
    if exchange.method != "GET" {
        return Err(NotStored::Method);
    }
    let said = Said::read(answer);
    let given = matches!(lifetime, Lifetime::Given(_));
    let understood = UNDERSTOOD.contains(&status);
    let partial = status == 206 && !rules.parts;
    if status < 200 || status == 304 || partial || (said.must_understand && !understood) {
        return Err(NotStored::Status);
    }
    // An answer that asks to be understood has no-store for those who do not (5.2.2.3).
    let no_store = said.no_store && !said.must_understand;
    if rules.heed_requests && Asked::read(request).no_store {
        return Err(NotStored::NoStore);
    }
    if no_store && !given {
        return Err(NotStored::NoStore);
    }
    if said.private == Scope::Whole && !given {
        return Err(NotStored::Private);
    }
    if request.has("authorization")
        && !said.public
        && !said.must_revalidate
        && said.s_maxage.is_none()
    {
        return Err(NotStored::Authorization);
    }
    if answer.list("vary").any(|name| name == b"*") {
        return Err(NotStored::VaryAll);
    }
    if answer.has("set-cookie") && !rules.cookies {
        return Err(NotStored::Cookie);
    }
    let explicit = explicit_lifetime(&said, exchange);
    let allowed = explicit.is_some() || said.public || BY_DEFAULT.contains(&status);
    let fresh = match (lifetime, explicit) {
        (Lifetime::Given(time), _) | (Lifetime::Otherwise(time), None) => Some(time),
        (_, Some(time)) => Some(time),
        (Lifetime::Said, None) if rules.guess && allowed => guess(exchange),
        (Lifetime::Said, None) => None,
    };
    let validator = answer.has("etag") || answer.has("last-modified");
    if fresh.is_none() && !(allowed && validator) {
        return Err(NotStored::Useless);
    }
    let no_cache = !given && said.no_cache == Scope::Whole;
    let grace = said.stale_while_revalidate.unwrap_or(0);
    let useful = fresh.is_some_and(|time| time > 0) || grace > 0 || said.stale_if_error.is_some();
    if !validator && (no_cache || !useful) {
        return Err(NotStored::Useless);
    }
    let mut withheld = Vec::new();
    for scope in [&said.private, &said.no_cache] {
        if let Scope::Fields(names) = scope {
            withheld.extend(names.iter().cloned());
        }
    }
    let mut vary: Vec<String> = answer
        .list("vary")
        .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
        .collect();
    vary.sort_unstable();
    vary.dedup();
    Ok(Kept {
        status,
        initial_age: initial_age(exchange),
        answered_at: exchange.answered_at,
        lifetime: fresh.unwrap_or(0),
        no_cache,
        never_stale: !given && said.forbids_stale(),
        stale_while_revalidate: grace,
        stale_if_error: said.stale_if_error,
        withheld,
        vary,
    })
}

/// The lifetime that the answer names (4.2.1), the first of: s-maxage, max-age, Expires less Date.
fn explicit_lifetime(said: &Said, exchange: &Exchange<'_>) -> Option<Seconds> {
    if let Some(time) = said.s_maxage.or(said.max_age) {
        return Some(time);
    }
    let expires = exchange.answer.time("expires")?;
    let time = expires.map(|expires| expires.saturating_sub(date(exchange)));
    Some(time.unwrap_or(0))
}

/// When the origin made it; without a word, when it came (RFC 9110, 6.6.1).
fn date(exchange: &Exchange<'_>) -> Seconds {
    match exchange.answer.time("date") {
        Some(Ok(date)) => date,
        Some(Err(_)) | None => exchange.answered_at,
    }
}

fn guess(exchange: &Exchange<'_>) -> Option<Seconds> {
    let modified = exchange.answer.time("last-modified")?.ok()?;
    let since = date(exchange).saturating_sub(modified);
    Some((since / 10).min(LONGEST_GUESS))
}

/// RFC 9111, 4.2.3.
fn initial_age(exchange: &Exchange<'_>) -> Seconds {
    let told = exchange
        .answer
        .list("age")
        .next()
        .and_then(|age| delta_seconds(age).ok())
        .unwrap_or(0);
    let delay = exchange.answered_at.saturating_sub(exchange.asked_at);
    let apparent = exchange.answered_at.saturating_sub(date(exchange));
    apparent.max(told + delay)
}

impl Kept {
    /// How old it is (4.2.3: current_age).
    #[must_use]
    pub fn age(&self, now: Seconds) -> Seconds {
        self.initial_age + now.saturating_sub(self.answered_at)
    }

    /// How long it is past its lifetime; 0 while it is fresh. An answer whose age equals its lifetime is stale.
    #[must_use]
    pub fn stale_for(&self, now: Seconds) -> Option<Seconds> {
        let age = self.age(now);
        (age >= self.lifetime).then(|| age - self.lifetime)
    }

    /// The part of a key that the request's fields make, for an answer that varies (4.1). Lines of one field are joined,
    /// and white space around them does not count.
    #[must_use]
    pub fn vary_key(&self, request: Fields<'_>) -> Vec<u8> {
        vary_key(&self.vary, request)
    }
}

/// See [`Kept::vary_key`]; `names` as there.
#[must_use]
pub fn vary_key(names: &[String], request: Fields<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    for name in names {
        key.extend_from_slice(name.as_bytes());
        // Absent and empty differ.
        let mut sign: &[u8] = b"=";
        for value in request.all(name) {
            key.extend_from_slice(sign);
            key.extend_from_slice(value);
            sign = b",";
        }
        key.push(b'\n');
    }
    key
}
