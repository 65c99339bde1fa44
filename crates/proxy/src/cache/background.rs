//! Refreshes an answer while a client has the stale one (`proxy_cache_background_update`): the request goes out once more,
//! for nobody. Not here: when (`look`).

use std::rc::Rc;
use std::time::Instant;

use trine_http1::{Limits, Policy};

use super::Fetch;
use crate::config::Content;
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::engine::Generation;
use crate::upstream::Group;
use crate::upstream::forward::forward;
use crate::workbench::Workbench;

/// Begins it. The request is the one on the bench, at the place where it was looked for.
pub(crate) fn refresh(
    conn: &Conn,
    bench: &Workbench,
    generation: &Rc<Generation>,
    group: &Rc<Group>,
    record: &Record,
    mut fetch: Box<Fetch>,
) {
    let own = match Conn::for_nobody(conn) {
        Ok(own) => own,
        Err(error) => {
            tracing::error!("cannot refresh an answer: {error}");
            return;
        }
    };
    let request = bench.head.on(bench.input.all());
    let head = super::as_get(&request, request.target());
    fetch.converts = false;
    let visit = record.visit.clone();
    let real_ip = record.real_ip;
    let (generation, group) = (Rc::clone(generation), Rc::clone(group));
    conn.engine.conns.spawn_local(Box::pin(async move {
        let mut bench = own.engine.store.bench();
        bench.input.append(&head);
        let parsed = bench
            .head
            .parse(bench.input.unread(), &Limits::default(), &Policy::default());
        let Ok(Some(length)) = parsed else { return };
        bench.input.consume(length);
        let mut record = Record::new(Instant::now());
        record.visit = visit;
        record.real_ip = real_ip;
        let rules = generation.config.rules(record.visit.rules);
        own.rules.set(Some(record.visit.rules));
        let Content::Proxy(pass) = &rules.content else {
            return;
        };
        // Once more if what came was about another answer.
        for _ in 0..2 {
            let sent = forward(
                &own,
                &mut bench,
                &generation,
                &group,
                pass,
                rules,
                &mut record,
                Some(&mut *fetch),
            );
            if let Err(fault) = sent.await {
                tracing::warn!(upstream = %group.config.name, "a stale answer could not be refreshed: {fault}");
            }
            if !std::mem::take(&mut fetch.again) {
                break;
            }
        }
        own.engine.store.give_back(bench);
    }));
}
