//! Connections of the HTTP servers: Unix and TCP, one task each, bounded in number, ended on stop.
//! Not here: what is answered (see the module above).

use super::{Guard, Site};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trine_control::server::Response;

/// Connections of one server at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The longest body of a request.
const MAX_BODY_BYTES: usize = 8 << 20;
/// A request's head, and then its body, must be there within this. Idle connections may stay longer than this between
/// requests: supervisorctl's shell keeps one.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// After `stop`, answers under way get this long.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A listening socket of the configuration, held by the holder.
#[derive(Debug)]
pub struct ServerSocket {
    pub fd: OwnedFd,
    pub is_unix: bool,
    pub guard: Guard,
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Answers until `stop` is cancelled.
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub async fn serve(socket: ServerSocket, site: Site, stop: CancellationToken) -> io::Result<()> {
    let listening = if socket.is_unix {
        Listening::Unix(UnixListener::from_std(socket.fd.into())?)
    } else {
        Listening::Tcp(TcpListener::from_std(socket.fd.into())?)
    };
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let seat = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            Ok(seat) = seats.clone().acquire_owned() => seat,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listening) => accepted,
        };
        match accepted {
            Ok(stream) => {
                let (site, guard, stop) = (site.clone(), socket.guard.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, site, guard, stop).await;
                    drop(seat);
                });
            }
            // Out of descriptors or memory: what waits in the backlog is not lost by waiting.
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listening); // others may want the address
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_GRACE, finish).await;
    Ok(())
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listening: &Listening) -> io::Result<Box<dyn Stream>> {
    match listening {
        Listening::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        Listening::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            let _ = stream.set_nodelay(true); // answers only come later without it
            Ok(Box::new(stream))
        }
    }
}

async fn connection(stream: Box<dyn Stream>, site: Site, guard: Guard, stop: CancellationToken) {
    let answer = service_fn(|request| {
        let (site, guard) = (site.clone(), guard.clone());
        async move { Ok::<_, Infallible>(answer(request, &site, &guard).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES.max(64 << 10));
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

async fn answer(request: http::Request<Incoming>, site: &Site, guard: &Guard) -> Response {
    if !guard.lets_in(request.headers()) {
        return Guard::refusal();
    }
    let is_call =
        request.method() == http::Method::POST && request.uri().path().starts_with("/RPC2");
    if is_call && !request.headers().contains_key(http::header::CONTENT_LENGTH) {
        return super::text(411, "a call has a Content-Length\n");
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect();
    let body: Bytes = match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return super::text(413, format!("a body has {MAX_BODY_BYTES} bytes at most\n"));
        }
        Ok(Err(_)) => return super::text(400, "the body broke off\n"),
        Err(_) => return super::text(408, "the body took too long\n"),
    };
    site.answer(http::Request::from_parts(head, body)).await
}
