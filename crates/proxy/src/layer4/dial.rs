//! Finding a server for a session: the upstream's balance chooses, and the next one is tried if need be.
//!
//! Not here: choosing itself (`upstream`), or what is copied then (`relay`).

use std::rc::Rc;
use std::time::Instant;

use super::preamble;
use super::session::{Attempt, Session, reason, status, tell};
use crate::config::{StreamPass, StreamTarget};
use crate::upstream::connect::open;
use crate::upstream::pool::{Link, add};
use crate::upstream::{Group, Seat};

/// The servers that a session is for.
pub(super) fn group(session: &Session, pass: &StreamPass) -> Result<Rc<Group>, u16> {
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

/// A connection to one of them, and the preamble for it.
pub(super) async fn connect(session: &Session, pass: &StreamPass) -> Result<(Link, String), u16> {
    let group = group(session, pass)?;
    let mut trip = group.trip(|_| session.key(group.config.stream.as_ref()));
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let Ok(Seat { index, ticket }) = group.pick(&mut trip) else {
            if tries == 0 {
                tell!(
                    error,
                    session,
                    "no live upstreams while connecting to upstream"
                );
            }
            return Err(status::BAD_GATEWAY);
        };
        let peer = &group.peers[index];
        let started = Instant::now();
        note(session, &peer.name);
        let opened = open(&peer.addr, pass.bind, pass.keepalive);
        match tokio::time::timeout(pass.connect_timeout, opened).await {
            Ok(Ok(stream)) => {
                add(&peer.figures.connects, 1);
                add(&peer.figures.requests, 1);
                group.answered(index);
                if let Some(one) = session.attempts.borrow_mut().last_mut() {
                    one.connected = Some(started.elapsed());
                }
                let mut link = peer.link(stream, false);
                link.ticket = ticket;
                return Ok((link, preamble::line(session.client_addr(), session.local)));
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
        if let Some(one) = session.attempts.borrow_mut().last_mut() {
            one.lasted = Some(started.elapsed());
        }
        add(&session.engine.figures.upstream_failures, 1);
        group.failed(index);
        trip.mark(index);
        tries += 1;
        let late = !pass.within.is_zero() && began.elapsed() >= pass.within;
        if !pass.next || late || (pass.tries > 0 && tries >= pass.tries) {
            return Err(status::BAD_GATEWAY);
        }
    }
}

/// Notes that a server is tried.
pub(super) fn note(session: &Session, name: &str) {
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
