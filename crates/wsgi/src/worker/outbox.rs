//! What a connection still has to send: bytes, then perhaps a part of a file, written as the socket takes them.
//!
//! Not here: waiting for the socket, and what the bytes mean.

use std::io;
use std::os::fd::OwnedFd;

use super::transport::Transport;

/// A part of a file that is sent by the kernel.
#[derive(Debug)]
pub struct FileSpan {
    pub file: OwnedFd,
    pub offset: i64,
    pub left: u64,
}

/// How far a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    All,
    /// The socket is full; the rest is kept.
    Blocked,
}

#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes to send; those before `done` are out.
    bytes: Vec<u8>,
    done: usize,
    file: Option<FileSpan>,
}

impl Outbox {
    /// Where more bytes are appended. Nothing may be appended behind a file.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.file.is_none(), "bytes behind a file");
        &mut self.bytes
    }

    /// Sends `span` after the bytes.
    pub fn set_file(&mut self, span: FileSpan) {
        self.file = (span.left > 0).then_some(span);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.done == self.bytes.len() && self.file.is_none()
    }

    #[must_use]
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Bytes in memory that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.done
    }

    /// Writes what is there.
    pub fn flush(&mut self, socket: &Transport) -> io::Result<Sent> {
        self.flush_with(socket, false)
    }

    /// As [`Self::flush`], where the connection is ended as soon as all is out: its end then travels in the packet of the
    /// last bytes (TCP), and the client wakes once.
    pub fn flush_last(&mut self, socket: &Transport) -> io::Result<Sent> {
        self.flush_with(socket, true)
    }

    fn flush_with(&mut self, socket: &Transport, last: bool) -> io::Result<Sent> {
        while self.done < self.bytes.len() {
            let rest = &self.bytes[self.done..];
            let sent = socket.send(rest, last || self.file.is_some());
            match again(sent)? {
                Some(count) => self.done += count,
                None => return Ok(Sent::Blocked),
            }
        }
        self.bytes.clear();
        self.done = 0;
        self.flush_file(socket)
    }

    fn flush_file(&mut self, socket: &Transport) -> io::Result<Sent> {
        while let Some(span) = &mut self.file {
            // One call moves at most this much, so that one fast client does not hold the loop.
            let step = span.left.min(1 << 20) as usize;
            match again(socket.sendfile(&span.file, &mut span.offset, step))? {
                Some(0) => {
                    // The file became shorter than was announced.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(count) => {
                    span.left -= count as u64;
                    if span.left == 0 {
                        self.file = None;
                    }
                }
                None => return Ok(Sent::Blocked),
            }
        }
        Ok(Sent::All)
    }

    /// Writes what is there, then `data` and `tail`, in one call if the socket takes it; only the rest is copied.
    pub fn write(&mut self, socket: &Transport, data: &[u8], tail: &[u8]) -> io::Result<Sent> {
        if data.is_empty() && tail.is_empty() {
            return self.flush(socket);
        }
        let (mut data, mut tail) = (data, tail);
        loop {
            let waiting = &self.bytes[self.done..];
            if waiting.is_empty() && data.is_empty() && tail.is_empty() {
                self.bytes.clear();
                self.done = 0;
                return Ok(Sent::All);
            }
            let Some(mut count) = again(socket.writev([waiting, data, tail]))? else {
                self.bytes.drain(..self.done);
                self.done = 0;
                self.bytes.extend_from_slice(data);
                self.bytes.extend_from_slice(tail);
                return Ok(Sent::Blocked);
            };
            let first = count.min(waiting.len());
            self.done += first;
            count -= first;
            let second = count.min(data.len());
            data = &data[second..];
            tail = &tail[count - second..];
        }
    }

    /// Everything that waits, moved out of here.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Puts everything of `other` behind what is here. Nothing may be behind a file.
    pub fn append(&mut self, other: &mut Self) {
        debug_assert!(self.file.is_none(), "bytes behind a file");
        self.bytes
            .extend_from_slice(other.bytes.get(other.done..).unwrap_or_default());
        self.file = other.file.take();
        other.bytes.clear();
        other.done = 0;
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.bytes.capacity() > keep {
            self.bytes = Vec::new();
        }
    }
}

fn again(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // Reported as full: the loop is told at once that it is not.
        Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_full_socket_keeps_the_rest_in_order() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let writer = Transport::plain(writer.into());
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut out = Outbox::default();
        out.bytes().extend_from_slice(b"head");
        assert_eq!(out.write(&writer, &data, b"tail").unwrap(), Sent::Blocked);
        let mut got = vec![0; 4 + data.len() + 4];
        let mut at = 0;
        while at < got.len() {
            at += reader.read(&mut got[at..]).unwrap();
            let _ = out.flush(&writer).unwrap();
        }
        assert!(out.is_empty());
        assert_eq!(&got[..4], b"head");
        assert!(got[4..].starts_with(&data));
        assert!(got.ends_with(b"tail"));
    }

    #[test]
    fn a_file_follows_the_bytes() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let writer = Transport::plain(writer.into());
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let mut out = Outbox::default();
        out.bytes().extend_from_slice(b"head ");
        out.set_file(FileSpan {
            file: file.into(),
            offset: 2,
            left: 5,
        });
        assert_eq!(out.flush(&writer).unwrap(), Sent::All);
        drop(writer);
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "head 23456");
    }
}
