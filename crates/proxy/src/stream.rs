//! One byte stream to a client or an upstream: TCP, Unix, TLS on either, or a stream of HTTP/2.
//!
//! Every operation takes `&self`, so that one task can read and write at once; each returns what the kernel
//! said, and none holds a buffer while it waits. Not here: deadlines (see `deadline`) and framing.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use trine_sys::file::sendfile;
use trine_sys::net;

use crate::conn::subrequest::Inner;
use crate::http2::Http2Stream;
use crate::tls::{Dialled, Tls};

/// A connected socket, registered with the runtime of one core.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Tls>),
    /// TLS that we began, towards an upstream server.
    Dialled(Box<Dialled>),
    Http2(Box<Http2Stream>),
    /// A client that takes everything and never says a word, for requests of the proxy's own: both ends of a pair of
    /// sockets, between which nothing is ever sent.
    Nobody(Box<(UnixStream, UnixStream)>),
    /// A request of the proxy's own, for a client's.
    Inner(Box<Inner>),
}

/// What follows a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing that is known of.
    Any,
    /// More, at once: the kernel may wait with a packet that is not full.
    More,
    /// The end of the connection, at once ([`Stream::shutdown_write`]): it travels with these bytes.
    End,
}

/// What a look at a connection nobody reads from shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// Open, and nothing has come.
    Quiet,
    /// Bytes wait to be read.
    Bytes,
    /// The peer closed its side, or the connection is broken.
    Closed,
}

/// The call on either kind of socket; a TLS session and a stream of HTTP/2 pass it on to the socket beneath.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr, $beneath:ident => $pass:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Nobody(pair) => {
                let $stream = &pair.0;
                $call
            }
            Stream::Inner(inner) => {
                let $beneath = inner.client();
                $pass
            }
            Stream::Tls(tls) => {
                let $beneath = tls.socket();
                $pass
            }
            Stream::Dialled(tls) => {
                let $beneath = tls.socket();
                $pass
            }
            Stream::Http2(stream) => {
                let $beneath = &stream.parent().stream;
                $pass
            }
        }
    };
}

impl Stream {
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) => return tls.poll_readable(cx),
            Self::Dialled(tls) => return tls.poll_readable(cx),
            Self::Http2(stream) => return stream.poll_readable(cx),
            Self::Inner(_) => return Poll::Pending,
            Self::Tcp(_) | Self::Unix(_) | Self::Nobody(_) => {}
        }
        either!(self, stream => stream.poll_read_ready(cx), socket => socket.poll_readable(cx))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx), socket => socket.poll_writable(cx))
    }

    /// Runs `call` if the socket is known to be ready; on `WouldBlock` it is known not to be.
    fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        either!(self, stream => stream.try_io(interest, call), socket => socket.try_io(interest, call))
    }

    /// Reads what is there; 0 is the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(tls) => return tls.poll_read(cx, buf),
            Self::Dialled(tls) => return tls.poll_read(cx, buf),
            Self::Http2(stream) => return stream.poll_read(cx, buf),
            Self::Inner(_) => return Poll::Pending,
            Self::Tcp(_) | Self::Unix(_) | Self::Nobody(_) => {}
        }
        loop {
            ready!(self.poll_readable(cx))?;
            match self.try_io(Interest::READABLE, || net::recv(self, buf)) {
                Ok(count) => {
                    if count > 0 && count < buf.len() {
                        // All was taken: the next byte brings a new event, so no read has to fail first.
                        let _: io::Result<()> = self
                            .try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Looks at what is there and leaves it; 0 is the end. Of the socket itself, whatever is spoken on it.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(
                either!(self, stream => stream.poll_read_ready(cx), socket => return socket.poll_peek(cx, buf))
            )?;
            match self.try_io(Interest::READABLE, || net::peek(self, buf)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes some of `slices`; never returns 0 unless there is nothing to write.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        then: Next,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(tls) => return tls.poll_write(cx, slices, then),
            Self::Dialled(tls) => return tls.poll_write(cx, slices),
            Self::Http2(stream) => return stream.poll_write(cx, slices),
            Self::Inner(inner) => return inner.poll_take(cx, slices),
            Self::Nobody(_) => {
                return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
            }
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        // Nearly always there is room, as the runtime remembers.
        loop {
            let write = || match (slices, then != Next::Any) {
                ([one], false) => net::send(self, one),
                ([one], true) => net::send_more(self, one),
                (_, false) => net::writev(self, slices),
                (_, true) => net::writev_more(self, slices),
            };
            match self.try_io(Interest::WRITABLE, write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_writable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Sends part of a file from `offset`, which moves on; 0 means that the file has ended.
    pub(crate) fn poll_sendfile(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: &mut u64,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(tls) => return tls.poll_sendfile(cx, file, offset, count),
            Self::Http2(stream) => return stream.poll_sendfile(cx, file, offset, count),
            Self::Inner(inner) => return inner.poll_take_file(cx, file, offset, count),
            // Files go to clients only.
            Self::Dialled(_) | Self::Nobody(_) => {
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            }
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        loop {
            ready!(self.poll_writable(cx))?;
            let mut position = i64::try_from(*offset).map_err(io::Error::other)?;
            match self.try_io(Interest::WRITABLE, || {
                sendfile(self, file, &mut position, count)
            }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(sent) => {
                    *offset += sent as u64;
                    return Poll::Ready(Ok(sent));
                }
            }
        }
    }

    /// Looks without reading and without waiting. Costs a system call only if the socket became readable.
    pub(crate) fn glance(&self) -> Glance {
        if let Self::Dialled(tls) = self
            && tls.has_plain()
        {
            return Glance::Bytes;
        }
        let mut byte = [0];
        match self.try_io(Interest::READABLE, || net::peek(self, &mut byte)) {
            Ok(0) => Glance::Closed,
            Ok(_) => Glance::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Glance::Quiet,
            Err(_) => Glance::Closed,
        }
    }

    /// Whether bytes wait right now, by the kernel's word and not the runtime's, which may lag behind.
    pub(crate) fn has_bytes(&self) -> bool {
        if let Self::Tls(tls) = self {
            return tls.has_bytes();
        }
        net::peek(self, &mut [0]).is_ok_and(|count| count > 0)
    }

    /// Tells the peer that nothing more will be sent.
    pub(crate) fn shutdown_write(&self) {
        self.farewell();
        // A connection that is already gone has nothing to be told.
        let _ = net::shutdown(self, std::net::Shutdown::Write);
    }

    /// Says in TLS that the end is meant, so that nobody takes a cut for it. To be called before a clean close.
    pub(crate) fn farewell(&self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self {
            Self::Tls(tls) => tls.close_notify(&mut cx),
            Self::Dialled(tls) => tls.close_notify(&mut cx),
            Self::Tcp(_) | Self::Unix(_) | Self::Http2(_) | Self::Nobody(_) | Self::Inner(_) => {}
        }
    }

    /// The TLS session, if there is one.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Tls(tls) => Some(tls),
            Self::Http2(stream) => stream.parent().stream.tls(),
            Self::Inner(inner) => inner.client().tls(),
            Self::Tcp(_) | Self::Unix(_) | Self::Dialled(_) | Self::Nobody(_) => None,
        }
    }

    /// The stream of HTTP/2, if it is one.
    pub(crate) fn http2(&self) -> Option<&Http2Stream> {
        match self {
            Self::Http2(stream) => Some(stream),
            Self::Tcp(_)
            | Self::Unix(_)
            | Self::Tls(_)
            | Self::Dialled(_)
            | Self::Nobody(_)
            | Self::Inner(_) => None,
        }
    }

    /// All of the answer to one of our own requests was written.
    pub(crate) fn end_part(&self) {
        if let Self::Inner(inner) = self {
            inner.end();
        }
    }

    /// Makes the close that follows a reset, so that a cut answer cannot be taken for a complete one.
    pub(crate) fn reset_when_closed(&self) {
        let socket = self.tls().map_or(self, Tls::socket);
        if let Self::Tcp(stream) = socket {
            // If this fails the connection is already broken.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd(), socket => socket.as_fd())
    }
}
