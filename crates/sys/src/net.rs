//! Sockets: making listeners, accepting, and non-blocking sending and receiving that never raises SIGPIPE.
//! Not here: which address to use, TLS, HTTP, or any waiting.
#![expect(
    unsafe_code,
    reason = "accept4 with the peer's address, and receiving into spare capacity"
)]

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, sockopt,
};

mod tcp;
mod udp;
mod unix;
pub use tcp::{TcpInfo, tcp_info};
pub use udp::{Arrived, bind_udp, is_datagram, recv_datagram, send_datagram, tell_destinations};
pub use unix::{UnixListenFd, bind_datagram, connect_unix, listen_unix, lock_unix};

/// A socket's own or its peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SockAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A Linux abstract name, without its leading NUL.
    UnixAbstract(Vec<u8>),
    /// A Unix socket that was never bound: what clients usually are.
    UnixUnnamed,
    /// Neither IP nor Unix.
    Other,
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::UnixAbstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Self::UnixUnnamed => f.write_str("unix:"),
            Self::Other => f.write_str("unknown"),
        }
    }
}

/// Memory for any address the kernel may write.
#[repr(C, align(8))]
struct AddrBuf([u8; 128]);

impl AddrBuf {
    const NEW: Self = Self([0; 128]);

    fn parse(&self, len: libc::socklen_t) -> SockAddr {
        let bytes = &self.0[..(len as usize).min(self.0.len())];
        let Some((family, rest)) = bytes.split_first_chunk::<2>() else {
            return SockAddr::UnixUnnamed;
        };
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_UNIX => match rest {
                [] => SockAddr::UnixUnnamed,
                [0, name @ ..] => SockAddr::UnixAbstract(name.to_vec()),
                path => {
                    let end = path
                        .iter()
                        .position(|&byte| byte == 0)
                        .unwrap_or(path.len());
                    SockAddr::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(&path[..end])))
                }
            },
            libc::AF_INET => {
                let Some((head, _)) = rest.split_first_chunk::<6>() else {
                    return SockAddr::Other;
                };
                let [p0, p1, ip @ ..] = *head;
                SockAddr::Tcp(SocketAddr::new(
                    IpAddr::from(ip),
                    u16::from_be_bytes([p0, p1]),
                ))
            }
            libc::AF_INET6 => {
                let Some((head, _)) = rest.split_first_chunk::<26>() else {
                    return SockAddr::Other;
                };
                let [p0, p1, f0, f1, f2, f3, after @ ..] = *head;
                let [ip @ .., s0, s1, s2, s3] = after;
                SockAddr::Tcp(SocketAddr::V6(SocketAddrV6::new(
                    ip.into(),
                    u16::from_be_bytes([p0, p1]),
                    u32::from_be_bytes([f0, f1, f2, f3]),
                    u32::from_ne_bytes([s0, s1, s2, s3]),
                )))
            }
            _ => SockAddr::Other,
        }
    }
}

/// A listening TCP socket (CLOEXEC, non-blocking, SO_REUSEADDR). `reuse_port` lets several sockets share the address.
pub fn listen_tcp(addr: SocketAddr, backlog: u32, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = stream_socket(family)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if reuse_port {
        socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
    listen(&fd, backlog)?;
    Ok(fd)
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket::socket(family, SockType::Stream, flags, None)?)
}

/// Starts listening, or changes the backlog of a socket that listens already. The kernel caps it by somaxconn.
pub fn listen(fd: impl AsFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog)
        .unwrap_or(i32::MAX)
        .min(libc::SOMAXCONN.max(65535));
    // SAFETY: the call takes two integers; the descriptor is borrowed and so open.
    let result = unsafe { libc::listen(fd.as_fd().as_raw_fd(), backlog) };
    Errno::result(result)?;
    Ok(())
}

/// Takes one connection from the backlog, CLOEXEC and non-blocking; WouldBlock when there is none.
pub fn accept4(listener: impl AsFd) -> io::Result<(OwnedFd, SockAddr)> {
    let mut addr = AddrBuf::NEW;
    let mut len = size_of::<AddrBuf>() as libc::socklen_t;
    let fd = listener.as_fd().as_raw_fd();
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `addr` has the `len` bytes that the kernel may write, aligned for any address; both live on.
    let result = unsafe { libc::accept4(fd, (&raw mut addr).cast(), &raw mut len, flags) };
    let number = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok((unsafe { OwnedFd::from_raw_fd(number) }, addr.parse(len)))
}

/// The address `fd` is bound to.
pub fn local_addr(fd: impl AsFd) -> io::Result<SockAddr> {
    let mut addr = AddrBuf::NEW;
    let mut len = size_of::<AddrBuf>() as libc::socklen_t;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `addr` has the `len` bytes that the kernel may write, aligned for any address; both live on.
    let result = unsafe { libc::getsockname(fd, (&raw mut addr).cast(), &raw mut len) };
    Errno::result(result)?;
    Ok(addr.parse(len))
}

/// The address `fd` is connected to.
pub fn peer_addr(fd: impl AsFd) -> io::Result<SockAddr> {
    let mut addr = AddrBuf::NEW;
    let mut len = size_of::<AddrBuf>() as libc::socklen_t;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `addr` has the `len` bytes that the kernel may write, aligned for any address; both live on.
    let result = unsafe { libc::getpeername(fd, (&raw mut addr).cast(), &raw mut len) };
    Errno::result(result)?;
    Ok(addr.parse(len))
}

/// Who is at the other end of a Unix socket, as of the moment it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// The peer's process, user and group (SO_PEERCRED).
pub fn peer_cred(fd: impl AsFd) -> io::Result<PeerCred> {
    let who = socket::getsockopt(&fd, sockopt::PeerCredentials)?;
    Ok(PeerCred {
        pid: who.pid(),
        uid: who.uid(),
        gid: who.gid(),
    })
}

/// Whether this is a stream socket that listens: what a passed descriptor has to be.
pub fn is_listening(fd: impl AsFd) -> io::Result<bool> {
    Ok(socket::getsockopt(&fd, sockopt::AcceptConn)?)
}

/// The error that a non-blocking connect or an asynchronous failure left behind, if any; it is cleared.
pub fn take_error(fd: impl AsFd) -> io::Result<Option<io::Error>> {
    let code = socket::getsockopt(&fd, sockopt::SocketError)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Sends small writes at once (TCP_NODELAY); a Unix socket always does, and ignores this.
pub fn set_nodelay(fd: impl AsFd, on: bool) -> io::Result<()> {
    match socket::setsockopt(&fd, sockopt::TcpNoDelay, &on) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Receives what is there; 0 is the end, WouldBlock means nothing yet.
pub fn recv(fd: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(socket::recv(
        fd.as_fd().as_raw_fd(),
        buf,
        MsgFlags::MSG_DONTWAIT,
    )?)
}

/// Like [`recv`], but leaves the bytes in the socket.
pub fn peek(fd: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(socket::recv(
        fd.as_fd().as_raw_fd(),
        buf,
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK,
    )?)
}

/// Receives into the spare capacity of `buf` (it never grows) and returns how many bytes were appended. 0 is
/// the end, so there must be spare capacity: InvalidInput otherwise.
pub fn recv_append(fd: impl AsFd, buf: &mut Vec<u8>) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    if spare.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `spare` is that many bytes of live memory, which the kernel only writes.
    let result = unsafe {
        libc::recv(
            fd,
            spare.as_mut_ptr().cast(),
            spare.len(),
            libc::MSG_DONTWAIT,
        )
    };
    let count = usize::try_from(Errno::result(result)?).unwrap_or(0);
    let filled = buf.len() + count;
    // SAFETY: the kernel has written `count` bytes after the old length, within the capacity.
    unsafe { buf.set_len(filled) };
    Ok(count)
}

/// Sends a part or all of `bytes`; WouldBlock when the socket is full.
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(socket::send(fd.as_fd().as_raw_fd(), bytes, SEND)?)
}

/// Like [`send`], telling the kernel that more follows at once, so that TCP fills its packets.
pub fn send_more(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(socket::send(fd.as_fd().as_raw_fd(), bytes, SEND | MORE)?)
}

/// Sends several slices as if they were one.
pub fn writev(fd: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(socket::sendmsg::<()>(
        fd.as_fd().as_raw_fd(),
        slices,
        &[],
        SEND,
        None,
    )?)
}

/// Like [`writev`], telling the kernel that more follows at once.
pub fn writev_more(fd: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SEND | MORE;
    Ok(socket::sendmsg::<()>(
        fd.as_fd().as_raw_fd(),
        slices,
        &[],
        flags,
        None,
    )?)
}

const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);
const SEND: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_DONTWAIT);

/// Ends one or both directions for everybody who shares the socket.
pub fn shutdown(fd: impl AsFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => socket::Shutdown::Read,
        Shutdown::Write => socket::Shutdown::Write,
        Shutdown::Both => socket::Shutdown::Both,
    };
    Ok(socket::shutdown(fd.as_fd().as_raw_fd(), how)?)
}

/// Whether `path` fits into a Unix socket's address.
#[must_use]
pub fn fits_unix_path(path: &Path) -> bool {
    path.as_os_str().len() <= UNIX_PATH_MAX
}

/// The longest path a Unix socket can have, in bytes.
pub const UNIX_PATH_MAX: usize = 107;
