//! The NOTIFY_SOCKET protocol of `sd_notify(3)`, both sides: telling a service manager, and being one.
//!
//! Not here: when a daemon is ready, or what the supervisor does about it.

mod message;
mod notifier;
mod receiver;

pub use message::NotifyMessage;
pub use notifier::Notifier;
pub use receiver::NotifyReceiver;

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;

/// An address as NOTIFY_SOCKET writes it: `/path`, or `@name` in the abstract namespace (`unix(7)`).
fn socket_addr(address: &str) -> io::Result<SocketAddr> {
    match address.as_bytes().first() {
        Some(b'@') => SocketAddr::from_abstract_name(&address.as_bytes()[1..]),
        Some(b'/') => SocketAddr::from_pathname(address),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither /path nor @name",
        )),
    }
}

#[cfg(test)]
mod tests;
