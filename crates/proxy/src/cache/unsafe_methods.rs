//! What a request that may have changed something makes worthless (RFC 9111, 4.4): the answers that are kept for its own
//! URI, and for those that its answer's Location and Content-Location name on the same host.
//!
//! A key is made for each as a GET for it would make it: by the location that it belongs to, with the other fields of the
//! request at hand. Not here: which URIs these are (`trine_cache::invalidate`).

use std::time::Instant;

use trine_cache::Fields;
use trine_cache::invalidate::invalidated;
use trine_http1::{Limits, Policy, Request, RequestHead, Response};

use super::Zone;
use crate::config::{CacheRules, Config, Content};
use crate::conn::Conn;
use crate::conn::record::{Record, Visit};
use crate::route::{self, Found, path};
use crate::template::Scene;
use crate::upstream::head::origin_form;

/// Forgets what this answer to an unsafe request makes worthless. Called before the client learns of it.
pub(crate) fn forget(
    conn: &Conn,
    config: &Config,
    rules: &CacheRules,
    record: &Record,
    request: &Request<'_>,
    answer: &Response<'_>,
) {
    let Some(authority) = request.authority() else {
        return;
    };
    let origin = format!("{}://{}", conn.scheme(), String::from_utf8_lossy(authority));
    let own = String::from_utf8_lossy(&origin_form(request)).into_owned();
    let fields: Vec<(&[u8], &[u8])> = answer.headers().collect();
    let method = request.method();
    let status = answer.status();
    for target in invalidated(method, &origin, &own, status, Fields(&fields)) {
        let asked = Asked::new(request, &target);
        if target == own {
            // Its location is known, and what its script has set.
            asked.forget(conn, config, rules, record.visit.clone());
        } else if let Some((rules, visit)) = place(config, record, &target) {
            asked.forget(conn, config, rules, visit);
        }
    }
}

/// The location that a GET would find, if it has a cache.
fn place<'c>(config: &'c Config, record: &Record, target: &str) -> Option<(&'c CacheRules, Visit)> {
    let server = &config.servers[record.visit.server];
    let plain = target.split('?').next().unwrap_or_default();
    let normal = path::normalise(plain.as_bytes(), server.merge_slashes).ok()?;
    let (rules, captures) = match route::location(config, &server.locations, &normal.path) {
        Found::Location(location, captures) => (location.rules, captures),
        Found::Nothing => (server.rules, None),
        Found::AddSlash => return None,
    };
    let Content::Proxy(pass) = &config.rules(rules).content else {
        return None;
    };
    let mut visit = Visit {
        path: normal.path[..].into(),
        vars: record.visit.vars.clone(),
        server: record.visit.server,
        rules,
        server_captures: record.visit.server_captures.clone(),
        ..Visit::default()
    };
    if let Some(captures) = &captures {
        visit.keep_groups(captures, config);
    }
    visit.captures = captures.or_else(|| visit.server_captures.clone());
    Some((pass.cache.as_deref()?, visit))
}

/// A GET that nobody sends.
struct Asked {
    bytes: Vec<u8>,
    head: RequestHead,
}

impl Asked {
    fn new(request: &Request<'_>, target: &str) -> Self {
        Self {
            bytes: super::as_get(request, target.as_bytes()),
            head: RequestHead::default(),
        }
    }

    fn forget(mut self, conn: &Conn, config: &Config, rules: &CacheRules, visit: Visit) {
        let parsed = self
            .head
            .parse(&self.bytes, &Limits::default(), &Policy::default());
        let zone: Option<&Zone> = config.caches.get(rules.zone);
        // A URI that no request could have has nothing kept.
        let (Ok(Some(_)), Some(zone)) = (parsed, zone) else {
            return;
        };
        let mut record = Record::new(Instant::now());
        record.visit = visit;
        let scene = Scene::new(conn, config, Some(self.head.on(&self.bytes)), &record);
        zone.forget(&rules.key.value(&scene));
    }
}
