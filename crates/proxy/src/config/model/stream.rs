//! `stream`: servers of TCP and UDP, and where their sessions go on to.
//!
//! Not here: reading the file, or serving a session (see `layer4`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Access, HostPattern, LogEscape, NameRules, TlsRules, Trusted};
use crate::layer4::template::Text;
use crate::limit::{LogLevel, connections};
use crate::template::MapTable;
use crate::template::geo::GeoTable;
use crate::template::split::SplitTable;

/// What a `stream` block says.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) servers: Vec<StreamServer>,
    /// Variables that its blocks make, which its strings name by their numbers.
    pub(crate) maps: Vec<StreamTable>,
    /// How many variables `set` makes.
    pub(crate) slots: usize,
}

/// A variable that a block makes.
#[derive(Debug)]
pub(crate) enum StreamTable {
    Map(MapTable<Text>),
    Geo(GeoTable<Text>),
    Split(SplitTable<Text>),
}

/// What serves the sessions of some addresses.
#[derive(Debug)]
pub(crate) struct StreamServer {
    /// Which names TLS clients ask for it by.
    pub(crate) names: Vec<HostPattern>,
    /// How the client's TLS is ended, what may be spoken inside (ALPN), and how long the handshake may take.
    pub(crate) tls: Option<TlsRules>,
    pub(crate) protocols: Vec<Vec<u8>>,
    pub(crate) handshake: Duration,
    /// Whose sessions are served: the first rule that fits decides.
    pub(crate) access: Vec<Access>,
    /// How many sessions of a kind there may be.
    pub(crate) limits: SessionLimits,
    /// Variables and their values, in order.
    pub(crate) sets: Vec<(usize, Text)>,
    /// Peers whose preamble of the PROXY protocol is believed about the client.
    pub(crate) trusted: Trusted,
    /// How long a preamble may take.
    pub(crate) preamble_timeout: Duration,
    /// The first bytes of a TLS client are read for what it asks for, and go on as they came.
    pub(crate) preread: bool,
    pub(crate) preread_bytes: usize,
    pub(crate) preread_timeout: Duration,
    pub(crate) nodelay: bool,
    pub(crate) content: StreamContent,
    pub(crate) logs: Vec<StreamLog>,
}

/// `limit_conn` and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct SessionLimits {
    pub(crate) limits: Vec<connections::Limit>,
    pub(crate) level: LogLevel,
    pub(crate) dry_run: bool,
}

/// What a session is for.
#[derive(Debug)]
pub(crate) enum StreamContent {
    Pass(StreamPass),
    /// This text, and the end.
    Return(Text),
}

/// Going on to an upstream.
#[derive(Debug)]
pub(crate) struct StreamPass {
    pub(crate) target: StreamTarget,
    pub(crate) connect_timeout: Duration,
    /// A session on which nothing moves for so long is over.
    pub(crate) idle: Duration,
    /// Whether another server is tried when one cannot be reached; how many at most (0: each), and for how long (zero:
    /// any time).
    pub(crate) next: bool,
    pub(crate) tries: u32,
    pub(crate) within: Duration,
    /// The server is told the client's address first (PROXY protocol, version 1).
    pub(crate) proxy_protocol: bool,
    /// A side that has said all may still hear the other.
    pub(crate) half_close: bool,
    pub(crate) keepalive: bool,
    pub(crate) bind: Option<SocketAddr>,
    /// Bytes in a second from the client, and to it; nothing and zero are no limit.
    pub(crate) upload: Text,
    pub(crate) download: Text,
    /// Who is asked for addresses of servers that variables name; `None`: the system.
    pub(crate) names: Option<Arc<NameRules>>,
    /// TLS to the server: an index into [`Config::dials`](super::Config::dials), and the name that it has to have;
    /// `None`: that of `proxy_pass`.
    pub(crate) tls: Option<(usize, Option<Text>)>,
    /// How many datagrams answer one of a client's; `None`: any number, until nothing comes for so long.
    pub(crate) responses: Option<u32>,
    /// After so many datagrams of a client the next one begins another session; 0: never.
    pub(crate) requests: u32,
}

/// Whom a session goes on to.
#[derive(Debug)]
pub(crate) enum StreamTarget {
    /// An index into [`Config::upstreams`](super::Config::upstreams).
    Group(usize),
    /// An upstream of `stream` by its name, or an address.
    Named(Text),
}

/// A log of sessions.
#[derive(Debug, Clone)]
pub(crate) struct StreamLog {
    /// An index into [`Config::access_logs`](super::Config::access_logs).
    pub(crate) log: usize,
    pub(crate) format: Arc<Text>,
    pub(crate) escape: LogEscape,
    pub(crate) condition: Option<Text>,
}
