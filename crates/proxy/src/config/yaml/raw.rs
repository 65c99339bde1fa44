//! What a person types: every key with its type, nothing checked yet.
//!
//! The comments are what the reference says about a key. Not here: defaults, and what goes together.

use std::collections::BTreeMap;

use serde::Deserialize;
use trine_config::{ByteSize, ListenAddr};

use crate::config::values::{Limit, Many, OffOr};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    /// The Unix socket of the control API.
    pub(super) control: Option<String>,
    /// A file that gets the daemon's process id.
    pub(super) pidfile: Option<String>,
    /// Go into the background once it serves.
    pub(super) daemonize: bool,
    /// How many cores to use: a number, or `auto`.
    pub(super) threads: Option<RawThreads>,
    /// The daemon's own log.
    pub(super) log: RawLog,
    /// One line for each request: `off`, a path, or a path and a format.
    pub(super) access_log: Option<OffOr<RawAccessLog>>,
    /// How long clients may take.
    pub(super) timeouts: RawTimeouts,
    pub(super) servers: Vec<RawServer>,
    pub(super) upstreams: BTreeMap<String, RawUpstream>,
    /// Networks of proxies in front of this one, or `unix`: what they say about the client is believed.
    pub(super) trusted_proxies: Many<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of threads, or auto")]
pub(super) enum RawThreads {
    Count(u16),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// `text` or `json`.
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
    /// Standard error if not given.
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAccessLog {
    /// A file, or `-` for standard output.
    pub(super) path: Option<String>,
    /// `combined` or `json`.
    pub(super) format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimeouts {
    pub(super) header: Option<trine_config::Duration>,
    pub(super) body: Option<trine_config::Duration>,
    pub(super) send: Option<trine_config::Duration>,
    pub(super) keepalive: Option<trine_config::Duration>,
    pub(super) total: Option<Limit>,
    pub(super) shutdown: Option<trine_config::Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    pub(super) listen: Many<ListenAddr>,
    pub(super) names: Many<String>,
    pub(super) max_body: Option<ByteSize>,
    pub(super) locations: Vec<RawLocation>,
    /// Clients speak TLS on this server's addresses.
    pub(super) tls: Option<RawTls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    /// File of the certificate and its chain, PEM.
    pub(super) certificate: Option<String>,
    /// File of the private key, PEM; the certificate's own file if not given.
    pub(super) key: Option<String>,
    /// File of authorities: clients have to show a certificate of theirs.
    pub(super) client_ca: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLocation {
    pub(super) path: Option<String>,
    /// A folder: what follows `path` is looked up in it.
    pub(super) files: Option<String>,
    /// What stands for a folder; `index.html` if not given.
    pub(super) index: Option<Many<String>>,
    /// The name of an upstream, or the address of a server.
    pub(super) proxy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstream {
    pub(super) servers: Many<String>,
    pub(super) connect_timeout: Option<trine_config::Duration>,
    pub(super) send_timeout: Option<trine_config::Duration>,
    pub(super) read_timeout: Option<trine_config::Duration>,
    pub(super) total_timeout: Option<Limit>,
    pub(super) keepalive: Option<u16>,
}
