//! One client connection: waits for a request, has it served, logs it, and waits for the next one.
//!
//! `head` reads a request's head, `body` its body, `settings` says what the configuration grants the connection;
//! `serve`, `stage` and `script` decide who answers, `subrequest` asks for ourselves, `around` what goes around an answer, `parts` puts answers together, `authorizer` reads a verdict; `answer` sends short answers,
//! `reply` writes our own, `frame` is a write that may take several turns, `wait` has what ends in time, `record` is
//! what the log gets. Not here: how anything is answered.

pub(crate) mod answer;
mod around;
mod authorizer;
pub(crate) mod body;
mod cached;
pub(crate) mod collect;
pub(crate) mod explain;
pub(crate) mod frame;
mod head;
pub(crate) mod lane;
mod parts;
mod pause;
pub(crate) mod record;
pub(crate) mod reply;
mod script;
pub(crate) mod serve;
mod settings;
mod stage;
pub(crate) mod subrequest;
pub(crate) mod told;
mod wait;

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use trine_http1::{Request, RequestError};
use trine_sys::net::{self, SockAddr};

use crate::deadline::{Call, Place};
use crate::engine::{Engine, Generation};
use crate::headers::forwarded::Peer;
use crate::http2::{self, Http2Stream};
use crate::limit::pace::Pace;
use crate::stream::Stream;
use crate::template::Scene;
use crate::upstream::pool::add;
use crate::workbench::Workbench;
use head::NoHead;
use lane::Lane;
use record::Record;
use subrequest::Inner;
pub(crate) use wait::Interrupted;

/// How long, when the daemon drains, a new connection may still bring its first request.
const FRESH_GRACE: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) engine: Rc<Engine>,
    /// Requests of our own share it.
    pub(crate) stream: Rc<Stream>,
    pub(crate) place: Place,
    pub(crate) peer: Peer,
    /// The peer's address as it is written in fields and logs.
    pub(crate) peer_text: String,
    pub(crate) peer_port: u16,
    /// Whom a preamble of the PROXY protocol names: the client, and where it connected to.
    pub(crate) introduced: Option<Box<(SocketAddr, SocketAddr)>>,
    /// It came without TLS to where TLS is spoken.
    pub(crate) is_undressed: bool,
    /// Which listener it came in by, and that one's port.
    pub(crate) door: usize,
    pub(crate) port: u16,
    /// Its end here as text, once it was asked for: the kernel is asked once.
    local: OnceCell<Box<[u8]>>,
    /// The server of the last request, by its number.
    pub(crate) server: Cell<Option<usize>>,
    /// Counts connections, over one core.
    pub(crate) number: u64,
    /// Counts the connection's requests.
    pub(crate) requests: Cell<u64>,
    opened: Instant,
    /// The configuration that the connection's last request was served by.
    generation: std::cell::RefCell<Rc<Generation>>,
    /// Whether to look out for the client's leaving; pointless once it has sent more than was asked for.
    watching: Cell<bool>,
    /// How fast the answer under way goes out, if that is limited.
    pub(crate) pace: std::cell::RefCell<Option<Pace>>,
    /// The rules of the location of its last request, which say how long the client may take.
    pub(crate) rules: Cell<Option<usize>>,
    /// The last bytes of an answer wait in the kernel for the connection's end.
    pub(crate) holds: Cell<bool>,
    /// How fast it sends and takes.
    pub(crate) sends: Lane,
    pub(crate) takes: Lane,
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Keep,
    Close,
    /// The client may still be sending: read on for a while, so that it gets the answer and not a reset.
    Linger,
    /// The answer is incomplete, which must not look like its end.
    Reset,
    /// It was no request: the client speaks HTTP/2.
    Http2,
}

impl Conn {
    /// When the client came.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    pub(crate) fn new(
        engine: Rc<Engine>,
        stream: Stream,
        peer: Peer,
        door: usize,
        port: u16,
    ) -> Self {
        let peer_text = peer.text();
        let generation = engine.generation().into();
        let place = engine.deadlines.place(door);
        let number = engine.figures.connections.get() + 1;
        Self {
            engine,
            stream: stream.into(),
            place,
            peer,
            peer_text,
            peer_port: 0,
            introduced: None,
            is_undressed: false,
            door,
            port,
            local: OnceCell::new(),
            server: Cell::new(None),
            number,
            requests: Cell::new(0),
            opened: Instant::now(),
            generation,
            watching: Cell::new(true),
            pace: std::cell::RefCell::new(None),
            rules: Cell::new(None),
            holds: Cell::new(false),
            sends: Lane::default(),
            takes: Lane::default(),
        }
    }

    /// For one stream of an HTTP/2 connection: its `request`-th.
    pub(crate) fn for_stream(parent: &Self, stream: Http2Stream, request: u64) -> Self {
        Self {
            requests: Cell::new(request - 1),
            opened: parent.opened,
            generation: parent.engine.generation().into(),
            rules: Cell::new(None),
            ..Self::like(parent, Stream::Http2(Box::new(stream)))
        }
    }

    /// For a request of the proxy's own, like one on this connection: what is answered goes to nobody.
    ///
    /// # Errors
    /// Descriptors are short.
    pub(crate) fn for_nobody(like: &Self) -> std::io::Result<Self> {
        let pair = tokio::net::UnixStream::pair()?;
        Ok(Self::like(like, Stream::Nobody(Box::new(pair))))
    }

    /// For a request of the proxy's own, for one on this connection.
    pub(crate) fn for_own(client: &Self) -> Self {
        let inner = Inner::new(Rc::clone(&client.stream));
        Self::like(client, Stream::Inner(Box::new(inner)))
    }

    /// The same, and who reads its answer.
    pub(crate) fn for_part(client: &Self) -> (Self, tokio::io::DuplexStream) {
        let (inner, reader) = Inner::read(Rc::clone(&client.stream));
        (Self::like(client, Stream::Inner(Box::new(inner))), reader)
    }

    fn like(like: &Self, stream: Stream) -> Self {
        let engine = Rc::clone(&like.engine);
        let place = engine.deadlines.place_of_part(like.door);
        Self {
            stream: stream.into(),
            place,
            peer: like.peer,
            peer_text: like.peer_text.clone(),
            peer_port: like.peer_port,
            introduced: like.introduced.clone(),
            is_undressed: false,
            door: like.door,
            port: like.port,
            local: like.local.clone(),
            server: like.server.clone(),
            number: like.number,
            requests: like.requests.clone(),
            opened: Instant::now(),
            generation: like.generation.clone(),
            watching: Cell::new(true),
            pace: std::cell::RefCell::new(None),
            rules: like.rules.clone(),
            holds: Cell::new(false),
            sends: Lane::default(),
            takes: Lane::default(),
            engine,
        }
    }

    /// The configuration that its last request is served by.
    pub(crate) fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation.borrow())
    }

    /// The address that the client has connected to, without its port; `None` if the connection is broken.
    pub(crate) fn local_text(&self) -> Option<&[u8]> {
        if self.local.get().is_none() {
            let text = match net::local_addr(&self.stream).ok()? {
                SockAddr::Tcp(addr) => addr.ip().to_canonical().to_string().into_bytes(),
                SockAddr::Unix(path) => [b"unix:", path.as_os_str().as_encoded_bytes()].concat(),
                _ => b"unix:".to_vec(),
            };
            _ = self.local.set(text.into());
        }
        self.local.get().map(|text| &**text)
    }

    /// Serves the request of a stream of HTTP/2. Returns the server that it was for.
    pub(crate) async fn run_stream(self) -> Option<usize> {
        let mut bench = self.engine.store.bench();
        Box::pin(self.busy(&mut bench)).await;
        self.engine.store.give_back(bench);
        if let Some(stream) = self.stream.http2() {
            stream.close();
        }
        self.server.get()
    }

    /// What the client speaks: `https` with TLS.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.stream.tls().is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// Serves requests until either side has had enough.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn has room for its arguments twice, and this one's future is what an idle connection costs"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let figures = &self.engine.figures;
            add(&figures.connections, 1);
            self.engine.deadlines.tally.accepted.up();
            let mut served = false;
            while self.idle(served).await {
                let mut bench = self.engine.store.bench();
                // Boxed, so that an idle connection's task does not have room for all that a request may need.
                let ending = Box::pin(self.busy(&mut bench)).await;
                if ending == Some(Ending::Http2) {
                    let early = bench.input.unread().to_vec();
                    self.engine.store.give_back(bench);
                    return Box::pin(http2::run(self, early)).await;
                }
                self.engine.store.give_back(bench);
                if ending == Some(Ending::Close) && matches!(&*self.stream, Stream::Tls(_)) {
                    // A client that speaks HTTP where TLS is spoken is told so.
                    (self.stream, self.is_undressed) = undressed(self.stream);
                    if self.is_undressed {
                        continue;
                    }
                }
                match ending {
                    None => continue,
                    Some(Ending::Keep) => {
                        served = true;
                        continue;
                    }
                    // What is mirrored still may have it: the client is not to wait for that. And what is held back would be
                    // lost if the client has sent something more: closing resets the connection then.
                    Some(Ending::Close)
                        if self.holds.get() || Rc::strong_count(&self.stream) > 1 =>
                    {
                        self.stream.shutdown_write();
                    }
                    Some(Ending::Close) => self.stream.farewell(),
                    Some(Ending::Linger) => Box::pin(self.linger()).await,
                    Some(Ending::Reset | Ending::Http2) => self.stream.reset_when_closed(),
                }
                break;
            }
        }
    }

    /// Waits for a request to begin, without a buffer. Returns false if none will come.
    async fn idle(&self, served: bool) -> bool {
        let begun = Instant::now();
        let end = if served {
            begun + self.timeout(|timeouts| timeouts.keepalive)
        } else {
            // Until its first request, whatever a client sends (as in a handshake) has to lead to one in time.
            self.opened + self.timeout(|timeouts| timeouts.header)
        };
        let mut armed = false;
        let call = poll_fn(|cx| {
            if let Poll::Ready(ready) = self.stream.poll_readable(cx) {
                // An error comes up again when it is read.
                drop(ready);
                return Poll::Ready(None);
            }
            if !self.is_welcome() {
                return Poll::Ready(Some(Call::Leave));
            }
            if !armed {
                armed = true;
                self.place.set(Some(end));
                self.place.set_idle(true);
            }
            self.place.poll(cx).map(Some)
        });
        let call = call.await;
        self.place.set_idle(false);
        match call {
            None => true,
            // A request may have come in this very moment, before the runtime has noticed: it still gets its answer.
            Some(Call::Leave) if self.stream.has_bytes() => {
                poll_fn(|cx| self.stream.poll_readable(cx)).await.is_ok()
            }
            Some(Call::Leave) => {
                let grace = if served {
                    self.timeout(|timeouts| timeouts.keepalive_min)
                        .saturating_sub(begun.elapsed())
                } else {
                    FRESH_GRACE
                };
                // Boxed, as nearly no idle connection ever gets here.
                !grace.is_zero() && Box::pin(self.first_bytes_within(grace)).await
            }
            Some(Call::Late) => false,
        }
    }

    /// A client that has just connected is about to ask; closed now, it would lose a request it could not take back.
    async fn first_bytes_within(&self, grace: Duration) -> bool {
        let readable = poll_fn(|cx| self.stream.poll_readable(cx));
        tokio::time::timeout(grace, readable)
            .await
            .is_ok_and(|ready| ready.is_ok())
    }

    /// Serves requests, one after the other, until nothing more is there. `None` if there was nothing at all: the
    /// runtime takes a new socket to be readable until it has tried.
    async fn busy(&self, bench: &mut Workbench) -> Option<Ending> {
        loop {
            let started = match self.read_head(bench).await {
                Ok(()) => Instant::now(),
                Err(NoHead::Nothing) => return None,
                Err(NoHead::Quiet) => return Some(Ending::Close),
                Err(NoHead::Http2) => return Some(Ending::Http2),
                Err(NoHead::Late) => {
                    let why = "it did not finish its request's head in time";
                    if self.timeouts().resets {
                        return Some(self.cut(bench, 408, why));
                    }
                    return Some(Box::pin(self.refuse(bench, 408, why)).await);
                }
                Err(NoHead::Bad(error)) => {
                    let status = if error == RequestError::UnsupportedVersion {
                        505
                    } else {
                        error.status()
                    };
                    return Some(Box::pin(self.refuse(bench, status, error)).await);
                }
            };
            if self.requests.get() == 0
                && self.stream.http2().is_none()
                && self.has_agreed_on_http2()
            {
                tracing::info!(client = %self.peer_text, "the client agreed on HTTP/2 and speaks HTTP/1");
                return Some(Ending::Close);
            }
            self.requests.set(self.requests.get() + 1);
            self.watching.set(true);
            self.engine.deadlines.tally.requests.up();
            let mut record = Record::new(started);
            record.request_bytes = bench.input.start() as u64;
            let ending = serve::serve(self, bench, &mut record).await;
            self.finish(bench, &record);
            self.engine.store.reunite(bench);
            match ending {
                Ending::Keep if bench.input.is_empty() => return Some(Ending::Keep),
                Ending::Keep => {}
                // Closing with bytes unread resets the connection, and the answer may be lost.
                Ending::Close if !bench.input.is_empty() || !self.watching.get() => {
                    return Some(Ending::Linger);
                }
                Ending::Close | Ending::Linger | Ending::Reset | Ending::Http2 => {
                    return Some(ending);
                }
            }
            bench.input.compact();
        }
    }

    /// Is done with a client that gets no answer.
    fn cut(&self, bench: &Workbench, status: u16, why: &str) -> Ending {
        tracing::info!(client = %self.peer_text, status, "reset the client's connection: {why}");
        let mut record = Record::new(Instant::now());
        record.headless = true;
        record.status = status;
        self.finish(bench, &record);
        Ending::Reset
    }

    /// Answers a request that cannot be read, and is done with the client.
    async fn refuse(
        &self,
        bench: &mut Workbench,
        status: u16,
        why: impl std::fmt::Display,
    ) -> Ending {
        tracing::info!(client = %self.peer_text, status, "refused the client's request: {why}");
        let mut record = Record::new(Instant::now());
        record.headless = true;
        let reply = reply::Reply::status(status);
        record.status = status;
        let signature = self.signature();
        let time = &self.engine.time;
        record.body_bytes = reply.write(
            &mut bench.out,
            time,
            &signature,
            trine_http1::Version::Http11,
            reply::Closing::Close,
            false,
        );
        let ending = if self.send(&bench.out).await.is_ok() {
            Ending::Linger
        } else {
            Ending::Close
        };
        self.finish(bench, &record);
        ending
    }

    /// Counts and logs a request that is over.
    fn finish(&self, bench: &Workbench, record: &Record) {
        self.engine.figures.count(record);
        *self.pace.borrow_mut() = None;
        let request = (!record.headless).then(|| bench.head.on(bench.input.all()));
        let generation = self.generation.borrow();
        let config = &generation.config;
        let rules = if record.headless {
            let listen = generation.listen(self.door);
            let server = listen.and_then(|listen| listen.servers.first());
            server.map(|&server| config.servers[server].rules)
        } else {
            Some(record.visit.rules)
        };
        let Some(rules) = rules.map(|rules| config.rules(rules)) else {
            return;
        };
        let scene = Scene::new(self, config, request, record);
        self.engine.logs.write(&rules.logs, &scene);
    }

    /// Whether another request may follow this one on the connection.
    pub(crate) fn may_keep(&self, request: &Request<'_>) -> bool {
        request.keep_alive()
            && !self.is_undressed
            && self.is_welcome()
            && !self.timeout(|timeouts| timeouts.keepalive.is_zero())
            && !self.is_used_up(self.requests.get())
    }

    /// Whether a connection with so many requests has to end.
    pub(crate) fn is_used_up(&self, requests: u64) -> bool {
        let (most, lifetime) = self.timeout(|timeouts| (timeouts.requests, timeouts.lifetime));
        requests >= most || self.opened.elapsed() >= lifetime
    }

    /// Whether the daemon goes on, and with this connection's door.
    pub(crate) fn is_welcome(&self) -> bool {
        !self.engine.is_draining() && self.engine.knows_door(self.door)
    }

    /// The configuration for a new request: the newest that still knows this connection's listener.
    fn renew(&self) -> Rc<Generation> {
        self.rules.set(None);
        self.sends.reset();
        self.takes.reset();
        let newest = self.engine.generation();
        if newest.listen(self.door).is_some() {
            *self.generation.borrow_mut() = newest;
        }
        Rc::clone(&self.generation.borrow())
    }
}

/// What is beneath TLS if the client speaks none, and whether it does not.
fn undressed(stream: Rc<Stream>) -> (Rc<Stream>, bool) {
    match Rc::try_unwrap(stream) {
        Ok(Stream::Tls(tls)) => match tls.plain() {
            Ok(socket) => (socket.into(), true),
            Err(tls) => (Stream::Tls(tls).into(), false),
        },
        Ok(other) => (other.into(), false),
        Err(shared) => (shared, false),
    }
}
