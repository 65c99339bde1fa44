//! The client's socket as the `h2` crate reads and writes it, watched on the way.
//!
//! `h2` writes a frame at a time. Frames are collected until the connection's turn is over ([`Outbox::poll_send`]), so that
//! the answers of many streams leave in one write, and in one record of TLS. Not here: deadlines, and what a flood leads
//! to (the parent module).

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Guard;
use crate::conn::Conn;
use crate::stream::Next;

/// As much as one record of TLS holds.
const COLLECT: usize = 16 * 1024;
const READ: usize = 16 * 1024;

/// What is on its way to the socket, and what is known about it, for whoever drives the connection.
#[derive(Debug)]
pub(super) struct Outbox {
    conn: Rc<Conn>,
    /// What the socket has not taken yet, from `sent` on.
    bytes: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    /// Somebody will call `poll_send`.
    collects: Cell<bool>,
    flooded: Cell<bool>,
    /// The last write found the socket full.
    blocked: Cell<bool>,
    written: Cell<u64>,
}

impl Outbox {
    pub(super) fn new(conn: Rc<Conn>) -> Self {
        Self {
            conn,
            bytes: RefCell::default(),
            sent: Cell::new(0),
            collects: Cell::new(false),
            flooded: Cell::new(false),
            blocked: Cell::new(false),
            written: Cell::new(0),
        }
    }

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

    /// From now on the caller sends what was collected, after each turn.
    pub(super) fn collect(&self) {
        self.collects.set(true);
    }

    /// Sends what was collected; ready when the socket has taken all of it.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.bytes.borrow_mut();
        while self.sent.get() < bytes.len() {
            let count = ready!(self.poll_put(cx, &bytes[self.sent.get()..]))?;
            self.sent.set(self.sent.get() + count);
        }
        // An idle connection holds no buffer.
        *bytes = Vec::new();
        self.sent.set(0);
        Poll::Ready(Ok(()))
    }

    fn poll_put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = self
            .conn
            .stream
            .poll_write(cx, &[IoSlice::new(bytes)], Next::Any);
        self.blocked.set(done.is_pending());
        if let Poll::Ready(Ok(count)) = &done {
            self.written.set(self.written.get() + *count as u64);
        }
        done
    }

    /// Takes some bytes; waits for the socket only if there is too much already.
    fn poll_take(&self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        let room = COLLECT - self.bytes.borrow().len();
        if room == 0 || (more.len() > room && more.len() >= COLLECT) {
            ready!(self.poll_send(cx))?;
            if more.len() >= COLLECT {
                return self.poll_put(cx, more);
            }
        }
        let mut bytes = self.bytes.borrow_mut();
        if bytes.capacity() == 0 {
            bytes.reserve_exact(COLLECT);
        }
        let count = more.len().min(COLLECT - bytes.len());
        bytes.extend_from_slice(&more[..count]);
        Poll::Ready(Ok(count))
    }
}

/// The socket.
pub(super) struct Io {
    conn: Rc<Conn>,
    /// What was read before it was known to be HTTP/2.
    early: Vec<u8>,
    guard: RefCell<Guard>,
    outbox: Rc<Outbox>,
}

impl Io {
    pub(super) fn new(conn: Rc<Conn>, early: Vec<u8>, outbox: Rc<Outbox>) -> Self {
        Self {
            conn,
            early,
            guard: RefCell::new(Guard::new()),
            outbox,
        }
    }

    fn look(&self, bytes: &[u8]) {
        if self.guard.borrow_mut().watch(bytes, Instant::now).is_err() {
            self.outbox.flooded.set(true);
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
        if io.outbox.flooded.get() {
            // Nothing more is read; the connection's end is being told.
            return Poll::Pending;
        }
        // `h2` offers far more room than there is to read, and what is offered has to be cleared first.
        ready!(io.conn.stream.poll_readable(cx))?;
        let room = buf.remaining().min(READ);
        let count = ready!(
            io.conn
                .stream
                .poll_read(cx, buf.initialize_unfilled_to(room))
        )?;
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
        self.outbox.poll_take(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.collects.get() {
            return Poll::Ready(Ok(()));
        }
        self.outbox.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outbox.poll_send(cx))?;
        self.conn.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
