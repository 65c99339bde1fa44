//! The body of a request on its way to an upstream: what of it is read before anybody is asked.
//!
//! Not here: reading it (`conn::collect`), or sending it (`exchange`).

use std::ops::Range;

use trine_http1::{BodyLength, Request};

use super::fault::Fault;
use crate::config::{BodyFile, Protocol, ProxyPass, Rules};
use crate::conn::Conn;
use crate::conn::body::ClientBody;
use crate::conn::collect::Spooling;
use crate::conn::record::Record;
use crate::conn::reply;
use crate::engine::Generation;
use crate::workbench::Workbench;

/// A body that can be sent.
pub(super) struct Provided {
    pub(super) body: ClientBody,
    /// Where all that is sent of it lies, if that is behind the head.
    pub(super) held: Option<Range<usize>>,
    /// What the upstream is told of its length.
    pub(super) sent_as: BodyLength,
    /// The client waits for being asked for it.
    pub(super) expects_continue: bool,
    /// The client sends a body that nobody reads.
    pub(super) drops_body: bool,
    /// All that is sent of it is here and stays here.
    pub(super) repeatable: bool,
}

/// Reads of the body what the location wants to have before a server is chosen.
pub(super) async fn provide(
    conn: &Conn,
    bench: &mut Workbench,
    generation: &Generation,
    pass: &ProxyPass,
    rules: &Rules,
    record: &mut Record,
) -> Result<Provided, Fault> {
    let request = bench.head.on(bench.input.all());
    let (mut length, mut expects_continue) = (request.body(), request.expects_continue());
    let streams = !pass.buffers.requests || answers_in_between(&request);
    let kept = record.kept_body.take();
    let body = match kept.filter(|_| !record.visit.as_get) {
        Some(kept) => {
            expects_continue = false;
            *kept
        }
        None => {
            let has_body = length != BodyLength::Empty;
            if has_body && (record.visit.as_get || record.body_spent) {
                // An error page is asked for without the body that was meant for another.
                (length, expects_continue) = (BodyLength::Empty, false);
            }
            record.body_spent |= has_body;
            let limit = rules.max_body;
            if let BodyLength::Known(length) = length
                && length > limit
            {
                return Err(Fault::BodyTooLarge { limit });
            }
            if !expects_continue {
                conn.collect_small(bench, length).await?;
            }
            let mut body = ClientBody::new(length, limit);
            body.take_held(&mut bench.input)?;
            // These protocols tell the length first.
            let needs_length = pass.protocol != Protocol::Http1 && length == BodyLength::Chunked;
            let named = rules.bodies.file != BodyFile::Never && length != BodyLength::Empty;
            if (body.held().is_none() && (needs_length || !streams)) || (named && !streams) {
                if std::mem::take(&mut expects_continue) {
                    conn.send(reply::CONTINUE).await?;
                }
                let spooling = Spooling {
                    config: &generation.config,
                    rules,
                    needs_all: needs_length || named,
                };
                Box::pin(conn.spool_body(bench, &mut body, &spooling, record)).await?;
            }
            let tells = generation.config.tells_body && record.body_file.is_none();
            if let Some(held) = body.held().filter(|_| tells) {
                record.body_text = Some(bench.input.all()[held].to_vec());
            }
            body
        }
    };
    let sent_as = match (body.whole(), length) {
        (Some(length), BodyLength::Chunked) => BodyLength::Known(length),
        _ => length,
    };
    if !pass.shaping.passes_body || pass.shaping.body.is_some() {
        // What is there already is taken and forgotten; for the rest the connection cannot go on.
        return Ok(Provided {
            held: Some(0..0),
            sent_as: BodyLength::Empty,
            expects_continue: false,
            drops_body: !body.is_read(),
            repeatable: true,
            body,
        });
    }
    Ok(Provided {
        held: body.held(),
        sent_as,
        expects_continue,
        drops_body: false,
        repeatable: body.whole().is_some(),
        body,
    })
}

/// Whether the client may wait for answers to pieces of its request, which then have to go on as they come.
fn answers_in_between(request: &Request<'_>) -> bool {
    let kind = request.get("content-type").unwrap_or_default();
    kind.get(..16)
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc"))
}
