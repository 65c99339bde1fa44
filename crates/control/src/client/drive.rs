//! Driving a connection from inside the future that waits for its answer.
//!
//! Not here: requests and errors.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use hyper::body::Incoming;

/// The head of an answer is read; this is the rest, and the connection that it comes on.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) driver: Driver,
    pub(super) body: Incoming,
}

/// A hyper connection, moved along by whoever waits for something that comes over it.
pub struct Driver {
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Driver {
    /// The connection's own result is dropped: what fails there, the request or the body tells too.
    pub fn new(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let connection = Box::pin(async move {
            let _ = connection.await;
        });
        Self {
            connection: Some(connection),
        }
    }

    /// Resolves as `wanted` does, moving the connection along meanwhile.
    pub async fn run<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            if let Poll::Ready(done) = wanted.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Pending;
            };
            if connection.as_mut().poll(context).is_ready() {
                self.connection = None;
            }
            // The connection may have just brought what `wanted` waits for.
            wanted.as_mut().poll(context)
        })
        .await
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("ended", &self.connection.is_none())
            .finish()
    }
}
