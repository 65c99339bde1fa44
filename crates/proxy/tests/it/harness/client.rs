//! A client that sends what it is told, and reads answers strictly.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use super::PATIENCE;

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a field, once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| {
            let (found, value) = line.split_once(": ").expect("a field line");
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = found.next();
        assert_eq!(found.next(), None, "{name} twice in {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        let socket = if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            Socket::Unix(stream)
        } else {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            Socket::Tcp(stream)
        };
        Self {
            socket,
            unread: vec![],
        }
    }

    /// Sends bytes; the daemon may have closed meanwhile.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.writer().write_all(bytes.as_ref())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    /// A GET with nothing but a host.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> &mut Self {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    pub(crate) fn finish_sending(&self) {
        match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65536];
        let count = self.socket.reader().read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Reads a head, with its empty line.
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

    /// Reads some bytes of what has come and forgets them; an error if the connection has broken off.
    pub(crate) fn sip(&mut self, most: usize) -> io::Result<usize> {
        self.unread.clear();
        let mut buffer = vec![0; most];
        self.socket.reader().read(&mut buffer)
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

    /// Reads an answer to a GET, POST …
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    #[track_caller]
    pub(crate) fn reply_to(&mut self, method: &str) -> Reply {
        let head = self.read_head().trim_end().to_owned();
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: vec![],
        };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return reply;
        }
        reply.body = match (
            reply.field("Content-Length"),
            reply.field("Transfer-Encoding"),
        ) {
            (Some(length), None) => self.read_exact(length.parse().unwrap()),
            (None, Some("chunked")) => self.read_chunks(),
            (None, None) => {
                assert_eq!(reply.field("Connection"), Some("close"), "{}", reply.head);
                self.read_to_end().expect("a clean end")
            }
            odd => panic!("{odd:?} in {}", reply.head),
        };
        reply
    }

    #[track_caller]
    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = vec![];
        loop {
            let chunk = self.read_chunk();
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// One chunk; an empty one is the last.
    #[track_caller]
    pub(crate) fn read_chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.read_line(), 16).unwrap();
        let chunk = self.read_exact(size);
        assert_eq!(self.read_line(), "");
        chunk
    }

    /// Whether nothing of an answer has come yet.
    pub(crate) fn is_silent(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        let set = |socket: &Socket, wait: bool| match socket {
            Socket::Tcp(stream) => stream.set_nonblocking(!wait).unwrap(),
            Socket::Unix(stream) => stream.set_nonblocking(!wait).unwrap(),
        };
        set(&self.socket, false);
        let more = self.more();
        set(&self.socket, true);
        more.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Everything up to the end; an error if that is a reset.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// The connection ends here, cleanly and without another byte.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        match self.read_to_end() {
            Ok(rest) => assert_eq!(String::from_utf8_lossy(&rest), "", "more came"),
            Err(error) => panic!("a clean end: {error}"),
        }
    }

    /// The connection breaks off here: no clean end.
    #[track_caller]
    pub(crate) fn expect_reset(&mut self) {
        let end = self.read_to_end().expect_err("a reset");
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    }
}
