//! Upstreams: whom a request is forwarded to, and forwarding it until one of them has answered.
//!
//! `balance` chooses a server, `capacity` among workers that are known one by one, `fleet` knows how all of them stand, `pool` keeps connections, `connect` makes them,
//! `request`, `head` and `params` write what is sent, `codec` knows the protocols, `exchange` sends and reads the
//! answer's head, `dress` makes it the client's, `relay` passes the answer on, `filtered` what is changed in it, `interim` what comes before it, `sticky` keeps clients with their servers, `store` leaves answers behind as files, `times` measures servers, `tunnel`
//! copies what follows an upgrade, `retry` decides what may be sent again, `forward` puts them
//! in order. Not here: choosing the upstream (see `route`).

pub(crate) mod accel;
mod ahead;
mod balance;
mod capacity;
mod codec;
pub(crate) mod connect;
mod dress;
pub(crate) mod exchange;
pub(crate) mod fault;
mod filtered;
pub(crate) mod fleet;
pub(crate) mod forward;
pub(crate) mod head;
mod interim;
pub(crate) mod monitor;
pub(crate) mod names;
mod params;
pub(crate) mod pool;
mod provide;
mod relay;
pub(crate) mod request;
mod retry;
#[cfg(test)]
mod simulation;
mod sticky;
mod store;
mod times;
pub(crate) mod trace;
pub(crate) mod tunnel;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::{Method, Upstream, UpstreamServer};
use crate::conn::Conn;
use crate::conn::record::Record;
use balance::{Balance, View, Walk};
pub(crate) use codec::ANSWER_LIMITS;
pub(crate) use dress::{Dress, Framing, write_head};
pub(crate) use exchange::clear_answer;
use fleet::{Squad, Ticket};
use pool::Peer;

/// The servers of one upstream, as one core uses them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) config: Arc<Upstream>,
    /// In the order of [`Upstream::servers`].
    pub(crate) peers: Vec<Rc<Peer>>,
    pub(crate) squad: Arc<Squad>,
    primaries: RefCell<Balance>,
    backups: RefCell<Balance>,
    /// There is one server, and nothing about it has to be known.
    plain: bool,
    counted: bool,
    chance: Cell<u64>,
    /// Another has taken its place: the servers have changed.
    retired: Cell<bool>,
}

/// One request's way over the servers.
#[derive(Debug, Default)]
pub(crate) struct Trip {
    walk: Walk,
    /// The server that it belongs to.
    bound: Option<sticky::Id>,
    /// By the servers' numbers.
    tried: SmallVec<[bool; 8]>,
    /// Servers that were put aside are asked too: there are no others.
    desperate: bool,
    /// All servers have been gone through at least once.
    again: bool,
}

/// A server that was chosen for a request.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) ticket: Option<Ticket>,
}

/// Why no server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// One that may be asked has all the connections it may have.
    Full,
    /// All were tried, or are down.
    None,
}

impl Group {
    pub(crate) fn new(peers: Vec<Rc<Peer>>, squad: Arc<Squad>) -> Self {
        let config = Arc::clone(&squad.upstream);
        let (primaries, backups) = config.servers.split_at(config.primaries);
        let (primaries, backups) = (
            Balance::new(&config.method, primaries),
            Balance::new(&config.method, backups),
        );
        let counted = config.is_counted();
        Self {
            plain: config.sticky.is_none()
                && matches!(&config.servers[..], [only] if !only.down && !only.drain && !counted && config.health.is_none()),
            primaries: RefCell::new(primaries),
            backups: RefCell::new(backups),
            counted,
            chance: Cell::new(squad.now() | 1),
            retired: Cell::new(false),
            config,
            peers,
            squad,
        }
    }

    /// Begins the way of a request.
    pub(crate) fn trip(&self, key: impl FnOnce(&Method) -> Vec<u8>) -> Trip {
        if self.plain {
            return Trip::default();
        }
        let key = match &self.config.method {
            method @ (Method::IpHash | Method::Hash { .. }) => key(method),
            Method::RoundRobin
            | Method::LeastConn
            | Method::LeastTime(_)
            | Method::Random { .. } => Vec::new(),
        };
        Trip {
            walk: Walk::new(key),
            bound: None,
            tried: SmallVec::from_elem(false, self.peers.len()),
            desperate: false,
            again: false,
        }
    }

    /// Another takes its place on this core. Requests that wait in line go over to that.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.squad.line.wake_all();
    }

    /// How many servers a request may be sent to.
    pub(crate) fn usable(&self) -> usize {
        self.config
            .servers
            .iter()
            .filter(|one| !one.down && (!one.drain || self.config.sticky.is_some()))
            .count()
    }

    /// Chooses the server that a request goes to next.
    pub(crate) fn pick(&self, trip: &mut Trip) -> Result<Seat, NoSeat> {
        if self.plain {
            let seat = Seat {
                index: 0,
                ticket: None,
            };
            let again = trip.tried.first() == Some(&true);
            let out = again || self.squad.servers[0].is_drained();
            return if out { Err(NoSeat::None) } else { Ok(seat) };
        }
        let now = self.squad.now();
        loop {
            let Trip {
                walk,
                bound,
                tried,
                desperate,
                again: _,
            } = trip;
            let known = |first| Known {
                group: self,
                tried,
                first,
                now,
                desperate: *desperate,
            };
            let dice = &mut || self.roll();
            let picked = bound.and_then(|id| self.seat_of(&id, &known(0)));
            let primary = || self.primaries.borrow_mut().pick(walk, &known(0), dice);
            let picked = picked.or_else(primary).or_else(|| {
                // Workers that are busy are waited for: what they share leads to them, too.
                if self.config.capacity.is_some()
                    && (0..self.config.primaries).any(|index| known(0).is_eligible(index))
                {
                    return None;
                }
                let first = self.config.primaries;
                let mut backups = self.backups.borrow_mut();
                let picked = backups.pick(&mut Walk::default(), &known(first), dice)?;
                Some(first + picked)
            });
            let Some(index) = picked else {
                let full = |index: usize| known(0).is_eligible(index) && self.is_full(index);
                if (0..self.peers.len()).any(full) {
                    return Err(NoSeat::Full);
                }
                if !self.squad.servers.is_empty() && !*desperate && self.helps_to_insist(tried) {
                    *desperate = true;
                    continue;
                }
                return Err(NoSeat::None);
            };
            let server = &self.config.servers[index];
            let mut ticket = None;
            if self.counted {
                ticket = self.squad.ticket(index, server.max_conns);
                if ticket.is_none() {
                    // Another core was faster.
                    continue;
                }
            }
            self.squad.servers[index].chosen(server, now);
            return Ok(Seat { index, ticket });
        }
    }

    /// A server that a request belongs to, if it can be asked. One that is drained by its word serves those that it has.
    fn seat_of(&self, id: &sticky::Id, known: &Known<'_>) -> Option<usize> {
        let mut ids = self.squad.ids.iter().enumerate();
        let found = ids.find(|(index, other)| {
            *other == id && known.is_eligible_if_bound(*index) && !self.is_full(*index)
        });
        found.map(|(index, _)| index)
    }

    /// Whether servers are left that only their failures keep from being asked.
    fn helps_to_insist(&self, tried: &[bool]) -> bool {
        let servers = self.config.servers.iter().zip(&self.squad.servers);
        servers.zip(tried).any(|((server, standing), tried)| {
            !tried && !server.down && !server.drain && standing.is_in()
        })
    }

    fn is_full(&self, index: usize) -> bool {
        let most = self.config.servers[index].max_conns;
        most > 0 && self.squad.servers[index].conns() >= most
    }

    /// A server has failed a request.
    pub(crate) fn failed(&self, index: usize) {
        pool::add(&self.peers[index].figures.failures, 1);
        let server = &self.config.servers[index];
        if self.plain {
            return;
        }
        if self.squad.servers[index].failed(server, self.squad.now()) {
            tracing::warn!(
                upstream = %self.config.name,
                server = %self.peers[index].name,
                fails = server.max_fails,
                "upstream server temporarily disabled for {:?}", server.fail_timeout
            );
        }
        let primaries = self.config.primaries;
        if index < primaries {
            self.primaries.borrow_mut().failed(index, server.max_fails);
        } else {
            let mut backups = self.backups.borrow_mut();
            backups.failed(index - primaries, server.max_fails);
        }
    }

    /// A server has answered a request.
    pub(crate) fn answered(&self, index: usize) {
        if !self.plain {
            let standing = &self.squad.servers[index];
            standing.answered(&self.config.servers[index], || self.squad.now());
        }
    }

    /// A number by chance (xorshift).
    fn roll(&self) -> u64 {
        let mut seed = self.chance.get();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.chance.set(seed);
        seed >> 11
    }
}

impl Trip {
    /// It is of no use to ask this server again.
    pub(crate) fn mark(&mut self, index: usize) {
        if self.tried.len() <= index {
            self.tried.resize(index + 1, false);
        }
        self.tried[index] = true;
    }

    /// All servers may be asked again.
    pub(crate) fn begin_again(&mut self) {
        self.tried.iter_mut().for_each(|tried| *tried = false);
        self.walk.restart();
        self.desperate = true;
        self.again = true;
    }

    pub(crate) fn is_again(&self) -> bool {
        self.again
    }
}

/// What the balance is told.
struct Known<'a> {
    group: &'a Group,
    tried: &'a [bool],
    /// The number of its first server.
    first: usize,
    now: u64,
    desperate: bool,
}

impl Known<'_> {
    fn server(&self, index: usize) -> &UpstreamServer {
        &self.group.config.servers[self.first + index]
    }

    /// Whether it may be asked, as soon as it has a connection to spare.
    fn is_eligible(&self, index: usize) -> bool {
        !self.server(index).drain && self.is_eligible_if_bound(index)
    }

    /// The same for a request that belongs to it.
    fn is_eligible_if_bound(&self, index: usize) -> bool {
        let server = self.server(index);
        let standing = &self.group.squad.servers[self.first + index];
        !server.down
            && standing.is_in()
            && !self.tried[self.first + index]
            && (self.desperate || !standing.is_aside(server, self.now))
    }
}

impl View for Known<'_> {
    fn is_usable(&self, index: usize) -> bool {
        self.is_eligible(index) && !self.group.is_full(self.first + index)
    }

    fn conns(&self, index: usize) -> u64 {
        u64::from(self.group.squad.servers[self.first + index].conns())
    }

    fn time(&self, index: usize) -> u64 {
        let server = self.server(index);
        let times = &self.group.squad.servers[self.first + index].times;
        times.expected(server.fail_timeout, self.now)
    }

    fn share(&self, index: usize) -> i64 {
        let standing = &self.group.squad.servers[self.first + index];
        standing.share(self.server(index), self.now)
    }
}

/// What `ip_hash` hashes of a client.
pub(crate) fn address_key(conn: &Conn, record: &Record) -> Vec<u8> {
    let peer = match conn.peer {
        crate::headers::forwarded::Peer::Ip(addr) => Some(addr),
        crate::headers::forwarded::Peer::Unix => None,
    };
    match record.real_ip.or(peer) {
        Some(IpAddr::V4(addr)) => addr.octets()[..3].to_vec(),
        Some(IpAddr::V6(addr)) => addr.octets().to_vec(),
        None => vec![0; 3],
    }
}
