//! Requests of the proxy's own on behalf of a client's: `auth_request` asks one before it lets the client's pass, `mirror`
//! sends one along that nobody waits for.
//!
//! Each goes through locations as a client's request does, by `serve::go_on`, on a connection whose other end is
//! [`Inner`]; who may ask is not asked again. Not here: what a round does (`stage`).

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncWrite as _, DuplexStream};
use trine_http1::{
    BodyLength, Limits, Policy, Request, ResponseHead, Version, write_header, write_request_line,
};
use trine_sys::file::pread;

use super::authorizer::{self, Denial};
use super::pause::Pause;
use super::record::{Record, Visit};
use super::reply::{self, Reply, write_number};
use super::serve::{Step, go_on};
use super::stage::Stage;
use super::told::{Told, tell};
use super::{Conn, Ending};
use crate::cache::is_condition;
use crate::config::{Content, Rules};
use crate::engine::Generation;
use crate::stream::Stream;
use crate::template::{ARGS, Scene};
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
    /// Who reads all of it, as it comes.
    reader: Option<RefCell<DuplexStream>>,
}

/// So much of an answer waits for who reads it.
const PIPE: usize = 64 * 1024;

impl Inner {
    pub(super) fn new(client: Rc<Stream>) -> Self {
        Self {
            client,
            kept: RefCell::default(),
            reader: None,
        }
    }

    /// One whose answer is read as it comes, at the other end.
    pub(super) fn read(client: Rc<Stream>) -> (Self, DuplexStream) {
        let (end, reader) = tokio::io::duplex(PIPE);
        let inner = Self {
            reader: Some(end.into()),
            ..Self::new(client)
        };
        (inner, reader)
    }

    pub(crate) fn client(&self) -> &Stream {
        &self.client
    }

    /// Takes all of it, or what there is room for.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(reader) = &self.reader else {
            return Poll::Ready(Ok(self.keep(slices)));
        };
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        Pin::new(&mut *reader.borrow_mut()).poll_write(cx, first)
    }

    /// The same for a part of a file.
    pub(crate) fn poll_take_file(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        if self.reader.is_none() {
            *offset += count as u64;
            return Poll::Ready(Ok(count));
        }
        let mut buffer = vec![0; count.min(PIPE)];
        let read = pread(file, &mut buffer, *offset)?;
        let taken = ready!(self.poll_take(cx, &[IoSlice::new(&buffer[..read])]))?;
        *offset += taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        if let Some(reader) = &self.reader {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // It ends at once, whether or not it is read to its end.
            let _: Poll<io::Result<()>> =
                Pin::new(&mut *reader.borrow_mut()).poll_shutdown(&mut cx);
        }
    }

    fn keep(&self, slices: &[IoSlice<'_>]) -> usize {
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
    /// The query that `auth_request_set $args` gives to the client's request.
    args: Option<Vec<u8>>,
    /// What an authorizer has to say: variables for the request, or an answer in its place.
    granted: Vec<(String, Vec<u8>)>,
    denial: Option<Denial>,
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
        leaves_out: impl Fn(&[u8]) -> bool,
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
            // What is internal is for it.
            hops: 1,
            is_own: true,
            returns: true,
            ..Visit::default()
        };
        Self {
            bytes: bytes(request, (method, request.version()), body, leaves_out),
            record: own,
            rules: record.visit.rules,
        }
    }

    /// One whose answer is read as a text: all of it, and plain.
    pub(super) fn text(stage: &Stage<'_, '_>, record: &Record, path: &str) -> Self {
        let asked = ("GET", Vec::new(), None);
        Self::new(stage, record, path, asked, |name| {
            is_condition(name) || name.eq_ignore_ascii_case(b"accept-encoding")
        })
    }

    /// Has it answered on this connection.
    pub(super) async fn serve(mut self, own: &Conn) {
        let generation = own.generation();
        let mut bench = own.engine.store.bench();
        if read(&mut bench, &self.bytes) {
            let again = Step::Again;
            go_on(own, &mut bench, &mut self.record, &generation, again).await;
        }
        own.engine.store.give_back(bench);
        own.stream.end_part();
    }
}

/// Puts a request on the bench. Whether it can be read.
fn read(bench: &mut Workbench, bytes: &[u8]) -> bool {
    bench.input.append(bytes);
    let parsed = bench
        .head
        .parse(bench.input.unread(), &Limits::default(), &Policy::default());
    let Ok(Some(length)) = parsed else {
        // It was read by the same parser when it came.
        tracing::error!("a request of our own cannot be read");
        return false;
    };
    bench.input.consume(length);
    true
}

/// The request once more, but without a body and some of its fields.
pub(super) fn request_bytes(request: &Request<'_>, leaves_out: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (method, version) = (request.method(), Version::Http11);
    bytes(request, (method, version), None, leaves_out)
}

/// The request with its fields, but without those of its connection, and with another body.
fn bytes(
    request: &Request<'_>,
    (method, version): (&str, Version),
    body: Option<&[u8]>,
    leaves_out: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
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
    write_request_line(&mut out, method, request.target(), version);
    for (name, value) in request.headers() {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        if !NOT_ITS_OWN.iter().any(is) && !leaves_out(name) {
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
                let ask = Ask::new(self, record, &auth.uri, asked, |_| false);
                Step::Pause(Pause::Ask(Box::new(ask)))
            }
            None => self.admitted(record),
        }
    }

    /// What it said. With `satisfy any` its word is enough, and another's refusal stands if it is none.
    pub(super) fn answered(&self, outcome: Outcome, record: &mut Record) -> Step<'g> {
        record.visit.vars = outcome.vars;
        if let Some(args) = outcome.args {
            record.visit.set(ARGS, args);
        }
        record.visit.granted = outcome.granted;
        if let Some(denial) = outcome.denial {
            record.visit.carried.extend_from_slice(&denial.fields);
            let reply = Reply::text(denial.status, denial.kind, denial.body);
            return Step::Reply(reply);
        }
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
    if !read(&mut bench, &bytes) {
        return Outcome::default();
    }
    let work = go_on(&own, &mut bench, &mut record, &generation, Step::Again);
    let _the_same_for_all: Ending = work.await;
    let kept = match &*own.stream {
        Stream::Inner(inner) => inner.kept.take(),
        _ => Vec::new(),
    };
    let outcome = outcome(&own, &generation, &bench, &mut record, rules, &kept);
    own.engine.store.give_back(bench);
    outcome
}

/// What is to be learned from its answer.
fn outcome(
    own: &Conn,
    generation: &Generation,
    bench: &Workbench,
    record: &mut Record,
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
    let theirs = record.answer_head.take().unwrap_or_default();
    let mut answer = ResponseHead::default();
    let has_answer = matches!(answer.parse(&theirs, &ANSWER_LIMITS), Ok(Some(_)));
    let sets = config.rules(rules).auth_request.as_ref();
    let mut args = None;
    // One after the other: each sees what those before it have set.
    for (slot, value) in sets.map_or(&[][..], |auth| &auth.sets) {
        let scene = Scene {
            answer: has_answer.then(|| answer.on(&theirs)),
            sent: kept,
            ..Scene::new(own, config, Some(bench.head.on(bench.input.all())), record)
        };
        let value = value.value(&scene);
        if *slot == ARGS {
            // The client's query, which is not that of who is asked.
            args = Some(value);
        } else {
            record.visit.set(*slot, value);
        }
    }
    let vars = std::mem::take(&mut record.visit.vars);
    let authorizes = match &config.rules(record.visit.rules).content {
        Content::Proxy(pass) => pass.authorizes(),
        _ => false,
    };
    let (mut granted, mut denial) = (Vec::new(), None);
    if authorizes && has_answer && record.status == 200 {
        granted = authorizer::variables(&answer.on(&theirs));
    } else if authorizes && has_answer && is_there {
        denial = Denial::of(&answer.on(&theirs), kept);
    }
    Outcome {
        status: record.status,
        challenges,
        vars,
        args,
        granted,
        denial,
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
        let ask = Ask::new(&stage, record, uri, asked, |_| false);
        let own = Conn::for_own(conn);
        conn.engine.conns.spawn_local(Box::pin(async move {
            alone(own, ask).await;
        }));
    }
    Ok(())
}
