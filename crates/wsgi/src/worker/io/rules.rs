//! What the loop is told: limits, deadlines, listeners.
//!
//! Not here: where they come from (`config`).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use trine_http1::{Limits, Policy, PreambleVersions};

use crate::config::settings::Protocol;
use crate::worker::trust::TrustedPeers;

/// How long clients may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// For a whole head, from its first byte, or from the connection's begin.
    pub head: Duration,
    /// Without a byte of a body.
    pub body: Duration,
    /// Without a byte taken of an answer.
    pub send: Duration,
    /// Between two requests; zero closes after each answer.
    pub keepalive: Duration,
    /// For reading our last answer, while we throw away what else was sent.
    pub linger: Duration,
}

/// What the loop keeps to.
#[derive(Debug, Clone)]
pub struct Rules {
    pub limits: Limits,
    pub policy: Policy,
    pub deadlines: Deadlines,
    pub trusted: TrustedPeers,
    pub protocol: Protocol,
    /// Who may speak another protocol than HTTP; peers on Unix sockets may.
    pub gateway_peers: TrustedPeers,
    /// Connections are under TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// A preamble of the PROXY protocol may come first.
    pub preamble: Option<PreambleVersions>,
    /// Who may send one; peers on Unix sockets may.
    pub preamble_peers: TrustedPeers,
    /// Connections at the same time; the listeners are left alone beyond it.
    pub max_connections: usize,
    /// Connections taken per wake-up; one, where other workers wait for the same listener.
    pub accepts_per_turn: usize,
}

/// A listener as the worker sees it.
#[derive(Debug)]
pub struct Listening {
    pub fd: OwnedFd,
    pub unix: bool,
    /// Made by our arbiter, so that its queue dies with us: it has to be emptied before we stop.
    pub own: bool,
    /// No other worker takes connections here.
    pub personal: bool,
}
