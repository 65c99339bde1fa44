//! Taking connections, and making room for them when there are too many.
//!
//! Not here: when a worker accepts at all (`threads`, `drain`).

use std::io;

use trine_sys::epoll::Interest;
use trine_sys::net::{self, SockAddr};

use super::{FIRST_LISTENER, Io, Rules, Token, ms};
use crate::worker::conn::{Conn, Expected, Refusal, State};
use crate::worker::exchange::Peer;
use crate::worker::gateway::Door;
use crate::worker::transport::Transport;

impl Io {
    /// Starts or stops taking new connections.
    pub(in crate::worker) fn accept_more(&mut self, on: bool) -> io::Result<()> {
        if self.accepting == on {
            return Ok(());
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            if on {
                let interest = Interest::EPOLLIN | Interest::EPOLLEXCLUSIVE;
                self.epoll
                    .add(&listener.fd, FIRST_LISTENER + index as u64, interest)?;
            } else {
                self.epoll.delete(&listener.fd)?;
            }
        }
        self.accepting = on;
        Ok(())
    }

    /// Takes what waits at a listener.
    pub(in crate::worker) fn accept(&mut self, index: usize) {
        for _ in 0..self.rules.accepts_per_turn {
            if self.open >= self.rules.max_connections && (self.others_have_room() || !self.evict())
            {
                let _ = self.close_door();
                return;
            }
            let Some(token) = self.accept_one(index) else {
                return;
            };
            self.balance(token);
        }
    }

    /// Makes room by giving up the connection that has been at its request for longest without having sent it whole.
    /// Kept ones are spared: a request may be under way on them, and they go soon by themselves. `false`: there is none.
    fn evict(&mut self) -> bool {
        let age = |token: &Token| {
            let conn = self.get(*token)?;
            let began = conn.exchange.as_ref().map(|exchange| exchange.began);
            match conn.state {
                State::Idle if !conn.kept => Some((0, began)),
                State::Head => Some((1, began)),
                State::Body(_) => Some((2, began)),
                _ => None,
            }
        };
        let ages = self.tokens().into_iter();
        let oldest = ages.filter_map(|token| Some((age(&token)?, token))).min();
        let Some(((rank, _), token)) = oldest else {
            return false;
        };
        if rank == 0 {
            self.close(token);
        } else {
            self.refuse(token, &Refusal::crowded());
            self.flush(token);
            // Nobody can wait for it to read the answer.
            self.close(token);
        }
        true
    }

    /// `None`: there is none.
    pub(in crate::worker) fn accept_one(&mut self, index: usize) -> Option<Token> {
        let listener = self.listeners.get(index)?;
        let (fd, addr) = match net::accept4(&listener.fd) {
            Ok(accepted) => accepted,
            Err(err) => {
                if !matches!(
                    err.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::Interrupted
                ) {
                    tracing::warn!("cannot accept a connection: {err}");
                }
                return None;
            }
        };
        let unix = listener.unix;
        self.accepted += 1;
        let transport = match &self.rules.tls {
            None => Transport::plain(fd),
            Some(config) => match Transport::tls(fd, config) {
                Ok(transport) => transport,
                Err(error) => {
                    tracing::error!("cannot begin TLS: {error}");
                    return None;
                }
            },
        };
        let peer = Peer::new(&addr, &self.rules.trusted);
        let mut conn = Conn::new(transport, peer, index, unix);
        conn.preamble = self.rules.preamble.map(|versions| Expected {
            versions,
            allowed: match &addr {
                SockAddr::Tcp(addr) => self.rules.preamble_peers.contain(addr.ip()),
                _ => true,
            },
        });
        conn.deadline = self.now_ms() + ms(self.rules.deadlines.head);
        let forbidden = self.put_door(&mut conn, &addr);
        let token = self.insert(conn);
        if forbidden {
            self.refuse(token, &Refusal::forbidden());
            self.flush_dirty();
            return Some(token);
        }
        self.advance(token);
        Some(token)
    }

    /// Has a connection speak what the listeners speak. `true`: its peer may not.
    fn put_door(&self, conn: &mut Conn, addr: &SockAddr) -> bool {
        let Rules {
            protocol,
            limits,
            max_connections,
            gateway_peers,
            ..
        } = &self.rules;
        conn.door = Door::new(*protocol, limits, *max_connections).map(Box::new);
        match addr {
            SockAddr::Tcp(addr) => conn.door.is_some() && !gateway_peers.contain(addr.ip()),
            _ => false,
        }
    }
}
