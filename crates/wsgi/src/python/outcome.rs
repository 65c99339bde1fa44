//! How a call ended: what becomes of the connection, what the client is told, and what the log.
//!
//! Not here: the call itself (`call`).

use pyo3::PyErr;
use pyo3::exceptions::{PyAssertionError, PyStopIteration};
use pyo3::prelude::*;

use crate::worker::environ::EnvironError;
use crate::worker::exchange::Exchange;
use crate::worker::reply::{Demand, Reply, error_page};
use crate::worker::watch::timeout_page;

use super::answer::{Active, CallError, Sink};
use super::call::Verdict;
use super::interrupt::RequestTimeout;
use super::logger::tell_exception;

/// Turns how it went into what becomes of the connection; tells what went wrong.
pub(super) fn conclude(
    py: Python<'_>,
    active: &mut Active<'_>,
    exchange: &Exchange,
    result: Result<(), CallError>,
) -> Verdict {
    if active.has_socket && !active.reply.started() {
        return handed_over(py, active.reply, exchange, result);
    }
    match result {
        Ok(()) => {
            if !active.reply.is_whole() {
                let line = line_of(exchange);
                tracing::warn!(
                    "the answer to {line} is shorter than its Content-Length; closing the connection"
                );
            }
            verdict(active.reply, active.reply.keep_alive())
        }
        Err(CallError::Gone) => verdict(active.reply, false),
        Err(CallError::NoHead) => {
            let error = PyAssertionError::new_err("the application did not call start_response()");
            fail(py, active.reply, active.sink, exchange, &error)
        }
        Err(CallError::Raised(_)) if active.no_body.is_some() && !active.reply.started() => {
            let status = active.no_body.unwrap_or(400);
            tracing::warn!("the body of {} did not come", line_of(exchange));
            let demand = active.reply.demand();
            let text = "The request body did not come to its end.";
            own_page(active.reply, active.sink, demand, status, text)
        }
        Err(CallError::Raised(error)) if error.is_instance_of::<RequestTimeout>(py) => {
            time_out(active, exchange)
        }
        Err(CallError::Raised(error)) => fail(py, active.reply, active.sink, exchange, &error),
    }
}

/// The application has spoken for itself on `gunicorn.socket`, and the connection is not ours any more. StopIteration is
/// how it says so, as with gunicorn.
fn handed_over(
    py: Python<'_>,
    reply: &mut Reply,
    exchange: &Exchange,
    result: Result<(), CallError>,
) -> Verdict {
    if let Err(CallError::Raised(error)) = result
        && !error.is_instance_of::<PyStopIteration>(py)
    {
        let said = format!("Error handling request {}", line_of(exchange));
        tell_exception(py, &said, &error);
    }
    reply.forget();
    Verdict {
        keep: false,
        status: 101,
        body_bytes: 0,
        let_go: true,
        had_socket: true,
    }
}

fn verdict(reply: &Reply, keep: bool) -> Verdict {
    Verdict {
        keep,
        status: reply.status(),
        body_bytes: reply.body_bytes(),
        let_go: false,
        had_socket: false,
    }
}

fn line_of(exchange: &Exchange) -> String {
    let request = exchange.request();
    format!("{} {}", request.method(), request.target().escape_ascii())
}

/// The application raised: 500 if nothing is out, else the connection is cut, so that the client sees it.
pub(super) fn fail(
    py: Python<'_>,
    reply: &mut Reply,
    sink: &mut dyn Sink,
    exchange: &Exchange,
    error: &PyErr,
) -> Verdict {
    let said = format!("Error handling request {}", line_of(exchange));
    tell_exception(py, &said, error);
    if reply.started() {
        let keep = reply.is_whole() && reply.keep_alive();
        return verdict(reply, keep);
    }
    let demand = reply.demand();
    let page = error_page(
        demand.version,
        500,
        "Internal Server Error",
        "",
        demand.head_only,
    );
    sink.out().extend_from_slice(&page);
    Verdict {
        keep: false,
        status: 500,
        body_bytes: 0,
        let_go: false,
        had_socket: false,
    }
}

/// The application ended because it was told to. Its stack is in the log already.
fn time_out(active: &mut Active<'_>, exchange: &Exchange) -> Verdict {
    tracing::warn!("{} has ended, having taken too long", line_of(exchange));
    if active.reply.started() {
        let keep = active.reply.is_whole() && active.reply.keep_alive();
        return verdict(active.reply, keep);
    }
    let demand = active.reply.demand();
    active.reply.forget();
    let page = timeout_page(demand.version, demand.head_only);
    active.sink.out().extend_from_slice(&page);
    Verdict {
        keep: false,
        status: 504,
        body_bytes: 0,
        let_go: false,
        had_socket: false,
    }
}

pub(super) fn refuse(
    reply: &mut Reply,
    sink: &mut dyn Sink,
    demand: Demand,
    refused: EnvironError,
) -> Verdict {
    tracing::warn!("Invalid request: {refused}");
    own_page(reply, sink, demand, refused.status(), &refused.to_string())
}

/// An answer of ours, after which the connection closes.
fn own_page(
    reply: &mut Reply,
    sink: &mut dyn Sink,
    demand: Demand,
    status: u16,
    text: &str,
) -> Verdict {
    reply.forget();
    let reason = trine_http1::default_reason(status);
    let page = error_page(demand.version, status, reason, text, demand.head_only);
    sink.out().extend_from_slice(&page);
    Verdict {
        keep: false,
        status,
        body_bytes: 0,
        let_go: false,
        had_socket: false,
    }
}
