//! One request as it travels from the loop to the application and back: its bytes, its head, its body, its peer.
//!
//! Not here: the connection it came on, or how it is answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use trine_http1::{BodyLength, Request, RequestHead};
use trine_sys::net::SockAddr;

use super::body::Body;
use super::gateway::Given;
use super::trust::TrustedPeers;

/// Who is at the other end, written out once per connection.
#[derive(Debug, Default)]
pub struct Peer {
    /// REMOTE_ADDR; empty for a Unix socket.
    pub addr: String,
    /// REMOTE_PORT; empty for a Unix socket.
    pub port: String,
    /// Its forwarding headers count.
    pub trusted: bool,
    /// The address the client connected to, as a load balancer told by the PROXY protocol.
    pub proxied_to: Option<SocketAddr>,
}

impl Peer {
    #[must_use]
    pub fn new(addr: &SockAddr, trusted: &TrustedPeers) -> Self {
        match addr {
            SockAddr::Tcp(addr) => Self::tcp(*addr, trusted),
            _ => Self {
                trusted: true,
                ..Self::default()
            },
        }
    }

    fn tcp(addr: SocketAddr, trusted: &TrustedPeers) -> Self {
        let ip = match addr.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
            ip => ip,
        };
        Self {
            addr: ip.to_string(),
            port: addr.port().to_string(),
            trusted: trusted.contain(ip),
            proxied_to: None,
        }
    }

    /// The client, when this peer is the load balancer it came by. Trust stays a matter of the peer itself.
    #[must_use]
    pub fn behind(&self, client: SocketAddr, to: SocketAddr) -> Self {
        Self {
            addr: client.ip().to_string(),
            port: client.port().to_string(),
            trusted: self.trusted,
            proxied_to: Some(to),
        }
    }
}

/// Exchanges that are kept for later.
const POOLED: usize = 64;
/// A pooled exchange keeps at most this much memory.
const POOLED_BYTES: usize = 128 * 1024;

/// Exchanges that nobody uses now.
#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "an exchange is large, and moves between owners with every request"
)]
pub struct Pool(Vec<Box<Exchange>>);

impl Pool {
    /// An exchange for a connection from `peer` by `listener`.
    #[must_use]
    pub fn take(&mut self, peer: &Arc<Peer>, listener: usize) -> Box<Exchange> {
        let mut exchange = self
            .0
            .pop()
            .unwrap_or_else(|| Exchange::new(Arc::clone(peer)));
        if !Arc::ptr_eq(&exchange.peer, peer) {
            exchange.peer = Arc::clone(peer);
        }
        exchange.listener = listener;
        exchange
    }

    /// Takes one back.
    pub fn give(&mut self, mut exchange: Box<Exchange>) {
        exchange.end = exchange.buf.len();
        exchange.next();
        if self.0.len() < POOLED && exchange.buf.capacity() <= POOLED_BYTES {
            self.0.push(exchange);
        }
    }
}

/// A request. The boxes go round in a pool, so that an idle connection holds none and a busy one allocates nothing.
#[derive(Debug)]
pub struct Exchange {
    /// What was received: from `start` on this request's head, then whatever came after it.
    pub buf: Vec<u8>,
    pub start: usize,
    pub head: RequestHead,
    /// The end of the head in `buf`; after the body was collected, the beginning of the next request.
    pub end: usize,
    pub body: Body,
    /// The client has closed its sending side before the body's end.
    pub truncated: bool,
    /// The body came chunked; its length.
    pub chunked_length: Option<u64>,
    pub peer: Arc<Peer>,
    /// What a web server said beside it, when it did not come by HTTP.
    pub given: Option<Box<Given>>,
    /// Which listener it came in by.
    pub listener: usize,
    /// The body is still with the client, who waits to be told to send it.
    pub awaited: Option<BodyLength>,
    /// When its first byte was seen.
    pub began: Instant,
    /// When it was complete, as far as the loop noticed.
    pub complete: Instant,
    /// The connection may be used again, as far as the request is concerned.
    pub keep_alive: bool,
}

impl Exchange {
    #[must_use]
    pub fn new(peer: Arc<Peer>) -> Box<Self> {
        Box::new(Self {
            buf: Vec::new(),
            start: 0,
            head: RequestHead::default(),
            end: 0,
            body: Body::Empty,
            truncated: false,
            chunked_length: None,
            peer,
            given: None,
            awaited: None,
            listener: 0,
            began: Instant::now(),
            complete: Instant::now(),
            keep_alive: true,
        })
    }

    /// The parsed head.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        self.head.on(self.buf.get(self.start..).unwrap_or_default())
    }

    /// Drops what belongs to the request that was answered; what is left begins the next one.
    pub fn next(&mut self) {
        self.start = self.end;
        if self.start >= self.buf.len() {
            self.buf.clear();
            self.start = 0;
        }
        self.end = self.start;
        self.head.clear();
        self.body = Body::Empty;
        self.given = None;
        self.truncated = false;
        self.chunked_length = None;
        self.awaited = None;
        self.keep_alive = true;
    }

    /// Received bytes that are not yet part of a parsed head.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }
}
