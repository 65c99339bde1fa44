//! Upstreams: servers that do the same work, how one is chosen, and when another is tried.
//!
//! Not here: choosing (see `upstream::balance`), or what is known about the servers (see `upstream::fleet`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{HealthCheck, NameRules, PeerAddr, Sticky};
use crate::layer4::template::Text;
use crate::template::Template;

/// Servers that do the same work.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    /// In the order of the file; those for emergencies come last.
    pub(crate) servers: Vec<UpstreamServer>,
    /// Those after this number are asked only when none of the first can be.
    pub(crate) primaries: usize,
    pub(crate) method: Method,
    /// Clients stay with their server.
    pub(crate) sticky: Option<Arc<Sticky>>,
    pub(crate) keepalive: KeepAlive,
    /// Requests wait here while every server has all the connections it may have.
    pub(crate) queue: Option<Queue>,
    /// Its servers are asked whether they work.
    pub(crate) health: Option<HealthCheck>,
    /// Who is asked for the addresses of names that are followed; `None`: the system.
    pub(crate) names: Option<Arc<NameRules>>,
    /// The control socket that tells of the workers behind its servers.
    pub(crate) capacity: Option<PathBuf>,
    /// It stands for an address in a URL, and this is the port of that URL's scheme.
    pub(crate) implicit: bool,
    /// It is one of `stream`, with what its `hash` hashes.
    pub(crate) stream: Option<Text>,
    pub(crate) port: u16,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamServer {
    pub(crate) addr: PeerAddr,
    /// As it was written: consistent hashing goes by it.
    pub(crate) text: String,
    pub(crate) weight: u32,
    /// So many failures within `fail_timeout` put it aside for `fail_timeout`; 0: never.
    pub(crate) max_fails: u32,
    pub(crate) fail_timeout: Duration,
    /// Connections in use at once, over all cores; 0: any number.
    pub(crate) max_conns: u32,
    /// Not asked; it keeps its place in hashes.
    pub(crate) down: bool,
    /// It gets no new work.
    pub(crate) drain: bool,
    /// Its name is followed: asked for again and again, and not needed at the start.
    pub(crate) resolve: bool,
    /// The service whose SRV records say where it is.
    pub(crate) service: Option<String>,
    /// Its id for `sticky`; by its address if not given.
    pub(crate) route: Option<String>,
    /// Where it stands: FILE:LINE.
    pub(crate) at: String,
    /// How long a server that has recovered takes to get its full share.
    pub(crate) slow_start: Duration,
}

/// How a server is chosen.
#[derive(Debug, Clone)]
pub(crate) enum Method {
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConn,
    /// The one that is likely to answer first for its weight: by its average time, and its connections.
    LeastTime(LeastTime),
    /// By the first three bytes of the client's IPv4 address, or all of its IPv6 address.
    IpHash,
    Hash {
        key: Template,
        /// A server that leaves moves only its own keys.
        consistent: bool,
    },
    Random {
        /// Of two, the one with fewer connections.
        two: bool,
    },
}

/// Which time of a server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeastTime {
    /// Until the last byte of an answer, not only its head.
    pub(crate) last_byte: bool,
    /// Requests that have no answer yet count by their age.
    pub(crate) inflight: bool,
}

/// Connections that are kept for later requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Idle ones for each server on each core.
    pub(crate) count: usize,
    /// Requests that one serves.
    pub(crate) requests: u32,
    /// From its beginning.
    pub(crate) time: Duration,
    /// How long it may be idle.
    pub(crate) timeout: Duration,
}

/// A line of requests that wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queue {
    /// More are refused.
    pub(crate) most: usize,
    pub(crate) timeout: Duration,
}

/// TLS towards the servers of a location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DialRules {
    /// A server has to show a certificate for its name by an authority.
    pub(crate) verify: bool,
    /// File of the authorities, PEM; the system's if not given.
    pub(crate) authorities: Option<PathBuf>,
    /// Files of our own certificate and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
    /// The server is told which name it is asked by.
    pub(crate) sni: bool,
    /// Sessions are resumed.
    pub(crate) reuse: bool,
}

/// How a location uses TLS towards its servers.
#[derive(Debug, Clone)]
pub(crate) struct PassTls {
    /// An index into [`Config::dials`](super::Config::dials).
    pub(crate) dial: usize,
    /// The name that a server has to have; `None`: that of the URL.
    pub(crate) name: Option<Template>,
    /// Whatever the URL says once it is known.
    pub(crate) always: bool,
}

/// How connections to servers are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    /// The address of this machine that they come from.
    pub(crate) bind: Option<Template>,
    /// The kernel asks from time to time whether the other side is still there.
    pub(crate) keepalive: bool,
    /// A server that nobody listens for may be in the middle of a restart, and is waited for.
    pub(crate) patient: bool,
}

/// When a request goes on to another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextUpstream {
    pub(crate) error: bool,
    pub(crate) timeout: bool,
    pub(crate) invalid_header: bool,
    /// Even if doing it twice is more than doing it once.
    pub(crate) non_idempotent: bool,
    /// Bits in the order of [`NEXT_STATUSES`].
    pub(crate) statuses: u8,
    /// Servers that are tried at most; 0: each.
    pub(crate) tries: u32,
    /// After this time no other is tried; zero: any time.
    pub(crate) within: Duration,
}

/// Statuses that may send a request to another server.
pub(crate) const NEXT_STATUSES: [u16; 8] = [500, 502, 503, 504, 403, 404, 429, 0];

impl Default for KeepAlive {
    /// nginx's defaults since 1.29.7.
    fn default() -> Self {
        Self {
            count: 32,
            requests: 1000,
            time: Duration::from_secs(3600),
            timeout: Duration::from_secs(60),
        }
    }
}

impl Default for NextUpstream {
    fn default() -> Self {
        Self {
            error: true,
            timeout: true,
            invalid_header: false,
            non_idempotent: false,
            statuses: 0,
            tries: 0,
            within: Duration::ZERO,
        }
    }
}

impl NextUpstream {
    /// Whether an answer with this status is a reason.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        self.statuses != 0
            && NEXT_STATUSES
                .iter()
                .position(|&known| known == status)
                .is_some_and(|bit| self.statuses & (1 << bit) != 0)
    }
}

impl UpstreamServer {
    /// With nginx's defaults.
    pub(crate) fn new(addr: PeerAddr) -> Self {
        Self {
            text: addr.to_string(),
            addr,
            weight: 1,
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            max_conns: 0,
            down: false,
            drain: false,
            resolve: false,
            service: None,
            route: None,
            at: String::new(),
            slow_start: Duration::ZERO,
        }
    }
}

impl Upstream {
    /// A server that stands for itself.
    pub(crate) fn single(name: &str, addr: PeerAddr, keepalive: KeepAlive) -> Self {
        Self {
            name: name.to_owned(),
            servers: vec![UpstreamServer::new(addr)],
            primaries: 1,
            method: Method::RoundRobin,
            sticky: None,
            keepalive,
            queue: None,
            health: None,
            names: None,
            capacity: None,
            implicit: true,
            stream: None,
            port: 80,
        }
    }

    /// Whether somebody has to know how many connections each server has.
    pub(crate) fn is_counted(&self) -> bool {
        let by_count = matches!(
            self.method,
            Method::LeastConn | Method::LeastTime(_) | Method::Random { two: true }
        );
        (by_count && self.servers.len() > 1)
            || self.servers.iter().any(|server| server.max_conns > 0)
    }
}
