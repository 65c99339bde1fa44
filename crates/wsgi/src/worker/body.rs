//! Request bodies as the loop collects them, before the application is called: in memory while they are small, in an
//! unlinked file beyond that, so that neither a slow nor a large upload holds a Python thread or much memory.
//!
//! Not here: reading from sockets, deadlines, or `wsgi.input` (see `python::input`).

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use trine_http1::{BodyDecoder, BodyError, BodyLength};

/// A body larger than this goes into a file.
pub const SPOOL_BYTES: usize = 1024 * 1024;

/// The first allocation for a body; what a peer announces is not believed before it arrives.
const FIRST_BYTES: usize = 64 * 1024;

/// A complete body.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    Memory(Vec<u8>),
    /// Positioned at its start.
    File {
        file: File,
        len: u64,
    },
}

/// What can go wrong while a body is collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Framing(#[from] BodyError),
    #[error("cannot keep the body in a temporary file")]
    Spool(#[source] io::Error),
}

/// A body on its way in.
#[derive(Debug)]
pub struct Collector {
    framing: Framing,
    memory: Vec<u8>,
    spool: Option<File>,
    len: u64,
    done: bool,
}

#[derive(Debug)]
enum Framing {
    /// What Content-Length has not brought yet.
    Known {
        left: u64,
    },
    Chunked(BodyDecoder),
}

impl Collector {
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let framing = match length {
            BodyLength::Known(left) => Framing::Known { left },
            BodyLength::Chunked => Framing::Chunked(BodyDecoder::new(length)),
            BodyLength::Empty | BodyLength::UntilClose => Framing::Known { left: 0 },
        };
        let done = matches!(framing, Framing::Known { left: 0 });
        Self {
            framing,
            memory: Vec::new(),
            spool: None,
            len: 0,
            done,
        }
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// How much has come.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Nothing has come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The body is chunked, so its length was not announced.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        matches!(self.framing, Framing::Chunked(_))
    }

    /// Takes content out of `received` and returns how many bytes of it belong to this body.
    pub fn take(&mut self, received: &[u8]) -> Result<usize, CollectError> {
        let mut used = 0;
        while !self.done {
            let data = match &mut self.framing {
                Framing::Known { left } => {
                    let count = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(received.len() - used);
                    if count == 0 {
                        break;
                    }
                    *left -= count as u64;
                    self.done = *left == 0;
                    used += count;
                    used - count..used
                }
                Framing::Chunked(decoder) => {
                    let decoded = decoder.decode(&received[used..])?;
                    if decoded.consumed == 0 && !decoded.done {
                        break;
                    }
                    let data = used + decoded.data.start..used + decoded.data.end;
                    used += decoded.consumed;
                    self.done = decoded.done;
                    data
                }
            };
            self.keep(&received[data]).map_err(CollectError::Spool)?;
        }
        Ok(used)
    }

    /// Memory to receive the rest of a body of known length into, without a detour through the connection's buffer.
    /// `None`: use [`Self::take`]. Say [`Self::received`] afterwards.
    pub fn direct(&mut self) -> Option<&mut Vec<u8>> {
        let Framing::Known { left } = &self.framing else {
            return None;
        };
        let left = *left;
        if self.done
            || self.spool.is_some()
            || left > SPOOL_BYTES as u64 - self.len.min(SPOOL_BYTES as u64)
        {
            return None;
        }
        let left = left as usize;
        if self.memory.capacity() == self.memory.len() {
            // Grows with what has arrived, not with what was announced.
            self.memory
                .reserve_exact(left.min(self.memory.len().max(FIRST_BYTES)));
        }
        // Never more room than the body may fill: what follows it on the connection is the next request.
        (self.memory.capacity() - self.memory.len() <= left).then_some(&mut self.memory)
    }

    /// `count` bytes were appended to what [`Self::direct`] gave.
    pub fn received(&mut self, count: usize) {
        self.len += count as u64;
        if let Framing::Known { left } = &mut self.framing {
            *left = left.saturating_sub(count as u64);
            self.done = *left == 0;
        }
    }

    fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        self.len += data.len() as u64;
        if let Some(spool) = &mut self.spool {
            return spool.write_all(data);
        }
        if self.memory.len() + data.len() <= SPOOL_BYTES {
            self.memory.extend_from_slice(data);
            return Ok(());
        }
        let mut spool = unlinked_file()?;
        spool.write_all(&self.memory)?;
        spool.write_all(data)?;
        self.memory = Vec::new();
        self.spool = Some(spool);
        Ok(())
    }

    /// The complete body and its length.
    pub fn finish(self) -> Result<(Body, u64), CollectError> {
        let body = match self.spool {
            Some(mut file) => {
                file.seek(SeekFrom::Start(0)).map_err(CollectError::Spool)?;
                Body::File {
                    file,
                    len: self.len,
                }
            }
            None if self.memory.is_empty() => Body::Empty,
            None => Body::Memory(self.memory),
        };
        Ok((body, self.len))
    }
}

/// A file without a name in TMPDIR, or in memory where the file system has no such files.
fn unlinked_file() -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE);
    match options.open(std::env::temp_dir()) {
        Ok(file) => Ok(file),
        Err(_) => trine_sys::fdpass::memfd(c"trine-wsgi request body").map(File::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[track_caller]
    fn check(length: BodyLength, wire: &[u8], step: usize, want: &[u8], want_rest: &[u8]) {
        let mut collector = Collector::new(length);
        let mut pending: Vec<u8> = Vec::new();
        for part in wire.chunks(step) {
            pending.extend_from_slice(part);
            let used = collector.take(&pending).unwrap();
            pending.drain(..used);
        }
        assert!(collector.is_done());
        assert_eq!(pending, want_rest);
        let mut got = Vec::new();
        match collector.finish().unwrap().0 {
            Body::Empty => {}
            Body::Memory(bytes) => got = bytes,
            Body::File { mut file, len } => {
                file.read_to_end(&mut got).unwrap();
                assert_eq!(len, got.len() as u64);
            }
        }
        assert!(got == want, "{} bytes instead of {}", got.len(), want.len());
    }

    #[test]
    fn collects() {
        for step in 1..20 {
            check(BodyLength::Known(5), b"helloGET", step, b"hello", b"GET");
            check(
                BodyLength::Chunked,
                b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nGET",
                step,
                b"hello",
                b"GET",
            );
        }
        check(BodyLength::Known(0), b"", 1, b"", b"");
    }

    #[test]
    fn large_bodies_go_to_a_file() {
        let large = vec![b'x'; SPOOL_BYTES + 5];
        check(
            BodyLength::Known(large.len() as u64),
            &large,
            60_000,
            &large,
            b"",
        );
    }

    #[test]
    fn direct_room_never_reaches_into_the_next_request() {
        let mut collector = Collector::new(BodyLength::Known(100_000));
        collector.take(&[1; 10]).unwrap();
        let mut total = 10;
        while let Some(room) = collector.direct() {
            let free = room.capacity() - room.len();
            assert!(free > 0 && free <= 100_000 - total, "{free} at {total}");
            room.extend(std::iter::repeat_n(2, free));
            total += free;
            collector.received(free);
        }
        assert!(collector.is_done() && collector.len == 100_000);
        assert!(
            Collector::new(BodyLength::Known(u64::MAX))
                .direct()
                .is_none()
        );
    }
}
