//! Who asked, by which way: the fields that the proxy tells the application, and whom it believes.
//!
//! Not here: dropping what clients sent under these names (see the parent module).

use std::net::IpAddr;

use crate::config::Trusted;
use crate::conn::reply::push_number;

/// Where a client is, as far as its socket tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ip(IpAddr),
    /// On a Unix socket: on this machine, without an address.
    Unix,
}

impl Peer {
    /// Its address, if it has one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(addr) => Some(addr),
            Self::Unix => None,
        }
    }

    /// As it is written in fields and logs. Every connection needs it, so without the formatting machinery.
    pub(crate) fn text(self) -> String {
        let addr = match self {
            Self::Ip(IpAddr::V4(addr)) => addr,
            Self::Ip(IpAddr::V6(addr)) => return addr.to_string(),
            Self::Unix => return "unix:".to_owned(),
        };
        let mut text = Vec::with_capacity(16);
        for octet in addr.octets() {
            push_number(&mut text, octet.into());
            text.push(b'.');
        }
        text.pop();
        String::from_utf8(text).unwrap_or_default()
    }

    pub(crate) fn is_trusted(self, trusted: &Trusted) -> bool {
        match self {
            Self::Ip(addr) => trusted.contains(addr),
            Self::Unix => trusted.unix,
        }
    }
}

/// The address of the real client: the last one in the chain that is not one of our own proxies.
///
/// `chain` holds the `X-Forwarded-For` values of a trusted peer in the order they came.
pub(crate) fn real_ip<'a>(
    trusted: &Trusted,
    chain: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Option<IpAddr> {
    let mut last = None;
    for entry in chain
        .rev()
        .flat_map(|value| value.rsplit(|&byte| byte == b','))
    {
        let Some(addr) = address(entry.trim_ascii()) else {
            break;
        };
        last = Some(addr);
        if !trusted.contains(addr) {
            break;
        }
    }
    last
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(addr.to_canonical());
    }
    if let Ok(addr) = text.parse::<std::net::SocketAddr>() {
        return Some(addr.ip().to_canonical());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    #[test]
    fn text() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "10.20.200.255",
            "::1",
            "2001:db8::8",
        ] {
            assert_eq!(Peer::Ip(text.parse().unwrap()).text(), text);
        }
        assert_eq!(Peer::Unix.text(), "unix:");
    }

    #[test]
    fn real_addresses() {
        let trusted = Trusted {
            networks: vec![Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()],
            unix: false,
        };
        let check = |chain: &[&str], want: &str| {
            let got = real_ip(&trusted, chain.iter().map(|value| value.as_bytes()));
            assert_eq!(
                got.map_or("none".to_owned(), |addr| addr.to_string()),
                want,
                "{chain:?}"
            );
        };
        check(&[], "none");
        check(&["203.0.113.5"], "203.0.113.5");
        check(&["198.51.100.1, 203.0.113.5"], "203.0.113.5"); // the first one is only what the client says
        check(&["198.51.100.1, 203.0.113.5 ,10.1.1.1"], "203.0.113.5");
        check(&["198.51.100.1", "203.0.113.5", "10.1.1.1"], "203.0.113.5");
        check(&["10.0.0.1, 10.0.0.2"], "10.0.0.1");
        check(&["203.0.113.5, unknown"], "none"); // a broken chain is not followed
        check(&["203.0.113.5, garbage, 10.0.0.1"], "10.0.0.1");
        check(&["203.0.113.5:1234"], "203.0.113.5");
        check(&["[2001:db8::1]:443"], "2001:db8::1");
        check(&["[2001:db8::1]"], "2001:db8::1");
        check(&["2001:db8::1, ::ffff:10.0.0.9"], "2001:db8::1");
        check(&[""], "none");
    }

    #[test]
    fn peers() {
        let trusted = Trusted {
            networks: vec![Network::host("127.0.0.1".parse().unwrap())],
            unix: true,
        };
        assert!(Peer::Ip("127.0.0.1".parse().unwrap()).is_trusted(&trusted));
        assert!(!Peer::Ip("127.0.0.2".parse().unwrap()).is_trusted(&trusted));
        assert!(Peer::Unix.is_trusted(&trusted));
        assert!(!Peer::Unix.is_trusted(&Trusted::default()));
    }
}
