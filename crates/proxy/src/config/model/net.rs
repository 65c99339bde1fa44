//! Host names, networks, and where servers of an upstream are reached.
//!
//! Not here: resolving or connecting.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::pattern::Pattern;

/// A host name, lower-case and without a final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPattern {
    Exact(String),
    /// `*.example.org`, kept as `.example.org`: one label or more in front.
    Suffix(String),
    /// `www.example.*`, kept as `www.example.`: one label or more behind.
    Prefix(String),
    /// `~expression`, tried in the order of the file.
    Regex(Pattern),
}

/// Where one server of an upstream is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum PeerAddr {
    Ip(SocketAddr),
    /// Resolved when a connection is made.
    Name(String, u16),
    Unix(PathBuf),
}

impl PeerAddr {
    /// Its port, unless it is a path.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(addr) => Some(addr.port()),
            Self::Name(_, port) => Some(*port),
            Self::Unix(_) => None,
        }
    }
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
pub(crate) struct Trusted {
    pub(crate) networks: Vec<Network>,
    /// Clients on Unix sockets too.
    pub(crate) unix: bool,
}

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    addr: IpAddr,
    bits: u8,
}

impl Network {
    /// `None` if there are more bits than the address has.
    pub(crate) fn new(addr: IpAddr, bits: u8) -> Option<Self> {
        let max = if addr.is_ipv4() { 32 } else { 128 };
        (bits <= max).then_some(Self { addr, bits })
    }

    /// Only this address.
    pub(crate) fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            bits: if addr.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Its address and the length of its prefix.
    pub(crate) fn parts(&self) -> (IpAddr, u8) {
        (self.addr, self.bits)
    }

    /// An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address.
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
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
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(addr))
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
