//! Sends short answers of our own, and gets the connection ready for what comes after an answer.
//!
//! Not here: which answer (see `serve`), or its form (`reply`).

use trine_http1::{BodyLength, Request, TargetForm};

use super::record::Record;
use super::reply::{Closing, Last, Reply, is_bodiless};
use super::{Conn, Ending};
use crate::compress::{Answer, Then};
use crate::config::RedirectStyle;
use crate::engine::Generation;
use crate::filter::{self, Plan, Tally};
use crate::headers::added;
use crate::headers::trailers::Finale;
use crate::route::path;
use crate::template::Scene;
use crate::workbench::Workbench;

/// A body up to this size is read to the end although nobody wants it, so that the connection can go on.
const DRAIN_BYTES: u64 = 64 * 1024;

/// Answers with something short. The request's body is read away if it is small.
pub(crate) async fn answer(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    generation: &Generation,
    reply: &Reply,
) -> Ending {
    let Workbench {
        head, input, out, ..
    } = &mut *bench;
    let request = head.on(input.all());
    let reusable = !record.body_spent && skips_body(&request);
    let closing = if conn.may_keep(&request) && reusable {
        Closing::Keep
    } else {
        Closing::Close
    };
    let (head_only, version, length) = (
        request.method() == "HEAD",
        request.version(),
        request.body(),
    );
    // A page of our own tells of the error at hand; any other answer of the error that led to it.
    let status = match &reply.body {
        Some(_) => record.status_for(reply.status),
        None => reply.status,
    };
    record.status = status;
    let rules = generation.config.rules(record.visit.rules);
    let scene = Scene::new(conn, &generation.config, Some(request), record);
    conn.set_pace(&scene);
    let (kind, body) = reply.content(status, (&rules.signature, Some(&scene)));
    let filters = rules.filters() && !record.visit.bare;
    let plan = if filters && !is_bodiless(status) {
        let about = Answer {
            status,
            content_type: kind.as_bytes(),
            length: Some(body.len() as u64),
            encoded: false,
            field: &|_| None,
            now: conn.engine.time.now(),
        };
        Plan::new(rules, &request, &about)
    } else {
        filter::PLAIN
    };
    let presses = &conn.engine.presses;
    let mut made = Vec::new();
    let mut packed = Tally::default();
    let changed = match plan.chain(Some(body.len() as u64), plan.texts(&scene)) {
        _ if head_only => Ok(false),
        Ok(None) => Ok(false),
        Ok(Some(mut chain)) => {
            // Nothing of our own is gzip, so all comes at once.
            let work = chain.run(presses, &body, Then::End, &mut made);
            let done = work.await.map(|()| true);
            packed = chain.tally();
            done
        }
        Err(error) => Err(error),
    };
    let (plan, body) = match changed {
        Ok(true) => (plan, &made[..]),
        Ok(false) => (plan, &*body),
        Err(error) => {
            tracing::error!("an answer cannot be compressed: {error}");
            (filter::PLAIN, &*body)
        }
    };
    let finale = Finale::new(conn, &generation.config, rules, request, status);
    let last = finale.as_ref().map(|finale| {
        |head: &[u8]| {
            record.note_head(finale.config, head);
            finale.last_chunk(record)
        }
    });
    let body_bytes = reply.write_with(
        out,
        &conn.engine.time,
        (&rules.signature, Some(&scene)),
        status,
        version,
        closing,
        head_only,
        (
            &kind,
            (&plan, body),
            last.as_ref().map(|last| last as Last<'_>),
        ),
        |out| added::write(out, rules, status, None, &scene),
    );
    record.note_head(&generation.config, out);
    record.body_bytes = body_bytes;
    record.packed = packed;
    if conn.send(&bench.out).await.is_err() {
        return Ending::Close;
    }
    if record.body_spent && length != BodyLength::Empty {
        return Ending::Linger;
    }
    finish_body(conn, bench, length, closing).await
}

/// A redirect to the same path with a slash behind it. Written without scheme and host, unless the location wants them:
/// no `Host` can bend it then, and the path begins with exactly one slash, so that it cannot be taken for a host.
pub(crate) fn add_slash(path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    let mut location = Vec::with_capacity(path.len() + 1);
    path::encode(path, &mut location);
    location.push(b'/');
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}

/// A path as the `Location` of a redirect.
pub(crate) fn located(path: Vec<u8>, style: RedirectStyle, scene: &Scene<'_>) -> Vec<u8> {
    if !style.absolute || !path.starts_with(b"/") {
        return path;
    }
    let scheme = scene.conn.scheme();
    let mut location = format!("{scheme}://").into_bytes();
    location.extend_from_slice(&scene.host_for_redirect(style.server_name));
    let port = scene.conn.port;
    let usual = if scheme == "https" { 443 } else { 80 };
    if style.port && port != usual && port != 0 {
        location.push(b':');
        super::reply::push_number(&mut location, u64::from(port));
    }
    location.extend_from_slice(&path);
    location
}

/// Whether what is left of the request can be dealt with without closing.
pub(crate) fn skips_body(request: &Request<'_>) -> bool {
    match request.body() {
        // What follows a CONNECT may be meant for the tunnel that we do not make.
        BodyLength::Empty => request.target_form() != TargetForm::Authority,
        BodyLength::Known(length) => length <= DRAIN_BYTES && !request.expects_continue(),
        BodyLength::Chunked | BodyLength::UntilClose => false,
    }
}

/// Gets the connection ready for the next request, or for its end.
pub(crate) async fn finish_body(
    conn: &Conn,
    bench: &mut Workbench,
    length: BodyLength,
    closing: Closing,
) -> Ending {
    match (closing, length) {
        (Closing::Keep, BodyLength::Known(length)) => {
            match Box::pin(conn.skip(bench, length)).await {
                Ok(()) => Ending::Keep,
                Err(_) => Ending::Close,
            }
        }
        (Closing::Keep, _) => Ending::Keep,
        (Closing::Close, BodyLength::Empty) => Ending::Close,
        (Closing::Close, _) => Ending::Linger,
    }
}
