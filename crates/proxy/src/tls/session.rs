//! One TLS session on a socket, with the operations of a socket.
//!
//! Not here: deadlines; a handshake that never ends is a head that never comes.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::{AcceptedAlert, Acceptor};
use rustls::{ConnectionCommon, HandshakeKind, ServerConnection};
use trine_sys::file::pread;

use super::clients::Verdict;
use super::server::{Chosen, TlsDoor, openssl_name};
use super::x509::{self, Shown};

use crate::stream::{Next, Stream};

/// Plain bytes that are encrypted at once: four full records.
const PIECE: usize = 64 * 1024;

/// The alert of a server that does not want to be known by the name: fatal, 112 (RFC 6066 section 3).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A session. All of it belongs to one task.
pub(crate) struct Tls {
    socket: Box<Stream>,
    door: Arc<TlsDoor>,
    /// Until the client has said whom it wants.
    hello: RefCell<Option<Box<Acceptor>>>,
    session: RefCell<Option<ServerConnection>>,
    chosen: OnceCell<Arc<Chosen>>,
    verdict: OnceCell<Verdict>,
    /// Plain bytes that were encrypted and not yet told as written, because the socket was full.
    owed: Cell<usize>,
    /// The client has said something, and it was not HTTP without TLS.
    is_begun: Cell<bool>,
    is_plain: Cell<bool>,
    /// What ended the session.
    broken: Cell<bool>,
}

impl Tls {
    pub(crate) fn new(socket: Stream, door: Arc<TlsDoor>) -> Self {
        Self {
            socket: Box::new(socket),
            door,
            hello: RefCell::new(Some(Box::default())),
            session: RefCell::new(None),
            chosen: OnceCell::new(),
            verdict: OnceCell::new(),
            owed: Cell::new(0),
            is_begun: Cell::new(false),
            is_plain: Cell::new(false),
            broken: Cell::new(false),
        }
    }

    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// The socket, if its client was found not to speak TLS but, as it seems, HTTP. Nothing was read from it then.
    pub(crate) fn plain(self: Box<Self>) -> Result<Stream, Box<Self>> {
        if self.is_plain.get() {
            Ok(*self.socket)
        } else {
            Err(self)
        }
    }

    /// Whether there is a session.
    pub(crate) fn has_begun(&self) -> bool {
        self.session.borrow().is_some()
    }

    /// Something about the session, once there is one.
    fn ask<T>(&self, what: impl FnOnce(&ServerConnection) -> Option<T>) -> Option<T> {
        self.session.borrow().as_ref().and_then(what)
    }

    /// `TLSv1.3` or `TLSv1.2`, once that is agreed.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        match self.ask(|session| session.protocol_version())? {
            rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// The cipher suite, once that is agreed, by OpenSSL's name: `ECDHE-RSA-AES128-GCM-SHA256`.
    pub(crate) fn cipher(&self) -> Option<String> {
        let suite = self.ask(|session| session.negotiated_cipher_suite())?;
        suite.suite().as_str().map(openssl_name)
    }

    /// The group of the key exchange, by OpenSSL's name.
    pub(crate) fn curve(&self) -> Option<String> {
        let group = self.ask(|session| session.negotiated_key_exchange_group())?;
        Some(match group.name() {
            rustls::NamedGroup::X25519 => "X25519".to_owned(),
            rustls::NamedGroup::secp256r1 => "prime256v1".to_owned(),
            other => format!("{other:?}"),
        })
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.ask(|session| session.alpn_protocol().map(|name| name == b"h2")) == Some(true)
    }

    /// What was agreed on by ALPN.
    pub(crate) fn application(&self) -> Option<String> {
        self.ask(|session| {
            let name = session.alpn_protocol()?;
            Some(String::from_utf8_lossy(name).into_owned())
        })
    }

    /// Whether the session is one of before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.ask(|session| session.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The name that the client asked for.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.ask(|session| session.server_name().map(str::to_owned))
    }

    /// What is thought of the client's certificate.
    pub(crate) fn verdict(&self) -> &Verdict {
        self.verdict.get_or_init(|| {
            let judge = self.chosen.get().and_then(|chosen| chosen.judge.as_ref());
            let session = self.session.borrow();
            let chain = session
                .as_ref()
                .and_then(|session| session.peer_certificates());
            judge.map_or(Verdict::Nothing, |judge| judge.judge(chain))
        })
    }

    /// What the client's certificate says.
    pub(crate) fn shown(&self, what: Shown) -> Option<String> {
        self.ask(|session| x509::show(session.peer_certificates()?.first()?, what))
    }

    /// Whether decrypted bytes wait.
    fn has_plain(&self) -> bool {
        let mut session = self.session.borrow_mut();
        session.as_mut().is_some_and(|session| {
            session
                .process_new_packets()
                .is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
        })
    }

    /// Bytes may be there to be read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_plain() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_readable(cx)
    }

    /// Whether decrypted bytes wait, or the socket has some.
    pub(crate) fn has_bytes(&self) -> bool {
        self.has_plain() || self.socket.has_bytes()
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(session) = &mut *self.session.borrow_mut() {
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

    /// Ready once both sides have agreed.
    pub(crate) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx))?;
            if self.ask(|session| Some(session.is_handshaking())) == Some(false) {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_records(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Ready once the client has ended its side, or with `false` once it has sent something that waits to be read.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if let Some(session) = &mut *self.session.borrow_mut() {
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
        if self.hello.borrow().is_some() {
            return self.poll_hello(cx);
        }
        let (count, fault) = {
            let mut session = self.session.borrow_mut();
            let Some(session) = &mut *session else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
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

    /// Reads until the client has said whom it wants, and begins the session; 0 at the socket's end.
    fn poll_hello(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut hello = self.hello.borrow_mut();
        let Some(acceptor) = hello.as_mut() else {
            return Poll::Ready(Ok(1));
        };
        if !self.is_begun.get() {
            let mut first = [0];
            ready!(self.socket.poll_peek(cx, &mut first))?;
            if first[0].is_ascii_uppercase() {
                self.is_plain.set(true);
                self.broken.set(true);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            self.is_begun.set(true);
        }
        let accepted = loop {
            let mut source = Source {
                socket: &self.socket,
                cx,
            };
            match acceptor.read_tls(&mut source) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                Err((fault, alert)) => return Poll::Ready(Err(self.refuse(cx, fault, alert))),
            }
        };
        let chosen = self.door.choose(accepted.client_hello().server_name());
        let Some(config) = &chosen.config else {
            self.broken.set(true);
            // A courtesy, as every alert.
            let _ = Sink {
                socket: &self.socket,
                cx,
                then: Next::Any,
            }
            .write(UNRECOGNIZED_NAME);
            let refused = io::Error::other("the server of this name refuses handshakes");
            return Poll::Ready(Err(refused));
        };
        match accepted.into_connection(Arc::clone(config)) {
            Ok(mut session) => {
                session.set_buffer_limit(Some(2 * PIECE));
                let _ = self.chosen.set(Arc::clone(chosen));
                *self.session.borrow_mut() = Some(session);
                *hello = None;
                Poll::Ready(Ok(1))
            }
            Err((fault, alert)) => Poll::Ready(Err(self.refuse(cx, fault, alert))),
        }
    }

    /// Sends the alert, as far as the socket takes it at once.
    fn refuse(
        &self,
        cx: &mut Context<'_>,
        fault: rustls::Error,
        mut alert: AcceptedAlert,
    ) -> io::Error {
        self.broken.set(true);
        let _ = alert.write(&mut Sink {
            socket: &self.socket,
            cx,
            then: Next::Any,
        });
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }

    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        then: Next,
    ) -> Poll<io::Result<usize>> {
        if self.owed.get() == 0 {
            let mut session = self.session.borrow_mut();
            let Some(session) = &mut *session else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let (mut taken, mut is_all) = (0, true);
            for slice in slices {
                let room = PIECE - taken;
                let piece = &slice[..slice.len().min(room)];
                let count = session.writer().write(piece)?;
                taken += count;
                is_all = count == slice.len();
                if !is_all {
                    break;
                }
            }
            if is_all && then == Next::End {
                session.send_close_notify();
            }
            self.owed.set(taken);
        }
        ready!(self.poll_flush_then(cx, then))?;
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
            let Some(session) = &mut *session else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
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
            if let Some(session) = &mut *self.session.borrow_mut() {
                session.send_close_notify();
            }
            let _ = self.poll_flush(cx);
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_then(cx, Next::Any)
    }

    fn poll_flush_then(&self, cx: &mut Context<'_>, then: Next) -> Poll<io::Result<()>> {
        let mut session = self.session.borrow_mut();
        let Some(session) = &mut *session else {
            return Poll::Ready(Ok(()));
        };
        flush(session, &self.socket, cx, then)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Sends what a session has encrypted, as far as the socket takes it.
pub(super) fn flush<S>(
    session: &mut ConnectionCommon<S>,
    socket: &Stream,
    cx: &mut Context<'_>,
    then: Next,
) -> Poll<io::Result<()>> {
    while session.wants_write() {
        match session.write_tls(&mut Sink { socket, cx, then }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// The socket as rustls reads from it; `WouldBlock` leaves the task's waker behind.
pub(super) struct Source<'a, 'c, 'w> {
    pub(super) socket: &'a Stream,
    pub(super) cx: &'c mut Context<'w>,
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
pub(super) struct Sink<'a, 'c, 'w> {
    pub(super) socket: &'a Stream,
    pub(super) cx: &'c mut Context<'w>,
    pub(super) then: Next,
}

impl io::Write for Sink<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, slices, self.then) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
