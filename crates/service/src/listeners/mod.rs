//! Listening sockets: taken over from whoever supervises us, or made by ourselves.
//!
//! Not here: accepting, and which addresses a daemon listens on. A socket that we did not make is never
//! unlinked.

mod inherited;

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getpid};
use trine_config::ListenAddr;
use trine_sys::fdpass;
use trine_sys::net::{self, SockAddr};

use crate::Error;
pub use inherited::{Inherited, InheritedFd, inherited};

/// How to make a listening socket of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindOptions {
    /// Connections that may wait in the kernel until we accept them; net.core.somaxconn caps it.
    pub backlog: u32,
    /// Permission bits of a Unix socket's file, exactly (the umask does not apply).
    pub unix_mode: u32,
    /// Let several sockets share a TCP address (SO_REUSEPORT, `socket(7)`).
    pub reuse_port: bool,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self {
            backlog: 2048,
            unix_mode: 0o660,
            reuse_port: false,
        }
    }
}

/// Who made a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Handed down by LISTEN_FDS; its maker keeps it when we are gone.
    Inherited,
    /// Made here.
    Own,
}

/// A socket that listens, CLOEXEC and non-blocking. Closing `fd` ends listening; dropping `file` removes
/// the file of a Unix socket of our own.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub fd: OwnedFd,
    /// Where it listens, with the real port when 0 was asked for.
    pub addr: SockAddr,
    /// Who made it.
    pub origin: Origin,
    /// The file of a Unix socket that we made; `None` for all others.
    pub file: Option<SocketFile>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// The file of a Unix socket of our own and the lock on it. Dropping it removes both, but only in the
/// process that made them: a forked worker leaves them alone.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    maker: Pid,
    lock: OwnedFd,
}

impl SocketFile {
    /// Goes on owning a file that this process made before it executed another program: `lock` came through that.
    #[must_use]
    pub fn again(path: PathBuf, lock: OwnedFd) -> Self {
        Self {
            path,
            maker: getpid(),
            lock,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has to go through an exec for [`Self::again`].
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl SocketFile {
    /// Takes over the file of a socket whose maker handed it down and has ended.
    ///
    /// # Errors
    /// AddrInUse when somebody looks after it.
    pub fn claim(path: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            maker: getpid(),
            lock: net::lock_unix(path)?,
        })
    }

    /// Leaves the file where it is, for a process that the socket was handed down to.
    pub fn leave(mut self) {
        self.maker = Pid::from_raw(0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if getpid() == self.maker {
            let _ = fs::remove_file(&self.path);
            let mut lock = std::mem::take(&mut self.path).into_os_string();
            lock.push(".lock");
            let _ = fs::remove_file(lock);
        }
    }
}

/// Takes the inherited socket for `addr`, or makes one. An `fd:` address must be inherited.
///
/// # Errors
/// [`Error::NotInherited`] for `fd:NAME` that nobody handed down, [`Error::Listen`] for what the kernel
/// refuses (AddrInUse: another process has it).
pub fn bind(
    addr: &ListenAddr,
    options: &BindOptions,
    inherited: &mut Inherited,
) -> Result<Listener, Error> {
    if let Some(fd) = inherited.take(addr) {
        return listener(fd, Origin::Inherited, None).map_err(|source| Error::Listen {
            addr: addr.clone(),
            source,
        });
    }
    let made = match addr {
        ListenAddr::Tcp(tcp) => net::listen_tcp(*tcp, options.backlog, options.reuse_port)
            .and_then(|fd| listener(fd, Origin::Own, None)),
        ListenAddr::Unix(path) => net::listen_unix(path, options.unix_mode, options.backlog)
            .and_then(|made| {
                let file = SocketFile {
                    path: path.clone(),
                    maker: getpid(),
                    lock: made.lock,
                };
                listener(made.fd, Origin::Own, Some(file))
            }),
        ListenAddr::Fd(_) | ListenAddr::FdNumber(_) => return Err(not_inherited(addr, inherited)),
    };
    made.map_err(|source| Error::Listen {
        addr: addr.clone(),
        source,
    })
}

/// The same for datagrams (UDP): takes the inherited socket for `addr`, or makes one.
///
/// # Errors
/// Those of [`bind`]; Unsupported for a path, as datagrams of Unix sockets are not served.
pub fn bind_datagram(
    addr: &ListenAddr,
    reuse_port: bool,
    inherited: &mut Inherited,
) -> Result<Listener, Error> {
    let error = |source| Error::Listen {
        addr: addr.clone(),
        source,
    };
    if let Some(fd) = inherited.take_datagram(addr) {
        return listener(fd, Origin::Inherited, None).map_err(error);
    }
    let made = match addr {
        ListenAddr::Tcp(ip) => {
            net::bind_udp(*ip, reuse_port).and_then(|fd| listener(fd, Origin::Own, None))
        }
        ListenAddr::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
        ListenAddr::Fd(_) | ListenAddr::FdNumber(_) => return Err(not_inherited(addr, inherited)),
    };
    made.map_err(error)
}

fn not_inherited(addr: &ListenAddr, inherited: &Inherited) -> Error {
    let offered = match inherited.names().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nothing".to_owned(),
        names => names,
    };
    Error::NotInherited {
        addr: addr.clone(),
        offered,
    }
}

/// A listening socket that came some other way than by LISTEN_FDS.
///
/// # Errors
/// It has no address, or cannot be made non-blocking.
pub fn adopt(fd: OwnedFd) -> std::io::Result<Listener> {
    listener(fd, Origin::Inherited, None)
}

fn listener(fd: OwnedFd, origin: Origin, file: Option<SocketFile>) -> std::io::Result<Listener> {
    fdpass::set_nonblocking(&fd, true)?;
    let addr = net::local_addr(&fd)?;
    Ok(Listener {
        fd,
        addr,
        origin,
        file,
    })
}

#[cfg(test)]
mod tests;
