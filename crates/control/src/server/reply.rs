//! From a request to its answer: routing, roles, bodies, problem documents, the event stream.
//!
//! Not here: connections.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Body, EventHub, Events, Handler, MAX_BODY_BYTES, READ_TIMEOUT, Response};
use crate::message::ProblemDocument;
use crate::role::Role;
use crate::route::{Call, EventQuery};
use crate::{metrics, sse};

/// An event stream on which nothing happens says so this often.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// For a connection too many.
pub(super) const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 106\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many control connections\"}\n";

pub(super) async fn answer<H: Handler>(
    handler: &H,
    role: Role,
    request: http::Request<Incoming>,
    stop: CancellationToken,
) -> Response {
    route(handler, role, request, stop)
        .await
        .unwrap_or_else(|problem| refusal(&problem))
}

async fn route<H: Handler>(
    handler: &H,
    role: Role,
    request: http::Request<Incoming>,
    stop: CancellationToken,
) -> Result<Response, ProblemDocument> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let last_id = request
        .headers()
        .get("last-event-id")
        .and_then(|id| id.to_str().ok());
    let call = Call::read(request.method().as_str(), target, last_id, role)?;
    let request = read_body(request).await?;
    Ok(match call {
        Call::Status => json(200, &handler.status().await),
        Call::Metrics => text(200, metrics::CONTENT_TYPE, handler.metrics().await),
        Call::Events(query) => events(handler.events(), query, stop),
        Call::Drain => json(202, &handler.drain().await?),
        Call::Stop => json(202, &handler.stop().await?),
        Call::Reload { dry_run } => {
            let report = handler.reload(dry_run).await?;
            json(if report.ok { 200 } else { 422 }, &report)
        }
        Call::Other => handler.other(role, request).await?,
    })
}

async fn read_body(
    request: http::Request<Incoming>,
) -> Result<http::Request<Bytes>, ProblemDocument> {
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(http::Request::from_parts(head, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ProblemDocument::new(400, "the body broke off")),
        Err(_) => Err(ProblemDocument::new(408, "the body took too long")),
    }
}

fn too_large() -> ProblemDocument {
    ProblemDocument::new(413, format!("a body has {MAX_BODY_BYTES} bytes at most"))
}

/// An answer with a JSON body and a newline, for people who use curl.
#[must_use]
pub fn json(status: u16, body: &impl Serialize) -> Response {
    json_as(status, "application/json", body)
}

/// An answer with a text of the given content type.
#[must_use]
pub fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    response(status, content_type, Body::whole(body))
}

fn json_as(status: u16, content_type: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            text(status, content_type, bytes)
        }
        Err(error) => {
            tracing::error!(%error, "an answer is not JSON");
            response(
                500,
                "text/plain",
                Body::whole("our bug: the answer is not JSON\n"),
            )
        }
    }
}

fn refusal(problem: &ProblemDocument) -> Response {
    let mut response = json_as(problem.status, ProblemDocument::CONTENT_TYPE, problem);
    if problem.status == 405 {
        let allow = if problem.detail.contains("answers POST") {
            "POST"
        } else {
            "GET, HEAD"
        };
        response
            .headers_mut()
            .insert(ALLOW, http::HeaderValue::from_static(allow));
    }
    response
}

fn events(hub: &EventHub, query: EventQuery, stop: CancellationToken) -> Response {
    let source = hub.subscribe(query);
    // The first piece goes out at once, so that the client knows that it is subscribed.
    let body = Body::pulled(
        (source, stop, true, false),
        |(mut source, stop, is_first, is_last)| async move {
            if is_last {
                return None;
            }
            if is_first {
                let first = encode(&source.ready());
                let piece = if first.is_empty() {
                    Bytes::from_static(b": hello\n\n")
                } else {
                    first
                };
                return Some((piece, (source, stop, false, false)));
            }
            let (piece, ended) = tokio::select! {
                biased;
                events = source.next() => (encode(&events), false),
                () = stop.cancelled() => (last_words(&mut source), true),
                () = tokio::time::sleep(KEEP_ALIVE_EVERY) => (Bytes::from_static(sse::KEEP_ALIVE.as_bytes()), false),
            };
            Some((piece, (source, stop, false, ended)))
        },
    );
    response(200, sse::CONTENT_TYPE, body)
}

fn last_words(source: &mut Events) -> Bytes {
    encode(&source.ready())
}

fn encode(events: &[crate::Event]) -> Bytes {
    events.iter().map(sse::encode).collect::<String>().into()
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
