//! Upstream servers on the control socket: how each of them stands, and taking one out of work.
//!
//! `GET /v1/upstreams`, and `POST /v1/upstreams/NAME/servers/ADDRESS/drain` or `…/resume`. Not here: the figures of
//! connections, which each core has of its own (see `cores`).

use std::sync::atomic::Ordering::Relaxed;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;
use trine_control::message::{ActionResult, ProblemDocument};
use trine_control::metrics::Metrics;
use trine_control::server::{EventHub, Request, Response, json, not_found};

use crate::upstream::fleet::{Fleet, Squad};

/// The servers of one upstream.
#[derive(Debug, Clone, Serialize)]
pub(super) struct UpstreamStatus {
    name: String,
    /// Requests that wait for one of its servers.
    waiting: usize,
    servers: Vec<ServerStatus>,
}

/// How one of them stands.
#[derive(Debug, Clone, Serialize)]
struct ServerStatus {
    address: String,
    /// `up`, `down`, `checking`, `unknown` by its health checks.
    health: &'static str,
    /// It gets no new work, by order or by the configuration.
    drained: bool,
    /// The configuration says that it is not asked.
    down: bool,
    backup: bool,
    /// Failures of requests have put it aside for a while.
    aside: bool,
    weight: u32,
    fails: u32,
    /// Connections in use, where they are counted.
    connections: u32,
    checks_passed: u64,
    checks_failed: u64,
}

impl ServerStatus {
    /// Whether a request could be sent to it now.
    fn is_asked(&self) -> bool {
        !self.drained && !self.down && !self.aside && matches!(self.health, "up" | "unknown")
    }
}

/// Everything that is known of all of them.
pub(super) fn status(fleet: &Fleet) -> Vec<UpstreamStatus> {
    let squads = fleet.squads();
    let named = squads.iter().filter(|squad| !squad.upstream.implicit);
    named.map(|squad| of_squad(squad)).collect()
}

fn of_squad(squad: &Squad) -> UpstreamStatus {
    let upstream = &squad.upstream;
    let now = squad.now();
    let servers = upstream.servers.iter().zip(&squad.servers).enumerate();
    let servers = servers.map(|(index, (server, standing))| ServerStatus {
        address: server.addr.to_string(),
        health: standing.health().word(),
        drained: standing.is_drained() || server.drain,
        down: server.down,
        backup: index >= upstream.primaries,
        aside: standing.is_aside(server, now),
        weight: server.weight,
        fails: standing.fails(),
        connections: standing.conns(),
        checks_passed: standing.checks.passed.load(Relaxed),
        checks_failed: standing.checks.failed.load(Relaxed),
    });
    UpstreamStatus {
        name: upstream.name.clone(),
        waiting: squad.line.len(),
        servers: servers.collect(),
    }
}

/// The same for `/metrics`.
pub(super) fn metrics(fleet: &Fleet, metrics: &mut Metrics) {
    let all = status(fleet);
    type Value = fn(&ServerStatus) -> u64;
    let gauges: [(&str, &str, Value); 2] = [
        (
            "trine_proxy_upstream_server_up",
            "Whether a server may be asked: not down, drained, unhealthy or put aside.",
            |server| u64::from(server.is_asked()),
        ),
        (
            "trine_proxy_upstream_server_drained",
            "Whether a server gets no new work.",
            |server| u64::from(server.drained),
        ),
    ];
    for (name, help, value) in gauges {
        let mut family = metrics.gauge(name, help);
        for upstream in &all {
            for server in &upstream.servers {
                let labels = [("upstream", &*upstream.name), ("server", &*server.address)];
                family.sample(&labels, value(server));
            }
        }
    }
    let mut family = metrics.counter(
        "trine_proxy_upstream_health_checks",
        "Health checks that have ended.",
    );
    for upstream in &all {
        for server in &upstream.servers {
            for (result, count) in [
                ("passed", server.checks_passed),
                ("failed", server.checks_failed),
            ] {
                let labels = [
                    ("upstream", &*upstream.name),
                    ("server", &*server.address),
                    ("result", result),
                ];
                family.sample(&labels, count);
            }
        }
    }
}

/// Answers the calls about upstreams.
pub(super) fn answer(
    request: &Request,
    fleet: Option<&Fleet>,
    events: &EventHub,
) -> Result<Response, ProblemDocument> {
    let path = request.uri().path();
    let fleet = fleet.ok_or_else(|| ProblemDocument::new(503, "the proxy is starting"))?;
    let steps: Vec<_> = path
        .split('/')
        .skip(1)
        .map(|step| percent_decode_str(step).decode_utf8_lossy())
        .collect();
    let steps: Vec<&str> = steps.iter().map(AsRef::as_ref).collect();
    let wrong_method = |right| {
        let detail = format!("{path} answers {right}, not {}", request.method());
        Err(ProblemDocument::new(405, detail))
    };
    match steps[..] {
        ["v1", "upstreams"] if request.method() != "GET" => wrong_method("GET"),
        ["v1", "upstreams"] => Ok(json(200, &json!({ "upstreams": status(fleet) }))),
        ["v1", "upstreams", _, "servers", _, "drain" | "resume"] if request.method() != "POST" => {
            wrong_method("POST")
        }
        [
            "v1",
            "upstreams",
            name,
            "servers",
            address,
            verb @ ("drain" | "resume"),
        ] => {
            let done = drain(fleet, name, address, verb == "drain", events)?;
            Ok(json(200, &done))
        }
        _ => Err(not_found(path)),
    }
}

/// Gives a server no new work, or work again. What it has it finishes.
fn drain(
    fleet: &Fleet,
    name: &str,
    address: &str,
    drained: bool,
    events: &EventHub,
) -> Result<ActionResult, ProblemDocument> {
    let squads = fleet.squads();
    let squad = squads.iter().find(|squad| squad.upstream.name == name);
    let squad = squad.ok_or_else(|| {
        let names: Vec<_> = squads
            .iter()
            .map(|one| one.upstream.name.as_str())
            .collect();
        let detail = format!(
            "there is no upstream {name}; there are: {}",
            names.join(", ")
        );
        ProblemDocument::new(404, detail)
    })?;
    let servers = || squad.upstream.servers.iter().zip(&squad.servers);
    let is_meant = |server: &crate::config::UpstreamServer| {
        server.addr.to_string() == address || server.text == address
    };
    let mut found = 0;
    let mut changed = false;
    for (_, standing) in servers().filter(|(server, _)| is_meant(server)) {
        found += 1;
        changed |= standing.drain(drained);
    }
    if found == 0 {
        let known: Vec<_> = servers().map(|(one, _)| one.addr.to_string()).collect();
        let detail = format!(
            "upstream {name} has no server {address}; it has: {}",
            known.join(", ")
        );
        return Err(ProblemDocument::new(404, detail));
    }
    let word = if drained { "drained" } else { "resumed" };
    if changed {
        tracing::info!(upstream = %name, server = %address, "upstream server {word} by order");
        let data = json!({ "upstream": name, "server": address, "drained": drained });
        events.push("upstream.drain", data);
    }
    Ok(ActionResult::done(match drained {
        true => format!("{address} of {name} gets no new requests; what it has it finishes"),
        false => format!("{address} of {name} gets requests again"),
    }))
}
