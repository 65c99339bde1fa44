//! The manager's side: a datagram socket whose senders the kernel names.
//!
//! Not here: which sender may speak for which program.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use trine_sys::{fdpass, net};

use super::{NotifyMessage, socket_addr};
use crate::Error;

/// The longest message; systemd's limit too. A longer one is dropped whole.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// A socket to put into children's NOTIFY_SOCKET. Every message comes with its sender's pid
/// (SO_PASSCRED, `unix(7)`). File descriptors that a sender attaches (FDSTORE, BARRIER) are closed.
///
/// The file of a path socket is not removed on drop: in trine-supervisor the holder owns it.
#[derive(Debug)]
pub struct NotifyReceiver {
    socket: OwnedFd,
}

impl NotifyReceiver {
    /// Binds `address`: `/path` (its file gets `mode`) or `@name` (abstract: mode does not matter).
    /// A socket left by a dead manager is replaced; one that a living process reads is not.
    ///
    /// # Errors
    /// [`Error::Notify`] naming the address.
    pub fn bind(address: &str, mode: u32) -> Result<Self, Error> {
        let bound = socket_addr(address).and_then(|addr| match addr.as_pathname() {
            Some(path) if is_served(path) => Err(io::ErrorKind::AddrInUse.into()),
            Some(path) => net::bind_datagram(path, mode),
            None => UnixDatagram::bind_addr(&addr).map(OwnedFd::from),
        });
        bound
            .and_then(Self::from_fd)
            .map_err(|source| Error::Notify {
                address: address.to_owned(),
                source,
            })
    }

    /// Takes over a datagram socket that somebody else bound (the holder hands its own to a new brain).
    ///
    /// # Errors
    /// When it is no socket.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        fdpass::set_passcred(&socket)?;
        fdpass::set_nonblocking(&socket, true)?;
        Ok(Self { socket })
    }

    /// All messages that wait. Never blocks; empty when there are none. Messages that are too long, or
    /// without credentials, are left out.
    ///
    /// # Errors
    /// When the socket itself fails; messages taken before that are lost with it.
    pub fn receive(&self) -> io::Result<Vec<NotifyMessage>> {
        let mut messages = Vec::new();
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        loop {
            match fdpass::recv_message(&self.socket, &mut buffer) {
                Ok(got) => {
                    let sender = got.sender.filter(|_| !got.truncated);
                    let parsed = sender
                        .map(|who| NotifyMessage::parse(who.pid, who.uid, &buffer[..got.len]));
                    messages.extend(parsed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(messages),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a process still has the datagram socket at `path` open (`connect(2)`: ECONNREFUSED if none).
fn is_served(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let asked = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    is_socket && !asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl AsFd for NotifyReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NotifyReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<NotifyReceiver> for OwnedFd {
    fn from(receiver: NotifyReceiver) -> Self {
        receiver.socket
    }
}
