//! HTTP/2 to clients: one connection, whose streams are served as if each were a connection with one request.
//!
//! The `h2` crate does frames, header compression, flow control and the order of things. A stream's head is written as
//! an HTTP/1 head and read again by the strict parser (`head`), so that whatever could mean two things to an upstream is
//! refused; from there on the request path is the one of HTTP/1, with a [`Http2Stream`] in the socket's place
//! (`stream`). `io` is the socket as `h2` sees it, `guard` counts what only costs. Not here: what is answered.

mod guard;
mod head;
mod io;
mod stream;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};

use crate::conn::Conn;
use crate::deadline::Call;
use io::{Io, Outbox};
pub(crate) use stream::Http2Stream;

/// What a client that knows that we speak HTTP/2 begins with: all of it that looks like a request's head.
pub(crate) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Content that a connection's streams together may send without being read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Content that one stream holds before the socket has taken it.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client opened and took back before they were looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we had to reset for the client's mistakes (CVE-2025-8671).
const ERROR_RESETS: usize = 100;
/// How long a client may take to hear that it is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a connection that begins with the client's preface; `early` is what was read of it. Boxed by the caller: it
/// is large, and connections of HTTP/1 never need it.
pub(crate) async fn run(conn: Conn, early: Vec<u8>) {
    let rules = conn.http2_rules();
    let conn = Rc::new(conn);
    let outbox = Rc::new(Outbox::new(Rc::clone(&conn)));
    let io = Io::new(Rc::clone(&conn), early, Rc::clone(&outbox));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(rules.streams)
        .initial_window_size(rules.window)
        .initial_connection_window_size(CONNECTION_WINDOW.max(rules.window))
        .max_header_list_size(u32::try_from(conn.head_limits().head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS));
    let at = Instant::now() + conn.timeouts().header;
    let session = match conn.within(Some(at), false, builder.handshake(io)).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            tracing::info!(client = %conn.peer_text, "not HTTP/2 after all: {error}");
            return conn.stream.reset_when_closed();
        }
        Err(_) => return conn.stream.reset_when_closed(),
    };
    let mut driver = Driver {
        conn: Rc::clone(&conn),
        session,
        outbox,
        requests: 0,
        state: State::Open,
        wait: Wait::Nothing,
    };
    conn.place.set_hears(true);
    driver.outbox.collect();
    let end = poll_fn(|cx| driver.poll(cx)).await;
    conn.place.set_idle(false);
    let odd = driver.state == State::Flooded || end.is_err();
    drop(driver);
    match end {
        // What the client still sends must not cut off what it was told.
        Ok(()) if odd => conn.linger().await,
        Ok(()) => {}
        Err(why) => tracing::info!(client = %conn.peer_text, "the HTTP/2 connection ended: {why}"),
    }
}

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client was told to open no more streams; those there are go on.
    Leaving,
    /// The client was told that this is the end.
    Closing,
    /// The same, for sending what only costs.
    Flooded,
}

/// What the connection's deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The streams have deadlines of their own.
    Nothing,
    /// For the next request.
    Request,
    /// For the client to read; so much it has read before.
    Reading(u64),
    /// For the client to hear that it is over.
    Farewell,
}

/// Why a connection ended without a word.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("{0}")]
    Protocol(h2::Error),
    #[error("the client does not read what it is sent")]
    NotReading,
    #[error("the client did not close in time")]
    NotClosing,
}

struct Driver {
    conn: Rc<Conn>,
    session: Connection<Io, Bytes>,
    outbox: Rc<Outbox>,
    requests: u64,
    state: State,
    wait: Wait,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        loop {
            match self.session.poll_accept(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    continue;
                }
                // The client closed the socket, as clients do.
                Poll::Ready(Some(Err(error))) if error.is_io() => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Cut::Protocol(error))),
                Poll::Pending => {}
            }
            if self.turn() {
                continue;
            }
            if let Poll::Ready(Err(_)) = self.outbox.poll_send(cx) {
                // The client is gone.
                return Poll::Ready(Ok(()));
            }
            let wait = self.waits_for();
            if wait != self.wait {
                self.wait = wait;
                self.conn.place.set(self.deadline(wait));
                self.conn.place.set_idle(wait == Wait::Request);
            }
            let Poll::Ready(call) = self.conn.place.poll(cx) else {
                return Poll::Pending;
            };
            match (call, wait) {
                (Call::Leave, _) => {
                    self.conn.place.heard();
                    self.leave();
                }
                (Call::Late, Wait::Request | Wait::Nothing) => {
                    self.session.abrupt_shutdown(Reason::NO_ERROR);
                    self.state = State::Closing;
                }
                (Call::Late, Wait::Reading(_)) => {
                    self.conn.stream.reset_when_closed();
                    return Poll::Ready(Err(Cut::NotReading));
                }
                (Call::Late, Wait::Farewell) => return Poll::Ready(Err(Cut::NotClosing)),
            }
        }
    }

    /// Moves on to the next state, if it is time for it.
    fn turn(&mut self) -> bool {
        if self.outbox.is_flooded() && self.state != State::Flooded {
            tracing::warn!(client = %self.conn.peer_text, "the client floods its HTTP/2 connection with frames that ask for nothing");
            self.session.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.state = State::Flooded;
            return true;
        }
        if self.state == State::Open && !self.conn.is_welcome() {
            self.leave();
            return true;
        }
        false
    }

    /// Tells the client to go elsewhere with what it has not sent yet.
    fn leave(&mut self) {
        if self.state == State::Open {
            self.state = State::Leaving;
            self.session.graceful_shutdown();
        }
    }

    fn waits_for(&self) -> Wait {
        if matches!(self.state, State::Closing | State::Flooded) {
            return Wait::Farewell;
        }
        if self.outbox.is_blocked() {
            return Wait::Reading(self.outbox.written());
        }
        match (self.session.has_streams(), self.state) {
            (true, _) => Wait::Nothing,
            (false, State::Open) => Wait::Request,
            (false, _) => Wait::Farewell,
        }
    }

    fn deadline(&self, wait: Wait) -> Option<Instant> {
        let timeouts = self.conn.timeouts();
        let time = match wait {
            Wait::Nothing => return None,
            Wait::Request => timeouts.keepalive,
            Wait::Reading(_) => timeouts.send,
            Wait::Farewell => FAREWELL,
        };
        Some(Instant::now() + time)
    }

    /// Has a stream served, in a task of its own.
    fn begin(&mut self, request: http::Request<h2::RecvStream>, respond: SendResponse<Bytes>) {
        self.requests += 1;
        if self.conn.is_used_up(self.requests) {
            self.leave();
        }
        let stream = Http2Stream::new(Rc::clone(&self.conn), request, respond);
        let conn = Conn::for_stream(&self.conn, stream, self.requests);
        let parent = Rc::clone(&self.conn);
        self.conn.engine.conns.spawn_local(async move {
            let server = conn.run_stream().await;
            parent.server.set(server.or(parent.server.get()));
        });
    }
}
