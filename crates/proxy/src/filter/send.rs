//! Sends a body that is there already, a file or bytes in memory, through a chain.
//!
//! Not here: bodies that come from an upstream meanwhile (`upstream::filtered`).

use std::io;

use trine_http1::{CHUNK_END, LAST_CHUNK, write_chunk_head};
use trine_sys::file::pread;

use super::Chain;
use crate::compress::Then;
use crate::conn::Conn;
use crate::conn::record::Record;
use crate::headers::trailers::Finale;
use crate::upstream::fault::Fault;

/// Bytes that are taken at once.
const PIECE: usize = 64 * 1024;

/// Where the body is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    Memory(&'a [u8]),
    /// A file and its size.
    File(&'a std::os::fd::OwnedFd, u64),
}

/// Why it did not come through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the client's fault: {0}")]
    Client(Fault),
    #[error("cannot read or change the body: {0}")]
    Body(io::Error),
    #[error("the file became shorter")]
    Shrunk,
}

/// Sends what is in `out`, and the body behind it, in chunks, the last of them by `finale`, or up to the
/// connection's end.
///
/// # Errors
/// The head has gone out then: the connection cannot be used any more.
pub(crate) async fn send(
    conn: &Conn,
    record: &mut Record,
    mut chain: Chain,
    from: From<'_>,
    mut out: Vec<u8>,
    (chunked, finale): (bool, Option<Finale<'_>>),
) -> Result<(), Broken> {
    let presses = &conn.engine.presses;
    let size = match from {
        From::Memory(bytes) => bytes.len() as u64,
        From::File(_, size) => size,
    };
    let mut buffer = match from {
        From::Memory(_) => Vec::new(),
        From::File(..) => vec![0; PIECE],
    };
    let mut made = Vec::new();
    let mut offset = 0;
    loop {
        let piece = match from {
            From::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = bytes.get(start..).unwrap_or_default();
                &rest[..rest.len().min(PIECE)]
            }
            From::File(..) if offset == size => &[],
            From::File(file, _) => {
                let count = pread(file, &mut buffer, offset).map_err(Broken::Body)?;
                if count == 0 {
                    return Err(Broken::Shrunk);
                }
                let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
                &buffer[..count.min(left)]
            }
        };
        offset += piece.len() as u64;
        let then = if offset == size {
            Then::End
        } else {
            Then::More
        };
        made.clear();
        let work = chain.run(presses, piece, then, &mut made);
        work.await.map_err(Broken::Body)?;
        let ends = loop {
            let ends = then == Then::End && !chain.is_busy();
            if !made.is_empty() {
                if chunked {
                    write_chunk_head(&mut out, made.len());
                }
                out.extend_from_slice(&made);
                if chunked {
                    out.extend_from_slice(CHUNK_END);
                }
            }
            record.body_bytes += made.len() as u64;
            if ends && chunked {
                let last = finale.as_ref().map(|finale| finale.last_chunk(record));
                out.extend_from_slice(last.as_deref().unwrap_or(LAST_CHUNK));
            }
            if ends {
                record.packed = chain.tally();
            }
            if ends || !made.is_empty() {
                conn.send(&out).await.map_err(Broken::Client)?;
                out.clear();
            }
            if !chain.is_busy() {
                break ends;
            }
            made.clear();
            let more = chain.more(presses, &mut made);
            more.await.map_err(Broken::Body)?;
        };
        if ends {
            return Ok(());
        }
    }
}
