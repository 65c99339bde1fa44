//! `geo`: a variable whose value depends on an address, by networks or by ranges.
//!
//! Not here: reading the block (`config::nginx`).

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Scene, Template};
use crate::config::{Network, Trusted};
use crate::headers::forwarded;

/// One `geo`.
#[derive(Debug, Default)]
pub(crate) struct GeoTable<T = Template> {
    /// What the address is taken from; the client's own if there is nothing.
    pub(crate) source: Option<T>,
    /// Who may tell of another address in `X-Forwarded-For`.
    pub(crate) proxies: Option<Trusted>,
    pub(crate) proxy_recursive: bool,
    pub(crate) places: Places,
    pub(crate) default: Vec<u8>,
}

/// Values by address.
#[derive(Debug)]
pub(crate) enum Places {
    Networks(Networks),
    Ranges(Ranges),
}

impl Default for Places {
    fn default() -> Self {
        Self::Networks(Networks::default())
    }
}

impl GeoTable {
    /// Appends the value that fits.
    pub(super) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        let value = self.address(scene).map(|addr| self.find(addr));
        out.extend_from_slice(value.unwrap_or(&self.default));
    }

    /// What cannot be read as an address counts as nginx counts it.
    fn address(&self, scene: &Scene<'_>) -> Option<IpAddr> {
        let addr = match &self.source {
            None => scene
                .record
                .real_ip
                .or(scene.conn.peer.ip())
                .unwrap_or(NONE),
            Some(source) => std::str::from_utf8(&source.value(scene))
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(NONE),
        };
        let Some(proxies) = self.proxies.as_ref().filter(|list| list.contains(addr)) else {
            return Some(addr);
        };
        let chain: smallvec::SmallVec<[&[u8]; 2]> = scene
            .request
            .iter()
            .flat_map(|request| request.get_all("x-forwarded-for"))
            .collect();
        let nobody = Trusted::default();
        let believed = if self.proxy_recursive {
            proxies
        } else {
            &nobody
        };
        forwarded::real_ip(believed, chain.into_iter()).or(Some(addr))
    }
}

/// What nginx takes for the address of somebody who has none.
pub(crate) const NONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

impl<T> GeoTable<T> {
    /// The value for an address.
    pub(crate) fn find(&self, addr: IpAddr) -> &[u8] {
        let found = match &self.places {
            Places::Networks(networks) => networks.get(addr),
            Places::Ranges(ranges) => match addr.to_canonical() {
                IpAddr::V4(addr) => ranges.get(addr.to_bits()),
                IpAddr::V6(_) => None,
            },
        };
        found.unwrap_or(&self.default)
    }
}

/// Values by network; the longest that holds an address counts.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// By their length, longest first.
    v4: Vec<(u8, HashMap<u32, Vec<u8>>)>,
    v6: Vec<(u8, HashMap<u128, Vec<u8>>)>,
}

fn mask4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

fn of_length<K>(list: &mut Vec<(u8, HashMap<K, Vec<u8>>)>, bits: u8) -> &mut HashMap<K, Vec<u8>> {
    let at = match list.binary_search_by(|(other, _)| bits.cmp(other)) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, (bits, HashMap::new()));
            at
        }
    };
    &mut list[at].1
}

impl Networks {
    /// Returns the value that the same network had before.
    pub(crate) fn insert(&mut self, network: Network, value: Vec<u8>) -> Option<Vec<u8>> {
        match network.parts() {
            (IpAddr::V4(addr), bits) => {
                let key = addr.to_bits() & mask4(bits);
                of_length(&mut self.v4, bits).insert(key, value)
            }
            (IpAddr::V6(addr), bits) => {
                let key = addr.to_bits() & mask6(bits);
                of_length(&mut self.v6, bits).insert(key, value)
            }
        }
    }

    pub(crate) fn remove(&mut self, network: Network) -> bool {
        match network.parts() {
            (IpAddr::V4(addr), bits) => {
                let key = addr.to_bits() & mask4(bits);
                of_length(&mut self.v4, bits).remove(&key).is_some()
            }
            (IpAddr::V6(addr), bits) => {
                let key = addr.to_bits() & mask6(bits);
                of_length(&mut self.v6, bits).remove(&key).is_some()
            }
        }
    }

    fn get(&self, addr: IpAddr) -> Option<&[u8]> {
        let found = match addr.to_canonical() {
            IpAddr::V4(addr) => self
                .v4
                .iter()
                .find_map(|(bits, table)| table.get(&(addr.to_bits() & mask4(*bits)))),
            IpAddr::V6(addr) => self
                .v6
                .iter()
                .find_map(|(bits, table)| table.get(&(addr.to_bits() & mask6(*bits)))),
        };
        found.map(Vec::as_slice)
    }
}

/// Values by ranges of IPv4 addresses, cut at every 65,536th address as nginx does.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    pieces: HashMap<u16, Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    first: u16,
    last: u16,
    value: Vec<u8>,
}

/// A range lies across one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("overlaps a range before it")]
pub(crate) struct Overlap;

impl Ranges {
    /// Adds a range. One inside another counts before it; the same one once more replaces it.
    pub(crate) fn insert(&mut self, first: u32, last: u32, value: &[u8]) -> Result<(), Overlap> {
        for (high, first, last) in cut(first, last) {
            let list = self.pieces.entry(high).or_default();
            let touched = list
                .iter()
                .position(|piece| first <= piece.last && last >= piece.first);
            let new = Piece {
                first,
                last,
                value: value.to_vec(),
            };
            let Some(at) = touched else {
                list.push(new);
                continue;
            };
            let old = list[at].clone();
            if first < old.first || last > old.last {
                return Err(Overlap);
            }
            list.remove(at);
            if old.first < first {
                list.push(Piece {
                    last: first - 1,
                    ..old.clone()
                });
            }
            if old.last > last {
                list.push(Piece {
                    first: last + 1,
                    ..old
                });
            }
            list.push(new);
        }
        Ok(())
    }

    /// Whether the very range was there.
    pub(crate) fn remove(&mut self, first: u32, last: u32) -> bool {
        let mut found = false;
        for (high, first, last) in cut(first, last) {
            if let Some(list) = self.pieces.get_mut(&high) {
                let before = list.len();
                list.retain(|piece| piece.first != first || piece.last != last);
                found |= list.len() < before;
            }
        }
        found
    }

    fn get(&self, addr: u32) -> Option<&[u8]> {
        let [a, b, c, d] = addr.to_be_bytes();
        let low = u16::from_be_bytes([c, d]);
        let list = self.pieces.get(&u16::from_be_bytes([a, b]))?;
        let piece = list
            .iter()
            .find(|piece| (piece.first..=piece.last).contains(&low))?;
        Some(&piece.value)
    }
}

/// The parts of a range within each block of 65,536.
fn cut(first: u32, last: u32) -> impl Iterator<Item = (u16, u16, u16)> {
    let halves = |addr: u32| {
        let [a, b, c, d] = addr.to_be_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    };
    let ((begin, low), (end, high)) = (halves(first), halves(last));
    (begin..=end).map(move |block| {
        let from = if block == begin { low } else { 0 };
        let to = if block == end { high } else { u16::MAX };
        (block, from, to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_network_counts() {
        let mut table = Networks::default();
        let network = |text: &str, bits| Network::new(text.parse().unwrap(), bits).unwrap();
        for (text, bits, value) in [
            ("10.0.0.0", 8, "ten"),
            ("10.1.0.0", 16, "one"),
            ("10.1.2.3", 32, "host"),
            ("2001:db8::", 32, "doc"),
            ("2001:db8::1", 128, "six"),
        ] {
            assert_eq!(table.insert(network(text, bits), value.into()), None);
        }
        let check = |table: &Networks, addr: &str, want: &str| {
            let got = table.get(addr.parse().unwrap());
            assert_eq!(
                String::from_utf8_lossy(got.unwrap_or(b"none")),
                want,
                "{addr}"
            );
        };
        check(&table, "10.9.9.9", "ten");
        check(&table, "10.1.9.9", "one");
        check(&table, "10.1.2.3", "host");
        check(&table, "::ffff:10.1.2.3", "host");
        check(&table, "11.0.0.0", "none");
        check(&table, "2001:db8::2", "doc");
        check(&table, "2001:db8::1", "six");
        check(&table, "2001:db9::1", "none");
        assert!(table.remove(network("10.1.0.0", 16)));
        assert!(!table.remove(network("10.1.0.0", 16)));
        check(&table, "10.1.9.9", "ten");
        table.insert(network("0.0.0.0", 0), b"all".to_vec());
        check(&table, "11.0.0.0", "all");
    }

    #[test]
    fn ranges_in_ranges() {
        let at = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_bits();
        let mut ranges = Ranges::default();
        let mut add = |first: &str, last: &str, value: &str| {
            ranges.insert(at(first), at(last), value.as_bytes())
        };
        assert_eq!(add("10.0.0.0", "10.2.255.255", "wide"), Ok(()));
        assert_eq!(add("10.1.0.10", "10.1.0.20", "inner"), Ok(()));
        assert_eq!(add("10.1.0.10", "10.1.0.10", "first"), Ok(()));
        assert_eq!(add("10.1.0.20", "10.1.0.20", "last"), Ok(()));
        assert_eq!(add("10.1.0.5", "10.1.0.12", "across"), Err(Overlap));
        assert_eq!(add("10.2.0.0", "10.2.255.255", "again"), Ok(()));
        let check = |ranges: &Ranges, addr: &str, want: &str| {
            let got = ranges.get(at(addr));
            assert_eq!(
                String::from_utf8_lossy(got.unwrap_or(b"none")),
                want,
                "{addr}"
            );
        };
        for (addr, want) in [
            ("9.255.255.255", "none"),
            ("10.0.0.0", "wide"),
            ("10.1.0.9", "wide"),
            ("10.1.0.10", "first"),
            ("10.1.0.15", "inner"),
            ("10.1.0.20", "last"),
            ("10.1.0.21", "wide"),
            ("10.2.3.4", "again"),
            ("10.3.0.0", "none"),
        ] {
            check(&ranges, addr, want);
        }
        assert!(ranges.remove(at("10.2.0.0"), at("10.2.255.255")));
        check(&ranges, "10.2.3.4", "none");
    }
}
