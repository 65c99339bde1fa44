//! The control server on hyper: one task per connection, every connection known, all ended on stop.
//!
//! Not here: what a call does (see [`Handler`]), or who may make it (see `route` and `role`).

mod body;
mod hub;
mod reply;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trine_service::listeners::Listener;

use crate::message::{ActionResult, ProblemDocument, ReloadReport, Status};
use crate::role::Role;

pub use body::Body;
pub use hub::{EventHub, Events};
pub use reply::{json, text};

/// Connections served at a time; one more is answered 503 and closed.
pub const MAX_CONNECTIONS: usize = 64;
/// Of these, connections of peers who may only look, so that they cannot lock an administrator out.
pub const MAX_OBSERVERS: usize = 48;
/// The longest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// A request's head, and then its body, must be there within this; also how long a connection may idle.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// After `stop`, answers under way get this long.
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// The longest request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A request with its body read.
pub type Request = http::Request<Bytes>;
/// An answer; its body may be a stream.
pub type Response = http::Response<Body>;

/// What a daemon answers. A future that is dropped (its client went away) must not undo what began.
pub trait Handler: Send + Sync + 'static {
    /// `GET /v1/status`
    fn status(&self) -> impl Future<Output = Status> + Send;
    /// `GET /metrics`, made by [`crate::metrics::Metrics`].
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Where `GET /v1/events` comes from.
    fn events(&self) -> &EventHub;
    /// `POST /v1/drain`: begins it and answers.
    fn drain(&self) -> impl Future<Output = Result<ActionResult, ProblemDocument>> + Send;
    /// `POST /v1/reload`: answers when it is done. A bad configuration is an `Ok` report with `ok: false`;
    /// it goes out with status 422.
    fn reload(
        &self,
        dry_run: bool,
    ) -> impl Future<Output = Result<ReloadReport, ProblemDocument>> + Send;
    /// `POST /v1/stop`: begins it and answers.
    fn stop(&self) -> impl Future<Output = Result<ActionResult, ProblemDocument>> + Send;
    /// The daemon's own calls. Everything but GET comes from an [`Role::Admin`] only. The default knows none.
    fn other(
        &self,
        role: Role,
        request: Request,
    ) -> impl Future<Output = Result<Response, ProblemDocument>> + Send {
        let _ = role;
        let problem = not_found(request.uri().path());
        async { Err(problem) }
    }
}

/// The answer for a path that nothing answers.
#[must_use]
pub fn not_found(path: &str) -> ProblemDocument {
    ProblemDocument::new(404, format!("there is no {path} here"))
}

/// Answers on `listener` until `stop` is cancelled; then lets answers under way finish, for [`STOP_GRACE`]
/// at most, ends event streams and removes the socket's file. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// When the listener cannot be registered with the runtime. Failures of single connections are logged at
/// DEBUG and end that connection.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: Arc<H>,
    stop: CancellationToken,
) -> io::Result<()> {
    let Listener { fd, file, .. } = listener;
    let socket = UnixListener::from_std(StdListener::from(fd))?;
    let seats = Seats::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&handler), seats.clone(), stop.clone()));
                }
                // Out of descriptors or memory: what waits in the backlog is not lost by waiting.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept control connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(socket);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
        tracing::debug!(cut = connections.len(), "control connections cut");
    }
    drop(file);
    Ok(())
}

/// How many may be connected.
#[derive(Clone)]
struct Seats {
    all: Arc<Semaphore>,
    observers: Arc<Semaphore>,
}

impl Seats {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            observers: Arc::new(Semaphore::new(MAX_OBSERVERS)),
        }
    }

    /// A place for as long as the value lives.
    fn take(&self, role: Role) -> Option<[Option<OwnedSemaphorePermit>; 2]> {
        let seat = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let observer = match role {
            Role::Admin => None,
            Role::Observer => Some(Arc::clone(&self.observers).try_acquire_owned().ok()?),
        };
        Some([Some(seat), observer])
    }
}

async fn connection<H: Handler>(
    mut stream: UnixStream,
    handler: Arc<H>,
    seats: Seats,
    stop: CancellationToken,
) {
    let Ok(role) = Role::of_peer(&stream) else {
        return;
    };
    let Some(_seat) = seats.take(role) else {
        let _ = stream.write_all(reply::BUSY).await;
        return;
    };
    let answer = service_fn(|request| {
        let (handler, stop) = (Arc::clone(&handler), stop.clone());
        async move { Ok::<_, Infallible>(reply::answer(&*handler, role, request, stop).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a control connection failed");
    }
}
