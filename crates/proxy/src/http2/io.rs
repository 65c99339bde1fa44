//! The client's socket as the `h2` crate reads and writes it, watched on the way.
//!
//! Not here: deadlines, and what a flood leads to (the parent module).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guard;
use crate::conn::Conn;

/// What is known about the socket, for whoever drives the connection.
#[derive(Debug, Default)]
pub(super) struct Watch {
    flooded: Cell<bool>,
    /// The last write found the socket full.
    blocked: Cell<bool>,
    written: Cell<u64>,
}

impl Watch {
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Bytes that the socket took so far.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }
}

/// The socket.
pub(super) struct Io {
    conn: Rc<Conn>,
    /// What was read before it was known to be HTTP/2.
    early: Vec<u8>,
    guard: RefCell<Guard>,
    watch: Rc<Watch>,
}

impl Io {
    pub(super) fn new(conn: Rc<Conn>, early: Vec<u8>, watch: Rc<Watch>) -> Self {
        Self {
            conn,
            early,
            guard: RefCell::new(Guard::new()),
            watch,
        }
    }

    fn look(&self, bytes: &[u8]) {
        if self.guard.borrow_mut().watch(bytes, Instant::now).is_err() {
            self.watch.flooded.set(true);
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        if !io.early.is_empty() {
            let count = io.early.len().min(buf.remaining());
            buf.put_slice(&io.early[..count]);
            io.look(&io.early[..count]);
            io.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if io.watch.flooded.get() {
            // Nothing more is read; the connection's end is being told.
            return Poll::Pending;
        }
        let count = std::task::ready!(io.conn.stream.poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(count);
        let filled = buf.filled();
        io.look(&filled[filled.len() - count..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = self.conn.stream.poll_write(cx, slices, false);
        self.watch.blocked.set(done.is_pending());
        if let Poll::Ready(Ok(count)) = &done {
            let written = &self.watch.written;
            written.set(written.get() + *count as u64);
        }
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.stream.tls().is_none()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken was handed to the kernel.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conn.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
