//! Connections to upstream servers: idle ones, or new ones until the connect timeout is over.
//!
//! A full backlog of a Unix socket (EAGAIN) means busy, not broken; a socket that nobody answers on right now may
//! belong to a server that is being replaced. Both are tried again. Not here: what is sent on the connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};

use super::Group;
use super::fault::Fault;
use super::pool::{Link, Peer, add};
use crate::config::PeerAddr;
use crate::conn::{Conn, Interrupted};
use crate::stream::Stream;

/// Pauses between two rounds over all servers.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The servers, beginning with the one whose turn it is; those for emergencies come last.
fn in_turn(group: &Group, turn: usize) -> impl Iterator<Item = &Rc<Peer>> + Clone {
    let (primaries, backups) = group.peers.split_at(group.config.primaries);
    let first = primaries.iter().cycle().skip(turn).take(primaries.len());
    first.chain(backups)
}

/// Finds a connection: an idle one, else a new one, beginning with the server whose turn it is. `limit` is when the
/// whole request is too late. `fresh` leaves the idle ones alone.
pub(crate) async fn link(
    conn: &Conn,
    group: &Group,
    timeout: Duration,
    limit: Option<Instant>,
    fresh: bool,
) -> Result<Link, Fault> {
    let turn = group.turn();
    if !fresh && let Some(link) = in_turn(group, turn).find_map(Peer::take) {
        return Ok(link);
    }
    Box::pin(connect(conn, group, turn, timeout, limit)).await
}

async fn connect(
    conn: &Conn,
    group: &Group,
    turn: usize,
    timeout: Duration,
    limit: Option<Instant>,
) -> Result<Link, Fault> {
    let order = in_turn(group, turn);
    let last = RefCell::new(None);
    let rounds = async {
        let give_up = Instant::now() + timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            for peer in order.clone() {
                match tokio::time::timeout(timeout, open(&peer.addr)).await {
                    Ok(Ok(stream)) => {
                        add(&peer.figures.connects, 1);
                        return Some(peer.link(stream, false));
                    }
                    Ok(Err(error)) => _ = last.replace(Some(error)),
                    Err(_) => _ = last.take(),
                }
            }
            let hopeless = last
                .borrow()
                .as_ref()
                .is_none_or(|error| !passes_soon(error));
            if hopeless || Instant::now() + pause >= give_up {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    match conn.within(limit, true, rounds).await {
        Ok(Some(link)) => return Ok(link),
        Ok(None) => {}
        Err(Interrupted::Late) => return Err(Fault::Total(Duration::ZERO)),
        Err(Interrupted::Gone(source)) => {
            return Err(Fault::ClientGone {
                while_: "a connection was made",
                source,
            });
        }
    }
    for peer in &group.peers {
        add(&peer.figures.failures, 1);
    }
    Err(match last.take() {
        None => Fault::ConnectTimeout(timeout),
        Some(error) if error.kind() == io::ErrorKind::WouldBlock => Fault::Busy(timeout),
        Some(error) => Fault::Connect(error),
    })
}

/// Whether it is worth waiting: the backlog is full, or nobody listens right now.
fn passes_soon(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

async fn open(addr: &PeerAddr) -> io::Result<Stream> {
    let tcp = match addr {
        PeerAddr::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
        PeerAddr::Ip(addr) => TcpStream::connect(addr).await?,
        PeerAddr::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await?,
    };
    tcp.set_nodelay(true)?;
    Ok(Stream::Tcp(tcp))
}

/// Counts a request on a link.
pub(crate) fn count(link: &Link) {
    let figures = &Rc::clone(link.peer()).figures;
    add(&figures.requests, 1);
    add(&figures.reused, u64::from(link.reused));
}
