//! One TLS session on a socket, with the operations of a socket.
//!
//! Not here: deadlines; a handshake that never ends is a head that never comes.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ServerConfig, ServerConnection};
use trine_sys::file::pread;

use crate::stream::Stream;

/// Plain bytes that are encrypted at once: four full records.
const PIECE: usize = 64 * 1024;

/// A session. All of it belongs to one task.
pub(crate) struct Tls {
    socket: Box<Stream>,
    session: RefCell<ServerConnection>,
    /// Plain bytes that were encrypted and not yet told as written, because the socket was full.
    owed: Cell<usize>,
    /// What ended the session.
    broken: Cell<bool>,
}

impl Tls {
    pub(crate) fn new(socket: Stream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut session = ServerConnection::new(config)?;
        session.set_buffer_limit(Some(2 * PIECE));
        Ok(Self {
            socket: Box::new(socket),
            session: RefCell::new(session),
            owed: Cell::new(0),
            broken: Cell::new(false),
        })
    }

    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// `TLSv1.3` or `TLSv1.2`, once that is agreed.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        match self.session.borrow().protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// The cipher suite, once that is agreed, by OpenSSL's name: `ECDHE-RSA-AES128-GCM-SHA256`.
    pub(crate) fn cipher(&self) -> Option<String> {
        let suite = self.session.borrow().negotiated_cipher_suite()?.suite();
        let name = suite.as_str()?;
        if let Some(rest) = name.strip_prefix("TLS13_") {
            return Some(format!("TLS_{rest}"));
        }
        let name = name.trim_start_matches("TLS_").replace("_WITH_", "_");
        let name = name
            .replace("AES_", "AES")
            .replace("POLY1305_SHA256", "POLY1305");
        Some(name.replace('_', "-"))
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.session.borrow().alpn_protocol() == Some(b"h2")
    }

    /// The name that the client asked for.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.session.borrow().server_name().map(str::to_owned)
    }

    /// Whether the client has shown a certificate, which was then verified.
    pub(crate) fn has_client_certificate(&self) -> bool {
        self.session
            .borrow()
            .peer_certificates()
            .is_some_and(|chain| !chain.is_empty())
    }

    /// Bytes may be there to be read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self
            .session
            .borrow_mut()
            .process_new_packets()
            .is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
        if waiting {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_readable(cx)
    }

    /// Whether decrypted bytes wait, or the socket has some.
    pub(crate) fn has_bytes(&self) -> bool {
        let plain = self
            .session
            .borrow_mut()
            .process_new_packets()
            .is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
        plain || self.socket.has_bytes()
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            {
                let mut session = self.session.borrow_mut();
                match session.reader().read(buf) {
                    Ok(count) => return Poll::Ready(Ok(count)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            // What the handshake has to say goes out before more is waited for.
            let flushed = self.poll_flush(cx);
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            if ready!(self.poll_records(cx))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Ready once the client has ended its side, or with `false` once it has sent something that waits to be read.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            {
                let mut session = self.session.borrow_mut();
                let state = session.process_new_packets().map_err(io::Error::other)?;
                if state.plaintext_bytes_to_read() > 0 {
                    return Poll::Ready(Ok(false));
                }
                if state.peer_has_closed() {
                    return Poll::Ready(Ok(true));
                }
            }
            if ready!(self.poll_records(cx))? == 0 {
                return Poll::Ready(Ok(true));
            }
        }
    }

    /// Takes records from the socket; 0 at its end.
    fn poll_records(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (count, fault) = {
            let mut session = self.session.borrow_mut();
            let mut source = Source {
                socket: &self.socket,
                cx,
            };
            let count = match session.read_tls(&mut source) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            };
            (count, session.process_new_packets().err())
        };
        if let Some(fault) = fault {
            // The alert is a courtesy: if it cannot be sent at once, it is not.
            let _ = self.poll_flush(cx);
            self.broken.set(true);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
        }
        Poll::Ready(Ok(count))
    }

    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.owed.get() == 0 {
            let mut session = self.session.borrow_mut();
            let mut taken = 0;
            for slice in slices {
                let room = PIECE - taken;
                let piece = &slice[..slice.len().min(room)];
                let count = session.writer().write(piece)?;
                taken += count;
                if count < slice.len() {
                    break;
                }
            }
            self.owed.set(taken);
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(self.owed.take()))
    }

    /// Sends part of a file: read and encrypted, since the kernel cannot.
    pub(crate) fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        if self.owed.get() == 0 {
            let mut piece = vec![0; count.min(PIECE)];
            let filled = pread(file, &mut piece, *offset)?;
            if filled == 0 {
                return Poll::Ready(Ok(0));
            }
            piece.truncate(filled);
            let mut session = self.session.borrow_mut();
            self.owed.set(session.writer().write(&piece)?);
        }
        ready!(self.poll_flush(cx))?;
        let sent = self.owed.take();
        *offset += sent as u64;
        Poll::Ready(Ok(sent))
    }

    /// Says that nothing more will come, as far as the socket takes it at once.
    pub(crate) fn close_notify(&self, cx: &mut Context<'_>) {
        if !self.broken.get() {
            self.session.borrow_mut().send_close_notify();
            let _ = self.poll_flush(cx);
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            let mut sink = Sink {
                socket: &self.socket,
                cx,
            };
            match session.write_tls(&mut sink) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// The socket as rustls reads from it; `WouldBlock` leaves the task's waker behind.
struct Source<'a, 'c, 'w> {
    socket: &'a Stream,
    cx: &'c mut Context<'w>,
}

impl io::Read for Source<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.socket.poll_read(self.cx, buf) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// The socket as rustls writes to it.
struct Sink<'a, 'c, 'w> {
    socket: &'a Stream,
    cx: &'c mut Context<'w>,
}

impl io::Write for Sink<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, slices, false) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
