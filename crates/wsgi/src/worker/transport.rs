//! The bytes of a client's connection: as they come, or under TLS. Non-blocking either way.
//!
//! What is written under TLS counts as written once it is with the kernel; a caller that is told to wait gives the same
//! bytes again, as it does with a full socket.
//! Not here: certificates (`tls`), waiting, and what the bytes mean.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{ServerConfig, ServerConnection};
use trine_sys::{file, net};

/// So much is encrypted at once.
const STEP: usize = 64 * 1024;
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// One connection's socket, with its TLS session if it has one.
#[derive(Debug)]
pub struct Transport {
    fd: OwnedFd,
    tls: Option<Box<Mutex<Session>>>,
}

#[derive(Debug)]
struct Session {
    tls: ServerConnection,
    /// Bytes of the caller's that are encrypted and not all with the kernel.
    owed: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was received.
    New,
    Tls,
    /// The peer does not speak TLS; what is said to it goes out as it is.
    Plain,
}

impl Transport {
    #[must_use]
    pub fn plain(fd: OwnedFd) -> Self {
        Self { fd, tls: None }
    }

    /// The server's side of TLS on a new connection.
    pub fn tls(fd: OwnedFd, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        // `owed` bounds what is kept.
        tls.set_buffer_limit(None);
        let session = Session {
            tls,
            owed: 0,
            state: State::New,
        };
        Ok(Self {
            fd,
            tls: Some(Box::new(Mutex::new(session))),
        })
    }

    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The peer speaks something else where TLS was expected.
    #[must_use]
    pub fn lacks_tls(&self) -> bool {
        self.session()
            .is_some_and(|session| session.state == State::Plain)
    }

    /// A second descriptor of the socket, for a connection without TLS.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        if self.is_tls() {
            return Err(io::Error::other(
                "it is under TLS; let a proxy in front do that",
            ));
        }
        self.fd.try_clone()
    }

    fn session(&self) -> Option<MutexGuard<'_, Session>> {
        let session = self.tls.as_ref()?;
        // Nobody panics while holding it.
        Some(session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Receives into the spare capacity of `buf`; 0 is the end, WouldBlock means nothing yet.
    pub fn recv_append(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        match self.session() {
            None => net::recv_append(&self.fd, buf),
            Some(mut session) => session.recv_append(&self.fd, buf),
        }
    }

    /// Sends a part or all of `bytes`; WouldBlock when the socket is full. `more`: something follows at once.
    pub fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        match self.session() {
            None if more => net::send_more(&self.fd, bytes),
            None => net::send(&self.fd, bytes),
            Some(mut session) => session.send(&self.fd, &[bytes]),
        }
    }

    /// Sends several slices as if they were one.
    pub fn writev(&self, slices: [&[u8]; 3]) -> io::Result<usize> {
        match self.session() {
            None => net::writev(&self.fd, &slices.map(IoSlice::new)),
            Some(mut session) => session.send(&self.fd, &slices),
        }
    }

    /// Sends a part of a file, and moves `offset` on.
    pub fn sendfile(&self, from: &OwnedFd, offset: &mut i64, count: usize) -> io::Result<usize> {
        let Some(mut session) = self.session() else {
            return file::sendfile(&self.fd, from, offset, count);
        };
        let mut part = vec![0; count.min(STEP)];
        let at = u64::try_from(*offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let read = file::pread(from, &mut part, at)?;
        if read == 0 {
            return Ok(0);
        }
        let sent = session.send(&self.fd, &[part.get(..read).unwrap_or_default()])?;
        *offset += sent as i64;
        Ok(sent)
    }

    /// Something encrypted waits for room in the socket.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.session()
            .is_some_and(|session| session.tls.wants_write())
    }

    /// Sends what waits encrypted.
    pub fn flush(&self) -> io::Result<()> {
        match self.session() {
            None => Ok(()),
            Some(mut session) => session.flush(&self.fd),
        }
    }

    /// Sends TLS's word for the end, close_notify (RFC 8446, 6.1); WouldBlock while the socket has no room for it.
    pub fn farewell(&self) -> io::Result<()> {
        match self.session() {
            Some(mut session) if session.state == State::Tls => {
                session.tls.send_close_notify();
                session.flush(&self.fd)
            }
            _ => Ok(()),
        }
    }

    /// Says that nothing more comes from us.
    pub fn end(&self) -> io::Result<()> {
        net::shutdown(&self.fd, Shutdown::Write)
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Session {
    fn recv_append(&mut self, fd: &OwnedFd, buf: &mut Vec<u8>) -> io::Result<usize> {
        if self.state == State::New {
            let mut first = [0];
            if net::peek(fd, &mut first)? == 0 {
                return Ok(0);
            }
            self.state = if first == [HANDSHAKE] {
                State::Tls
            } else {
                State::Plain
            };
        }
        if self.state == State::Plain {
            return net::recv_append(fd, buf);
        }
        let (start, room) = (buf.len(), buf.capacity() - buf.len());
        if room == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            buf.resize(start + room, 0);
            let read = self
                .tls
                .reader()
                .read(buf.get_mut(start..).unwrap_or_default());
            buf.truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(count) => return Ok(count),
                // The end without a word of farewell: gunicorn's suppress_ragged_eofs.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
            self.tls.read_tls(&mut Wire(fd))?;
            let processed = self.tls.process_new_packets();
            // Handshakes and alerts; what does not go out now goes with the next readiness.
            let _ = self.flush(fd);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    fn send(&mut self, fd: &OwnedFd, slices: &[&[u8]]) -> io::Result<usize> {
        if self.state != State::Tls {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return net::send(fd, first.copied().unwrap_or_default());
        }
        if self.owed == 0 {
            let mut room = STEP;
            for slice in slices {
                let part = slice.get(..room.min(slice.len())).unwrap_or_default();
                self.tls.writer().write_all(part)?;
                room -= part.len();
            }
            self.owed = STEP - room;
        }
        self.flush(fd)?;
        Ok(std::mem::take(&mut self.owed))
    }

    fn flush(&mut self, fd: &OwnedFd) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Wire(fd))?;
        }
        Ok(())
    }
}

/// The socket as rustls wants it.
struct Wire<'a>(&'a OwnedFd);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        net::recv(self.0, buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        net::send(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
