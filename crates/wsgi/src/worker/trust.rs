//! Whom we believe: which peers may say what scheme the client used, and in which words.
//!
//! Not here: the client's address; gunicorn never takes REMOTE_ADDR from a header, and neither do we.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `forwarded_allow_ips`: addresses, networks, or everybody. Peers on Unix sockets are always trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedPeers {
    Everybody,
    Networks(Vec<Network>),
}

impl Default for TrustedPeers {
    fn default() -> Self {
        Self::Networks(vec![
            Network::host(IpAddr::from([127, 0, 0, 1])),
            Network::host(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        ])
    }
}

impl TrustedPeers {
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        match self {
            Self::Everybody => true,
            Self::Networks(networks) => networks.iter().any(|network| network.contains(ip)),
        }
    }
}

impl FromStr for TrustedPeers {
    type Err = String;

    /// A comma-separated list, as in `--forwarded-allow-ips`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut networks = Vec::new();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            if item == "*" {
                return Ok(Self::Everybody);
            }
            networks.push(item.parse()?);
        }
        Ok(Self::Networks(networks))
    }
}

/// An address with a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    prefix: u32,
    v4: bool,
}

impl Network {
    fn host(ip: IpAddr) -> Self {
        let (bits, v4) = bits_of(ip);
        Self {
            bits,
            prefix: if v4 { 32 } else { 128 },
            v4,
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let (bits, v4) = bits_of(ip);
        v4 == self.v4 && (bits ^ self.bits) & self.mask() == 0
    }

    fn mask(&self) -> u128 {
        let width = if self.v4 { 32 } else { 128 };
        let host = width - self.prefix;
        if host >= 128 { 0 } else { u128::MAX << host }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| format!("{text:?} is not an address, a network (10.0.0.0/8) or *"))?;
        let mut network = Self::host(ip);
        if let Some(prefix) = prefix {
            let max = network.prefix;
            network.prefix = prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= max)
                .ok_or_else(|| format!("{text:?} has a prefix length that is not 0 to {max}"))?;
        }
        let outside = if network.v4 {
            network.bits & !network.mask() & 0xffff_ffff
        } else {
            network.bits & !network.mask()
        };
        if outside != 0 {
            return Err(format!("{text:?} has host bits set"));
        }
        Ok(network)
    }
}

fn bits_of(ip: IpAddr) -> (u128, bool) {
    match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), true),
        // A v4 client of a v6 listener.
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => (u128::from(u32::from(ip)), true),
            None => (u128::from(ip), false),
        },
    }
}

/// `secure_scheme_headers`: a header and the value by which a trusted peer says https.
#[derive(Clone, PartialEq, Eq)]
pub struct SchemeHeaders(Vec<(String, String)>);

impl Default for SchemeHeaders {
    fn default() -> Self {
        let pairs = [
            ("x-forwarded-protocol", "ssl"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-ssl", "on"),
        ];
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }
}

impl SchemeHeaders {
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// `Some(true)`: the field says https. `Some(false)`: it is one of these fields and says something else.
    #[must_use]
    pub fn says(&self, name: &[u8], value: &[u8]) -> Option<bool> {
        let known = |pair: &&(String, String)| {
            pair.0.len() == name.len() && pair.0.as_bytes().eq_ignore_ascii_case(name)
        };
        let (_, secure) = self.0.iter().find(known)?;
        Some(value == secure.as_bytes())
    }
}

impl fmt::Debug for SchemeHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| (name, value)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, ip: &str, want: bool) {
        let peers: TrustedPeers = list.parse().unwrap();
        assert_eq!(peers.contain(ip.parse().unwrap()), want, "{ip} in {list}");
    }

    #[test]
    fn peers() {
        check("127.0.0.1,::1", "127.0.0.1", true);
        check("127.0.0.1,::1", "::ffff:127.0.0.1", true);
        check("127.0.0.1,::1", "::1", true);
        check("127.0.0.1,::1", "127.0.0.2", false);
        check("10.0.0.0/8", "10.9.8.7", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("0.0.0.0/0", "::5", false);
        check("fd00::/8", "fd12::1", true);
        check("*", "::5", true);
        check("", "127.0.0.1", false);
        for bad in ["localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x"] {
            bad.parse::<TrustedPeers>().unwrap_err();
        }
    }

    #[test]
    fn scheme() {
        let headers = SchemeHeaders::default();
        assert_eq!(headers.says(b"X-Forwarded-Proto", b"https"), Some(true));
        assert_eq!(headers.says(b"X-Forwarded-Proto", b"http"), Some(false));
        assert_eq!(headers.says(b"Host", b"https"), None);
    }
}
