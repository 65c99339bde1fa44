//! Doors: the listening sockets, made by the control thread and served by the cores.
//!
//! Each core has a TCP socket of its own (SO_REUSEPORT), or a duplicate of one that was handed down or is a Unix
//! socket. A door keeps its number for as long as the process lives. Not here: connections once they are accepted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use trine_config::ListenAddr;
use trine_service::listeners::{self, BindOptions, Inherited, Listener, Origin, SocketFile};
use trine_sys::net::{self, SockAddr};

use crate::config::{Config, Listen};
use crate::conn::Conn;
use crate::engine::{Doors, Engine};
use crate::headers::forwarded::Peer;
use crate::stream::Stream;
use crate::upstream::pool::add;

/// When descriptors are short: how long to wait before accepting again, and how often to say so.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);
const SHORTAGE_WARNING_EVERY: Duration = Duration::from_secs(10);

/// All doors that were ever open, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct DoorBook {
    doors: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    /// As it is configured.
    addr: ListenAddr,
    /// Where it really is.
    bound: SockAddr,
    /// One that was handed down is kept, in case it is configured away and back.
    inherited: Option<OwnedFd>,
    _file: Option<SocketFile>,
    open: bool,
}

/// A door for one core to serve.
#[derive(Debug)]
pub(crate) struct NewDoor {
    pub(crate) number: usize,
    pub(crate) fd: OwnedFd,
    pub(crate) port: u16,
    /// Nobody else takes what waits in this socket's queue.
    pub(crate) own: bool,
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
    pub(crate) fn prepare(
        &self,
        config: &Config,
        cores: usize,
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
            let known = self.doors.iter().position(|door| {
                door.addr == listen.addr && (door.open || door.inherited.is_some())
            });
            let error = |source| trine_service::Error::Listen {
                addr: listen.addr.clone(),
                source,
            };
            if let Some(number) = known {
                doors[number] = Some(index);
                let door = &self.doors[number];
                if let (false, Some(fd)) = (door.open, &door.inherited) {
                    for core in &mut changes.open {
                        core.push(NewDoor {
                            number,
                            fd: fd.try_clone().map_err(error)?,
                            port: port(&door.bound),
                            own: false,
                        });
                    }
                    changes.reopened.push(number);
                }
            } else {
                let number = doors.len();
                let (door, fds) = open(listen, cores, inherited)?;
                let own = door.inherited.is_none();
                for (core, fd) in changes.open.iter_mut().zip(fds) {
                    core.push(NewDoor {
                        number,
                        fd,
                        port: port(&door.bound),
                        own,
                    });
                }
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
            door._file = None;
        }
    }

    /// Where it listens, and whether the socket was handed down.
    pub(crate) fn open_doors(&self) -> impl Iterator<Item = (&SockAddr, bool)> {
        self.doors
            .iter()
            .filter(|door| door.open)
            .map(|door| (&door.bound, door.inherited.is_some()))
    }
}

fn port(addr: &SockAddr) -> u16 {
    match addr {
        SockAddr::Tcp(addr) => addr.port(),
        _ => 0,
    }
}

/// Makes or takes over the socket of one door, once for each core.
fn open(
    listen: &Listen,
    cores: usize,
    inherited: &mut Inherited,
) -> Result<(Door, Vec<OwnedFd>), trine_service::Error> {
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
    let listener = listeners::bind(&listen.addr, &options, inherited)?;
    if matches!(listener.addr, SockAddr::Tcp(_)) {
        // Accepted connections inherit it.
        net::set_nodelay(&listener, true).map_err(error)?;
    }
    let Listener {
        fd,
        addr: bound,
        origin,
        file,
    } = listener;
    let door = |inherited| Door {
        addr: listen.addr.clone(),
        bound: bound.clone(),
        inherited,
        _file: file,
        open: true,
    };
    if several && origin == Origin::Own {
        // The address is free: nobody else has it, not even by SO_REUSEPORT. Now take it once for each core.
        drop(fd);
        options.reuse_port = true;
        let mut none = Inherited::default();
        let addr = match &bound {
            SockAddr::Tcp(addr) => ListenAddr::Tcp(*addr),
            _ => listen.addr.clone(),
        };
        let mut fds = Vec::new();
        for _ in 0..cores {
            let listener = listeners::bind(&addr, &options, &mut none)?;
            net::set_nodelay(&listener, true).map_err(error)?;
            fds.push(listener.fd);
        }
        return Ok((door(None), fds));
    }
    let mut fds = Vec::new();
    for _ in 1..cores {
        fds.push(fd.try_clone().map_err(error)?);
    }
    if origin == Origin::Inherited {
        fds.push(fd.try_clone().map_err(error)?);
        return Ok((door(Some(fd)), fds));
    }
    fds.push(fd);
    Ok((door(None), fds))
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

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, addr) = socket.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Ip(addr.ip().to_canonical())))
            }
            Self::Unix(socket) => Ok((Stream::Unix(socket.accept().await?.0), Peer::Unix)),
        }
    }

    /// What waits in the queue, without waiting for more.
    fn accept_waiting(&self) -> Option<(Stream, Peer)> {
        let fd = match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        };
        let (fd, addr) = net::accept4(fd).ok()?;
        match addr {
            SockAddr::Tcp(addr) => {
                let stream = tokio::net::TcpStream::from_std(fd.into()).ok()?;
                Some((Stream::Tcp(stream), Peer::Ip(addr.ip().to_canonical())))
            }
            _ => Some((
                Stream::Unix(tokio::net::UnixStream::from_std(fd.into()).ok()?),
                Peer::Unix,
            )),
        }
    }
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
    } = door;
    let socket = Socket::new(fd)?;
    let mut warned: Option<Instant> = None;
    let start = |(stream, peer)| {
        let Some(stream) = engine.generation().dress(number, stream) else {
            return;
        };
        let conn = Conn::new(Rc::clone(&engine), stream, peer, number, port);
        engine.conns.spawn_local(conn.run());
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
