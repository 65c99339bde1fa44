//! One core: a thread with a runtime of its own, and everything that its connections share.
//!
//! Nothing here is shared with another core but the configuration, which is read-only. Orders come by a channel from
//! the control thread (see `cores`). Not here: what a connection does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Guard;
use crate::access_log;
use crate::config::{Config, Http2Rules, KeepAlive, Listen, PeerAddr, Protocol, Upstream};
use crate::conn::record::Record;
use crate::deadline::Deadlines;
use crate::files::cache::Cache;
use crate::filter::Presses;
use crate::layer4::{self, template::Text};
use crate::route::host::find;
use crate::stream::Stream;
use crate::tally::Tally;
use crate::time::{Ids, WallClock};
use crate::times::Times;
use crate::tls::{self, Tls};
use crate::upstream::Group;
use crate::upstream::fleet::{Fleet, Squad};
use crate::upstream::names::ask::Names;
use crate::upstream::pool::{Peer, add};
use crate::workbench::Store;

/// How often idle upstream connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Servers named by variables that are kept in mind.
const MOST_NAMED: usize = 256;

/// Servers that are asked once and perhaps never again.
const NOT_KEPT: KeepAlive = KeepAlive {
    count: 0,
    requests: 0,
    time: Duration::ZERO,
    timeout: Duration::ZERO,
};

/// What the connections of one core share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) files: Cache,
    pub(crate) presses: Presses,
    pub(crate) guard: Guard,
    pub(crate) time: WallClock,
    pub(crate) ids: Ids,
    pub(crate) names: Names,
    pub(crate) logs: access_log::Writers,
    pub(crate) figures: Figures,
    /// The counters of all cores.
    pub(crate) tally: Arc<Tally>,
    /// Connections under way.
    pub(crate) conns: TaskTracker,
    /// Ends the accept loops.
    pub(crate) stop: CancellationToken,
    /// How many descriptors the connections of this core may use.
    room: usize,
    draining: Cell<bool>,
    generation: RefCell<Rc<Generation>>,
    peers: RefCell<HashMap<PeerAddr, Rc<Peer>>>,
}

/// A configuration in effect on one core. Requests hold on to the one they began with.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) config: Arc<Config>,
    /// In the order of [`Config::upstreams`].
    groups: RefCell<Vec<Rc<Group>>>,
    pub(crate) fleet: Arc<Fleet>,
    /// Those that URLs with variables have named.
    named: RefCell<HashMap<String, Rc<Group>>>,
    /// In the order of [`Config::listens`].
    tls: RefCell<Arc<[tls::Door]>>,
    doors: Doors,
}

/// For each door (a listening socket, by its number) the index in [`Config::listens`], if it is still listed.
pub(crate) type Doors = Arc<[Option<usize>]>;

/// What happened on one core so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) connections: Cell<u64>,
    pub(crate) requests: Cell<u64>,
    /// By the hundreds of the status: 1xx to 5xx.
    pub(crate) statuses: [Cell<u64>; 5],
    pub(crate) body_bytes: Cell<u64>,
    pub(crate) upstream_failures: Cell<u64>,
    pub(crate) accept_failures: Cell<u64>,
    /// Requests that wait for a server to have a connection to spare.
    pub(crate) waiting: Cell<u64>,
    /// What `stream` has served.
    pub(crate) sessions: layer4::figures::Figures,
    /// Switched connections that are open now.
    pub(crate) tunnels: Cell<u64>,
    /// From a head's last byte to its answer's.
    pub(crate) times: Times,
    /// From a head's last byte to the first of the upstream's answer.
    pub(crate) first_bytes: Times,
}

impl Figures {
    pub(crate) fn count(&self, record: &Record) {
        add(&self.requests, 1);
        self.times.put(record.started.elapsed());
        if let Some(at) = record.first_byte {
            self.first_bytes
                .put(at.saturating_duration_since(record.started));
        }
        add(&self.body_bytes, record.body_bytes);
        if let Some(class) = usize::from(record.status / 100)
            .checked_sub(1)
            .and_then(|class| self.statuses.get(class))
        {
            add(class, 1);
        }
    }
}

impl Generation {
    /// The servers of an upstream, by its index in [`Config::upstreams`].
    pub(crate) fn group(&self, index: usize) -> Rc<Group> {
        Rc::clone(&self.groups.borrow()[index])
    }

    /// The same by its name, for those who have a group that was retired.
    pub(crate) fn group_named(&self, name: &str) -> Option<Rc<Group>> {
        let groups = self.groups.borrow();
        groups
            .iter()
            .find(|one| one.config.name == name)
            .map(Rc::clone)
    }

    /// Whom a URL names that was made from variables, and the path and query in it, if there are any. A name that is no
    /// upstream's is looked up when a connection is made.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(crate) fn group_of(
        &self,
        engine: &Engine,
        protocol: Protocol,
        url: &[u8],
    ) -> Result<(Rc<Group>, Option<Vec<u8>>), &'static str> {
        let text = std::str::from_utf8(url).map_err(|_| "the URL is not text")?;
        let (target, uri) = match protocol {
            Protocol::Http1 => crate::config::nginx::split_url(text)
                .ok_or("the URL is not one of http:// or https://")?,
            // These name a server and no more.
            Protocol::FastCgi | Protocol::Uwsgi | Protocol::Scgi => (text, None),
        };
        let secure = crate::config::nginx::is_https(text);
        let uri = uri.map(|uri| uri.as_bytes().to_vec());
        let groups = self.groups.borrow();
        let known = groups
            .iter()
            .find(|group| group.config.name == target && group.config.stream.is_none());
        if let Some(group) = known {
            return Ok((Rc::clone(group), uri));
        }
        drop(groups);
        let key = if secure {
            format!("https://{target}")
        } else {
            target.to_owned()
        };
        if let Some(group) = self.named.borrow().get(&key) {
            return Ok((Rc::clone(group), uri));
        }
        let addr = crate::config::nginx::peer_address(target, if secure { 443 } else { 80 })
            .ok_or("the URL does not name a server")?;
        let config = Upstream::single(target, addr, NOT_KEPT);
        Ok((self.add_named(engine, key, config), uri))
    }

    /// The upstream of `stream` by its name, or the server at an address.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub(crate) fn stream_group(
        &self,
        engine: &Engine,
        target: &str,
    ) -> Result<Rc<Group>, &'static str> {
        let groups = self.groups.borrow();
        let known = groups
            .iter()
            .find(|group| group.config.name == target && group.config.stream.is_some());
        if let Some(group) = known {
            return Ok(Rc::clone(group));
        }
        drop(groups);
        if target.is_empty() {
            return Err("no host");
        }
        let key = format!("stream://{target}");
        if let Some(group) = self.named.borrow().get(&key) {
            return Ok(Rc::clone(group));
        }
        // There is no port that goes without saying.
        let addr = crate::config::nginx::peer_address(target, 0).ok_or("invalid host")?;
        if addr.port() == Some(0) {
            return Err("no port");
        }
        let config = Upstream {
            stream: Some(Text::default()),
            ..Upstream::single(target, addr, NOT_KEPT)
        };
        Ok(self.add_named(engine, key, config))
    }

    /// Keeps servers in mind that something with variables has named.
    fn add_named(&self, engine: &Engine, key: String, config: Upstream) -> Rc<Group> {
        let addr = &config.servers[0].addr;
        let peer = {
            let mut peers = engine.peers.borrow_mut();
            let peer = peers
                .entry(addr.clone())
                .or_insert_with(|| Rc::new(Peer::new(addr.clone())));
            Rc::clone(peer)
        };
        let squad = Squad::new(&Arc::new(config), None);
        let group = Rc::new(Group::new(vec![peer], squad));
        let mut named = self.named.borrow_mut();
        if named.len() >= MOST_NAMED {
            named.clear();
        }
        named.insert(key, Rc::clone(&group));
        group
    }

    /// The stream of a client that came in by the door: with TLS, if the door has that.
    pub(crate) fn dress(&self, door: usize, stream: Stream) -> Option<Stream> {
        let index = (*self.doors.get(door)?)?;
        match self.tls.borrow().get(index)? {
            None => Some(stream),
            Some(tls) => {
                let tls = Tls::new(stream, Arc::clone(tls));
                Some(Stream::Tls(Box::new(tls)))
            }
        }
    }

    /// How long a client that came in by the door may take until its request is there.
    pub(crate) fn header_timeout(&self, door: usize) -> Duration {
        let server = self.listen(door).and_then(|listen| listen.servers.first());
        let timeouts = server.map_or(self.config.timeouts, |&index| {
            self.config.servers[index].timeouts
        });
        timeouts.header
    }

    /// How HTTP/2 is spoken by the server at the door that has this name, or by its first one.
    pub(crate) fn http2(&self, door: usize, name: Option<&str>) -> Http2Rules {
        let Some(listen) = self.listen(door) else {
            return Http2Rules::default();
        };
        let named =
            name.and_then(|name| find(&self.config, &listen.servers, Some(name.as_bytes())));
        let server = named
            .map(|(index, _)| index)
            .or(listen.servers.first().copied());
        let rules = server.map_or_else(Http2Rules::default, |index| {
            self.config.servers[index].http2
        });
        Http2Rules {
            on: rules.on || listen.http2,
            ..rules
        }
    }

    /// What the door is configured to be, unless it was removed.
    pub(crate) fn listen(&self, door: usize) -> Option<&Listen> {
        let index = (*self.doors.get(door)?)?;
        self.config.listens.get(index)
    }
}

impl Engine {
    pub(crate) fn new(
        config: Arc<Config>,
        doors: Doors,
        tls: Arc<[tls::Door]>,
        fleet: &Arc<Fleet>,
        tally: Arc<Tally>,
        logs: access_log::Writers,
        room: usize,
    ) -> Rc<Self> {
        let empty = Generation {
            config: Arc::clone(&config),
            groups: RefCell::default(),
            fleet: Arc::clone(fleet),
            named: RefCell::default(),
            tls: Arc::clone(&tls).into(),
            doors: Arc::clone(&doors),
        };
        let engine = Rc::new(Self {
            store: Store::default(),
            deadlines: Deadlines::new(),
            files: Cache::default(),
            presses: Presses::default(),
            guard: Guard::new(),
            time: WallClock::new(),
            ids: Ids::new(),
            names: Names::default(),
            logs,
            figures: Figures::default(),
            tally,
            conns: TaskTracker::new(),
            stop: CancellationToken::new(),
            room,
            draining: Cell::new(false),
            generation: RefCell::new(Rc::new(empty)),
            peers: RefCell::default(),
        });
        engine.tally.join(&engine.deadlines.tally);
        engine.apply(config, doors, tls, fleet);
        engine
    }

    /// The newest configuration.
    pub(crate) fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation.borrow())
    }

    /// Puts a configuration into effect for requests to come. Servers that stay keep their connections.
    pub(crate) fn apply(
        &self,
        config: Arc<Config>,
        doors: Doors,
        tls: Arc<[tls::Door]>,
        fleet: &Arc<Fleet>,
    ) {
        let groups = self.groups(fleet, &[]);
        *self.generation.borrow_mut() = Rc::new(Generation {
            config,
            groups: groups.into(),
            fleet: Arc::clone(fleet),
            named: RefCell::default(),
            tls: tls.into(),
            doors,
        });
    }

    /// Names of servers have other addresses, or there are other workers: requests to come, and those in line, go there.
    /// What is under way stays where it is.
    pub(crate) fn regroup(&self, fleet: &Arc<Fleet>) {
        let generation = self.generation();
        if Arc::ptr_eq(&generation.fleet, fleet) {
            let groups = self.groups(fleet, &generation.groups.borrow());
            let before = generation.groups.replace(groups);
            for (old, new) in before.iter().zip(generation.groups.borrow().iter()) {
                if !Rc::ptr_eq(old, new) {
                    old.retire();
                }
            }
        }
    }

    /// The upstreams of a fleet, with the connections that are there. Those that have not changed stay as they are.
    fn groups(&self, fleet: &Fleet, before: &[Rc<Group>]) -> Vec<Rc<Group>> {
        let mut peers = self.peers.borrow_mut();
        let mut keeps: HashMap<PeerAddr, KeepAlive> = HashMap::new();
        let squads = fleet.squads();
        for squad in &squads {
            let upstream = &squad.upstream;
            for server in &upstream.servers {
                let keep = keeps.entry(server.addr.clone());
                let keep = keep.or_insert(upstream.keepalive);
                if upstream.keepalive.count > keep.count {
                    *keep = upstream.keepalive;
                }
            }
        }
        peers.retain(|addr, peer| {
            let stays = keeps.contains_key(addr);
            if !stays {
                // A link still in use must not come back to it.
                peer.retire();
            }
            stays
        });
        for (addr, keep) in keeps {
            peers
                .entry(addr.clone())
                .or_insert_with(|| Rc::new(Peer::new(addr)))
                .set_keep(keep);
        }
        let groups = squads.into_iter().enumerate().map(|(index, squad)| {
            if let Some(same) = before
                .get(index)
                .filter(|one| Arc::ptr_eq(&one.squad, &squad))
            {
                return Rc::clone(same);
            }
            let servers = squad
                .upstream
                .servers
                .iter()
                .filter_map(|server| peers.get(&server.addr))
                .map(Rc::clone)
                .collect();
            Rc::new(Group::new(servers, squad))
        });
        groups.collect()
    }

    /// Goes on with other certificates.
    pub(crate) fn renew_tls(&self, tls: Arc<[tls::Door]>) {
        self.generation.borrow().tls.replace(tls);
    }

    /// Whether a door is still listed.
    pub(crate) fn knows_door(&self, door: usize) -> bool {
        self.generation.borrow().listen(door).is_some()
    }

    /// Whether the daemon takes no more work.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// From now on connections end with the request they have, and idle ones at once.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
        self.deadlines.dismiss_all();
    }

    /// Closes connections to upstreams that nobody uses.
    pub(crate) fn close_idle_links(&self) {
        self.peers
            .borrow()
            .values()
            .for_each(|peer| peer.close_idle());
    }

    /// What a session has had from a server, and sent to it.
    pub(crate) fn count_bytes(&self, server: &str, received: u64, sent: u64) {
        let peers = self.peers.borrow();
        if let Some(peer) = peers.values().find(|peer| peer.name == server) {
            add(&peer.figures.received, received);
            add(&peer.figures.sent, sent);
        }
    }

    /// All upstream servers.
    pub(crate) fn peers(&self) -> Vec<Rc<Peer>> {
        self.peers.borrow().values().map(Rc::clone).collect()
    }

    /// Whether another client would leave too few descriptors for the upstreams and files of those that are here.
    pub(crate) fn is_full(&self) -> bool {
        let clients = self.deadlines.len();
        // Far from the limit there is no need to count the rest.
        if clients < self.room / 4 {
            return false;
        }
        let links: usize = self.peers.borrow().values().map(|peer| peer.open()).sum();
        clients >= self.room / 4 * 3 || clients + links + self.files.len() + 2 >= self.room
    }

    /// Makes room when descriptors are short: open files first, then connections that nobody waits on.
    pub(crate) fn shed(&self) -> usize {
        self.files.clear();
        self.close_idle_links();
        self.deadlines.dismiss_idle(32)
    }

    /// Looks through idle upstream connections from time to time, for as long as it is polled.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let now = Instant::now();
            for peer in self.peers.borrow().values() {
                peer.sweep(now);
            }
        }
    }
}
