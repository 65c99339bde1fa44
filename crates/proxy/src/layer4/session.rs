//! One client's session, from its first byte to its line in the log: who it is, whether it may, what it asks for.
//!
//! The order is nginx's: preamble, address, access, first bytes, content. A session holds on to the configuration it
//! began with. Not here: finding a server (`dial`), copying (`relay`), datagrams (`datagrams`, `exchange`).

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::hello::Hello;
use super::preamble as outgoing;
use crate::access;
use crate::config::{StreamPass, StreamServer};
use crate::engine::{Engine, Generation};
use crate::headers::forwarded::Peer;
use crate::limit::connections::{self, Permit};
use crate::limit::{self, LogLevel};
use crate::route::host::find_by;
use crate::stream::Stream;
use crate::tls::Tls;
use crate::upstream::pool::add;

/// A client's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) engine: Rc<Engine>,
    pub(crate) generation: Rc<Generation>,
    /// Its number in the configuration. The name that a TLS client asks for may lead to another one.
    server: Cell<usize>,
    pub(super) door_number: usize,
    /// The client's connection, if it has one.
    pub(crate) stream: Option<Stream>,
    /// As the address is configured.
    door: String,
    /// Counts connections, over one core.
    pub(crate) number: u64,
    pub(crate) protocol: &'static str,
    peer: Peer,
    pub(crate) peer_port: u16,
    /// Whom a preamble names: the client, and where it connected to.
    pub(crate) introduced: Option<(SocketAddr, SocketAddr)>,
    /// The client, if whoever named it is believed.
    real: Option<SocketAddr>,
    /// Our end.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) began: Instant,
    pub(crate) status: Cell<u16>,
    /// Bytes from the client, and to it.
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) attempts: RefCell<Vec<Attempt>>,
    pub(crate) hello: OnceCell<Hello>,
    /// Values of variables that `set` makes.
    pub(crate) slots: RefCell<Vec<Option<Vec<u8>>>>,
    /// What `limit_conn` did, and what counts it there.
    pub(crate) limited: Cell<Option<limit::Status>>,
    permits: RefCell<Vec<Permit>>,
}

/// A server that was tried.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) addr: String,
    pub(crate) began: Instant,
    pub(crate) connected: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) lasted: Option<Duration>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// A client that has come.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    pub(crate) port: u16,
    /// Which listener it came in by.
    pub(crate) door: usize,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) protocol: &'static str,
}

/// How nginx names the ends of sessions.
pub(super) mod status {
    pub(crate) const OK: u16 = 200;
    pub(crate) const BAD_REQUEST: u16 = 400;
    pub(crate) const FORBIDDEN: u16 = 403;
    pub(crate) const INTERNAL: u16 = 500;
    pub(crate) const BAD_GATEWAY: u16 = 502;
    pub(crate) const UNAVAILABLE: u16 = 503;
}

/// A line of the daemon's log about a session.
macro_rules! tell {
    ($level:ident, $session:expr, $($rest:tt)+) => {{
        let session = &$session;
        let told = session.told();
        tracing::$level!(
            connection = session.number,
            client = %session.client_text(),
            server = %session.door(),
            upstream = told.upstream.as_deref(),
            "bytes from/to client" = %told.client_bytes,
            "bytes from/to upstream" = told.upstream_bytes.as_deref(),
            $($rest)+
        );
    }};
}
pub(super) use tell;

/// What lines of the log say about a session.
pub(super) struct Told {
    pub(super) upstream: Option<String>,
    pub(super) client_bytes: String,
    pub(super) upstream_bytes: Option<String>,
}

impl Session {
    /// `None` if the door leads to no server of `stream` any more.
    pub(crate) fn new(engine: &Rc<Engine>, arrival: &Arrival) -> Option<Self> {
        let generation = engine.generation();
        let listen = generation.listen(arrival.door)?;
        let server = *listen.streams.first()?;
        let door = listen.addr.to_string();
        add(&engine.figures.connections, 1);
        engine.figures.sessions.begin();
        engine.deadlines.tally.accepted.up();
        Some(Self {
            engine: Rc::clone(engine),
            server: Cell::new(server),
            door_number: arrival.door,
            stream: None,
            door,
            number: engine.figures.connections.get(),
            protocol: arrival.protocol,
            peer: arrival.peer,
            peer_port: arrival.port,
            introduced: None,
            real: None,
            local: arrival.local,
            began: Instant::now(),
            status: Cell::new(status::OK),
            received: Cell::new(0),
            sent: Cell::new(0),
            attempts: RefCell::default(),
            hello: OnceCell::new(),
            slots: RefCell::default(),
            limited: Cell::new(None),
            permits: RefCell::default(),
            generation,
        })
    }

    /// What serves it.
    pub(crate) fn rules(&self) -> &StreamServer {
        &self.generation.config.streams.servers[self.server.get()]
    }

    /// The client's TLS, if it is ended here.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.stream.as_ref().and_then(Stream::tls)
    }

    /// Goes on with the server of this name.
    pub(super) fn choose(&self, name: Option<&[u8]>) {
        let Some(listen) = self.generation.listen(self.door_number) else {
            return;
        };
        let servers = &self.generation.config.streams.servers;
        let found = find_by(&listen.streams, |index| &servers[index].names, name);
        if let Some((index, _)) = found {
            self.server.set(index);
        }
    }

    /// The client's address, unless it is on a Unix socket, and its port.
    pub(crate) fn client(&self) -> (Option<IpAddr>, u16) {
        match self.real {
            Some(addr) => (Some(addr.ip()), addr.port()),
            None => (self.peer.ip(), self.peer_port),
        }
    }

    /// The client's address with its port, if it has one.
    pub(super) fn client_addr(&self) -> Option<SocketAddr> {
        let (ip, port) = self.client();
        ip.map(|ip| SocketAddr::new(ip, port))
    }

    pub(crate) fn client_text(&self) -> String {
        text(self.client().0)
    }

    pub(crate) fn peer_text(&self) -> String {
        text(self.peer.ip())
    }

    pub(super) fn door(&self) -> &str {
        &self.door
    }

    /// The line about its beginning.
    pub(super) fn greet(&self, kind: &str) {
        tracing::info!(
            connection = self.number,
            "{kind}client {}:{} connected to {}",
            self.peer_text(),
            self.peer_port,
            self.door
        );
    }

    pub(super) fn told(&self) -> Told {
        let attempts = self.attempts.borrow();
        let last = attempts.last();
        Told {
            upstream: last.map(|one| one.addr.clone()),
            client_bytes: format!("{}/{}", self.received.get(), self.sent.get()),
            upstream_bytes: last.map(|one| format!("{}/{}", one.received, one.sent)),
        }
    }

    /// What hashes hash of it: the upstream's key.
    pub(super) fn key(&self, text: Option<&super::template::Text>) -> Vec<u8> {
        text.map(|text| text.value(self)).unwrap_or_default()
    }

    /// Whether the client may be served at all.
    pub(super) fn admit(&mut self) -> Result<(), u16> {
        let rules = &self.generation.config.streams.servers[self.server.get()];
        if let Some((client, _)) = self.introduced
            && self.peer.is_trusted(&rules.trusted)
        {
            self.real = Some(client);
        }
        self.count()?;
        if access::is_denied(&rules.access, self.client().0) {
            tell!(
                error,
                self,
                "access forbidden by rule while initializing session"
            );
            return Err(status::FORBIDDEN);
        }
        Ok(())
    }

    /// Counts it where sessions of its kind are counted, for as long as it lives.
    fn count(&self) -> Result<(), u16> {
        let rules = &self.rules().limits;
        for limit in &rules.limits {
            let zone = &self.generation.config.zones[limit.zone];
            let Some(key) = zone.key_of_session(self) else {
                continue;
            };
            if let Some(permit) = connections::take(zone, &key, limit.most) {
                self.permits.borrow_mut().push(permit);
                self.limited.set(Some(limit::Status::Passed));
                continue;
            }
            self.permits.borrow_mut().clear();
            let dry = if rules.dry_run { ", dry run" } else { "" };
            let name = &zone.name;
            match rules.level {
                LogLevel::Error => {
                    tell!(error, self, "limiting connections{dry} by zone \"{name}\"")
                }
                LogLevel::Warn => tell!(warn, self, "limiting connections{dry} by zone \"{name}\""),
                LogLevel::Notice | LogLevel::Info => {
                    tell!(info, self, "limiting connections{dry} by zone \"{name}\"");
                }
            }
            if rules.dry_run {
                self.limited.set(Some(limit::Status::RejectedDryRun));
                return Ok(());
            }
            self.limited.set(Some(limit::Status::Rejected));
            return Err(status::UNAVAILABLE);
        }
        Ok(())
    }

    /// `set`: what is known of the client is known by now.
    pub(super) fn set_variables(&self) {
        self.slots
            .borrow_mut()
            .resize(self.generation.config.streams.slots, None);
        for (slot, value) in &self.rules().sets {
            let value = value.value(self);
            self.slots.borrow_mut()[*slot] = Some(value);
        }
    }

    /// The preamble for its server, if there is to be one.
    pub(super) fn introduction(&self, pass: &StreamPass) -> String {
        if pass.proxy_protocol {
            outgoing::line(self.client_addr(), self.local)
        } else {
            String::new()
        }
    }

    /// The session is over.
    pub(super) fn finish(&self, status: u16) {
        self.status.set(status);
        for one in self.attempts.borrow_mut().iter_mut() {
            one.lasted.get_or_insert_with(|| one.began.elapsed());
        }
        let (received, sent) = (self.received.get(), self.sent.get());
        let figures = &self.engine.figures.sessions;
        figures.end(self.protocol, status, received, sent);
        for one in self.attempts.borrow().iter() {
            self.engine.count_bytes(&one.addr, one.received, one.sent);
        }
        self.engine.logs.write_session(&self.rules().logs, self);
    }
}

fn text(addr: Option<IpAddr>) -> String {
    addr.map_or_else(|| "unix:".to_owned(), |addr| addr.to_string())
}

/// An error of the system as nginx writes it: `111: Connection refused`.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{number}: {}", nix::errno::Errno::from_raw(number).desc()),
        None => error.to_string(),
    }
}
