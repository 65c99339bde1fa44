//! Choosing a server. Pure: what is known about the servers comes in, the number of one goes out.
//!
//! The ways are nginx's, down to its arithmetic, so that a client keeps its server when nginx is replaced. `ring` has
//! the points of consistent hashing. Not here: what is known (see `fleet`), or connecting.

mod ring;
#[cfg(test)]
mod tests;

use crate::config::{Method, UpstreamServer};
use ring::Ring;

/// After so many servers that a hash brought and that could not be asked, it is round robin's turn.
const MOST_HASHES: u32 = 20;

/// Times that differ by less are the same; milliseconds. As in nginx, so that quick servers take turns.
const CLOSE: u64 = 20;
/// All that takes longer (5 s) is equally bad.
const MOST_STEPS: u64 = 250;

/// What is known about the servers at this moment.
pub(crate) trait View {
    /// Whether it may be asked.
    fn is_usable(&self, index: usize) -> bool;
    /// Its connections in use.
    fn conns(&self, index: usize) -> u64;
    /// How long it takes for a request, by what is known; milliseconds.
    fn time(&self, _index: usize) -> u64 {
        0
    }
    /// How much of its weight counts, in hundredths, while it starts slowly.
    fn share(&self, _index: usize) -> i64 {
        100
    }
}

/// What a server is chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RoundRobin,
    LeastConn,
    LeastTime,
    IpHash,
    Hash,
    Ring,
    Random { two: bool },
}

/// Some servers, as one core chooses among them.
#[derive(Debug)]
pub(crate) struct Balance {
    kind: Kind,
    seats: Vec<Seat>,
    /// Of all, usable or not.
    total_weight: u64,
    ring: Ring,
}

/// A server's place in round robin.
#[derive(Debug)]
struct Seat {
    weight: i64,
    /// Less than its weight after failures.
    effective: i64,
    current: i64,
}

/// How far one request's search has come. A second search goes on where the first one stopped.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    key: Vec<u8>,
    hash: Option<usize>,
    rehash: u32,
    tries: u32,
}

impl Walk {
    /// `key` is what is hashed: an address or a key.
    pub(crate) fn new(key: Vec<u8>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// Another round begins where the first one did.
    pub(crate) fn restart(&mut self) {
        self.hash = None;
        self.rehash = 0;
        self.tries = 0;
    }
}

impl Balance {
    pub(crate) fn new(method: &Method, servers: &[UpstreamServer]) -> Self {
        let kind = match method {
            Method::RoundRobin => Kind::RoundRobin,
            Method::LeastConn => Kind::LeastConn,
            Method::LeastTime(_) => Kind::LeastTime,
            Method::IpHash => Kind::IpHash,
            Method::Hash {
                consistent: false, ..
            } => Kind::Hash,
            Method::Hash {
                consistent: true, ..
            } => Kind::Ring,
            Method::Random { two } => Kind::Random { two: *two },
        };
        let seats: Vec<_> = servers
            .iter()
            .map(|server| Seat {
                weight: i64::from(server.weight),
                effective: i64::from(server.weight),
                current: 0,
            })
            .collect();
        Self {
            kind,
            total_weight: servers.iter().map(|server| u64::from(server.weight)).sum(),
            ring: if kind == Kind::Ring {
                Ring::new(servers)
            } else {
                Ring::default()
            },
            seats,
        }
    }

    /// The number of the server that a request goes to; `None` if none is usable. `dice` brings random numbers.
    pub(crate) fn pick(
        &mut self,
        walk: &mut Walk,
        view: &dyn View,
        dice: &mut dyn FnMut() -> u64,
    ) -> Option<usize> {
        let hashed = match self.kind {
            _ if self.seats.len() < 2 => None,
            Kind::RoundRobin => None,
            Kind::LeastConn => return self.least(view, &|index| view.conns(index)),
            Kind::LeastTime => return self.least(view, &|index| wait(view, index)),
            Kind::IpHash => self.by_address(walk, view),
            Kind::Hash => self.by_key(walk, view),
            Kind::Ring => self.by_ring(walk, view),
            Kind::Random { two } => self.by_chance(two, walk, view, dice),
        };
        hashed.or_else(|| self.in_turn(view, &|_| true))
    }

    /// A server has failed: its share shrinks until it has answered for a while.
    pub(crate) fn failed(&mut self, index: usize, max_fails: u32) {
        if let Some(seat) = self.seats.get_mut(index)
            && max_fails > 0
        {
            let less = seat.weight / i64::from(max_fails);
            seat.effective = (seat.effective - less).max(0);
        }
    }

    /// Smooth weighted round robin: everybody saves up by weight, the richest goes and pays for all.
    fn in_turn(&mut self, view: &dyn View, among: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if !among(index) || !view.is_usable(index) {
                continue;
            }
            let gain = seat.effective * view.share(index);
            seat.current += gain;
            total += gain;
            if seat.effective < seat.weight {
                seat.effective += 1;
            }
            if best.is_none_or(|(_, current)| seat.current > current) {
                best = Some((index, seat.current));
            }
        }
        let (index, _) = best?;
        self.seats[index].current -= total;
        Some(index)
    }

    /// The one with the least of something for its weight; those that are level take turns.
    fn least(&mut self, view: &dyn View, of: &dyn Fn(usize) -> u64) -> Option<usize> {
        // Others change them meanwhile.
        let loads: Vec<u64> = (0..self.seats.len()).map(of).collect();
        let load = |seats: &[Seat], index: usize, other: usize| {
            loads[index] * seats[other].weight.unsigned_abs()
        };
        let mut best: Option<usize> = None;
        for index in (0..self.seats.len()).filter(|&index| view.is_usable(index)) {
            let fewer = best
                .is_none_or(|best| load(&self.seats, index, best) < load(&self.seats, best, index));
            if fewer {
                best = Some(index);
            }
        }
        let best = best?;
        let level: Vec<bool> = (0..self.seats.len())
            .map(|index| load(&self.seats, index, best) == load(&self.seats, best, index))
            .collect();
        self.in_turn(view, &|index| level[index])
    }

    /// The server whose share of all weights a number falls into.
    fn at_weight(&self, number: u64) -> usize {
        let mut left = number % self.total_weight.max(1);
        for (index, seat) in self.seats.iter().enumerate() {
            let weight = seat.weight.unsigned_abs();
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    fn by_address(&self, walk: &mut Walk, view: &dyn View) -> Option<usize> {
        let mut hash = walk.hash.unwrap_or(89);
        while walk.tries <= MOST_HASHES {
            for &byte in &walk.key {
                hash = (hash * 113 + usize::from(byte)) % 6271;
            }
            walk.hash = Some(hash);
            let index = self.at_weight(hash as u64);
            if view.is_usable(index) {
                return Some(index);
            }
            walk.tries += 1;
        }
        None
    }

    fn by_key(&self, walk: &mut Walk, view: &dyn View) -> Option<usize> {
        if walk.key.is_empty() {
            return None;
        }
        while walk.tries <= MOST_HASHES {
            let mut crc = crc32fast::Hasher::new();
            if walk.rehash > 0 {
                crc.update(walk.rehash.to_string().as_bytes());
            }
            crc.update(&walk.key);
            let more = (crc.finalize() >> 16) & 0x7fff;
            let hash = walk.hash.unwrap_or(0).wrapping_add(more as usize);
            walk.hash = Some(hash);
            walk.rehash += 1;
            let index = self.at_weight(hash as u64);
            if view.is_usable(index) {
                return Some(index);
            }
            walk.tries += 1;
        }
        None
    }

    fn by_ring(&mut self, walk: &mut Walk, view: &dyn View) -> Option<usize> {
        if walk.key.is_empty() {
            return None;
        }
        let mut at = match walk.hash {
            Some(at) => at,
            None => self.ring.find(crc32fast::hash(&walk.key)),
        };
        while walk.tries <= MOST_HASHES {
            walk.hash = Some(at);
            let index = self.ring.at(at)?;
            if view.is_usable(index) {
                return Some(index);
            }
            at += 1;
            walk.tries += 1;
        }
        None
    }

    fn by_chance(
        &self,
        two: bool,
        walk: &mut Walk,
        view: &dyn View,
        dice: &mut dyn FnMut() -> u64,
    ) -> Option<usize> {
        let mut first: Option<usize> = None;
        while walk.tries <= MOST_HASHES {
            let index = self.at_weight(dice());
            if view.is_usable(index) && first != Some(index) {
                let Some(first) = first.replace(index) else {
                    if two {
                        continue;
                    }
                    return Some(index);
                };
                let weight = |index: usize| self.seats[index].weight.unsigned_abs();
                let busier = view.conns(index) * weight(first) > view.conns(first) * weight(index);
                return Some(if busier { first } else { index });
            }
            walk.tries += 1;
        }
        first
    }
}

/// How long a request is likely to take at a server that has others too. Times that are close are level.
fn wait(view: &dyn View, index: usize) -> u64 {
    let steps = (view.time(index) / CLOSE).min(MOST_STEPS) + 1;
    steps.saturating_mul(1 + view.conns(index))
}
