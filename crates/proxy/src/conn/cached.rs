//! A request that goes to an upstream by way of a cache: what is kept answers, or what comes is kept.
//!
//! Not here: what may be kept and used (`cache::look`), or asking an upstream (`upstream::forward`).

use std::rc::Rc;
use std::sync::Arc;

use trine_cache::status::Status;

use super::parts::{self, Make};
use super::record::Record;
use super::reply::Reply;
use super::serve::{lost, report};
use super::{Conn, Ending};
use crate::cache::answer::{NOT_CACHED, send, tell as note};
use crate::cache::background;
use crate::cache::fill::seconds;
use crate::cache::look::{Look, Serve, look};
use crate::cache::zone::Found;
use crate::config::ProxyPass;
use crate::engine::Generation;
use crate::upstream::Group;
use crate::upstream::forward::forward;
use crate::workbench::Workbench;

/// Forwards through the cache. `early` is what was found in it, if somebody has looked. An error is what is answered
/// instead.
pub(super) async fn cached(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Rc<Generation>,
    group: &Rc<Group>,
    pass: &ProxyPass,
    record: &mut Record,
    early: Option<Found>,
) -> Result<Ending, Reply> {
    let config = &*generation.config;
    let rules = config.rules(record.visit.rules);
    let Some(use_of_cache) = &pass.cache else {
        return Err(Reply::status(500));
    };
    let mut fetch = match look(conn, bench, config, use_of_cache, record, early).await {
        Look::Kept(serve) => {
            let Serve {
                entry,
                age,
                word,
                told,
                refresh,
            } = serve;
            if let Some(fetch) = refresh {
                background::refresh(conn, bench, generation, group, record, fetch);
            }
            note(record, word, &told);
            record.kept = Some(Arc::clone(&entry));
            return Ok(send(conn, bench, record, generation, pass, rules, &entry, age).await);
        }
        Look::NotCached => return Err(Reply::status(NOT_CACHED)),
        Look::Purged(had) => return Err(Reply::status(if had { 204 } else { 404 })),
        // Who wants only a part, or to know whether it is the same, gets that of the whole answer that is kept.
        Look::Fetch(fetch)
            if fetch.keeps
                && !record.visit.is_own
                && parts::is_particular(&bench.head.on(bench.input.all())) =>
        {
            drop(fetch);
            return parts::serve(conn, bench, generation, group, record, Make::Whole).await;
        }
        Look::Fetch(fetch) => {
            record.kept.clone_from(&fetch.stored);
            record.cache_key = Some(fetch.key.clone());
            Some(fetch)
        }
        Look::Past(word) => {
            record.cache = word;
            None
        }
    };
    loop {
        let sent = forward(
            conn,
            bench,
            generation,
            group,
            pass,
            rules,
            record,
            fetch.as_deref_mut(),
        );
        let sent = sent.await;
        if let (Err(fault), Some(fetch)) = (&sent, &mut fetch)
            && record.status == 0
        {
            let request = bench.head.on(bench.input.all());
            let now = seconds(conn.engine.time.now());
            if fetch.covers(use_of_cache, &request, fault, now) {
                report(conn, config, bench, record, pass, group, fault);
            }
        }
        if let Some((entry, word)) = fetch.as_mut().and_then(|fetch| fetch.ready.take()) {
            let age = entry.kept.age(seconds(conn.engine.time.now()));
            note(record, word, &Status::hit(entry.kept.lifetime, age));
            return Ok(send(conn, bench, record, generation, pass, rules, &entry, age).await);
        }
        if let Some(fetch) = &mut fetch
            && std::mem::take(&mut fetch.again)
        {
            continue;
        }
        return match sent {
            Ok(ending) => Ok(ending),
            Err(fault) => {
                report(conn, config, bench, record, pass, group, &fault);
                match lost(conn, record, &fault) {
                    Some(ending) => Ok(ending),
                    None => Err(Reply::status(fault.status())),
                }
            }
        };
    }
}
