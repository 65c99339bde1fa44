//! Looking whether a starting process is ready: by connecting, or by asking over HTTP, until it is.
//! Not here: how long to try (the state machine ends that), or NOTIFY_SOCKET.

use super::supervisor::Supervisor;
use crate::config::{HttpPeer, Ready};
use crate::error::Error;
use crate::program::state::{Event, State};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Between two looks, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// One look takes no longer.
const LOOK: Duration = Duration::from_secs(5);

/// A process was found ready.
#[derive(Debug)]
pub struct Found {
    pub id: String,
    pub generation: u64,
}

impl Supervisor {
    /// Begins to look, if that is how this process becomes ready.
    pub fn start_probe(&mut self, id: &str) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let ready = process.record.settings.ready.clone();
        let is_starting = matches!(process.record.life.state, State::Starting { .. });
        if !is_starting || matches!(ready, Ready::Age | Ready::Notify) {
            return;
        }
        let found = Found {
            id: id.to_owned(),
            generation: process.record.generation,
        };
        process.probe = Some(self.probes.spawn(async move {
            let mut wait = FIRST_WAIT;
            while !matches!(tokio::time::timeout(LOOK, look(&ready)).await, Ok(true)) {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            found
        }));
    }

    pub fn found_ready(&mut self, found: &Found) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(&found.id) else {
            return Ok(());
        };
        if process.record.generation != found.generation {
            return Ok(());
        }
        process.probe = None;
        self.feed(&found.id, Event::Ready)
    }
}

async fn look(ready: &Ready) -> bool {
    match ready {
        Ready::Age | Ready::Notify => false,
        Ready::Tcp { address } => TcpStream::connect(address).await.is_ok(),
        Ready::Http {
            peer: HttpPeer::Tcp(address),
            path,
        } => match TcpStream::connect(address).await {
            Ok(stream) => get(stream, address, path).await,
            Err(_) => false,
        },
        Ready::Http {
            peer: HttpPeer::Unix(socket),
            path,
        } => match UnixStream::connect(socket).await {
            Ok(stream) => get(stream, "localhost", path).await,
            Err(_) => false,
        },
    }
}

/// Whether a GET is answered with 2xx or 3xx.
async fn get(stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> bool {
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(
            http::header::USER_AGENT,
            concat!("trine-supervisor/", env!("CARGO_PKG_VERSION")),
        )
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return false };
    let Ok((mut sender, connection)) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
    else {
        return false;
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = answer.as_mut() => is_good(answer),
        _ = connection.as_mut() => is_good(answer.await),
    }
}

fn is_good<B>(answer: Result<http::Response<B>, hyper::Error>) -> bool {
    answer.is_ok_and(|answer| answer.status().is_success() || answer.status().is_redirection())
}
