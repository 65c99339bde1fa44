//! Decides for one request whether it is answered from the cache, waits for somebody else's answer, or goes on.
//!
//! Not here: the decision itself (`trine_cache::reuse`), forwarding (`upstream`), what unsafe requests make worthless
//! (`unsafe_methods`).

use std::sync::Arc;
use std::time::Instant;

use trine_cache::Fields;
use trine_cache::reuse::{Decision, Why, decide, is_served};
use trine_cache::status::{Forwarded, Status};
use trine_http1::{BodyLength, Request};

use super::fill::seconds;
use super::purge::Purge;
use super::zone::Found;
use super::{Entry, Fetch, Zone};
use crate::config::{CacheRules, Config};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::template::{Scene, Template};
use crate::workbench::Workbench;

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Look {
    /// From the store.
    Kept(Serve),
    /// By the upstream.
    Fetch(Box<Fetch>),
    /// The client wants nothing but what is kept: 504.
    NotCached,
    /// By the upstream, and the cache has nothing to do with it; nginx's word for that, if it has one.
    Past(Option<&'static str>),
    /// It asked for this to be forgotten; whether there was anything.
    Purged(bool),
}

/// A kept answer that is good enough.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) entry: Arc<Entry>,
    pub(crate) age: u64,
    /// nginx's word for it, and what RFC 9211 has to be told.
    pub(crate) word: &'static str,
    pub(crate) told: Status,
    /// Is to be sent meanwhile, by nobody.
    pub(crate) refresh: Option<Box<Fetch>>,
}

impl Serve {
    fn new(entry: Arc<Entry>, age: u64, word: &'static str) -> Self {
        let told = Status::hit(entry.kept.lifetime, age);
        Self {
            entry,
            age,
            word,
            told,
            refresh: None,
        }
    }
}

/// Looks for an answer, and waits for one that is on its way. `early` is what was found before, if somebody has looked.
pub(crate) async fn look(
    conn: &Conn,
    bench: &Workbench,
    config: &Config,
    rules: &CacheRules,
    record: &Record,
    mut early: Option<Found>,
) -> Look {
    let request = bench.head.on(bench.input.all());
    let method = request.method();
    let Some(zone) = config.caches.get(rules.zone) else {
        return Look::Past(None);
    };
    let about = Scene::new(conn, config, Some(request), record);
    if any(&rules.purge, &about) {
        return Look::Purged(purge(zone, rules.key.value(&about)).await);
    }
    if !is_served(method) || request.body() != BodyLength::Empty || request.upgrade().is_some() {
        return Look::Past(None);
    }
    let key = rules.key.value(&about);
    let asked = super::fields(&request);
    let asked = Fields(&asked);
    // With HEAD turned into GET the answer is worth as much.
    let converts = method == "HEAD" && rules.converts_head;
    let is_get = method == "GET" || converts;
    let fetch = |stored, flight, keeps, why, word, seen| {
        Box::new(Fetch {
            zone: zone.clone(),
            key: key.clone(),
            unkeyed: Arc::clone(&rules.unkeyed),
            seen,
            stored,
            flight,
            keeps: keeps && is_get,
            converts,
            validates: rules.validates,
            why,
            word,
            asked_at: seconds(conn.engine.time.now()),
            tap: None,
            ready: None,
            again: false,
        })
    };
    if any(&rules.bypass, &about) {
        let seen = zone.seen(&key);
        return Look::Fetch(fetch(None, None, true, Forwarded::Bypass, "BYPASS", seen));
    }
    let patience = rules.lock.map(|most| Instant::now() + most);
    loop {
        let found = early.take().unwrap_or_else(|| zone.find(&key, asked));
        let seen = found.seen;
        let now = seconds(conn.engine.time.now());
        let kept = found.entry.as_ref().map(|entry| &entry.kept);
        let decision = decide(method, asked, kept, now, rules.policy);
        let (why, word) = match plan(decision, &found, rules) {
            Plan::Serve(entry, word) => {
                let age = entry.kept.age(now);
                return Look::Kept(Serve::new(entry, age, word));
            }
            Plan::Meanwhile(entry) => {
                let age = entry.kept.age(now);
                let Ok(flight) = zone.take_off(&key, rules.lock_age) else {
                    return Look::Kept(Serve::new(entry, age, "UPDATING"));
                };
                let (stored, flight) = (Some(Arc::clone(&entry)), Some(flight));
                let fetch = fetch(stored, flight, true, Forwarded::Stale, "EXPIRED", seen);
                if !(rules.in_background && is_get) {
                    // Whoever comes first waits for it; the others do not.
                    return Look::Fetch(fetch);
                }
                return Look::Kept(Serve {
                    refresh: Some(fetch),
                    ..Serve::new(entry, age, "STALE")
                });
            }
            Plan::NotCached => return Look::NotCached,
            Plan::Fetch(why, word) => (why, word),
        };
        let worth = found.uses >= rules.min_uses;
        if is_far_in(&request, rules.range_offset) {
            return Look::Past(Some(word));
        }
        let stored = found.entry;
        let waits = patience.filter(|_| !found.passes && is_get && worth);
        let Some(patience) = waits else {
            return Look::Fetch(fetch(stored, None, worth, why, word, seen));
        };
        let taken = match zone.take_off(&key, rules.lock_age) {
            Ok(flight) => {
                return Look::Fetch(fetch(stored, Some(flight), worth, why, word, seen));
            }
            Err(taken) => taken,
        };
        let until = patience.min(taken.late);
        let wait = tokio::time::timeout_at(until.into(), taken.landed.acquire());
        if wait.await.is_err() && Instant::now() >= patience {
            // Somebody else is slow: this one goes on alone, and leaves keeping to the other.
            return Look::Fetch(fetch(stored, None, false, why, word, seen));
        }
    }
}

/// What is done for a request, by what is there.
#[derive(Debug)]
pub(super) enum Plan {
    /// It gets this; nginx's word for it.
    Serve(Arc<Entry>, &'static str),
    /// It is stale: one request refreshes it, and the others get it meanwhile.
    Meanwhile(Arc<Entry>),
    NotCached,
    /// The upstream is asked; why, and nginx's word for it.
    Fetch(Forwarded, &'static str),
}

/// Joins the policy's decision with what is there and with the configuration. Pure.
pub(super) fn plan(decision: Decision, found: &Found, rules: &CacheRules) -> Plan {
    let usable = |entry: &&Arc<Entry>| {
        rules.stale.while_updating && !entry.kept.never_stale && !entry.kept.no_cache
    };
    match (decision, &found.entry) {
        (Decision::Reuse { .. }, Some(entry)) => Plan::Serve(Arc::clone(entry), "HIT"),
        (Decision::ReuseStale { refresh: true, .. }, Some(entry)) => {
            Plan::Meanwhile(Arc::clone(entry))
        }
        (Decision::ReuseStale { refresh: false, .. }, Some(entry)) => {
            Plan::Serve(Arc::clone(entry), "STALE")
        }
        (Decision::Validate(Why::Stale), entry) => match entry.as_ref().filter(usable) {
            Some(entry) => Plan::Meanwhile(Arc::clone(entry)),
            None => Plan::Fetch(Forwarded::Stale, "EXPIRED"),
        },
        (Decision::Validate(why), _) => Plan::Fetch(Forwarded::from(why), "EXPIRED"),
        (Decision::NotCached, _) => Plan::NotCached,
        (Decision::Forward(Why::Miss), _) if found.varies => {
            Plan::Fetch(Forwarded::VaryMiss, "MISS")
        }
        (Decision::Forward(why), _) => Plan::Fetch(Forwarded::from(why), "MISS"),
        (Decision::Reuse { .. } | Decision::ReuseStale { .. }, None) => {
            Plan::Fetch(Forwarded::UriMiss, "MISS")
        }
    }
}

/// Whether a client wants a part that begins so far in that fetching all before it is not worth it.
fn is_far_in(request: &Request<'_>, most: Option<u64>) -> bool {
    let Some(most) = most else { return false };
    let first = request.get("range").and_then(|range| {
        let range = std::str::from_utf8(range).ok()?.trim();
        let set = range
            .get(..6)
            .filter(|unit| unit.eq_ignore_ascii_case("bytes="));
        let (first, _) = range.get(set?.len()..)?.trim_start().split_once('-')?;
        Some(first.trim().parse::<u64>())
    });
    match first {
        None => false,
        Some(Ok(first)) => first > most,
        // The last bytes: how far in they are is not known.
        Some(Err(_)) => true,
    }
}

/// What `proxy_cache_purge` asks for: a key, or all that begin like it.
async fn purge(zone: &Zone, key: Vec<u8>) -> bool {
    let purge = Purge::of_key(key);
    if let Purge::Key(key) = &purge {
        return zone.forget(key);
    }
    let zone = zone.clone();
    // It reads the whole folder.
    let purged = tokio::task::spawn_blocking(move || zone.purge(&purge)).await;
    purged.is_ok()
}

/// Whether one of the values says yes.
pub(crate) fn any(templates: &[Template], scene: &Scene<'_>) -> bool {
    templates.iter().any(|template| {
        let value = template.value(scene);
        !value.is_empty() && value != b"0"
    })
}
