//! Datagrams (UDP) on sockets that many clients send to: whom each is from, and which of our addresses it came to.
//!
//! The kernel can tell which of our addresses a datagram was sent to (IP_PKTINFO, `ip(7)`), so that a socket on all of
//! them can answer from there. Not here: waiting.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, sockopt,
};

/// A datagram that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its length; what the buffer was too short for is lost.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it was sent to, after [`tell_destinations`].
    pub to: Option<IpAddr>,
}

/// A socket that takes datagrams (CLOEXEC, non-blocking). `reuse_port` lets several share the address.
///
/// # Errors
/// What the kernel refuses.
pub fn bind_udp(addr: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(family, SockType::Datagram, flags, None)?;
    if reuse_port {
        socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
    Ok(fd)
}

/// Asks the kernel to tell with each datagram which of our addresses it was sent to.
///
/// # Errors
/// What the kernel refuses.
pub fn tell_destinations(fd: impl AsFd, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        socket::setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        socket::setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    Ok(())
}

/// Whether this is a socket for datagrams.
///
/// # Errors
/// It is no socket.
pub fn is_datagram(fd: impl AsFd) -> io::Result<bool> {
    Ok(socket::getsockopt(&fd, sockopt::SockType)? == SockType::Datagram)
}

/// Takes one datagram.
///
/// # Errors
/// WouldBlock when there is none; InvalidData for one whose sender has no IP address.
pub fn recv_datagram(fd: impl AsFd, buf: &mut [u8]) -> io::Result<Arrived> {
    const SPACE: usize =
        socket::cmsg_space::<libc::in6_pktinfo>() + socket::cmsg_space::<libc::in_pktinfo>();
    let mut space = [0; SPACE];
    let mut slices = [IoSliceMut::new(buf)];
    let message = socket::recvmsg::<SockaddrStorage>(
        fd.as_fd().as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let mut to = None;
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                to = Some(IpAddr::from(info.ipi6_addr.s6_addr));
            }
            _ => {}
        }
    }
    let from = message.address.as_ref().and_then(ip).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the sender has no IP address")
    })?;
    let len = message.bytes;
    Ok(Arrived { len, from, to })
}

fn ip(addr: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = addr.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = addr.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}

/// Sends one datagram, from the address of ours that the kernel chooses or from `from`.
///
/// # Errors
/// WouldBlock when there is no room; what the kernel refuses.
pub fn send_datagram(
    fd: impl AsFd,
    bytes: &[u8],
    to: SocketAddr,
    from: Option<IpAddr>,
) -> io::Result<()> {
    let (v4, v6);
    let control = match from {
        None => None,
        Some(IpAddr::V4(from)) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(from.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(IpAddr::V6(from)) => {
            // A link's own addresses mean something on that link only.
            let ipi6_ifindex = match to {
                SocketAddr::V6(to) => to.scope_id(),
                SocketAddr::V4(_) => 0,
            };
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: from.octets(),
                },
                ipi6_ifindex,
            };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
    };
    socket::sendmsg(
        fd.as_fd().as_raw_fd(),
        &[IoSlice::new(bytes)],
        control.as_slice(),
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        Some(&SockaddrStorage::from(to)),
    )?;
    Ok(())
}
