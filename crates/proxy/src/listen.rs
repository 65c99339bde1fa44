//! Doors: the listening sockets, made by the control thread and served by the cores.
//!
//! Each core has a TCP socket of its own (SO_REUSEPORT), or a duplicate of one that was handed down or is a Unix
//! socket. A door keeps its number for as long as the process lives. Not here: connections once they are accepted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use trine_config::ListenAddr;
use trine_service::listeners::{self, BindOptions, Inherited, Origin, SocketFile};
use trine_sys::net::{self, SockAddr};

use crate::config::{Config, Listen};
use crate::conn::Conn;
use crate::engine::{Doors, Engine};
use crate::headers::forwarded::Peer;
use crate::layer4::{self, session::Arrival};
use crate::preamble;
use crate::stream::Stream;
use crate::tls::Keyring;
use crate::upstream::pool::add;

/// What a predecessor calls sockets that it had made itself.
const OWN: &str = "trine-proxy";

/// When descriptors are short: how long to wait before accepting again, and how often to say so.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);
const SHORTAGE_WARNING_EVERY: Duration = Duration::from_secs(10);

/// All doors that were ever open, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct DoorBook {
    doors: Vec<Door>,
    /// Keys of TLS sessions, which outlive configurations as doors do.
    pub(crate) keyring: Keyring,
}

#[derive(Debug)]
struct Door {
    /// As it is configured.
    addr: ListenAddr,
    /// Where it really is.
    bound: SockAddr,
    /// Its sockets, one or one for each core: for cores that are started later, and for a successor.
    sockets: Vec<OwnedFd>,
    /// Handed down by a service manager: kept open, in case it is configured away and back.
    inherited: bool,
    file: Option<SocketFile>,
    open: bool,
    udp: bool,
}

/// A door for one core to serve.
#[derive(Debug)]
pub(crate) struct NewDoor {
    pub(crate) number: usize,
    pub(crate) fd: OwnedFd,
    pub(crate) port: u16,
    /// Nobody else takes what waits in this socket's queue.
    pub(crate) own: bool,
    pub(crate) udp: bool,
}

/// What a new configuration changes: for each core the doors to open, and the numbers of those to close.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) open: Vec<Vec<NewDoor>>,
    pub(crate) close: Vec<usize>,
    pub(crate) doors: Doors,
    new: Vec<Door>,
    reopened: Vec<usize>,
}

impl DoorBook {
    /// Opens what `config` lists and is not open yet, for `cores` cores. Nothing is changed yet: see
    /// [`commit`](Self::commit).
    /// `fresh`: the cores have no door yet, and get those that are open already too.
    pub(crate) fn prepare(
        &self,
        config: &Config,
        cores: usize,
        fresh: bool,
        inherited: &mut Inherited,
    ) -> Result<Changes, trine_service::Error> {
        let mut changes = Changes {
            open: (0..cores).map(|_| Vec::new()).collect(),
            close: Vec::new(),
            doors: Doors::from([]),
            new: Vec::new(),
            reopened: Vec::new(),
        };
        let mut doors: Vec<Option<usize>> = vec![None; self.doors.len()];
        for (index, listen) in config.listens.iter().enumerate() {
            let known = self
                .doors
                .iter()
                .position(|door| door.is_for(listen) && (door.open || door.inherited));
            let error = |source| trine_service::Error::Listen {
                addr: listen.addr.clone(),
                source,
            };
            if let Some(number) = known {
                doors[number] = Some(index);
                let door = &self.doors[number];
                if fresh || !door.open {
                    door.hand_out(number, &mut changes.open).map_err(error)?;
                }
                if !door.open {
                    changes.reopened.push(number);
                }
            } else {
                let number = doors.len();
                let door = open(listen, cores, inherited)?;
                door.hand_out(number, &mut changes.open).map_err(error)?;
                doors.push(Some(index));
                changes.new.push(door);
            }
        }
        let open = |number: &usize| self.doors[*number].open;
        changes.close = (0..self.doors.len())
            .filter(open)
            .filter(|number| doors[*number].is_none())
            .collect();
        changes.doors = doors.into();
        Ok(changes)
    }

    /// Notes that the changes are in effect.
    pub(crate) fn commit(&mut self, changes: &mut Changes) {
        self.doors.append(&mut changes.new);
        for number in &changes.reopened {
            self.doors[*number].open = true;
        }
        for number in &changes.close {
            let door = &mut self.doors[*number];
            door.open = false;
            door.file = None;
            if !door.inherited {
                door.sockets.clear();
            }
        }
    }

    /// Lets go of the sockets, so that they close with the cores' own.
    pub(crate) fn release(&mut self) {
        for door in &mut self.doors {
            door.sockets.clear();
        }
    }

    /// The open sockets for a successor: each with the name that LISTEN_FDNAMES gives it.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (String, &OwnedFd)> {
        self.doors.iter().filter(|door| door.open).flat_map(|door| {
            let name = match (&door.addr, door.inherited) {
                (_, false) => OWN.to_owned(),
                (ListenAddr::Fd(name), true) => name.clone(),
                (_, true) => "unknown".to_owned(),
            };
            door.sockets.iter().map(move |fd| (name.clone(), fd))
        })
    }

    /// Leaves the files of Unix sockets to a successor.
    pub(crate) fn leave_files(&mut self) {
        for file in self.doors.iter_mut().filter_map(|door| door.file.take()) {
            file.leave();
        }
    }

    /// Takes the files of Unix sockets over from a predecessor that is gone.
    pub(crate) fn claim_files(&mut self) {
        for door in &mut self.doors {
            if let (ListenAddr::Unix(path), true, false, None) =
                (&door.addr, door.open, door.inherited, &door.file)
            {
                match SocketFile::claim(path) {
                    Ok(file) => door.file = Some(file),
                    Err(error) => tracing::warn!("{} is not ours: {error}", path.display()),
                }
            }
        }
    }

    /// Where it listens, for people, and whether the socket was handed down.
    pub(crate) fn open_doors(&self) -> impl Iterator<Item = (String, bool)> {
        let open = self.doors.iter().filter(|door| door.open);
        open.map(|door| {
            let kind = if door.udp { "/udp" } else { "" };
            (format!("{}{kind}", door.bound), door.inherited)
        })
    }
}

impl Door {
    fn is_for(&self, listen: &Listen) -> bool {
        self.addr == listen.addr && self.udp == listen.udp
    }

    /// Gives each core a socket, and every socket to a core. One for datagrams is one core's, as a client's sessions are.
    fn hand_out(&self, number: usize, cores: &mut [Vec<NewDoor>]) -> io::Result<()> {
        let (sockets, count) = (self.sockets.len(), cores.len());
        let least = if self.udp { 0 } else { count };
        for index in 0..sockets.max(least) {
            cores[index % count].push(NewDoor {
                number,
                fd: self.sockets[index % sockets].try_clone()?,
                port: port(&self.bound),
                own: !self.inherited,
                udp: self.udp,
            });
        }
        Ok(())
    }
}

fn port(addr: &SockAddr) -> u16 {
    match addr {
        SockAddr::Tcp(addr) => addr.port(),
        _ => 0,
    }
}

/// Makes or takes over the sockets of one door.
fn open(
    listen: &Listen,
    cores: usize,
    inherited: &mut Inherited,
) -> Result<Door, trine_service::Error> {
    let error = |source| trine_service::Error::Listen {
        addr: listen.addr.clone(),
        source,
    };
    let several = matches!(listen.addr, ListenAddr::Tcp(_)) && cores > 1;
    let mut options = BindOptions {
        backlog: listen.backlog,
        unix_mode: listen.mode,
        reuse_port: false,
    };
    // Those of a predecessor are ours from now on.
    let own = inherited
        .iter()
        .filter(|one| one.name == OWN && one.datagram == listen.udp);
    let own: Vec<_> = own.filter_map(|one| one.addr.clone()).collect();
    let bind = |addr: &ListenAddr, options: &BindOptions, inherited: &mut Inherited| {
        if listen.udp {
            listeners::bind_datagram(addr, options.reuse_port, inherited)
        } else {
            listeners::bind(addr, options, inherited)
        }
    };
    let first = bind(&listen.addr, &options, inherited)?;
    let (bound, origin) = (first.addr.clone(), first.origin);
    let mut sockets = vec![first.fd];
    if origin == Origin::Inherited {
        // One for each core of the predecessor: none of them may be lost, connections wait in each.
        while inherited
            .iter()
            .any(|one| one.addr.as_ref() == Some(&bound) && one.datagram == listen.udp)
        {
            let fd = if listen.udp {
                inherited.take_datagram(&listen.addr)
            } else {
                inherited.take(&listen.addr)
            };
            let Some(fd) = fd else { break };
            sockets.push(fd);
        }
    } else if several {
        // The address is free: nobody else has it, not even by SO_REUSEPORT. Now take it once for each core.
        sockets.clear();
        options.reuse_port = true;
        let addr = match &bound {
            SockAddr::Tcp(addr) => ListenAddr::Tcp(*addr),
            _ => listen.addr.clone(),
        };
        for _ in 0..cores {
            let mut none = Inherited::default();
            sockets.push(bind(&addr, &options, &mut none)?.fd);
        }
    }
    if let SockAddr::Tcp(addr) = bound {
        for socket in &sockets {
            if !listen.udp {
                // Accepted connections inherit it.
                net::set_nodelay(socket, true).map_err(error)?;
            } else if addr.ip().is_unspecified() {
                net::tell_destinations(socket, addr.is_ipv4()).map_err(error)?;
            }
        }
    }
    Ok(Door {
        addr: listen.addr.clone(),
        inherited: origin == Origin::Inherited && !own.contains(&bound),
        bound,
        sockets,
        file: first.file,
        open: true,
        udp: listen.udp,
    })
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(match net::local_addr(&fd)? {
            SockAddr::Tcp(_) => Self::Tcp(TcpListener::from_std(fd.into())?),
            _ => Self::Unix(UnixListener::from_std(fd.into())?),
        })
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (stream, addr) = socket.accept().await?;
                Ok(Accepted::tcp(stream, addr))
            }
            Self::Unix(socket) => Ok(Accepted::unix(socket.accept().await?.0)),
        }
    }

    /// What waits in the queue, without waiting for more.
    fn accept_waiting(&self) -> Option<Accepted> {
        let fd = match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        };
        let (fd, addr) = net::accept4(fd).ok()?;
        match addr {
            SockAddr::Tcp(addr) => {
                let stream = TcpStream::from_std(fd.into()).ok()?;
                Some(Accepted::tcp(stream, addr))
            }
            _ => {
                let stream = UnixStream::from_std(fd.into()).ok()?;
                Some(Accepted::unix(stream))
            }
        }
    }
}

/// A connection that was accepted.
struct Accepted {
    stream: Stream,
    peer: Peer,
    port: u16,
}

impl Accepted {
    fn tcp(stream: TcpStream, addr: SocketAddr) -> Self {
        Self {
            stream: Stream::Tcp(stream),
            peer: Peer::Ip(addr.ip().to_canonical()),
            port: addr.port(),
        }
    }

    fn unix(stream: UnixStream) -> Self {
        Self {
            stream: Stream::Unix(stream),
            peer: Peer::Unix,
            port: 0,
        }
    }
}

/// Serves a connection whose client is told by a preamble.
async fn introduced(engine: Rc<Engine>, accepted: Accepted, number: usize, port: u16) {
    let Accepted { stream, peer, .. } = &accepted;
    let limit = engine.generation().header_timeout(number);
    let addresses = match preamble::read(&engine, number, stream, limit).await {
        Ok(addresses) => addresses,
        Err(why) => {
            tracing::info!(client = ?peer, "broken PROXY protocol header: {why}");
            return;
        }
    };
    if let Some(mut conn) = connection(engine, accepted, number, port) {
        conn.introduced = addresses.map(Box::new);
        conn.run().await;
    }
}

/// Serves a connection of `stream`.
async fn session(engine: Rc<Engine>, accepted: Accepted, door: usize) {
    let arrival = Arrival {
        peer: accepted.peer,
        port: accepted.port,
        door,
        local: None,
        protocol: "TCP",
    };
    layer4::serve(engine, accepted.stream, arrival).await;
}

fn connection(engine: Rc<Engine>, accepted: Accepted, number: usize, port: u16) -> Option<Conn> {
    let stream = engine.generation().dress(number, accepted.stream)?;
    let mut conn = Conn::new(engine, stream, accepted.peer, number, port);
    conn.peer_port = accepted.port;
    Some(conn)
}

/// Accepts on one door until it is closed, then takes what still waits in a queue that nobody else serves.
pub(crate) async fn serve(
    engine: Rc<Engine>,
    door: NewDoor,
    closed: CancellationToken,
) -> io::Result<()> {
    let NewDoor {
        number,
        fd,
        port,
        own,
        udp,
    } = door;
    if udp {
        return layer4::serve_datagrams(engine, number, fd, own, closed).await;
    }
    let socket = Socket::new(fd)?;
    let mut warned: Option<Instant> = None;
    let start = |accepted: Accepted| {
        let engine = Rc::clone(&engine);
        let conns = engine.conns.clone();
        let generation = engine.generation();
        let listen = generation.listen(number);
        if listen.is_some_and(|listen| !listen.streams.is_empty()) {
            conns.spawn_local(Box::pin(session(engine, accepted, number)));
        } else if listen.is_some_and(|listen| listen.proxy_protocol) {
            conns.spawn_local(Box::pin(introduced(engine, accepted, number, port)));
        } else if let Some(conn) = connection(engine, accepted, number, port) {
            conns.spawn_local(conn.run());
        }
    };
    loop {
        let shortage = if engine.is_full() {
            "the limit of open files is near".to_owned()
        } else {
            let accepted = tokio::select! {
                biased;
                () = closed.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    start(accepted);
                    continue;
                }
                Err(error) if is_shortage(&error) => error.to_string(),
                Err(error) => {
                    // The client left before we took its connection.
                    tracing::debug!("a connection could not be accepted: {error}");
                    continue;
                }
            }
        };
        add(&engine.figures.accept_failures, 1);
        let dismissed = engine.shed();
        if warned.is_none_or(|at| at.elapsed() >= SHORTAGE_WARNING_EVERY) {
            warned = Some(Instant::now());
            tracing::error!(
                dismissed,
                "descriptors are short, idle connections are closed: {shortage}; raise the limit (ulimit -n)"
            );
        }
        // What waits in the queue is not lost by waiting.
        tokio::select! {
            () = closed.cancelled() => break,
            () = tokio::time::sleep(SHORTAGE_PAUSE) => {}
        }
    }
    if own {
        while let Some(accepted) = socket.accept_waiting() {
            start(accepted);
        }
    }
    Ok(())
}

fn is_shortage(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}
