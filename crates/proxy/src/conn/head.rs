//! Reads the head of a request, or finds out why there is none.
//!
//! Not here: what it says (`trine-http1`), and what becomes of the connection without one (the parent module).

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use trine_http1::{Policy, RequestError};

use super::Conn;
use crate::http2;
use crate::tls::Tls;
use crate::workbench::Workbench;

/// Why there is no request.
pub(super) enum NoHead {
    /// Nothing has come.
    Nothing,
    /// The client closed, is silent, or the daemon drains.
    Quiet,
    Late,
    Bad(RequestError),
    Http2,
}

impl Conn {
    /// Reads until a head is complete; what follows it is left unread.
    pub(super) async fn read_head(&self, bench: &mut Workbench) -> Result<(), NoHead> {
        let timeout = self.timeout(|timeouts| timeouts.header);
        let limits = self.head_limits();
        let policy = Policy {
            // Theirs are written by us.
            permit_unconventional_http_version: self.stream.http2().is_some(),
            drop_odd_header_names: self.drops_odd_names(),
            ..Policy::default()
        };
        let Workbench { input, head, .. } = bench;
        let mut armed = false;
        poll_fn(|cx| {
            loop {
                if !input.is_empty() {
                    match head.parse(input.unread(), &limits, &policy) {
                        Ok(Some(length)) => {
                            input.consume(length);
                            return Poll::Ready(Ok(()));
                        }
                        Ok(None) => {}
                        Err(_)
                            if input.unread().starts_with(http2::PREFACE_HEAD)
                                && self.may_speak_http2() =>
                        {
                            return Poll::Ready(Err(NoHead::Http2));
                        }
                        Err(error) => return Poll::Ready(Err(NoHead::Bad(error))),
                    }
                }
                if !input.make_room(limits.head + 1024) {
                    // Cannot be: the parser refuses a head before it is that long.
                    return Poll::Ready(Err(NoHead::Quiet));
                }
                match self.stream.poll_read(cx, input.space()) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Quiet)),
                    Poll::Ready(Ok(count)) => input.filled(count),
                    Poll::Pending if input.is_empty() => {
                        return Poll::Ready(Err(NoHead::Nothing));
                    }
                    Poll::Pending => break,
                }
            }
            if !armed {
                armed = true;
                self.place.set(Some(Instant::now() + timeout));
            }
            self.place.poll(cx).map(|_| Err(NoHead::Late))
        })
        .await
    }

    /// Whether a client that begins as one of HTTP/2 does may be one.
    fn may_speak_http2(&self) -> bool {
        let begins = self.requests.get() == 0 && self.stream.http2().is_none();
        let allowed = match self.stream.tls() {
            Some(_) => self.has_agreed_on_http2(),
            None => self.http2_rules().on,
        };
        begins && allowed
    }

    pub(super) fn has_agreed_on_http2(&self) -> bool {
        self.stream.tls().is_some_and(Tls::speaks_http2)
    }
}
