//! A scripted upstream: accepts, reads and writes exactly when the test says so.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Debug)]
pub(crate) struct Upstream {
    listener: UnixListener,
}

/// A connection from the proxy.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Upstream {
    #[track_caller]
    pub(crate) fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    /// Waits for a connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Link {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.try_accept() {
                Some(link) => return link,
                None if Instant::now() > end => panic!("nobody connected"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// The connection that comes to one of two, and whether it is the other's.
    #[track_caller]
    pub(crate) fn accept_either(&self, other: &Self) -> (bool, Link) {
        let begun = Instant::now();
        loop {
            if let Some(link) = self.try_accept() {
                return (false, link);
            }
            if let Some(link) = other.try_accept() {
                return (true, link);
            }
            assert!(begun.elapsed() < PATIENCE, "nobody has connected");
            thread::yield_now();
        }
    }

    pub(crate) fn try_accept(&self) -> Option<Link> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Some(Link {
            stream,
            unread: vec![],
        })
    }

    /// Nobody has connected. For after an answer, when all that would happen has happened.
    #[track_caller]
    pub(crate) fn expect_untouched(&self) {
        if let Some(mut link) = self.try_accept() {
            link.stream
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            let _ = link.more();
            let got = String::from_utf8_lossy(&link.unread);
            panic!("the upstream was connected to and got {got:?}");
        }
    }
}

impl Link {
    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// The head of a request, unless the proxy goes away before it is whole.
    pub(crate) fn try_read_head(&mut self) -> Option<String> {
        while !self.unread.ends_with(b"\r\n\r\n") {
            self.more().ok().filter(|count| *count > 0)?;
        }
        String::from_utf8(std::mem::take(&mut self.unread)).ok()
    }

    /// Reads the head of a request, with its empty line.
    #[track_caller]
    pub(crate) fn read_head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.unread.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            let count = self.more().expect("a head");
            let seen = String::from_utf8_lossy(&self.unread);
            assert!(count > 0, "closed within a head: {seen:?}");
        }
    }

    #[track_caller]
    pub(crate) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let got = self.more().expect("more bytes");
            let seen = self.unread.len();
            assert!(got > 0, "closed after {seen} of {count} bytes");
        }
        self.unread.drain(..count).collect()
    }

    #[track_caller]
    fn read_line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).unwrap();
            }
            assert!(self.more().expect("a line") > 0, "closed within a line");
        }
    }

    /// One chunk of a request's body; an empty one is the last.
    #[track_caller]
    pub(crate) fn read_chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.read_line(), 16).unwrap();
        let chunk = self.read_exact(size);
        assert_eq!(self.read_line(), "");
        chunk
    }

    #[track_caller]
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_write(bytes).unwrap();
        self
    }

    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads a request's head and answers 200 with a text.
    #[track_caller]
    pub(crate) fn answer(&mut self, text: &str) -> String {
        let head = self.read_head();
        let length = text.len();
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
        ));
        head
    }

    /// Answers one request; false if the proxy closed instead of sending one.
    pub(crate) fn answer_until_closed(&mut self) -> bool {
        while !self.unread.ends_with(b"\r\n\r\n") {
            if self.more().is_ok_and(|count| count == 0) {
                return false;
            }
        }
        self.answer("loaded");
        true
    }

    /// Takes what comes up to the proxy's close.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the end: {error}"),
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// The proxy closes, having sent nothing more.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.read_to_end()), "");
    }

    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// What a draining worker does: whoever writes from now on is told that nobody reads.
    pub(crate) fn stop_reading(&self) {
        self.stream.shutdown(Shutdown::Read).unwrap();
    }
}
