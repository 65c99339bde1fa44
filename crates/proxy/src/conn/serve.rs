//! Decides who answers a request, and has it answered.
//!
//! Plain calls in a row: method, target, server, path, location; then a file, an upstream, or a short answer of our
//! own. Not here: the decisions themselves (`route`), or the work (`files`, `upstream`).

use std::rc::Rc;
use std::time::Instant;

use trine_http1::{BodyLength, Request, TargetForm};

use super::record::Record;
use super::reply::{Closing, Reply};
use super::{Conn, Ending};
use crate::config::{Action, Server};
use crate::engine::Generation;
use crate::files;
use crate::headers::forwarded;
use crate::route::{self, Found, path};
use crate::upstream::fault::{Blame, Fault};
use crate::upstream::forward;
use crate::upstream::pool::add;
use crate::workbench::Workbench;

/// What `OPTIONS *` tells: the methods that some location may answer.
const ALL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// A body up to this size is read to the end although nobody wants it, so that the connection can go on.
const DRAIN_BYTES: u64 = 64 * 1024;

/// Who answers.
enum Answer<'g> {
    Reply(Reply),
    File {
        files: &'g crate::config::Files,
        rest: smallvec::SmallVec<[u8; 128]>,
    },
    Upstream {
        index: usize,
        max_body: u64,
    },
}

/// Serves the request on the bench.
pub(super) async fn serve(conn: &Conn, bench: &mut Workbench, record: &mut Record) -> Ending {
    let generation = conn.renew();
    let request = bench.head.on(bench.input.all());
    if conn.peer.is_trusted(&generation.config.trusted) {
        let chain: smallvec::SmallVec<[&[u8]; 2]> = request.get_all("x-forwarded-for").collect();
        record.real_ip = forwarded::real_ip(&generation.config.trusted, chain.into_iter());
    }
    match decide(&generation, conn.door, &request) {
        Answer::Reply(reply) => Box::pin(answer(conn, bench, record, &reply)).await,
        Answer::File { files, rest } => files::serve(conn, bench, record, files, &rest).await,
        Answer::Upstream { index, max_body } => {
            let group = Rc::clone(&generation.groups[index]);
            let forwarded = Box::pin(forward(conn, bench, &generation, &group, max_body, record));
            match forwarded.await {
                Ok(ending) => ending,
                Err(fault) => {
                    let name = &group.config.name;
                    Box::pin(fail(conn, bench, record, name, &fault)).await
                }
            }
        }
    }
}

fn decide<'g>(generation: &'g Generation, door: usize, request: &Request<'_>) -> Answer<'g> {
    match (request.method(), request.target_form()) {
        ("CONNECT" | "TRACE", _) => return Answer::Reply(Reply::with(405, "Allow", ALL_METHODS)),
        (_, TargetForm::Asterisk) => return Answer::Reply(Reply::with(204, "Allow", ALL_METHODS)),
        _ => {}
    }
    let Some(server) = find_server(generation, door, request) else {
        return Answer::Reply(Reply::status(404));
    };
    let Ok(normal) = path::normalise(request.path()) else {
        return Answer::Reply(Reply::status(400));
    };
    match route::location(server, &normal.path) {
        Found::Nothing => Answer::Reply(Reply::status(404)),
        Found::AddSlash => Answer::Reply(add_slash(&normal.path, request.query())),
        Found::Location(location) => match &location.action {
            Action::Proxy(index) => Answer::Upstream {
                index: *index,
                max_body: server.max_body,
            },
            Action::Files(_) if normal.hidden_separator => Answer::Reply(Reply::status(404)),
            Action::Files(files) => {
                let rest = normal.path.get(files.strip..).unwrap_or_default().into();
                Answer::File { files, rest }
            }
        },
    }
}

fn find_server<'g>(
    generation: &'g Generation,
    door: usize,
    request: &Request<'_>,
) -> Option<&'g Server> {
    let listen = generation.listen(door)?;
    route::server(&generation.config, &listen.servers, request.authority())
}

/// A redirect to the same path with a slash behind it. Without scheme and host, so that no `Host` can bend it; the
/// path begins with exactly one slash, so that it cannot be taken for a host.
pub(crate) fn add_slash(path: &[u8], query: Option<&[u8]>) -> Reply {
    let mut location = Vec::with_capacity(path.len() + 1);
    path::encode(path, &mut location);
    location.push(b'/');
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    Reply::with(301, "Location", location)
}

/// Answers with something short. The request's body is read away if it is small.
pub(crate) async fn answer(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    reply: &Reply,
) -> Ending {
    let request = bench.head.on(bench.input.all());
    let closing = if conn.may_keep(&request) && skips_body(&request) {
        Closing::Keep
    } else {
        Closing::Close
    };
    let (head_only, version, length) = (
        request.method() == "HEAD",
        request.version(),
        request.body(),
    );
    record.status = reply.status;
    record.body_bytes = reply.write(
        &mut bench.out,
        &conn.engine.time,
        version,
        closing,
        head_only,
    );
    if conn.send(&bench.out).await.is_err() {
        return Ending::Close;
    }
    finish_body(conn, bench, length, closing).await
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

/// A request could not be forwarded: says so in the log and, if it can still be told, to the client.
async fn fail(
    conn: &Conn,
    bench: &mut Workbench,
    record: &mut Record,
    upstream: &str,
    fault: &Fault,
) -> Ending {
    let status = fault.status();
    report(conn, bench, record, upstream, fault);
    if record.status != 0 {
        // The head is out: the only way to tell is to break off.
        if matches!(fault, Fault::ClientGone { .. }) {
            record.status = 499;
        }
        return Ending::Reset;
    }
    if matches!(fault, Fault::ClientGone { .. }) {
        record.status = status;
        return Ending::Close;
    }
    let request = bench.head.on(bench.input.all());
    let (head_only, version) = (request.method() == "HEAD", request.version());
    record.status = status;
    let reply = Reply::status(status);
    // What came of the body may have been used up, so the connection ends here, unless there was none.
    let clean = request.body() == BodyLength::Empty && conn.may_keep(&request);
    let closing = if clean { Closing::Keep } else { Closing::Close };
    record.body_bytes = reply.write(
        &mut bench.out,
        &conn.engine.time,
        version,
        closing,
        head_only,
    );
    match conn.send(&bench.out).await {
        Ok(()) if clean => Ending::Keep,
        Ok(()) => Ending::Linger,
        Err(_) => Ending::Close,
    }
}

fn report(conn: &Conn, bench: &Workbench, record: &Record, upstream: &str, fault: &Fault) {
    let request = bench.head.on(bench.input.all());
    let method = request.method();
    let target = request.target().escape_ascii();
    let cause = trine_service::exit::chain(fault);
    let server = record
        .upstream
        .as_ref()
        .map_or("none", |peer| peer.name.as_str());
    let after_ms = Instant::now().duration_since(record.started).as_millis();
    match fault.blame() {
        Blame::Client => {
            tracing::info!(client = %conn.peer_text, %method, %target, upstream, server, after_ms, "the client's fault: {cause}");
        }
        Blame::Upstream => {
            add(&conn.engine.figures.upstream_failures, 1);
            tracing::error!(client = %conn.peer_text, %method, %target, upstream, server, after_ms, "the upstream's fault: {cause}");
        }
        Blame::Limits => {
            tracing::warn!(client = %conn.peer_text, %method, %target, upstream, server, after_ms, "over the limit: {cause}");
        }
    }
}
