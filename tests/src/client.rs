//! A raw HTTP/1.1 client: says exactly what the test tells it, and reads answers with `trine-http1`.
//! Not here: retries, redirects, cookies. What goes wrong on the wire is an `io::Error` with a reason.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::reply::Reply;
use crate::wait;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

/// A byte stream of either kind.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects, with time limits on every later read and write.
    pub fn connect(to: &Address, patience: Duration) -> io::Result<Self> {
        match to {
            Address::Tcp(addr) => {
                let stream = TcpStream::connect_timeout(addr, patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self::Unix(stream))
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request as it will be sent. `Host` and the body's length are added.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![],
            body: vec![],
        }
    }

    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    #[must_use]
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("POST", target)
        }
    }

    /// A form as a browser posts it.
    #[must_use]
    pub fn form(target: &str, fields: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        Self::post(target, pairs.join("&"))
            .header("Content-Type", "application/x-www-form-urlencoded")
    }

    /// A file as a browser uploads it, in the field `file`, with more fields before it.
    #[must_use]
    pub fn upload(target: &str, fields: &[(&str, &str)], name: &str, content: &[u8]) -> Self {
        let mut body = vec![];
        for (field, value) in fields {
            body.extend(
                format!(
                    "--edge\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
                )
                .bytes(),
            );
        }
        body.extend(
            format!(
                "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )
            .bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        Self::post(target, body).header("Content-Type", "multipart/form-data; boundary=edge")
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with its body in chunks, so that its length is not told in front.
    #[must_use]
    pub fn chunked(self) -> Self {
        let mut body = vec![];
        for piece in self.body.chunks(50_000) {
            body.extend(format!("{:x}\r\n", piece.len()).bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        Self { body, ..self }.header("Transfer-Encoding", "chunked")
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head += "Host: test.example\r\n";
        }
        if !has("content-length")
            && !has("transfer-encoding")
            && (!self.body.is_empty() || self.method == "POST")
        {
            let _infallible = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _infallible = write!(head, "{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    pub(crate) stream: Stream,
    /// What was read and not used yet.
    pub(crate) buf: Vec<u8>,
}

impl Client {
    pub fn try_connect(to: &Address) -> io::Result<Self> {
        Ok(Self {
            stream: Stream::connect(to, wait::PATIENCE)?,
            buf: vec![],
        })
    }

    #[track_caller]
    #[must_use]
    pub fn connect(to: impl Into<Address>) -> Self {
        let to = to.into();
        Self::try_connect(&to)
            .unwrap_or_else(|problem| panic!("cannot connect to {to:?}: {problem}"))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and reads the whole answer.
    pub fn try_ask(&mut self, request: &Request) -> io::Result<Reply> {
        self.write(&request.encode())
            .map_err(|problem| io::Error::new(problem.kind(), format!("sending: {problem}")))?;
        self.read_reply(&request.method)
    }

    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Reply {
        self.try_ask(request)
            .unwrap_or_else(|problem| panic!("{} {}: {problem}", request.method, request.target))
    }

    /// Reads some bytes; 0 is the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let start = self.buf.len();
        self.buf.resize(start + 16 * 1024, 0);
        let result = loop {
            match self.stream.read(&mut self.buf[start..]) {
                // The test's process was stopped for a while.
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buf.truncate(start + *result.as_ref().unwrap_or(&0));
        result
    }

    /// Reads until there are `count` bytes that no reply has used, and takes them.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buf.len() < count {
            if self.fill()? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{} of {count} bytes", self.buf.len()),
                ));
            }
        }
        Ok(self.buf.drain(..count).collect())
    }

    /// Reads until the peer closes; everything that no reply has used.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buf))
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn ask(to: impl Into<Address>, request: &Request) -> Reply {
    Client::connect(to).ask(request)
}

/// `GET target` on a connection of its own.
#[track_caller]
pub fn get(to: impl Into<Address>, target: &str) -> Reply {
    ask(to, &Request::get(target).header("Connection", "close"))
}

/// Percent-encodes all but letters and digits.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}
