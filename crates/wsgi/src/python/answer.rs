//! The answer being made, as the application's blocks and callables feed it.
//!
//! Not here: where it goes (`Sink`), what frames it (`worker::reply`), who iterates (`blocks`).

use std::io;
use std::os::fd::OwnedFd;

use pyo3::{PyErr, ffi};
use trine_http1::{BodyLength, Version};

use crate::worker::body::Body;
use crate::worker::reply::Reply;

/// The client has closed the connection, or took too long to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A body that did not come.
#[derive(Debug, Clone)]
pub struct NoBody {
    pub status: u16,
    pub text: String,
}

/// Where an answer goes.
pub trait Sink {
    /// Bytes that go out with the next push, or when the call is over.
    fn out(&mut self) -> &mut Vec<u8>;
    /// Sends `out`, then `data`, then `tail`. With `wait`, everything is on its way when this returns, so that the
    /// application may go on; otherwise what the client does not take at once is kept.
    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone>;
    /// Sends `out`, then a part of a file; nothing may follow.
    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone>;
    /// Waits for the whole body of the request, which was left with the client until now.
    fn body(&mut self, length: BodyLength) -> Result<Body, NoBody>;
    /// A descriptor of the connection for the application to use by itself.
    fn socket(&mut self) -> io::Result<OwnedFd>;
    fn date(&mut self) -> [u8; 29];
    /// Whether an answer that is complete should go out before the application cleans up.
    fn eager(&self) -> bool;
}

/// What ended an answer early.
#[derive(Debug)]
pub(super) enum CallError {
    Gone,
    /// A block came before `start_response` was called.
    NoHead,
    Raised(PyErr),
}

impl From<PyErr> for CallError {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Gone> for CallError {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Blocks up to this size are gathered into one send; larger ones are sent from where they lie.
const GATHER_BYTES: usize = 16 * 1024;
/// What is left of a larger block is not copied; the application waits for the client instead.
const KEEP_BYTES: usize = 16 * 1024 * 1024;

/// What may follow a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The application goes on at once: `write()`.
    Now,
    /// The next block is asked for: an iterator. Small blocks are flushed by the caller.
    Next,
    /// Nothing of the application: all blocks are there already.
    Whole,
}

/// The request being answered, as the callables see it.
pub(super) struct Active<'a> {
    pub(super) reply: &'a mut Reply,
    pub(super) sink: &'a mut dyn Sink,
    /// The thread that may answer it.
    pub(super) thread: *mut ffi::PyThreadState,
    pub(super) write: *mut ffi::PyObject,
    /// Real files are sent by the kernel.
    pub(super) sendfile: bool,
    /// The connection may be used again, once the body has been read.
    pub(super) may_keep: bool,
    /// The body that was waited for did not come: what to answer.
    pub(super) no_body: Option<u16>,
    /// The application has asked for the socket.
    pub(super) has_socket: bool,
}

impl Active<'_> {
    /// Sends one block, after the head if that is not out yet. `total` is the body's length when it is known.
    pub(super) fn send_block(
        &mut self,
        data: &[u8],
        total: Option<u64>,
        pace: Pace,
    ) -> Result<(), CallError> {
        if data.is_empty() {
            return Ok(());
        }
        self.start(total)?;
        let allowed = self.reply.block(self.sink.out(), data.len());
        let data = data.get(..allowed).unwrap_or_default();
        let tail = if allowed > 0 {
            self.reply.block_end()
        } else {
            b""
        };
        if data.len() > GATHER_BYTES {
            let wait = match pace {
                Pace::Now => true,
                Pace::Next => !self.reply.is_complete(),
                Pace::Whole => data.len() > KEEP_BYTES,
            };
            return Ok(self.sink.push(data, tail, wait)?);
        }
        let out = self.sink.out();
        out.extend_from_slice(data);
        out.extend_from_slice(tail);
        if pace == Pace::Now || out.len() > 4 * GATHER_BYTES {
            self.sink.push(b"", b"", pace != Pace::Whole)?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self, total: Option<u64>) -> Result<(), CallError> {
        if self.reply.started() {
            return Ok(());
        }
        if !self.reply.has_head() {
            return Err(CallError::NoHead);
        }
        let date = self.sink.date();
        self.reply.start(self.sink.out(), total, &date);
        Ok(())
    }

    pub(super) fn send_hints(&mut self, fields: &[u8]) -> Result<(), Gone> {
        let demand = self.reply.demand();
        if self.reply.started() || demand.version != Version::Http11 || demand.wire.is_some() {
            return Ok(());
        }
        let out = self.sink.out();
        out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        out.extend_from_slice(fields);
        out.extend_from_slice(b"\r\n");
        self.sink.push(b"", b"", true)
    }
}
