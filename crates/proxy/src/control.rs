//! The proxy's answers on the control socket: status, metrics, events, and orders for the control thread.
//!
//! `cache` answers about what is kept, `upstreams` about servers. Not here: following the orders (`daemon`), HTTP and
//! roles (`trine_control`).

mod cache;
mod sessions;
mod upstreams;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use trine_control::message::{ActionResult, ListenerStatus, ProblemDocument, ReloadReport, Status};
use trine_control::metrics::{Histogram, Metrics};
use trine_control::role::Role;
use trine_control::server::{EventHub, Handler, Request, Response};
use trine_service::PhaseCell;

use crate::cache::Zone;
use crate::cores::{Order, Snapshot};
use crate::daemon::LOOK_TIMEOUT;
use crate::times;
use crate::upstream::fleet::Fleet;

/// What the control thread is asked to do.
pub(crate) enum Ask {
    Reload {
        dry_run: bool,
        reply: oneshot::Sender<ReloadReport>,
    },
    Drain,
    Stop,
}

/// What may be known of the daemon.
#[derive(Debug, Default)]
pub(crate) struct Public {
    pub(crate) phase: PhaseCell,
    pub(crate) events: EventHub,
    state: Mutex<State>,
}

/// The part of it that changes with reloads.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) status_text: String,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) last_reload: Option<ReloadReport>,
    pub(crate) failed_reloads: u64,
    pub(crate) caches: Vec<Zone>,
    /// Whom to ask for figures.
    pub(crate) cores: Vec<mpsc::Sender<Order>>,
    /// The servers of all upstreams.
    pub(crate) fleet: Option<Arc<Fleet>>,
}

impl Public {
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers on the control socket.
#[derive(Debug)]
pub(crate) struct Desk {
    public: Arc<Public>,
    asks: mpsc::Sender<Ask>,
    started: Instant,
}

impl Desk {
    pub(crate) fn new(public: Arc<Public>, asks: mpsc::Sender<Ask>) -> Self {
        Self {
            public,
            asks,
            started: Instant::now(),
        }
    }

    /// The figures of all cores together; of those that answer in time.
    async fn look(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for core in self.public.update(|state| state.cores.clone()) {
            let (reply, answer) = oneshot::channel();
            let look = async {
                core.send(Order::Look(reply)).await.ok()?;
                answer.await.ok()
            };
            if let Ok(Some(snapshot)) = tokio::time::timeout(LOOK_TIMEOUT, look).await {
                sum.add(snapshot);
            }
        }
        sum
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.public.update(|state| state.fleet.clone())
    }

    async fn ask(&self, ask: Ask, done: &str) -> Result<ActionResult, ProblemDocument> {
        // The control thread takes no more orders once it is ending, and then this is done already.
        let _ = self.asks.send(ask).await;
        Ok(ActionResult::done(done))
    }
}

impl Handler for Desk {
    async fn status(&self) -> Status {
        let mut detail = json!(self.look().await);
        if let Some(fleet) = self.fleet() {
            detail["upstreams"] = json!(upstreams::status(&fleet));
        }
        let State {
            generation,
            status_text,
            listeners,
            last_reload,
            ..
        } = self.public.update(|state| state.clone());
        Status {
            daemon: "trine-proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: self.public.phase.get(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            status_text,
            generation,
            listeners,
            last_reload,
            detail,
        }
    }

    async fn metrics(&self) -> String {
        let (generation, failed) = self
            .public
            .update(|state| (state.generation, state.failed_reloads));
        let life = Life {
            generation,
            failed_reloads: failed,
            uptime: self.started.elapsed().as_secs_f64(),
        };
        metrics(&self.look().await, &life, self.fleet().as_deref())
    }

    fn events(&self) -> &EventHub {
        &self.public.events
    }

    async fn drain(&self) -> Result<ActionResult, ProblemDocument> {
        self.ask(Ask::Drain, "draining").await
    }

    async fn reload(&self, dry_run: bool) -> Result<ReloadReport, ProblemDocument> {
        let (reply, report) = oneshot::channel();
        let ending = || ProblemDocument::new(503, "the proxy is ending");
        self.asks
            .send(Ask::Reload { dry_run, reply })
            .await
            .map_err(|_| ending())?;
        report.await.map_err(|_| ending())
    }

    async fn stop(&self) -> Result<ActionResult, ProblemDocument> {
        self.ask(Ask::Stop, "stopping").await
    }

    async fn other(&self, _: Role, request: Request) -> Result<Response, ProblemDocument> {
        let uri = request.uri();
        match uri.path().strip_prefix("/v1/cache") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let caches = self.public.update(|state| state.caches.clone());
                cache::answer(caches, request.method(), rest, uri.query()).await
            }
            _ => upstreams::answer(&request, self.fleet().as_deref(), &self.public.events),
        }
    }
}

/// What is known of the daemon as a whole.
#[derive(Debug, Default)]
struct Life {
    generation: u64,
    failed_reloads: u64,
    /// In seconds.
    uptime: f64,
}

fn metrics(seen: &Snapshot, life: &Life, fleet: Option<&Fleet>) -> String {
    let mut metrics = Metrics::new();
    metrics
        .gauge(
            "trine_proxy_uptime_seconds",
            "How long the process has served.",
        )
        .sample(&[], life.uptime);
    metrics
        .counter(
            "trine_proxy_reload_failures",
            "Configurations that were refused.",
        )
        .sample(&[], life.failed_reloads);
    for (name, help, times) in [
        (
            "trine_proxy_request_seconds",
            "From the end of a request's head to the end of its answer.",
            &seen.times,
        ),
        (
            "trine_proxy_first_byte_seconds",
            "From the end of a request's head to the first byte of an upstream's answer.",
            &seen.first_bytes,
        ),
    ] {
        let values = Histogram {
            bounds: &times::BOUNDS,
            counts: &times.counts,
            sum: times.seconds,
        };
        metrics.histogram(name, help).histogram(&[], values);
    }
    metrics
        .gauge(
            "trine_proxy_connections_open",
            "Client connections that are open.",
        )
        .sample(&[], seen.open_connections);
    metrics
        .gauge(
            "trine_proxy_connections_idle",
            "Of these, those between two requests.",
        )
        .sample(&[], seen.idle_connections);
    metrics
        .gauge(
            "trine_proxy_tunnels_open",
            "Of these, those switched to another protocol.",
        )
        .sample(&[], seen.tunnels);
    metrics
        .gauge("trine_proxy_files_open", "Static files kept open.")
        .sample(&[], seen.open_files);
    metrics
        .gauge(
            "trine_proxy_config_generation",
            "Configurations put into effect so far.",
        )
        .sample(&[], life.generation);
    metrics
        .counter("trine_proxy_connections", "Client connections accepted.")
        .sample(&[], seen.connections);
    let mut requests = metrics.counter(
        "trine_proxy_requests",
        "Requests answered, by the hundreds of their status.",
    );
    for (class, count) in seen.statuses.iter().enumerate() {
        requests.sample(&[("status", &format!("{}xx", class + 1))], *count);
    }
    metrics
        .counter(
            "trine_proxy_response_body_bytes",
            "Content sent to clients.",
        )
        .sample(&[], seen.body_bytes);
    metrics
        .gauge(
            "trine_proxy_waiting_requests",
            "Requests that wait for a server to have a connection to spare.",
        )
        .sample(&[], seen.waiting_requests);
    metrics
        .counter(
            "trine_proxy_upstream_failures",
            "Requests that an upstream failed.",
        )
        .sample(&[], seen.upstream_failures);
    metrics
        .counter(
            "trine_proxy_accept_failures",
            "Times that descriptors or memory were short.",
        )
        .sample(&[], seen.accept_failures);
    let servers = &seen.upstream_servers;
    let mut family = |kind: fn(&mut Metrics) -> trine_control::metrics::Family<'_>,
                      value: fn(&crate::cores::ServerSnapshot) -> u64| {
        let mut family = kind(&mut metrics);
        for server in servers {
            family.sample(&[("server", &server.address)], value(server));
        }
    };
    family(
        |m| {
            m.gauge(
                "trine_proxy_upstream_active",
                "Upstream connections in use.",
            )
        },
        |server| server.active,
    );
    family(
        |m| {
            m.gauge(
                "trine_proxy_upstream_idle",
                "Upstream connections kept for later.",
            )
        },
        |server| server.idle,
    );
    family(
        |m| {
            m.counter(
                "trine_proxy_upstream_connects",
                "Upstream connections made.",
            )
        },
        |server| server.connects,
    );
    family(
        |m| {
            m.counter(
                "trine_proxy_upstream_requests",
                "Requests sent to an upstream server.",
            )
        },
        |server| server.requests,
    );
    family(
        |m| {
            m.counter(
                "trine_proxy_upstream_reused",
                "Of these, on a connection used before.",
            )
        },
        |server| server.reused,
    );
    family(
        |m| {
            m.counter(
                "trine_proxy_upstream_server_failures",
                "Attempts that a server failed.",
            )
        },
        |server| server.failures,
    );
    sessions::metrics(seen, &mut metrics);
    if let Some(fleet) = fleet {
        upstreams::metrics(fleet, &mut metrics);
    }
    metrics.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::ServerSnapshot;

    #[test]
    fn metrics_text() {
        let server = ServerSnapshot {
            address: "unix:/a".to_owned(),
            requests: 7,
            ..ServerSnapshot::default()
        };
        let seen = Snapshot {
            statuses: [0, 5, 0, 1, 0],
            upstream_servers: vec![server],
            ..Snapshot::default()
        };
        let life = Life {
            generation: 2,
            ..Life::default()
        };
        let text = metrics(&seen, &life, None);
        assert!(
            text.contains("trine_proxy_requests_total{status=\"2xx\"} 5\n"),
            "{text}"
        );
        assert!(
            text.contains("trine_proxy_upstream_requests_total{server=\"unix:/a\"} 7\n"),
            "{text}"
        );
        assert!(
            text.contains("trine_proxy_config_generation 2\n") && text.ends_with("# EOF\n"),
            "{text}"
        );
    }
}
