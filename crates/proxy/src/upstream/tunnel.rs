//! Raw copying both ways, after an upstream has switched protocols by 101.
//!
//! Each direction ends by itself (half-close). While nothing moves no buffer is held, so that thousands of idle
//! WebSockets cost little. Not here: deciding whether to switch.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::stream::{Next, Stream};
use crate::workbench::{Input, Store};

/// How a tunnel ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// Both sides have said all they had to say.
    #[error("both sides have closed it")]
    Both,
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Idle,
    #[error("the client broke it: {0}")]
    Client(io::Error),
    #[error("the upstream broke it: {0}")]
    Upstream(io::Error),
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    buffer: Option<Input>,
    /// Bytes that came, and that went out.
    pub(crate) read: u64,
    pub(crate) bytes: u64,
    /// How many bytes may come in all by now; at that the lane waits, and says so.
    pub(crate) most: u64,
    pub(crate) held: bool,
    /// An end of the socket is the end, too, if it comes without TLS's own.
    pub(crate) lenient: bool,
    state: LaneState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Open,
    /// The sender is done; what is left in the buffer still goes out.
    Ended,
    Shut,
}

/// Which side broke.
pub(crate) enum Broken {
    From(io::Error),
    To(io::Error),
}

impl Lane {
    pub(crate) fn new(store: &Store, early: &[u8]) -> Self {
        let buffer = (!early.is_empty()).then(|| {
            let mut buffer = store.bulk();
            buffer.append(early);
            buffer
        });
        Self {
            buffer,
            read: 0,
            bytes: 0,
            most: u64::MAX,
            held: false,
            lenient: false,
            state: LaneState::Open,
        }
    }

    /// Whether nothing waits to go out.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.as_ref().is_none_or(Input::is_empty)
    }

    /// Copies until the end; ready once the other side was told.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        store: &Store,
        moved: &mut bool,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.state == LaneState::Shut {
                return Poll::Ready(Ok(()));
            }
            if let Some(buffer) = &mut self.buffer {
                while !buffer.is_empty() {
                    let sent =
                        ready!(to.poll_write(cx, &[IoSlice::new(buffer.unread())], Next::Any))
                            .map_err(Broken::To)?;
                    buffer.consume(sent);
                    self.bytes += sent as u64;
                    *moved = true;
                }
            }
            if self.state == LaneState::Ended {
                to.shutdown_write();
                self.state = LaneState::Shut;
                self.release(store);
                continue;
            }
            self.held = self.read >= self.most;
            if self.held {
                self.release(store);
                return Poll::Pending;
            }
            match from.poll_readable(cx) {
                Poll::Ready(ready) => ready.map_err(Broken::From)?,
                Poll::Pending => {
                    self.release(store);
                    return Poll::Pending;
                }
            }
            let buffer = self.buffer.get_or_insert_with(|| store.bulk());
            buffer.clear();
            let space = buffer.space();
            let room = usize::try_from(self.most - self.read).unwrap_or(usize::MAX);
            let room = room.min(space.len());
            match from.poll_read(cx, &mut space[..room]) {
                Poll::Ready(Ok(0)) => self.state = LaneState::Ended,
                Poll::Ready(Ok(count)) => {
                    buffer.filled(count);
                    self.read += count as u64;
                }
                // A peer that closes its socket without ending TLS: many do.
                Poll::Ready(Err(error))
                    if self.lenient && error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    self.state = LaneState::Ended;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::From(error))),
                Poll::Pending => {
                    self.release(store);
                    return Poll::Pending;
                }
            }
        }
    }

    fn release(&mut self, store: &Store) {
        if let Some(buffer) = self.buffer.take() {
            store.give_back_bulk(buffer);
        }
    }
}

/// Copies until both directions have ended, one is broken, or nothing moved for `idle`. `early` is what each side
/// sent behind its head. Returns how many bytes the client got.
pub(crate) async fn run(
    conn: &Conn,
    upstream: &Stream,
    early_up: &[u8],
    early_down: &[u8],
    idle: Duration,
) -> (u64, End) {
    let store = &conn.engine.store;
    let mut up = Lane::new(store, early_up);
    let mut down = Lane::new(store, early_down);
    let mut moved = true;
    let end = poll_fn(|cx| {
        let sent = up.poll(cx, &conn.stream, upstream, store, &mut moved);
        if let Poll::Ready(Err(broken)) = sent {
            return Poll::Ready(match broken {
                Broken::From(error) => End::Client(error),
                Broken::To(error) => End::Upstream(error),
            });
        }
        let received = down.poll(cx, upstream, &conn.stream, store, &mut moved);
        if let Poll::Ready(Err(broken)) = received {
            return Poll::Ready(match broken {
                Broken::From(error) => End::Upstream(error),
                Broken::To(error) => End::Client(error),
            });
        }
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(End::Both);
        }
        if std::mem::take(&mut moved) {
            conn.place.set(Some(Instant::now() + idle));
        }
        conn.place.poll(cx).map(|_| End::Idle)
    });
    let end = end.await;
    (down.bytes, end)
}
