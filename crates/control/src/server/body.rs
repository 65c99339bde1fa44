//! The body of an answer: all at once, or pulled piece by piece as the client reads.
//!
//! Not here: tasks. A body is driven by its connection and ends with it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of a [`super::Response`].
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Pulled(Pull),
}

type Pull = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Send>;

impl Body {
    /// All at once.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(bytes.into())))
    }

    /// Piece by piece: `step` takes the state and gives the next piece with the state after it, or `None`
    /// at the end. It runs only while the client reads, and is dropped when the client goes away.
    #[must_use]
    pub fn pulled<S, F, T>(state: S, mut step: F) -> Self
    where
        S: Send + 'static,
        F: FnMut(S) -> T + Send + 'static,
        T: Future<Output = Option<(Bytes, S)>> + Send + 'static,
    {
        let mut running = Some(Box::pin(step(state)));
        Self(Kind::Pulled(Box::new(move |context| {
            let Some(future) = &mut running else {
                return Poll::Ready(None);
            };
            let next = std::task::ready!(future.as_mut().poll(context));
            Poll::Ready(if let Some((piece, state)) = next {
                running = Some(Box::pin(step(state)));
                Some(piece)
            } else {
                running = None;
                None
            })
        })))
    }

    /// Pieces from a channel; ends when all senders are gone. A send fails once the client has gone away.
    #[must_use]
    pub fn channel(capacity: usize) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, mut pieces) = mpsc::channel(capacity);
        (
            sender,
            Self(Kind::Pulled(Box::new(move |context| {
                pieces.poll_recv(context)
            }))),
        )
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take()),
            Kind::Pulled(pull) => pull(context),
        };
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Pulled(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Whole(_) => "Body::Whole",
            Kind::Pulled(_) => "Body::Pulled",
        })
    }
}
