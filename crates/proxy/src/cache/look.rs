//! Decides for one request whether it is answered from the cache, waits for somebody else's answer, or goes on.
//!
//! Not here: the decision itself (`trine_cache::reuse`), forwarding (`upstream`).

use std::sync::Arc;
use std::time::Instant;

use trine_cache::Fields;
use trine_cache::reuse::{Decision, Why, decide, is_served};
use trine_cache::status::{Forwarded, Status};
use trine_http1::BodyLength;

use super::fill::seconds;
use super::{Entry, Fetch, Zone};
use crate::config::{CacheRules, Config};
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::template::{Scene, Template};
use crate::workbench::Workbench;

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Look {
    /// From the store: the answer, its age, and what it tells of itself.
    Kept(Arc<Entry>, u64, &'static str, Status),
    /// By the upstream.
    Fetch(Box<Fetch>),
    /// The client wants nothing but what is kept: 504.
    NotCached,
    /// By the upstream, and the cache has nothing to do with it.
    Past,
}

/// Looks for an answer, and waits for one that is on its way.
pub(crate) async fn look(
    conn: &Conn,
    bench: &Workbench,
    config: &Config,
    rules: &CacheRules,
    record: &Record,
) -> Look {
    let request = bench.head.on(bench.input.all());
    let method = request.method();
    if !is_served(method) || request.body() != BodyLength::Empty || request.upgrade().is_some() {
        return Look::Past;
    }
    let Some(zone) = config.caches.get(rules.zone) else {
        return Look::Past;
    };
    let about = Scene::new(conn, config, Some(request), record);
    let key = rules.key.value(&about);
    let asked = super::fields(&request);
    let asked = Fields(&asked);
    let fetch = |stored, flight, keeps, why, word| {
        Look::Fetch(Box::new(Fetch {
            zone: zone.clone(),
            key: key.clone(),
            stored,
            flight,
            keeps: keeps && method == "GET",
            why,
            word,
            asked_at: seconds(conn.engine.time.now()),
            tap: None,
            ready: None,
            again: false,
        }))
    };
    if any(&rules.bypass, &about) {
        return fetch(None, None, true, Forwarded::Bypass, "BYPASS");
    }
    let patience = rules.lock.map(|most| Instant::now() + most);
    loop {
        let found = zone.find(&key, asked);
        let now = seconds(conn.engine.time.now());
        let kept = found.entry.as_ref().map(|entry| &entry.kept);
        let decision = decide(method, asked, kept, now, rules.policy);
        let serve = |entry: Arc<Entry>, age, word| {
            let told = Status::hit(entry.kept.lifetime, age);
            Look::Kept(entry, age, word, told)
        };
        let worth = found.uses >= rules.min_uses;
        let (why, word) = match (decision, found.entry.clone()) {
            (Decision::Reuse { age }, Some(entry)) => return serve(entry, age, "HIT"),
            (
                Decision::ReuseStale {
                    age,
                    refresh: false,
                },
                Some(entry),
            ) => return serve(entry, age, "STALE"),
            // Whoever comes first refreshes it; the others do not wait.
            (Decision::ReuseStale { age, refresh: true }, Some(entry)) => {
                return match zone.take_off(&key) {
                    Ok(flight) => {
                        fetch(Some(entry), Some(flight), true, Forwarded::Stale, "EXPIRED")
                    }
                    Err(_) => serve(entry, age, "UPDATING"),
                };
            }
            (Decision::NotCached, _) => return Look::NotCached,
            (Decision::Forward(Why::Miss), _) if found.varies => (Forwarded::VaryMiss, "MISS"),
            (Decision::Forward(why), _) => (Forwarded::from(why), "MISS"),
            (Decision::Validate(why), _) => (Forwarded::from(why), "EXPIRED"),
            (Decision::Reuse { .. } | Decision::ReuseStale { .. }, None) => {
                (Forwarded::UriMiss, "MISS")
            }
        };
        let stored = found.entry;
        let waits = patience.filter(|_| !found.passes && method == "GET" && worth);
        let Some(patience) = waits else {
            return fetch(stored, None, worth, why, word);
        };
        let landed = match zone.take_off(&key) {
            Ok(flight) => return fetch(stored, Some(flight), worth, why, word),
            Err(landed) => landed,
        };
        if let Some(entry) = &stored
            && rules.stale.while_updating
            && !entry.kept.never_stale
            && !entry.kept.no_cache
        {
            let age = entry.kept.age(now);
            return serve(Arc::clone(entry), age, "UPDATING");
        }
        let wait = tokio::time::timeout_at(patience.into(), landed.acquire());
        if wait.await.is_err() {
            // Somebody else is slow: this one goes on alone, and leaves keeping to the other.
            return fetch(stored, None, false, why, word);
        }
    }
}

/// Whether one of the values says yes.
pub(crate) fn any(templates: &[Template], scene: &Scene<'_>) -> bool {
    templates.iter().any(|template| {
        let value = template.value(scene);
        !value.is_empty() && value != b"0"
    })
}

/// After an unsafe request: what is kept for its path, and for those that its answer names, is worth nothing any more.
pub(crate) fn forget(
    conn: &Conn,
    bench: &Workbench,
    config: &Config,
    rules: &CacheRules,
    record: &Record,
) {
    let Some(zone): Option<&Zone> = config.caches.get(rules.zone) else {
        return;
    };
    let request = bench.head.on(bench.input.all());
    if is_served(request.method()) || !(200..400).contains(&record.upstream_status) {
        return;
    }
    let about = Scene::new(conn, config, Some(request), record);
    zone.forget(&rules.key.value(&about));
}
