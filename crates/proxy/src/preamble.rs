//! Reads the PROXY protocol's preamble off a connection, before anything else is read from it.
//!
//! Nothing behind the preamble is taken: it may be a TLS handshake. Not here: its grammar (`trine_http1`), and whether
//! the peer is believed (`conn::serve`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trine_http1::{Preamble, PreambleError, PreambleVersions, read_preamble};

use crate::engine::Engine;
use crate::stream::Stream;

/// The longest preamble: a header of version 2 with its extensions.
const MAX: usize = 16 + 4096;
/// How long, when the daemon drains, a new connection may still bring its preamble.
const FRESH_GRACE: Duration = Duration::from_secs(1);

/// Why there is no preamble.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPreamble {
    #[error(transparent)]
    Malformed(PreambleError),
    #[error("the connection does not begin with it")]
    Absent,
    #[error("it is too long")]
    TooLong,
    #[error("the connection ended within it")]
    Cut,
    #[error("it did not come in time")]
    Late,
    #[error("cannot read it: {0}")]
    Read(io::Error),
}

/// The client's address and the one that it connected to, if the preamble names them. It may take as long as `limit`.
pub(crate) async fn read(
    engine: &Engine,
    door: usize,
    stream: &Stream,
    limit: Duration,
) -> Result<Option<(SocketAddr, SocketAddr)>, NoPreamble> {
    // It counts as a connection, and is among the first to go when descriptors are short.
    let place = engine.deadlines.place(door);
    place.set(Some(Instant::now() + limit));
    place.set_idle(true);
    let drained = async {
        engine.stop.cancelled().await;
        tokio::time::sleep(FRESH_GRACE).await;
    };
    tokio::select! {
        found = read_all(stream) => found,
        _ = poll_fn(|cx| place.poll(cx)) => Err(NoPreamble::Late),
        () = drained => Err(NoPreamble::Late),
    }
}

async fn read_all(stream: &Stream) -> Result<Option<(SocketAddr, SocketAddr)>, NoPreamble> {
    let versions = PreambleVersions { v1: true, v2: true };
    let mut bytes = Vec::new();
    let mut taken = 0;
    loop {
        bytes.resize(MAX, 0);
        let seen = poll_fn(|cx| stream.poll_peek(cx, &mut bytes[taken..]));
        let seen = seen.await.map_err(NoPreamble::Read)?;
        if seen == 0 {
            return Err(NoPreamble::Cut);
        }
        bytes.truncate(taken + seen);
        // Of a preamble that is not complete, all belongs to it.
        let (take, found) = match read_preamble(&bytes, versions).map_err(NoPreamble::Malformed)? {
            Preamble::Absent => return Err(NoPreamble::Absent),
            Preamble::Partial => (seen, None),
            Preamble::Present { len, addresses } => (len - taken, Some(addresses)),
        };
        let end = taken + take;
        while taken < end {
            let read = poll_fn(|cx| stream.poll_read(cx, &mut bytes[taken..end]));
            match read.await.map_err(NoPreamble::Read)? {
                0 => return Err(NoPreamble::Cut),
                count => taken += count,
            }
        }
        if let Some(addresses) = found {
            return Ok(addresses);
        }
        if taken >= MAX {
            return Err(NoPreamble::TooLong);
        }
    }
}
