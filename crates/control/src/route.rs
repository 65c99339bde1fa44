//! The calls that every daemon answers, as a table from method and path. Pure, so that the server on hyper
//! and the poll loop of trine-wsgi's arbiter agree.
//!
//! Not here: bodies, sockets, and the daemons' own calls, which come out as [`Call::Other`].

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::message::ProblemDocument;
use crate::role::Role;

/// A call of the API, read from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `GET /v1/status`
    Status,
    /// `GET /v1/events[?kinds=a,b][&since=ID]`; the header `Last-Event-ID` wins over `since`.
    Events(EventQuery),
    /// `GET /metrics`
    Metrics,
    /// `POST /v1/drain`: stop taking work, finish what there is, end.
    Drain,
    /// `POST /v1/reload[?dry_run=true]`
    Reload {
        /// Check only, change nothing.
        dry_run: bool,
    },
    /// `POST /v1/stop`: end now, in order.
    Stop,
    /// Anything else: the daemon's own.
    Other,
}

/// Which events a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// The last event the client has seen: it gets what came after. `None`: from now on. 0: all there are.
    pub since: Option<u64>,
    /// The kinds it wants, each also as a prefix before a dot (`worker` wants `worker.ready`); empty: all.
    pub kinds: Vec<String>,
}

impl EventQuery {
    /// Whether the client wants events of this kind. Gaps are told to everybody.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        let is = |wanted: &String| {
            kind.strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.kinds.is_empty() || kind == crate::events::GAP || self.kinds.iter().any(is)
    }
}

impl Call {
    /// Reads a request and checks that `role` may make it. `target` is in origin form
    /// (`/v1/events?kinds=phase`); `last_event_id` is the header of that name, if it came.
    ///
    /// # Errors
    /// The problem document to answer with: 405 for a wrong method, 403 for a role that may only look, 400
    /// for a query that makes no sense.
    pub fn read(
        method: &str,
        target: &str,
        last_event_id: Option<&str>,
        role: Role,
    ) -> Result<Self, ProblemDocument> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_reading = matches!(method, "GET" | "HEAD");
        let (wanted, call) = match path {
            "/v1/status" => ("GET", Self::Status),
            "/metrics" => ("GET", Self::Metrics),
            "/v1/events" if is_reading => ("GET", Self::Events(event_query(query, last_event_id)?)),
            "/v1/events" => ("GET", Self::Events(EventQuery::default())),
            "/v1/drain" => ("POST", Self::Drain),
            "/v1/reload" => (
                "POST",
                Self::Reload {
                    dry_run: flag(query, "dry_run")?,
                },
            ),
            "/v1/stop" => ("POST", Self::Stop),
            _ => (method, Self::Other),
        };
        if wanted != method && !(wanted == "GET" && method == "HEAD") {
            let detail = format!("{path} answers {wanted}, not {method}");
            return Err(ProblemDocument::new(405, detail));
        }
        if !is_reading && role < Role::Admin {
            let detail = "only root and the user that the daemon runs as may change anything here";
            return Err(ProblemDocument::new(403, detail));
        }
        Ok(call)
    }
}

fn event_query(query: &str, last_event_id: Option<&str>) -> Result<EventQuery, ProblemDocument> {
    let given = last_event_id
        .map(Cow::Borrowed)
        .or_else(|| query_value(query, "since"));
    let since = given.map(|id| {
        let bad = |_| ProblemDocument::new(400, format!("event id {id:?} is no number"));
        id.trim().parse().map_err(bad)
    });
    let kinds = query_value(query, "kinds").unwrap_or_default();
    let kinds = kinds
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(EventQuery {
        since: since.transpose()?,
        kinds,
    })
}

/// A query's `name=true` or `name=false`; `name` alone is true, absence false.
///
/// # Errors
/// A 400 for any other value.
pub fn flag(query: &str, name: &str) -> Result<bool, ProblemDocument> {
    match query_value(query, name).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => Err(ProblemDocument::new(
            400,
            format!("{name}={other:?}: there are true and false"),
        )),
    }
}

/// The first value of `name` in a query string, percent-decoded; empty for `name` without `=`.
#[must_use]
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode_str(value).decode_utf8_lossy())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, want: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let got = |role| match Call::read(method, target, None, role) {
            Ok(call) => format!("{call:?}"),
            Err(problem) => format!("{} {}", problem.status, problem.detail),
        };
        let (admin, observer) = (got(Role::Admin), got(Role::Observer));
        let shown = if admin == observer {
            admin
        } else {
            format!("{admin} | {}", &observer[..3])
        };
        assert_eq!(shown, want, "{request}");
    }

    #[test]
    fn table() {
        check("GET /v1/status", "Status");
        check("HEAD /v1/status", "Status");
        check("GET /metrics?x=1", "Metrics");
        check("POST /metrics", "405 /metrics answers GET, not POST");
        check("GET /v1/stop", "405 /v1/stop answers POST, not GET");
        check("POST /v1/stop", "Stop | 403");
        check("POST /v1/drain", "Drain | 403");
        check("POST /v1/reload", "Reload { dry_run: false } | 403");
        check(
            "POST /v1/reload?dry_run=true",
            "Reload { dry_run: true } | 403",
        );
        check("POST /v1/reload?dry_run", "Reload { dry_run: true } | 403");
        check(
            "POST /v1/reload?dry_run=maybe",
            "400 dry_run=\"maybe\": there are true and false",
        );
        check("GET /v1/programs", "Other");
        check("POST /v1/programs/web/stop", "Other | 403");
        check("DELETE /v1/programs/web", "Other | 403");
        check(
            "GET /v1/events",
            "Events(EventQuery { since: None, kinds: [] })",
        );
        check(
            "GET /v1/events?since=0",
            "Events(EventQuery { since: Some(0), kinds: [] })",
        );
        check(
            "POST /v1/events?since=x",
            "405 /v1/events answers GET, not POST",
        );
        check("GET /v1/events?since=x", "400 event id \"x\" is no number");
    }

    #[test]
    fn event_queries() {
        let read = |id| {
            Call::read(
                "GET",
                "/v1/events?kinds=worker%2Cphase&since=1",
                id,
                Role::Observer,
            )
        };
        let Ok(Call::Events(query)) = read(Some("7")) else {
            panic!()
        };
        assert_eq!(query.since, Some(7), "the header wins");
        assert!(query.wants("worker") && query.wants("worker.ready") && query.wants("phase"));
        assert!(!query.wants("workers") && !query.wants("program.state"));
        assert!(query.wants("gap"));
    }
}
