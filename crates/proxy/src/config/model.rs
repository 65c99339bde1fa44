//! The checked configuration: what can run. Every reader (YAML now, `nginx.conf` later) ends here.
//!
//! Nothing in it has to be interpreted any more: names are resolved to indices, defaults are filled in, units are
//! in the types. It is read-only and swapped whole. Not here: reading files, or anything that is open.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trine_config::ListenAddr;

/// Everything that was configured.
#[derive(Debug)]
pub struct Config {
    /// Where the control API listens.
    pub control: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub threads: usize,
    pub log: Log,
    pub access_log: Option<AccessLog>,
    pub timeouts: Timeouts,
    /// Each address once, with the servers that are reached by it.
    pub listens: Vec<Listen>,
    pub servers: Vec<Server>,
    pub upstreams: Vec<Arc<Upstream>>,
    pub trusted: Trusted,
}

/// The daemon's own log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    pub json: Option<bool>,
    pub level: Option<String>,
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `None` is standard output.
    pub path: Option<PathBuf>,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Combined,
    Json,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub header: Duration,
    /// Between two reads of a body.
    pub body: Duration,
    /// Between two writes to the client.
    pub send: Duration,
    /// Between two requests.
    pub keepalive: Duration,
    /// For one request and its answer, all in all.
    pub total: Option<Duration>,
    /// For everything in flight, once the daemon was told to stop.
    pub shutdown: Duration,
}

#[derive(Debug)]
pub struct Listen {
    pub addr: ListenAddr,
    /// Mode of the socket file, when `addr` is a path.
    pub mode: u32,
    pub backlog: u32,
    /// Indices into [`Config::servers`]; the first is the default one.
    pub servers: Vec<usize>,
}

/// What answers for some host names.
#[derive(Debug)]
pub struct Server {
    pub names: Vec<HostPattern>,
    pub max_body: u64,
    /// Longest path first, so that the first one that matches is the right one.
    pub locations: Vec<Location>,
}

/// A host name, lower-case and without a final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.org`, kept as `.example.org`: one label or more in front.
    Suffix(String),
}

#[derive(Debug)]
pub struct Location {
    pub path: PathMatch,
    pub action: Action,
}

/// Which normalised paths belong to a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// `/a` holds `/a` and what is below `/a/`; `/a/` only the latter.
    Below(String),
}

#[derive(Debug)]
pub enum Action {
    Files(Files),
    /// An index into [`Config::upstreams`].
    Proxy(usize),
}

/// A folder that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub root: Arc<Path>,
    /// How many bytes of the path the location stands for.
    pub strip: usize,
    /// What stands for a folder.
    pub index: Vec<String>,
}

/// Servers that do the same work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub peers: Vec<PeerAddr>,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub total_timeout: Option<Duration>,
    /// Idle connections kept for each peer on each core.
    pub keepalive: usize,
}

/// Where one server of an upstream is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    Ip(SocketAddr),
    /// Resolved when a connection is made.
    Name(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Clients whose forwarded fields are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    pub networks: Vec<Network>,
    /// Clients on Unix sockets too.
    pub unix: bool,
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    bits: u8,
}

impl Network {
    /// `None` if there are more bits than the address has.
    pub fn new(addr: IpAddr, bits: u8) -> Option<Self> {
        let max = if addr.is_ipv4() { 32 } else { 128 };
        (bits <= max).then_some(Self { addr, bits })
    }

    /// Only this address.
    pub fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            bits: if addr.is_ipv4() { 32 } else { 128 },
        }
    }

    /// An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr.to_canonical(), addr.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                let bits = if self.addr.is_ipv6() {
                    self.bits.saturating_sub(96)
                } else {
                    self.bits
                };
                (net.to_bits() ^ addr.to_bits())
                    .checked_shr(32 - u32::from(bits))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                (net.to_bits() ^ addr.to_bits())
                    .checked_shr(128 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Trusted {
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(addr))
    }
}

impl Location {
    pub(crate) fn path(&self) -> &str {
        let PathMatch::Below(path) = &self.path;
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let net = |addr: &str, bits| Network::new(addr.parse().unwrap(), bits).unwrap();
        let holds = |net: Network, addr: &str| net.contains(addr.parse().unwrap());
        assert!(holds(net("10.0.0.0", 8), "10.255.0.1"));
        assert!(!holds(net("10.0.0.0", 8), "11.0.0.1"));
        assert!(holds(net("0.0.0.0", 0), "203.0.113.9"));
        assert!(!holds(net("0.0.0.0", 0), "2001:db8::1"));
        assert!(holds(net("10.0.0.0", 8), "::ffff:10.1.2.3"));
        assert!(holds(net("::ffff:10.0.0.0", 104), "10.1.2.3"));
        assert!(holds(net("2001:db8::", 32), "2001:db8:1::1"));
        assert!(!holds(net("2001:db8::", 32), "2001:db9::1"));
        assert!(
            holds(net("192.0.2.7", 32), "192.0.2.7") && !holds(net("192.0.2.7", 32), "192.0.2.6")
        );
        assert!(Network::new("10.0.0.0".parse().unwrap(), 33).is_none());
    }
}
