//! Answers that are put together from what requests of our own bring: slices of a file, or the part that a client wants of
//! an answer that was asked for whole.
//!
//! Each of our requests goes the way of the client's from its upstream on, in a task of its own; what it answers comes
//! through a pipe. `want` reads what comes, `join` sends it on. Not here: making such a connection (`subrequest`), or what a cache does with it (`cached`).

use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::oneshot;
use trine_http1::{
    BodyDecoder, BodyError, BodyLength, Limits, Policy, Request, Response, ResponseHead,
};

use super::Conn;
use super::record::{Record, Visit};
use super::serve::{Step, go_on};
use crate::config::{Config, Content, ProxyPass, Rules};
use crate::engine::Generation;
use crate::upstream::{ANSWER_LIMITS, Group};

mod join;
mod want;

pub(super) use join::serve;

/// Bytes that are taken from the pipe at once.
const PIECE: usize = 64 * 1024;

/// Fields of the client's request that the whole answer is judged by.
const PARTICULAR: [&str; 5] = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// How an answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    /// Of slices of so many bytes.
    Slices(u64),
    /// All of it is asked for, and the client gets what it wants of it.
    Whole,
    /// The client's words go on; if all of it comes nevertheless, the client gets its part.
    Forced,
}

/// How this request's answer is made, if not as it comes.
pub(super) fn make(
    config: &Config,
    rules: &Rules,
    pass: &ProxyPass,
    request: &Request<'_>,
    record: &Record,
) -> Option<Make> {
    let method = request.method();
    let plain = request.body() == BodyLength::Empty && request.upgrade().is_none();
    if record.visit.is_own || !plain {
        return None;
    }
    if let Some(size) = rules.slice
        && config.tells_slice
        && matches!(method, "GET" | "HEAD")
    {
        return Some(Make::Slices(size));
    }
    let forced = pass.shaping.forces_ranges && method == "GET" && request.get("range").is_some();
    // A cache asks for all of it anyway.
    (forced && pass.cache.is_none()).then_some(Make::Forced)
}

/// Whether the client wants only a part, or nothing if it has it already.
pub(super) fn is_particular(request: &Request<'_>) -> bool {
    let one = |name: &&str| request.get(name).is_some();
    request.method() == "GET" && PARTICULAR.iter().any(one)
}

/// The answer to one of our requests, as it comes.
struct Part {
    own: Rc<Conn>,
    pipe: DuplexStream,
    head: ResponseHead,
    /// Its bytes.
    front: Vec<u8>,
    /// What has come of the body, and how far it was taken.
    buffer: Vec<u8>,
    taken: usize,
    decoder: BodyDecoder,
    done: oneshot::Receiver<Record>,
    /// Has our request end at once.
    leave: oneshot::Sender<()>,
}

impl Part {
    /// Asks. The client's request was read before, so that it can be read again.
    fn ask(
        conn: &Conn,
        generation: &Rc<Generation>,
        group: &Rc<Group>,
        record: &Record,
        bytes: Vec<u8>,
        slice: Option<(u64, u64)>,
    ) -> Self {
        let (own, pipe) = Conn::for_part(conn);
        let own = Rc::new(own);
        let (tell, done) = oneshot::channel();
        let (leave, left) = oneshot::channel();
        let mut learned = Record::new(Instant::now());
        learned.real_ip = record.real_ip;
        learned.limited.requests = record.limited.requests;
        learned.limited.connections = record.limited.connections;
        learned.share_id(record.any_id(&conn.engine));
        learned.visit = Visit {
            is_own: true,
            bare: true,
            slice,
            ..record.visit.clone()
        };
        let (asks, generation, group) = (Rc::clone(&own), Rc::clone(generation), Rc::clone(group));
        conn.engine.conns.spawn_local(Box::pin(async move {
            let left = async {
                if left.await.is_err() {
                    // It may come to its end.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                record = run(&asks, &generation, group, learned, &bytes) => {
                    asks.stream.end_part();
                    // Whoever asked may have gone.
                    let _ = tell.send(record);
                }
                () = left => {}
            }
        }));
        Self {
            own,
            pipe,
            head: ResponseHead::default(),
            front: Vec::new(),
            buffer: Vec::new(),
            taken: 0,
            decoder: BodyDecoder::new(BodyLength::Empty),
            done,
            leave,
        }
    }

    /// Nobody wants it any more.
    fn abandon(self) {
        // It may be over already.
        let _ = self.leave.send(());
    }

    /// Waits for the head. False: there is none.
    async fn begins(&mut self, method: &str) -> bool {
        loop {
            match self.head.parse(&self.buffer, &ANSWER_LIMITS) {
                Ok(Some(length)) => {
                    let rest = self.buffer.split_off(length);
                    self.front = std::mem::replace(&mut self.buffer, rest);
                    if !self.answer().is_interim() {
                        self.decoder = BodyDecoder::new(self.answer().body(method));
                        return true;
                    }
                    self.head.clear();
                }
                Ok(None) if self.more().await => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    fn answer(&self) -> Response<'_> {
        self.head.on(&self.front)
    }

    async fn more(&mut self) -> bool {
        self.buffer.reserve(PIECE);
        matches!(self.pipe.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// The next piece of the body, which lies there in the buffer; `None` at its end.
    async fn piece(&mut self) -> Result<Option<Range<usize>>, BodyError> {
        loop {
            if self.taken < self.buffer.len() && !self.decoder.is_done() {
                let decoded = self.decoder.decode(&self.buffer[self.taken..])?;
                let data = self.taken + decoded.data.start..self.taken + decoded.data.end;
                self.taken += decoded.consumed;
                if !data.is_empty() {
                    return Ok(Some(data));
                }
                if decoded.consumed > 0 {
                    continue;
                }
            }
            if self.decoder.is_done() {
                return Ok(None);
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            if !self.more().await {
                self.decoder.eof()?;
                return Ok(None);
            }
        }
    }

    /// Takes what is left of the body, so that who keeps it has all of it.
    async fn drain(&mut self) {
        while let Ok(Some(_)) = self.piece().await {}
    }

    /// What is known of it when it is over.
    async fn record(self) -> Option<Record> {
        let Self { done, pipe, .. } = self;
        drop(pipe);
        done.await.ok()
    }
}

/// Serves a request of our own, from its upstream on.
async fn run(
    own: &Conn,
    generation: &Rc<Generation>,
    group: Rc<Group>,
    mut record: Record,
    bytes: &[u8],
) -> Record {
    let mut bench = own.engine.store.bench();
    bench.input.append(bytes);
    let parsed = bench
        .head
        .parse(bench.input.unread(), &Limits::default(), &Policy::default());
    let rules = generation.config.rules(record.visit.rules);
    match (parsed, &rules.content) {
        (Ok(Some(length)), Content::Proxy(pass)) => {
            bench.input.consume(length);
            let step = Step::Upstream(pass, group);
            go_on(own, &mut bench, &mut record, generation, step).await;
        }
        // It was read by the same parser when it came.
        _ => tracing::error!("a request of our own cannot be read"),
    }
    own.engine.store.give_back(bench);
    record
}
