//! Two clients of HTTP/2: one that keeps the rules, and one of raw frames that need not.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::runtime::{Builder, Runtime};

use super::PATIENCE;

/// A connection that keeps the rules. A thread of its own drives it, so that a test can be in lockstep with it.
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
    waits: Runtime,
}

/// A request that was sent.
pub(crate) struct Asked {
    response: ResponseFuture,
    pub(crate) upload: SendStream<Bytes>,
}

/// An answer's head, and its body, which may come.
pub(crate) struct Answering {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: RecvStream,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The fields that follow it.
    pub(crate) trailers: HeaderMap,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

impl Http2 {
    /// Connects to a Unix socket, knowing that it speaks HTTP/2. `windows` is how much the client takes unasked.
    #[track_caller]
    pub(crate) fn connect_with(path: &Path, windows: u32) -> Self {
        let (told, tells) = mpsc::channel();
        let path = path.to_owned();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let socket = tokio::net::UnixStream::connect(path).await.unwrap();
                let mut builder = h2::client::Builder::new();
                builder
                    .initial_window_size(windows)
                    .initial_connection_window_size(windows.max(65_535));
                let (send, connection) = builder.handshake(socket).await.unwrap();
                told.send(send).unwrap();
                let _ = connection.await;
            });
        });
        Self {
            send: tells.recv_timeout(PATIENCE).expect("a handshake"),
            waits: runtime(),
        }
    }

    #[track_caller]
    pub(crate) fn connect(path: &Path) -> Self {
        Self::connect_with(path, 1 << 20)
    }

    /// Waits until the server has said that it takes no more requests.
    #[track_caller]
    pub(crate) fn wait_refused(&mut self) {
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            let request = Request::get("http://site.test/told").body(()).unwrap();
            let asked = self.try_ask(request, true);
            if asked.and_then(|asked| self.try_reply(asked)).is_err() {
                return;
            }
        }
        panic!("it still takes requests");
    }

    #[track_caller]
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let wait = async { tokio::time::timeout(PATIENCE, what).await };
        self.waits.block_on(wait).expect("it takes too long")
    }

    /// Sends a head; a body follows if it is not the `end`.
    pub(crate) fn try_ask(&mut self, request: Request<()>, end: bool) -> Result<Asked, h2::Error> {
        self.send = self.wait(self.send.clone().ready())?;
        let (response, upload) = self.send.send_request(request, end)?;
        Ok(Asked { response, upload })
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, request: Request<()>, end: bool) -> Asked {
        self.try_ask(request, end).unwrap()
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Asked {
        let url = format!("http://site.test{target}");
        self.ask(Request::get(url).body(()).unwrap(), true)
    }

    #[track_caller]
    pub(crate) fn head_of(&self, asked: Asked) -> Result<Answering, h2::Error> {
        let (head, body) = self.wait(asked.response)?.into_parts();
        Ok(Answering {
            status: head.status.as_u16(),
            fields: head.headers,
            body,
        })
    }

    /// The next piece of a body; `None` at its clean end.
    #[track_caller]
    pub(crate) fn piece(&self, answering: &mut Answering) -> Result<Option<Bytes>, h2::Error> {
        let Some(piece) = self.wait(answering.body.data()) else {
            return Ok(None);
        };
        let piece = piece?;
        answering
            .body
            .flow_control()
            .release_capacity(piece.len())?;
        Ok(Some(piece))
    }

    /// The whole answer, or how it broke off.
    #[track_caller]
    pub(crate) fn try_reply(&self, asked: Asked) -> Result<Answer, h2::Error> {
        let mut answering = self.head_of(asked)?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut answering)? {
            body.extend_from_slice(&piece);
        }
        let trailers = self.wait(std::future::poll_fn(|cx| answering.body.poll_trailers(cx)))?;
        Ok(Answer {
            status: answering.status,
            fields: answering.fields,
            body,
            trailers: trailers.unwrap_or_default(),
        })
    }

    #[track_caller]
    pub(crate) fn reply(&self, asked: Asked) -> Answer {
        self.try_reply(asked).unwrap()
    }

    /// Sends content as the server takes it.
    #[track_caller]
    pub(crate) fn upload(&self, stream: &mut SendStream<Bytes>, content: &[u8], end: bool) {
        let mut rest = content;
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let room = self.wait(std::future::poll_fn(|cx| stream.poll_capacity(cx)));
            let room = room.expect("an open stream").unwrap().min(rest.len());
            let last = end && room == rest.len();
            stream
                .send_data(Bytes::copy_from_slice(&rest[..room]), last)
                .unwrap();
            rest = &rest[room..];
        }
        if end && content.is_empty() {
            stream.send_data(Bytes::new(), true).unwrap();
        }
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Kinds of frames, by their numbers (RFC 9113 section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection of raw frames.
pub(crate) struct Frames {
    socket: UnixStream,
    unread: Vec<u8>,
}

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a reset or a farewell.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as a header block, none of them compressed (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The pseudo-fields of a GET.
pub(crate) const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "site.test"),
    (":path", "/"),
];

impl Frames {
    /// Connects and says what every client says first.
    #[track_caller]
    pub(crate) fn connect(path: &Path) -> Self {
        let mut frames = Self::connect_silently(path);
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(frame(SETTINGS, 0, 0, b""));
        frames
    }

    #[track_caller]
    pub(crate) fn connect_silently(path: &Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            unread: Vec::new(),
        }
    }

    pub(crate) fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// The next frame; `None` once the server has closed.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((header, rest)) = self.unread.split_first_chunk::<9>() {
                let length = usize::from(header[1]) << 8 | usize::from(header[2]);
                if let Some(payload) = rest.get(..length) {
                    let frame = Frame {
                        kind: header[3],
                        flags: header[4],
                        stream: u32::from_be_bytes(header[5..].try_into().unwrap()),
                        payload: payload.to_vec(),
                    };
                    self.unread.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut buffer = [0; 65536];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("a frame: {error}"),
            }
        }
    }

    /// The next frame that fits.
    #[track_caller]
    pub(crate) fn wait(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().expect("it closed instead");
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// How the server says that it is over, if it says so before it closes.
    #[track_caller]
    pub(crate) fn farewell(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}
