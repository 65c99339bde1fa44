//! A session's own socket for datagrams to its server.
//!
//! Not here: choosing the server (`dial`).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};
use trine_sys::net;

use crate::config::PeerAddr;

/// Connected, so that only its server is heard, and that the kernel tells when nobody is there (ICMP).
#[derive(Debug)]
pub(super) enum Wire {
    Udp(UdpSocket),
    /// What listens there can be told, but not heard: `/dev/log`.
    Unix(UnixDatagram),
}

impl Wire {
    pub(super) async fn open(addr: &PeerAddr, bind: Option<SocketAddr>) -> io::Result<Self> {
        match addr {
            PeerAddr::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
            PeerAddr::Ip(addr) => udp(*addr, bind).await.map(Self::Udp),
            PeerAddr::Name(name, port) => {
                let mut failed = io::ErrorKind::HostUnreachable.into();
                for addr in tokio::net::lookup_host((name.as_str(), *port)).await? {
                    match udp(addr, bind).await {
                        Ok(socket) => return Ok(Self::Udp(socket)),
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
        }
    }

    /// Waits until something has come, or it is known that nobody takes what was sent.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::ERROR;
        loop {
            let ready = match self {
                Self::Udp(socket) => socket.ready(interest).await?,
                Self::Unix(socket) => socket.ready(interest).await?,
            };
            if ready.is_error() {
                // Without an error there is none any more, and the runtime has to know.
                let look = || self.take_error().and_then(|()| none());
                let seen = match self {
                    Self::Udp(socket) => socket.try_io(Interest::ERROR, look),
                    Self::Unix(socket) => socket.try_io(Interest::ERROR, look),
                };
                match seen {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    seen => return seen,
                }
            }
            if ready.is_readable() || ready.is_read_closed() {
                return Ok(());
            }
        }
    }

    pub(super) fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.try_recv(buf),
            Self::Unix(socket) => socket.try_recv(buf),
        }
    }

    /// Sends one datagram.
    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).await.map(drop),
            Self::Unix(socket) => socket.send(bytes).await.map(drop),
        }
    }

    /// What has become known since: that nobody takes what was sent.
    pub(super) fn take_error(&self) -> io::Result<()> {
        let found = match self {
            Self::Udp(socket) => net::take_error(socket)?,
            Self::Unix(socket) => net::take_error(socket)?,
        };
        found.map_or(Ok(()), Err)
    }
}

fn none() -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

async fn udp(addr: SocketAddr, bind: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let any = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(bind.unwrap_or(any)).await?;
    socket.connect(addr).await?;
    Ok(socket)
}
