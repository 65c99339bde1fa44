//! Requests of the proxy's own on behalf of a client's: `auth_request` asks one before it lets the client's pass, `mirror`
//! sends one along that nobody waits for.
//!
//! Each goes through locations as a client's request does, by `serve::go_on`, on a connection whose other end is
//! [`Inner`]; who may ask is not asked again. Not here: what a round does (`stage`).

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use trine_http1::{
    BodyLength, Limits, Policy, Request, ResponseHead, write_header, write_request_line,
};

use super::pause::Pause;
use super::record::{Record, Visit};
use super::reply::{self, Reply, write_number};
use super::serve::{Step, go_on};
use super::stage::Stage;
use super::told::{Told, tell};
use super::{Conn, Ending};
use crate::config::Rules;
use crate::engine::Generation;
use crate::stream::Stream;
use crate::template::Scene;
use crate::upstream::ANSWER_LIMITS;
use crate::upstream::fault::Fault;
use crate::workbench::Workbench;

/// Of an answer that nobody reads to its end, so much is kept: its head.
const MOST_KEPT: usize = 64 * 1024;

/// Longer bodies are not mirrored: both requests need all of it, and it is held in memory for that.
const MOST_MIRRORED: usize = 1024 * 1024;

/// The far end of a request of our own. What the connection is like is told of the client's.
#[derive(Debug)]
pub(crate) struct Inner {
    client: Rc<Stream>,
    kept: RefCell<Vec<u8>>,
}

impl Inner {
    pub(super) fn new(client: Rc<Stream>) -> Self {
        Self {
            client,
            kept: RefCell::default(),
        }
    }

    pub(crate) fn client(&self) -> &Stream {
        &self.client
    }

    /// Takes all of it.
    pub(crate) fn take(&self, slices: &[IoSlice<'_>]) -> usize {
        let mut kept = self.kept.borrow_mut();
        for slice in slices {
            let room = MOST_KEPT.saturating_sub(kept.len()).min(slice.len());
            kept.extend_from_slice(&slice[..room]);
        }
        slices.iter().map(|slice| slice.len()).sum()
    }
}

/// A request of our own.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its head and its body.
    bytes: Vec<u8>,
    record: Record,
    /// The rules of the location that asks.
    rules: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    status: u16,
    /// Lines of `WWW-Authenticate`.
    challenges: Vec<u8>,
    vars: Vec<Option<Vec<u8>>>,
}

impl Outcome {
    /// For who only wants to know what would follow.
    pub(super) fn consent() -> Self {
        Self {
            status: 200,
            ..Self::default()
        }
    }
}

impl Ask {
    /// The client's request once more, for another location of its server.
    fn new(
        stage: &Stage<'_, '_>,
        record: &Record,
        path: &str,
        (method, args, body): (&str, Vec<u8>, Option<&[u8]>),
    ) -> Self {
        let Stage {
            conn,
            generation,
            request,
        } = stage;
        let server = &generation.config.servers[record.visit.server];
        let mut own = Record::new(Instant::now());
        own.real_ip = record.real_ip;
        own.limited.requests = record.limited.requests;
        own.limited.connections = record.limited.connections;
        own.share_id(record.any_id(&conn.engine));
        own.visit = Visit {
            path: path.as_bytes().into(),
            args: Some(args),
            moved: true,
            vars: record.visit.vars.clone(),
            server: record.visit.server,
            rules: server.rules,
            server_captures: record.visit.server_captures.clone(),
            // What is internal is for it.
            hops: 1,
            is_own: true,
            ..Visit::default()
        };
        Self {
            bytes: bytes(request, method, body),
            record: own,
            rules: record.visit.rules,
        }
    }
}

/// The request with its fields, but without those of its connection, and with another body.
fn bytes(request: &Request<'_>, method: &str, body: Option<&[u8]>) -> Vec<u8> {
    const NOT_ITS_OWN: [&str; 8] = [
        "connection",
        "keep-alive",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "te",
        "trailer",
    ];
    let mut out = Vec::with_capacity(1024);
    write_request_line(&mut out, method, request.target(), request.version());
    for (name, value) in request.headers() {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        if !NOT_ITS_OWN.iter().any(is) {
            write_header(&mut out, name, value);
        }
    }
    if let Some(body) = body {
        write_number(&mut out, b"Content-Length", body.len() as u64);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
    out
}

impl<'g> Stage<'_, 'g> {
    /// Nothing else objects: whether `auth_request` does.
    pub(super) fn authorised(&self, record: &mut Record) -> Step<'g> {
        let rules = self.generation.config.rules(record.visit.rules);
        match &rules.auth_request {
            Some(auth) => {
                let asked = ("GET", Vec::new(), None);
                let ask = Ask::new(self, record, &auth.uri, asked);
                Step::Pause(Pause::Ask(Box::new(ask)))
            }
            None => self.admitted(record),
        }
    }

    /// What it said. With `satisfy any` its word is enough, and another's refusal stands if it is none.
    pub(super) fn answered(&self, outcome: Outcome, record: &mut Record) -> Step<'g> {
        record.visit.vars = outcome.vars;
        let refused = record.visit.refused.take();
        let status = match outcome.status {
            200..=299 => {
                record.visit.challenge = None;
                return self.admitted(record);
            }
            401 | 403 => outcome.status,
            other => {
                let config = &self.generation.config;
                let told = Told::of(self.conn, config, Some(self.request), record);
                tell!(error, told, "auth request unexpected status: {other}");
                return Step::Reply(Reply::status(500));
            }
        };
        if status == 401 {
            record.visit.carried.extend_from_slice(&outcome.challenges);
        }
        let status = if refused == Some(401) { 401 } else { status };
        Step::Reply(Reply::status(status))
    }
}

/// Asks, and waits for the answer's head.
pub(super) fn run(conn: &Conn, ask: Box<Ask>) -> Pin<Box<dyn Future<Output = Outcome> + '_>> {
    Box::pin(async move { alone(Conn::for_own(conn), *ask).await })
}

async fn alone(own: Conn, ask: Ask) -> Outcome {
    let Ask {
        bytes,
        mut record,
        rules,
    } = ask;
    let generation = own.generation();
    let mut bench = own.engine.store.bench();
    bench.input.append(&bytes);
    let parsed = bench
        .head
        .parse(bench.input.unread(), &Limits::default(), &Policy::default());
    let Ok(Some(length)) = parsed else {
        // It was read by the same parser when it came.
        tracing::error!("a request of our own cannot be read");
        return Outcome::default();
    };
    bench.input.consume(length);
    let work = go_on(&own, &mut bench, &mut record, &generation, Step::Again);
    let _the_same_for_all: Ending = work.await;
    let kept = match &*own.stream {
        Stream::Inner(inner) => inner.kept.take(),
        _ => Vec::new(),
    };
    let outcome = outcome(&own, &generation, &bench, &record, rules, &kept);
    own.engine.store.give_back(bench);
    outcome
}

/// What is to be learned from its answer.
fn outcome(
    own: &Conn,
    generation: &Generation,
    bench: &Workbench,
    record: &Record,
    rules: usize,
    kept: &[u8],
) -> Outcome {
    let config = &*generation.config;
    let mut sent = ResponseHead::default();
    let is_there = matches!(sent.parse(kept, &ANSWER_LIMITS), Ok(Some(_)));
    let mut challenges = Vec::new();
    if is_there {
        for value in sent.on(kept).get_all("www-authenticate") {
            write_header(&mut challenges, b"WWW-Authenticate", value);
        }
    }
    let theirs = record.answer_head.as_deref().unwrap_or_default();
    let mut answer = ResponseHead::default();
    let has_answer = matches!(answer.parse(theirs, &ANSWER_LIMITS), Ok(Some(_)));
    let scene = Scene {
        answer: has_answer.then(|| answer.on(theirs)),
        sent: kept,
        ..Scene::new(own, config, Some(bench.head.on(bench.input.all())), record)
    };
    let sets = config.rules(rules).auth_request.as_ref();
    let sets = sets.map_or(&[][..], |auth| &auth.sets);
    let values: Vec<_> = sets
        .iter()
        .map(|(slot, value)| (*slot, value.value(&scene)))
        .collect();
    let mut vars = record.visit.vars.clone();
    for (slot, value) in values {
        if vars.len() <= slot {
            vars.resize(slot + 1, None);
        }
        vars[slot] = Some(value);
    }
    Outcome {
        status: record.status,
        challenges,
        vars,
    }
}

/// Sends the client's request along to where its location mirrors it. An error is the client's.
pub(super) async fn mirror(
    conn: &Conn,
    bench: &mut Workbench,
    record: &Record,
    generation: &Rc<Generation>,
    rules: &Rules,
) -> Result<(), Fault> {
    let Some(mirror) = &rules.mirror else {
        return Ok(());
    };
    let (length, expects) = {
        let request = bench.head.on(bench.input.all());
        (request.body(), request.expects_continue())
    };
    let wanted = mirror.body && length != BodyLength::Empty && !record.body_spent;
    let mut body = None;
    if wanted {
        let known = match length {
            BodyLength::Known(length) => usize::try_from(length).ok(),
            _ => None,
        };
        let Some(length) = known.filter(|length| *length <= MOST_MIRRORED) else {
            let request = bench.head.on(bench.input.all());
            let told = Told::of(conn, &generation.config, Some(request), record);
            tell!(
                warn,
                told,
                "not mirrored: only bodies of a known length up to 1 MiB are"
            );
            return Ok(());
        };
        if expects && bench.input.unread().len() < length {
            conn.send(reply::CONTINUE).await?;
        }
        let end = bench.input.start() + length;
        bench.input.reserve(end);
        conn.collect_small(bench, BodyLength::Known(length as u64))
            .await?;
        body = Some(length);
    }
    let stage = Stage {
        conn,
        generation,
        request: bench.head.on(bench.input.all()),
    };
    let query = record.visit.args.as_deref().or(stage.request.query());
    for uri in &mirror.uris {
        let body = body.and_then(|length| bench.input.unread().get(..length));
        let args = query.unwrap_or_default().to_vec();
        let asked = (stage.request.method(), args, body);
        let ask = Ask::new(&stage, record, uri, asked);
        let own = Conn::for_own(conn);
        conn.engine.conns.spawn_local(Box::pin(async move {
            alone(own, ask).await;
        }));
    }
    Ok(())
}

/// A file is what a request of our own got: nobody reads it.
pub(crate) fn skip_file(offset: &mut u64, count: usize) -> io::Result<usize> {
    *offset += count as u64;
    Ok(count)
}
