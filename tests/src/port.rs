//! Ports for programs that cannot be asked for the port they got.
//! Not here: our own daemons listen on port 0, or are handed a socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports below the ephemeral range, so that no outgoing connection takes one between our look and the bind.
const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address on which nobody listens. No two calls in one test run give the same one.
#[must_use]
pub fn free() -> SocketAddr {
    // Far from where another run of the tests begins, whose process has the next number.
    let start = process::id().wrapping_mul(1009);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// The same of TCP and of UDP.
#[must_use]
pub fn free_for_both() -> SocketAddr {
    let mut all = std::iter::repeat_with(free);
    all.find(|addr| UdpSocket::bind(addr).is_ok())
        .expect("the line of addresses does not end")
}

/// A listening socket on a port of the kernel's choice, to be handed to a daemon.
#[must_use]
pub fn listening() -> (SocketAddr, OwnedFd) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (listener.local_addr().unwrap(), listener.into())
}

/// A listening Unix socket, to be handed to a daemon.
#[must_use]
pub fn listening_unix(path: &Path) -> OwnedFd {
    UnixListener::bind(path).unwrap().into()
}
