//! What other locations of the server answer, to be put before and behind an answer (`add_before_body`,
//! `add_after_body`). It is asked for, and kept in memory, before the answer itself is begun.
//!
//! Not here: asking (`subrequest`), or putting it there (`filter`).

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use trine_http1::{BodyDecoder, Request, ResponseHead};

use super::Conn;
use super::record::Record;
use super::serve::Step;
use super::stage::Stage;
use super::subrequest::Ask;
use super::told::{Told, tell};
use crate::compress::is_listed;
use crate::config::{Additions, Rules};
use crate::engine::Generation;
use crate::files;
use crate::filter::Around;
use crate::upstream::ANSWER_LIMITS;

/// So much may one of them be, with its head, in bytes.
const MOST: usize = 1024 * 1024;

/// Whether they have to be asked for before this step: not if it is known already that they have no place in it.
pub(super) fn is_due(
    step: &Step<'_>,
    rules: &Rules,
    request: &Request<'_>,
    record: &Record,
) -> bool {
    let Some(additions) = &rules.additions else {
        return false;
    };
    let visit = &record.visit;
    let is_there = visit.around.as_ref().map(|(rules, _)| *rules) == Some(visit.rules);
    if visit.is_own || is_there || request.method() == "HEAD" {
        return false;
    }
    match step {
        Step::Upstream(..) => true,
        Step::File(_, files::Plan::NotModified) => false,
        Step::File(entry, _) => {
            let given = visit.content_type.as_deref();
            let kind = given.unwrap_or(entry.content_type.as_bytes());
            is_listed(&additions.types, kind)
        }
        Step::Reply(reply) => match &reply.body {
            Some((kind, _)) => {
                record.status_for(reply.status) == 200
                    && is_listed(&additions.types, kind.as_bytes())
            }
            None => false,
        },
        Step::Again | Step::Hang | Step::Pause(_) => false,
    }
}

/// Asks for both.
pub(super) fn fetch<'a>(
    conn: &'a Conn,
    generation: &'a Rc<Generation>,
    request: Request<'a>,
    record: &'a Record,
    additions: &'a Additions,
) -> Pin<Box<dyn Future<Output = Arc<Around>> + 'a>> {
    Box::pin(async move {
        let stage = Stage {
            conn,
            generation,
            request,
        };
        let mut around = Around::default();
        if let Some(path) = &additions.before {
            around.before = text(&stage, record, path).await;
        }
        if let Some(path) = &additions.after {
            around.after = text(&stage, record, path).await;
        }
        Arc::new(around)
    })
}

/// What one location answers, whatever its status is.
async fn text(stage: &Stage<'_, '_>, record: &Record, path: &str) -> Vec<u8> {
    let ask = Ask::text(stage, record, path);
    let (own, mut pipe) = Conn::for_part(stage.conn);
    let read = async move {
        let mut bytes = Vec::new();
        while bytes.len() <= MOST {
            bytes.reserve(16 * 1024);
            if !matches!(pipe.read_buf(&mut bytes).await, Ok(1..)) {
                break;
            }
        }
        bytes
    };
    let ((), bytes) = tokio::join!(ask.serve(&own), read);
    let lacks = if bytes.len() > MOST {
        "has more than 1 MiB"
    } else if let Some(content) = content(&bytes) {
        return content;
    } else {
        "is not whole"
    };
    let config = &stage.generation.config;
    let told = Told::of(stage.conn, config, Some(stage.request), record);
    tell!(error, told, "{path} is not added: its answer {lacks}");
    Vec::new()
}

/// The content of an answer. `None` if it is not whole.
fn content(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut head = ResponseHead::default();
    let mut rest = bytes;
    let mut decoder = loop {
        let length = head.parse(rest, &ANSWER_LIMITS).ok()??;
        let answer = head.on(rest);
        let interim = answer.is_interim();
        let body = answer.body("GET");
        rest = &rest[length..];
        if !interim {
            break BodyDecoder::new(body);
        }
        head.clear();
    };
    let mut content = Vec::new();
    while !decoder.is_done() {
        let decoded = decoder.decode(rest).ok()?;
        content.extend_from_slice(&rest[decoded.data]);
        if decoded.consumed == 0 {
            decoder.eof().ok()?;
            break;
        }
        rest = &rest[decoded.consumed..];
    }
    Some(content)
}
