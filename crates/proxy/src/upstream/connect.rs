//! Connections to upstream servers: an idle one of the server that was chosen, else a new one, else the next server.
//!
//! A full backlog of a Unix socket (EAGAIN) means busy, not broken; a socket that nobody answers on right now may
//! belong to a server that is being replaced. Both are tried again for a while. When every server has all the
//! connections it may have, the request waits in line. Not here: what is sent on the connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use trine_sys::net;

use super::fault::Fault;
use super::pool::{Link, add};
use super::retry::{Lost, Retries};
use super::{Group, NoSeat, Seat, Trip};
use crate::config::{PeerAddr, Protocol, ProxyPass};
use crate::conn::record::Record;
use crate::conn::{Conn, Interrupted};
use crate::stream::Stream;
use crate::tls::Dialled;

/// Pauses between two rounds over all servers.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long nobody may listen until that counts as the answer: a server is replaced faster.
const REPLACEMENT: Duration = Duration::from_secs(5);

/// The tag of connections that are kept and do not speak HTTP. Those with TLS have odd ones.
const OTHER_PROTOCOL: u64 = 2;

/// What a search for a connection needs.
pub(crate) struct Search<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) group: &'a Group,
    pub(crate) pass: &'a ProxyPass,
    /// When the whole request is too late, and how long it was given.
    pub(crate) limit: Option<(Instant, Duration)>,
    pub(crate) secure: Option<Secure>,
    /// Where connections come from.
    pub(crate) bind: Option<SocketAddr>,
    /// When the first server was chosen.
    pub(crate) begun: Instant,
}

/// TLS towards the servers.
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    /// What the servers' certificates have to be for.
    pub(crate) name: ServerName<'static>,
    /// Tells the connections made so from others.
    pub(crate) tag: u64,
}

/// A connection, and whose it is.
pub(crate) struct Found {
    pub(crate) link: Link,
    pub(crate) index: usize,
}

impl Search<'_> {
    /// Finds a connection. `fresh` leaves the idle ones alone.
    pub(crate) async fn link(
        &self,
        trip: &mut Trip,
        retries: &mut Retries<'_>,
        record: &mut Record,
        fresh: bool,
    ) -> Result<Found, Fault> {
        let seat = if self.group.squad.line.is_empty() {
            self.group.pick(trip)
        } else {
            // Others were here before.
            Err(NoSeat::Full)
        };
        let seat = match seat {
            Ok(seat) => match self.idle(seat, fresh, record.started) {
                Ok(found) => return Ok(found),
                Err(seat) => match self.at_once(seat, record) {
                    Ok(found) => return Ok(found),
                    Err(seat) => Ok(seat),
                },
            },
            Err(why) => Err(why),
        };
        Box::pin(self.connect(seat, trip, retries, record, fresh)).await
    }

    /// What tells connections that are good for this request from others to the same address.
    fn tag(&self) -> u64 {
        let tag = match &self.secure {
            Some(secure) => secure.tag,
            None if self.pass.protocol == Protocol::Http1 => 0,
            None => OTHER_PROTOCOL,
        };
        let Some(bind) = &self.bind else { return tag };
        let mut hasher = DefaultHasher::new();
        (tag, bind).hash(&mut hasher);
        // Whether it has TLS stays to be seen.
        (hasher.finish() & !1) | (tag & 1)
    }

    /// An idle connection of the server.
    fn idle(&self, seat: Seat, fresh: bool, now: Instant) -> Result<Found, Seat> {
        let peer = &self.group.peers[seat.index];
        let tag = self.tag();
        let link = if fresh { None } else { peer.take(now, tag) };
        match link {
            Some(mut link) => {
                link.ticket = seat.ticket;
                let index = seat.index;
                Ok(Found { link, index })
            }
            None => Err(seat),
        }
    }

    /// A new connection where that takes no waiting: a Unix socket is connected right now, or `rounds` sees to it.
    fn at_once(&self, seat: Seat, record: &mut Record) -> Result<Found, Seat> {
        let peer = &self.group.peers[seat.index];
        let (PeerAddr::Unix(path), None) = (&peer.addr, &self.secure) else {
            return Err(seat);
        };
        let made = net::connect_unix(path).and_then(|fd| UnixStream::from_std(fd.into()));
        let Ok(stream) = made else {
            return Err(seat);
        };
        record.attempt(peer);
        Ok(self.made(seat, Stream::Unix(stream)))
    }

    /// A connection that was just made.
    fn made(&self, seat: Seat, stream: Stream) -> Found {
        let Seat { index, ticket } = seat;
        let peer = &self.group.peers[index];
        add(&peer.figures.connects, 1);
        let mut link = peer.link(stream, false);
        link.ticket = ticket;
        link.tag = self.tag();
        Found { link, index }
    }

    async fn connect(
        &self,
        first: Result<Seat, NoSeat>,
        trip: &mut Trip,
        retries: &mut Retries<'_>,
        record: &mut Record,
        fresh: bool,
    ) -> Result<Found, Fault> {
        let work = self.rounds(first, trip, retries, record, fresh);
        let limit = self.limit.map(|(limit, _)| limit);
        match self
            .conn
            .within(limit, !self.pass.shaping.ignores_abort, work)
            .await
        {
            Ok(done) => done,
            Err(Interrupted::Late) => Err(Fault::Total(
                self.limit.map(|(_, given)| given).unwrap_or_default(),
            )),
            Err(Interrupted::Gone(source)) => Err(Fault::ClientGone {
                while_: "a connection was made",
                source,
            }),
        }
    }

    /// Tries servers until one accepts, none is left, or it takes too long.
    async fn rounds(
        &self,
        first: Result<Seat, NoSeat>,
        trip: &mut Trip,
        retries: &mut Retries<'_>,
        record: &mut Record,
        fresh: bool,
    ) -> Result<Found, Fault> {
        let Self { group, pass, .. } = *self;
        let timeout = pass.connect_timeout;
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut next = first;
        let mut failed: Option<Fault> = None;
        loop {
            let seat = match next {
                Ok(seat) => seat,
                Err(NoSeat::Full) => self.wait_in_line(trip, record).await?,
                Err(NoSeat::None) => {
                    let Some(fault) = failed.take() else {
                        return Err(match group.learn_names(timeout).await {
                            true => Fault::Regrouped,
                            false => Fault::NoLive,
                        });
                    };
                    let patience = match &fault {
                        Fault::Busy(_) => timeout,
                        Fault::Connect(error) if pass.outgoing.patient && passes_soon(error) => {
                            timeout.min(REPLACEMENT)
                        }
                        _ => return Err(fault),
                    };
                    let waited = begun.elapsed();
                    if !retries.may_wait(self.begun.elapsed()) || waited + pause >= patience {
                        return Err(fault);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    trip.begin_again();
                    retries.new_round();
                    failed = Some(fault);
                    next = group.pick(trip);
                    continue;
                }
            };
            let seat = match self.idle(seat, fresh, record.started) {
                Ok(found) => return Ok(found),
                Err(seat) => seat,
            };
            let index = seat.index;
            let peer = &group.peers[index];
            record.attempt(peer);
            let fault = match tokio::time::timeout(timeout, self.open(&peer.addr)).await {
                Ok(Ok(stream)) => return Ok(self.made(seat, stream)),
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Fault::Busy(timeout),
                Ok(Err(error)) => Fault::Connect(error),
                Err(_) => Fault::ConnectTimeout(timeout),
            };
            drop(seat.ticket);
            record.attempt_failed(fault.status(), !trip.is_again());
            trip.mark(index);
            // A full backlog is no failure, and one that is seen again in another round is the same one.
            if !matches!(fault, Fault::Busy(_)) && !trip.is_again() {
                group.failed(index);
            }
            let lost = match &fault {
                Fault::ConnectTimeout(_) => Lost::ConnectTimeout,
                _ => Lost::Connect,
            };
            let again = retries.again(lost, false, self.begun.elapsed());
            next = if again {
                tracing::debug!(server = %peer.name, "trying another server: {fault}");
                group.pick(trip)
            } else {
                Err(NoSeat::None)
            };
            failed = Some(fault);
        }
    }

    /// A new connection, with TLS if that is to be.
    async fn open(&self, addr: &PeerAddr) -> io::Result<Stream> {
        let stream = self.plain(addr).await?;
        let Some(secure) = &self.secure else {
            return Ok(stream);
        };
        let config = Arc::clone(&secure.config);
        let tls = Dialled::new(stream, config, secure.name.clone()).map_err(io::Error::other)?;
        poll_fn(|cx| tls.poll_handshake(cx)).await?;
        Ok(Stream::Dialled(Box::new(tls)))
    }

    /// The connection beneath.
    async fn plain(&self, addr: &PeerAddr) -> io::Result<Stream> {
        let (PeerAddr::Name(name, port), Some(rules)) = (addr, &self.pass.names) else {
            return open(addr, self.bind, self.pass.outgoing.keepalive).await;
        };
        let mut failed = None;
        for ip in self.conn.engine.names.addresses(rules, name).await? {
            let addr = PeerAddr::Ip((ip, *port).into());
            match open(&addr, self.bind, self.pass.outgoing.keepalive).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::ErrorKind::HostUnreachable.into()))
    }

    /// Waits until a server has a connection to spare.
    async fn wait_in_line(&self, trip: &mut Trip, record: &mut Record) -> Result<Seat, Fault> {
        let Self { group, .. } = *self;
        let Some(queue) = group.config.queue else {
            return group.pick(trip).map_err(|_| Fault::NoLive);
        };
        if group.retired.get() {
            return Err(Fault::Regrouped);
        }
        let Some(place) = group.squad.line.join(queue.most) else {
            return Err(Fault::QueueFull(queue.most));
        };
        let waiting = place.until(|| {
            if group.retired.get() {
                return Some(Err(Fault::Regrouped));
            }
            match group.pick(trip) {
                Ok(seat) => Some(Ok(seat)),
                Err(NoSeat::Full) => None,
                Err(NoSeat::None) => Some(Err(Fault::NoLive)),
            }
        });
        let counted = Counted::new(&self.conn.engine.figures.waiting);
        let began = Instant::now();
        // What it has waited with other servers counts.
        let patience = queue.timeout.saturating_sub(record.queued);
        let seat = tokio::time::timeout(patience, waiting).await;
        record.queued += began.elapsed();
        drop(counted);
        seat.map_err(|_| Fault::QueueTimeout(queue.timeout))?
    }
}

/// One more for as long as it lives.
struct Counted<'a>(&'a Cell<u64>);

impl<'a> Counted<'a> {
    fn new(count: &'a Cell<u64>) -> Self {
        add(count, 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Whether it is worth waiting: nobody listens right now.
fn passes_soon(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// A connection to an address, without TLS. `bind` is where it comes from; with `keepalive` the kernel asks from time to
/// time whether the other side is still there.
pub(crate) async fn open(
    addr: &PeerAddr,
    bind: Option<SocketAddr>,
    keepalive: bool,
) -> io::Result<Stream> {
    let tcp = match addr {
        PeerAddr::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
        PeerAddr::Ip(addr) => dial(*addr, bind, keepalive).await?,
        PeerAddr::Name(name, port) => {
            let mut failed = io::ErrorKind::HostUnreachable.into();
            let mut made = None;
            for addr in tokio::net::lookup_host((name.as_str(), *port)).await? {
                match dial(addr, bind, keepalive).await {
                    Ok(stream) => {
                        made = Some(stream);
                        break;
                    }
                    Err(error) => failed = error,
                }
            }
            made.ok_or(failed)?
        }
    };
    tcp.set_nodelay(true)?;
    Ok(Stream::Tcp(tcp))
}

async fn dial(
    addr: SocketAddr,
    bind: Option<SocketAddr>,
    keepalive: bool,
) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if keepalive {
        socket.set_keepalive(true)?;
    }
    if let Some(bind) = bind {
        socket.bind(bind)?;
    }
    socket.connect(addr).await
}

/// Counts a request on a link.
pub(crate) fn count(link: &Link) {
    let figures = &link.peer().figures;
    add(&figures.requests, 1);
    add(&figures.reused, u64::from(link.reused));
}
