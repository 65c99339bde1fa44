//! Finding a server for a session: the upstream's balance chooses, and the next one is tried if need be.
//!
//! Not here: choosing itself (`upstream`), or what is copied then (`relay`, `exchange`).

use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::handshake;
use super::session::{Attempt, Session, reason, status, tell};
use crate::config::{PeerAddr, StreamPass, StreamTarget};
use crate::upstream::connect::open;
use crate::upstream::pool::{Link, Peer, add};
use crate::upstream::{Group, Seat, Trip};

/// The servers that a session is for.
fn group(session: &Session, pass: &StreamPass) -> Result<Rc<Group>, u16> {
    match &pass.target {
        StreamTarget::Group(index) => Ok(session.generation.group(*index)),
        StreamTarget::Named(text) => {
            let name = text.value(session);
            let name = String::from_utf8_lossy(&name);
            let found = session.generation.stream_group(&session.engine, &name);
            found.map_err(|why| {
                tell!(error, session, "{why} in upstream \"{name}\"");
                status::INTERNAL
            })
        }
    }
}

/// A session's way over the servers.
pub(super) struct Search<'a> {
    session: &'a Session,
    pass: &'a StreamPass,
    group: Rc<Group>,
    trip: Trip,
    began: Instant,
    tries: u32,
}

impl<'a> Search<'a> {
    /// Waits for the names of its servers, if they are being asked for the first time.
    ///
    /// # Errors
    /// The status of a session that has none.
    pub(super) async fn new(session: &'a Session, pass: &'a StreamPass) -> Result<Self, u16> {
        let mut servers = group(session, pass)?;
        if servers.learn_names(pass.connect_timeout).await {
            servers = group(session, pass)?;
        }
        let group = servers;
        let trip = group.trip(|_| session.key(group.config.stream.as_ref()));
        Ok(Self {
            session,
            pass,
            group,
            trip,
            began: Instant::now(),
            tries: 0,
        })
    }

    pub(super) fn peer(&self, seat: &Seat) -> &Rc<Peer> {
        &self.group.peers[seat.index]
    }

    /// The next server that `open` can reach.
    pub(super) async fn next<T>(
        &mut self,
        open: impl AsyncFn(&PeerAddr) -> io::Result<T>,
    ) -> Result<(T, Seat), u16> {
        let session = self.session;
        loop {
            let Ok(seat) = self.group.pick(&mut self.trip) else {
                if self.tries == 0 {
                    tell!(
                        error,
                        session,
                        "no live upstreams while connecting to upstream"
                    );
                }
                return Err(status::BAD_GATEWAY);
            };
            let peer = &self.group.peers[seat.index];
            let started = Instant::now();
            note(session, &peer.name);
            match tokio::time::timeout(self.pass.connect_timeout, open(&peer.addr)).await {
                Ok(Ok(opened)) => {
                    add(&peer.figures.connects, 1);
                    add(&peer.figures.requests, 1);
                    if let Some(one) = session.attempts.borrow_mut().last_mut() {
                        one.connected = Some(started.elapsed());
                    }
                    return Ok((opened, seat));
                }
                Ok(Err(error)) => {
                    let reason = reason(&error);
                    tell!(
                        error,
                        session,
                        "connect() failed ({reason}) while connecting to upstream"
                    );
                }
                Err(_) => tell!(
                    error,
                    session,
                    "upstream timed out (110: Connection timed out) while connecting to upstream"
                ),
            }
            if !self.failed(&seat) {
                return Err(status::BAD_GATEWAY);
            }
        }
    }

    /// The server has answered.
    pub(super) fn answered(&self, seat: &Seat) {
        self.group.answered(seat.index);
    }

    /// The server has failed the session. Whether another may be tried.
    pub(super) fn failed(&mut self, seat: &Seat) -> bool {
        if let Some(one) = self.session.attempts.borrow_mut().last_mut() {
            one.lasted = Some(one.began.elapsed());
        }
        add(&self.session.engine.figures.upstream_failures, 1);
        self.group.failed(seat.index);
        self.trip.mark(seat.index);
        self.tries += 1;
        let pass = self.pass;
        let late = !pass.within.is_zero() && self.began.elapsed() >= pass.within;
        pass.next && !late && (pass.tries == 0 || self.tries < pass.tries)
    }
}

/// A connection to a server.
pub(super) async fn connect(session: &Session, pass: &StreamPass) -> Result<Link, u16> {
    let mut search = Search::new(session, pass).await?;
    let name = search.group.config.name.clone();
    let dial = async |addr: &PeerAddr| {
        let stream = match (addr, &pass.names) {
            (PeerAddr::Name(name, port), Some(rules)) => {
                let mut failed = io::ErrorKind::HostUnreachable.into();
                let mut made = None;
                for ip in session.engine.names.addresses(rules, name).await? {
                    let addr = PeerAddr::Ip((ip, *port).into());
                    match open(&addr, pass.bind, pass.keepalive).await {
                        Ok(stream) => {
                            made = Some(stream);
                            break;
                        }
                        Err(error) => failed = error,
                    }
                }
                made.ok_or(failed)?
            }
            _ => open(addr, pass.bind, pass.keepalive).await?,
        };
        handshake::begin(session, pass, stream, &name).await
    };
    let (stream, seat) = search.next(dial).await?;
    search.answered(&seat);
    let mut link = search.peer(&seat).link(stream, false);
    link.ticket = seat.ticket;
    Ok(link)
}

/// Notes that a server is tried.
fn note(session: &Session, name: &str) {
    session.attempts.borrow_mut().push(Attempt {
        addr: name.to_owned(),
        began: Instant::now(),
        connected: None,
        first_byte: None,
        lasted: None,
        sent: 0,
        received: 0,
    });
}
