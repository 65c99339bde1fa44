//! One TLS session towards an upstream server, with the operations of a socket.
//!
//! Not here: deadlines, and whom the session believes (see `dial`).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::session::{Source, flush};
use crate::stream::{Next, Stream};

/// Plain bytes that are encrypted at once: four full records.
const PIECE: usize = 64 * 1024;

/// A session that we began. All of it belongs to one task.
pub(crate) struct Dialled {
    socket: Box<Stream>,
    session: RefCell<ClientConnection>,
    /// Plain bytes that were encrypted and not yet told as written, because the socket was full.
    owed: Cell<usize>,
}

impl Dialled {
    /// # Errors
    /// The configuration does not fit the name.
    pub(crate) fn new(
        socket: Stream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let mut session = ClientConnection::new(config, name)?;
        session.set_buffer_limit(Some(2 * PIECE));
        Ok(Self {
            socket: Box::new(socket),
            session: RefCell::new(session),
            owed: Cell::new(0),
        })
    }

    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// Ready once both sides have agreed.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx))?;
            if !self.session.borrow().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_records(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Decrypted bytes wait, without any being read from the socket.
    pub(crate) fn has_plain(&self) -> bool {
        self.session
            .borrow_mut()
            .process_new_packets()
            .is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Bytes may be there to be read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_plain() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_readable(cx)
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.session.borrow_mut().reader().read(buf) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            // What the session has to say by itself goes out before more is waited for.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if ready!(self.poll_records(cx))? == 0 {
                return Poll::Ready(Ok(0));
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
                let piece = &slice[..slice.len().min(PIECE - taken)];
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

    /// Says that nothing more will come, as far as the socket takes it at once.
    pub(crate) fn close_notify(&self, cx: &mut Context<'_>) {
        self.session.borrow_mut().send_close_notify();
        let _ = self.poll_flush(cx);
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        flush(&mut self.session.borrow_mut(), &self.socket, cx, Next::Any)
    }
}

impl std::fmt::Debug for Dialled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialled")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
