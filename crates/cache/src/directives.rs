//! `Cache-Control` of requests and answers (RFC 9111, 5.2), and `Pragma`.
//!
//! Unknown directives are passed over, as section 5.2.3 has it. Not here: what follows from them.

use crate::fields::{Fields, Unreadable, delta_seconds, members};
use crate::{FOREVER, Seconds};

/// Whether a directive concerns the whole answer or the fields that it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    #[default]
    Absent,
    /// These fields only, in lower case.
    Fields(Vec<String>),
    Whole,
}

impl Scope {
    fn widen(&mut self, argument: Option<Vec<u8>>) {
        let named: Vec<String> = argument.as_deref().map_or_else(Vec::new, |names| {
            members(names)
                .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
                .collect()
        });
        match self {
            Self::Whole => {}
            _ if named.is_empty() => *self = Self::Whole,
            Self::Absent => *self = Self::Fields(named),
            Self::Fields(known) => known.extend(named),
        }
    }
}

/// What an answer says (RFC 9111, 5.2.2; RFC 5861; RFC 8246).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub immutable: bool,
    /// Of the times that follow, one that cannot be read or contradicts itself is 0: never an excuse to reuse.
    pub max_age: Option<Seconds>,
    pub s_maxage: Option<Seconds>,
    pub stale_while_revalidate: Option<Seconds>,
    pub stale_if_error: Option<Seconds>,
}

impl Said {
    #[must_use]
    pub fn read(answer: Fields<'_>) -> Self {
        let mut said = Self::default();
        each(answer, |name, argument| match name {
            "no-store" => said.no_store = true,
            "no-cache" => said.no_cache.widen(argument),
            "private" => said.private.widen(argument),
            "public" => said.public = true,
            "must-revalidate" => said.must_revalidate = true,
            "proxy-revalidate" => said.proxy_revalidate = true,
            "must-understand" => said.must_understand = true,
            "immutable" => said.immutable = true,
            "max-age" => set(&mut said.max_age, argument),
            "s-maxage" => set(&mut said.s_maxage, argument),
            "stale-while-revalidate" => set(&mut said.stale_while_revalidate, argument),
            "stale-if-error" => set(&mut said.stale_if_error, argument),
            _ => {}
        });
        said
    }

    /// Whether a shared cache must not reuse the answer once it is stale (5.2.2.2, 5.2.2.8, 5.2.2.10).
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

/// What a request asks (RFC 9111, 5.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub no_store: bool,
    /// Also by `Pragma: no-cache` in a request without Cache-Control (5.4).
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Seconds>,
    pub min_fresh: Option<Seconds>,
    /// How stale is good enough; without a number, however stale.
    pub max_stale: Option<Seconds>,
    pub stale_if_error: Option<Seconds>,
}

impl Asked {
    #[must_use]
    pub fn read(request: Fields<'_>) -> Self {
        let mut asked = Self::default();
        each(request, |name, argument| match name {
            "no-store" => asked.no_store = true,
            "no-cache" => asked.no_cache = true,
            "only-if-cached" => asked.only_if_cached = true,
            "max-age" => set(&mut asked.max_age, argument),
            // No number here would be the weaker wish.
            "min-fresh" => match argument.as_deref().map(delta_seconds) {
                Some(Ok(time)) => asked.min_fresh = asked.min_fresh.max(Some(time)),
                _ => asked.min_fresh = Some(FOREVER),
            },
            "max-stale" if argument.is_none() => {
                asked.max_stale = Some(asked.max_stale.unwrap_or(FOREVER));
            }
            "max-stale" => set(&mut asked.max_stale, argument),
            "stale-if-error" => set(&mut asked.stale_if_error, argument),
            _ => {}
        });
        let mut pragmas = request.list("pragma");
        if !request.has("cache-control")
            && pragmas.any(|pragma| pragma.eq_ignore_ascii_case(b"no-cache"))
        {
            asked.no_cache = true;
        }
        asked
    }
}

/// Of several times the shortest counts, and what is no number counts as none.
fn set(time: &mut Option<Seconds>, argument: Option<Vec<u8>>) {
    let read = argument.as_deref().map_or(Err(Unreadable), delta_seconds);
    let read = read.unwrap_or(0);
    *time = Some(time.map_or(read, |known| known.min(read)));
}

fn each(fields: Fields<'_>, mut take: impl FnMut(&str, Option<Vec<u8>>)) {
    for member in fields.list("cache-control") {
        let (name, argument) = match member.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, argument) = member.split_at(at);
                (name, Some(unquoted(argument.get(1..).unwrap_or_default())))
            }
            None => (member, None),
        };
        // White space around the sign is no directive that anyone defined.
        if let Ok(name) = std::str::from_utf8(name) {
            take(&name.to_ascii_lowercase(), argument);
        }
    }
}

/// An argument is a token or a quoted string; both mean the same (RFC 9111, 5.2).
fn unquoted(argument: &[u8]) -> Vec<u8> {
    let inner = argument
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return argument.to_vec();
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            plain.push(byte);
        }
    }
    plain
}
