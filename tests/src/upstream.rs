//! Scripted HTTP servers for the far side of a proxy: they hold requests until told, remember what they were sent,
//! speak WebSocket, or break off in the middle of an answer.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::{wait, websocket};

/// What the script sees of a request.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

type Script = dyn Fn(&Received, &mut Conversation<'_>) -> io::Result<()> + Send + Sync;

/// A running scripted server on a TCP port of its own. It ends with the test.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Received>>,
    holding: Mutex<usize>,
    changed: Condvar,
    released: AtomicBool,
    over: AtomicBool,
}

/// The script's end of one connection.
#[derive(Debug)]
pub struct Conversation<'a> {
    stream: &'a mut TcpStream,
    shared: &'a Shared,
}

impl Conversation<'_> {
    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a whole answer.
    pub fn reply(&mut self, status: &str, body: &[u8]) -> io::Result<()> {
        self.write(
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        )?;
        self.write(body)
    }

    /// Waits until the test calls [`Upstream::release_all`].
    pub fn hold(&mut self) {
        let mut holding = self.shared.holding.lock().unwrap();
        *holding += 1;
        self.shared.changed.notify_all();
        while !self.shared.released.load(Ordering::SeqCst)
            && !self.shared.over.load(Ordering::SeqCst)
        {
            holding = self.shared.changed.wait(holding).unwrap();
        }
        *holding -= 1;
    }

    /// Echoes WebSocket frames until the client goes.
    pub fn echo_frames(&mut self) -> io::Result<()> {
        let mut buf = vec![];
        loop {
            while let Some((payload, used)) = websocket::unmask(&buf) {
                buf.drain(..used);
                let mut frame = vec![0x81, u8::try_from(payload.len()).unwrap_or(0)];
                frame.extend(payload);
                self.write(&frame)?;
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Ok(()),
                count => buf.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Ends the connection with a reset instead of a goodbye.
    pub fn break_off(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Upstream {
    /// Runs the script for every request.
    pub fn start(
        script: impl Fn(&Received, &mut Conversation<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let script: Arc<Script> = Arc::new(script);
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (script, shared) = (Arc::clone(&script), Arc::clone(&ours));
                thread::spawn(move || converse(stream, &shared, &*script));
            }
        });
        Self { addr, shared }
    }

    /// Answers every request with its method, target and body length.
    #[must_use]
    pub fn answering() -> Self {
        Self::start(|request, conversation| {
            let body = format!(
                "{} {} {}\n",
                request.method,
                request.target,
                request.body.len()
            );
            conversation.reply("200 OK", body.as_bytes())
        })
    }

    /// Takes every request and answers only after [`Upstream::release_all`].
    #[must_use]
    pub fn holding_requests() -> Self {
        Self::start(|_, conversation| {
            conversation.hold();
            conversation.reply("200 OK", b"released\n")
        })
    }

    /// Shakes hands and echoes text frames; answers anything else with 426.
    #[must_use]
    pub fn websocket_echo() -> Self {
        Self::start(|request, conversation| {
            if !request
                .header("upgrade")
                .is_some_and(|wanted| wanted.eq_ignore_ascii_case("websocket"))
            {
                return conversation.reply("426 Upgrade Required", b"");
            }
            let accept = websocket::ACCEPT;
            conversation.write(
                format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
                    .as_bytes(),
            )?;
            conversation.echo_frames()
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until this many requests are inside.
    #[track_caller]
    pub fn wait_until_holding(&self, count: usize) {
        wait::until(&format!("{count} requests inside the upstream"), || {
            (*self.shared.holding.lock().unwrap() >= count).then_some(())
        });
    }

    pub fn release_all(&self) {
        let _holding = self.shared.holding.lock().unwrap();
        self.shared.released.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.release_all();
        let _wakes_accept = TcpStream::connect(self.addr);
    }
}

fn converse(mut stream: TcpStream, shared: &Shared, script: &Script) {
    let _best_effort = stream.set_nodelay(true);
    let mut buf = vec![];
    while let Ok(Some(request)) = read_request(&mut stream, &mut buf) {
        shared.seen.lock().unwrap().push(request.clone());
        let mut conversation = Conversation {
            stream: &mut stream,
            shared,
        };
        if script(&request, &mut conversation).is_err() {
            break;
        }
    }
}

/// Reads one request: Content-Length and chunked bodies. `None` is a peer that said goodbye between requests.
fn read_request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let mut more = |buf: &mut Vec<u8>| -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let count = stream.read(&mut piece)?;
        buf.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    };
    let end = loop {
        if let Some(at) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(buf)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buf[..end]).into_owned();
    buf.drain(..end);
    let mut lines = head.split("\r\n");
    let mut words = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned);
    let mut request = Received {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: vec![],
    };
    if let Some(length) = request
        .header("content-length")
        .and_then(|value| value.parse::<usize>().ok())
    {
        while buf.len() < length {
            if !more(buf)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        request.body = buf.drain(..length).collect();
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let line_end = loop {
                if let Some(at) = buf.windows(2).position(|two| two == b"\r\n") {
                    break at;
                }
                if !more(buf)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let size = usize::from_str_radix(String::from_utf8_lossy(&buf[..line_end]).trim(), 16)
                .map_err(io::Error::other)?;
            while buf.len() < line_end + 2 + size + 2 {
                if !more(buf)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            request
                .body
                .extend_from_slice(&buf[line_end + 2..line_end + 2 + size]);
            buf.drain(..line_end + 2 + size + 2);
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(request))
}
