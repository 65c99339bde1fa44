//! Copying between a client and its server, until one has said all, or both with `proxy_half_close`.
//!
//! Not here: how one direction is copied (`upstream::tunnel`).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::session::{Session, reason, status, tell};
use super::template::Text;
use crate::config::StreamPass;
use crate::deadline::Place;
use crate::stream::Stream;
use crate::upstream::pool::Link;
use crate::upstream::tunnel::{Broken, Lane};

/// Why it ended.
enum End {
    Client,
    Upstream,
    Idle,
    Broken { client: bool, error: std::io::Error },
}

/// Copies both ways. `first` goes to the server before anything of the client's, `early` is what the client has sent
/// so far.
pub(super) async fn run(
    session: &Session,
    client: &Stream,
    link: &mut Link,
    place: &Place,
    pass: &StreamPass,
    first: &[u8],
    early: &[u8],
) -> Result<u16, u16> {
    let store = &session.engine.store;
    let upstream = link.stream();
    let mut up = Lane::new(store, &[first, early].concat());
    let mut down = Lane::new(store, b"");
    (up.lenient, down.lenient) = (true, true);
    let mut moved = true;
    let base = session.received.get();
    // What went to the server so far: a preamble in front of TLS.
    let before = session.attempts.borrow().last().map_or(0, |one| one.sent);
    let note = |up: &Lane, down: &Lane| {
        session.received.set(base + up.read);
        session.sent.set(down.bytes);
        if let Some(one) = session.attempts.borrow_mut().last_mut() {
            if down.read > 0 {
                one.first_byte.get_or_insert_with(|| one.began.elapsed());
            }
            one.sent = before + up.bytes;
            one.received = down.read;
        }
    };
    let (mut upload, mut download) = (
        Rate::new(session, &pass.upload),
        Rate::new(session, &pass.download),
    );
    let end = poll_fn(|cx| {
        upload.allow(&mut up);
        download.allow(&mut down);
        let sent = up.poll(cx, client, upstream, store, &mut moved);
        let received = down.poll(cx, upstream, client, store, &mut moved);
        if moved {
            note(&up, &down);
        }
        if let Poll::Ready(Err(broken)) = sent {
            return Poll::Ready(match broken {
                Broken::From(error) => End::Broken {
                    client: true,
                    error,
                },
                Broken::To(error) => End::Broken {
                    client: false,
                    error,
                },
            });
        }
        if let Poll::Ready(Err(broken)) = received {
            return Poll::Ready(match broken {
                Broken::From(error) => End::Broken {
                    client: false,
                    error,
                },
                Broken::To(error) => End::Broken {
                    client: true,
                    error,
                },
            });
        }
        match (sent.is_ready(), received.is_ready()) {
            (true, true) => return Poll::Ready(End::Upstream),
            // What is on its way to a side that has said all still goes there.
            (true, false) if !pass.half_close && down.is_empty() => {
                return Poll::Ready(End::Client);
            }
            (false, true) if !pass.half_close && up.is_empty() => {
                return Poll::Ready(End::Upstream);
            }
            _ => {}
        }
        let held = upload.poll(cx, &up) | download.poll(cx, &down);
        if held {
            // It is we who are slow.
            moved = true;
        }
        if std::mem::take(&mut moved) {
            place.set(Some(Instant::now() + pass.idle));
        }
        place.poll(cx).map(|_| End::Idle)
    });
    let end = end.await;
    note(&up, &down);
    match end {
        End::Client => tell!(info, session, "client disconnected"),
        End::Upstream => tell!(info, session, "upstream disconnected"),
        End::Idle => tell!(
            info,
            session,
            "connection timed out (110: Connection timed out) while proxying connection"
        ),
        End::Broken {
            client: true,
            error,
        } => {
            // The server is not to take the cut for the end.
            upstream.reset_when_closed();
            let reason = reason(&error);
            tell!(
                info,
                session,
                "client broke the connection ({reason}) while proxying connection"
            );
        }
        End::Broken {
            client: false,
            error,
        } => {
            client.reset_when_closed();
            let reason = reason(&error);
            tell!(
                error,
                session,
                "recv() failed ({reason}) while proxying connection"
            );
        }
    }
    Ok(status::OK)
}

/// How fast one direction may be.
struct Rate {
    /// Bytes in a second; 0 is no limit.
    bytes: u64,
    began: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rate {
    fn new(session: &Session, text: &Text) -> Self {
        let value = text.value(session);
        let value = String::from_utf8_lossy(&value);
        Self {
            bytes: crate::config::nginx::size(&value).unwrap_or(0),
            began: Instant::now(),
            timer: None,
        }
    }

    /// What may have come by now: a second's worth at once, as in nginx.
    fn allow(&self, lane: &mut Lane) {
        if self.bytes > 0 {
            let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            lane.most = self.bytes.saturating_mul(millis.saturating_add(1000)) / 1000;
        }
    }

    /// Has the task woken when more may come. Whether the lane waits for that.
    fn poll(&mut self, cx: &mut Context<'_>, lane: &Lane) -> bool {
        if !lane.held || self.bytes == 0 {
            self.timer = None;
            return false;
        }
        // A tenth of a second's worth, so that slow ones do not come by bytes.
        let want = lane.read.saturating_add((self.bytes / 10).max(1));
        let millis = want.saturating_mul(1000) / self.bytes + 1;
        let at = self.began + Duration::from_millis(millis.saturating_sub(1000));
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        if timer.as_mut().poll(cx).is_ready() {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
        true
    }
}
