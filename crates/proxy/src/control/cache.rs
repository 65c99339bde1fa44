//! `/v1/cache`: what is kept, and forgetting it on order. Not here: doing it (`crate::cache::purge`).

use percent_encoding::percent_decode_str;
use trine_control::message::{CacheKeys, CacheList, CacheZone, ProblemDocument};
use trine_control::server::{Response, json, not_found};

use crate::cache::Zone;
use crate::cache::purge::Purge;

/// Keys that are told without a `limit`.
const KEYS: usize = 100;
/// The most that may be asked for.
const MOST_KEYS: usize = 100_000;

/// `GET /v1/cache`, `GET /v1/cache/keys[?zone=…&prefix=…&limit=…]`, and `POST /v1/cache/purge` with one of `key`,
/// `prefix`, `tag` and `all=true`, and with `zone` for one zone only. `rest` is the path behind `/v1/cache`.
pub(super) async fn answer(
    caches: Vec<Zone>,
    method: &http::Method,
    rest: &str,
    query: Option<&str>,
) -> Result<Response, ProblemDocument> {
    let query = Query::read(query.unwrap_or_default());
    let reads = matches!(*method, http::Method::GET | http::Method::HEAD);
    match (reads, rest) {
        (true, "") => {
            let zones = caches.iter().map(zone).collect();
            Ok(json(200, &CacheList { zones }))
        }
        (true, "/keys") => {
            let zones = query.zones(caches)?;
            let prefix = query.get("prefix").unwrap_or_default();
            let limit = match query.get("limit") {
                None => KEYS,
                Some(text) => String::from_utf8_lossy(&text)
                    .parse()
                    .ok()
                    .filter(|limit| *limit <= MOST_KEYS)
                    .ok_or_else(|| {
                        ProblemDocument::new(400, format!("limit is a number up to {MOST_KEYS}"))
                    })?,
            };
            let keys = blocking(move || keys(&zones, &prefix, limit)).await?;
            Ok(json(200, &keys))
        }
        (false, "/purge") => {
            let zones = query.zones(caches)?;
            let purge = query.purge()?;
            let zones = blocking(move || {
                let each = |cache: &Zone| {
                    let forgotten = cache.purge(&purge) as u64;
                    tracing::info!(
                        zone = cache.name,
                        "forgot {forgotten} keys on order: {purge}"
                    );
                    CacheZone {
                        forgotten: Some(forgotten),
                        ..zone(cache)
                    }
                };
                zones.iter().map(each).collect()
            });
            Ok(json(
                200,
                &CacheList {
                    zones: zones.await?,
                },
            ))
        }
        (_, "" | "/keys" | "/purge") => Err(ProblemDocument::new(
            405,
            "caches answer GET /v1/cache and /v1/cache/keys, and POST /v1/cache/purge",
        )),
        _ => Err(not_found(&format!("/v1/cache{rest}"))),
    }
}

/// Reads folders, so not where cores are told what to do.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProblemDocument> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ProblemDocument::new(500, "the cache could not be looked through"))
}

fn zone(zone: &Zone) -> CacheZone {
    let (keys, bytes) = zone.size();
    CacheZone {
        name: zone.name.clone(),
        keys: keys as u64,
        bytes: bytes as u64,
        most_bytes: zone.memory as u64,
        folder: zone
            .disk
            .as_ref()
            .map(|disk| disk.folder.display().to_string()),
        forgotten: None,
    }
}

fn keys(zones: &[Zone], prefix: &[u8], limit: usize) -> CacheKeys {
    let mut all = std::collections::BTreeSet::new();
    for zone in zones {
        zone.keys(prefix, &mut all);
    }
    CacheKeys {
        more: all.len() > limit,
        keys: all
            .iter()
            .take(limit)
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect(),
    }
}

/// The decoded pairs of a query.
struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    fn read(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            (name.to_owned(), percent_decode_str(value).collect())
        };
        Self(pairs.map(pair).collect())
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    fn zones(&self, caches: Vec<Zone>) -> Result<Vec<Zone>, ProblemDocument> {
        let Some(name) = self.get("zone") else {
            return Ok(caches);
        };
        let named: Vec<Zone> = caches
            .iter()
            .filter(|zone| zone.name.as_bytes() == name)
            .cloned()
            .collect();
        if named.is_empty() {
            let known: Vec<&str> = caches.iter().map(|zone| zone.name.as_str()).collect();
            let known = match known.as_slice() {
                [] => "the configuration has none".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            let name = String::from_utf8_lossy(&name);
            return Err(ProblemDocument::new(
                404,
                format!("there is no cache {name}; {known}"),
            ));
        }
        Ok(named)
    }

    fn purge(&self) -> Result<Purge, ProblemDocument> {
        let mut meant = [
            self.get("key").map(Purge::Key),
            self.get("prefix").map(Purge::Prefix),
            self.get("tag").map(Purge::Tag),
            self.get("all").map(|_| Purge::All),
        ]
        .into_iter()
        .flatten();
        match (meant.next(), meant.next()) {
            (Some(Purge::Prefix(empty) | Purge::Tag(empty)), None) if empty.is_empty() => {
                let problem = "an empty prefix or tag means nothing; all=true forgets everything";
                Err(ProblemDocument::new(400, problem))
            }
            (Some(purge), None) => Ok(purge),
            _ => Err(ProblemDocument::new(
                400,
                "say what is to be forgotten by one of key, prefix, tag and all=true",
            )),
        }
    }
}
