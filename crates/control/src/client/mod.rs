//! The control client on hyper: one connection per call, driven by the future that asks. It spawns nothing,
//! so any tokio runtime with I/O and time will do.
//!
//! Not here: what to do when there is no daemon, and reconnecting an event stream.

mod drive;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::message::{ActionResult, Event, ProblemDocument, ReloadReport, Status};
use crate::sse::{self, DecodeError};
use drive::Answer;
pub use drive::Driver;

/// The longest answer that is read as a whole, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// How long to try when the daemon's backlog is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the daemon behind a control socket. Cheap to make and to clone; it holds no connection.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

/// Why an answer did not come, or was no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no socket, or nobody accepts on it.
    #[error("no daemon listens on {}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There is a socket, and it could not be used.
    #[error("cannot connect to {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer; PermissionDenied when it is another user's daemon.
        #[source]
        source: io::Error,
    },
    /// The daemon went away in the middle, or does not speak HTTP.
    #[error("the daemon on {} broke off", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What hyper says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("{problem}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Why.
        problem: Box<ProblemDocument>,
    },
    /// The answer is not what this version of the API says.
    #[error("cannot read the answer of {} to {call}", path.display())]
    Unreadable {
        /// The socket.
        path: PathBuf,
        /// Method and path.
        call: String,
        /// What the reader stumbled over.
        #[source]
        source: serde_json::Error,
    },
    /// An event cannot be read.
    #[error("cannot read the events of {}", path.display())]
    Events {
        /// The socket.
        path: PathBuf,
        /// What the decoder says.
        #[source]
        source: DecodeError,
    },
}

impl ClientError {
    /// Whether there is no daemon at all, as opposed to one that says no.
    #[must_use]
    pub fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon { .. })
    }

    /// The problem document, when the daemon answered with one.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemDocument> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

/// # Errors
/// All calls: [`ClientError`], which names the socket. None has a time limit of its own: waiting for a
/// restart may take long. Put `tokio::time::timeout` around.
impl Client {
    /// A client for the daemon whose control socket is at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `GET path`, read as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read("GET", path).await
    }

    /// `POST path` without a body, the answer read as JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read("POST", path).await
    }

    /// `GET path`, read as text: `/metrics`, a log.
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.whole(self.send("GET", path, None).await?).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `GET path`, piece by piece as it comes.
    pub async fn stream(&self, path: &str) -> Result<Chunks, ClientError> {
        let answer = self.send("GET", path, None).await?;
        Ok(Chunks {
            client: self.clone(),
            answer,
        })
    }

    /// The events after the one with id `since` (0: all that are kept), or from now on. A `gap` event comes
    /// first when some were lost. Once this returns, no later event is missed.
    pub async fn events(&self, since: Option<u64>) -> Result<EventStream, ClientError> {
        let mut answer = self.send("GET", "/v1/events", since).await?;
        let mut decoder = sse::Decoder::default();
        // The first piece says that we are subscribed.
        let first = self.next_chunk(&mut answer).await?.unwrap_or_default();
        let ready = self.decode(&mut decoder, &first)?;
        Ok(EventStream {
            chunks: Chunks {
                client: self.clone(),
                answer,
            },
            decoder,
            ready,
        })
    }

    /// `GET /v1/status`
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// `POST /v1/reload`. A configuration that is bad is a report with its problems, not an error.
    pub async fn reload(&self, dry_run: bool) -> Result<ReloadReport, ClientError> {
        self.post(if dry_run {
            "/v1/reload?dry_run=true"
        } else {
            "/v1/reload"
        })
        .await
    }

    /// `POST /v1/drain`
    pub async fn drain(&self) -> Result<ActionResult, ClientError> {
        self.post("/v1/drain").await
    }

    /// `POST /v1/stop`
    pub async fn stop(&self) -> Result<ActionResult, ClientError> {
        self.post("/v1/stop").await
    }

    async fn read<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, ClientError> {
        let bytes = self.whole(self.send(method, path, None).await?).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Unreadable {
            path: self.path.clone(),
            call: format!("{method} {path}"),
            source,
        })
    }

    /// Sends a request and waits for the head of its answer. An answer of 400 and above that is a problem
    /// document (not a report of another type, as a reload's) becomes an error here.
    async fn send(
        &self,
        method: &str,
        path: &str,
        since: Option<u64>,
    ) -> Result<Answer, ClientError> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        let request = match since {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|source| self.broken(source))?;
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.broken(source))?;
        let mut driver = Driver::new(connection);
        let response = driver
            .run(sender.send_request(request))
            .await
            .map_err(|source| self.broken(source))?;
        let (head, body) = response.into_parts();
        let answer = Answer { driver, body };
        let kind = head
            .headers
            .get(http::header::CONTENT_TYPE)
            .map_or(&b""[..], |kind| kind.as_bytes());
        let is_problem = kind == ProblemDocument::CONTENT_TYPE.as_bytes();
        let is_good =
            head.status.is_success() || (kind == b"application/json" && head.status == 422);
        if is_good && !is_problem {
            return Ok(answer);
        }
        let bytes = self.whole(answer).await?;
        let problem: Option<ProblemDocument> =
            serde_json::from_slice(&bytes).ok().filter(|_| is_problem);
        let problem = problem.unwrap_or_else(|| {
            ProblemDocument::new(
                head.status.as_u16(),
                String::from_utf8_lossy(&bytes).trim().to_owned(),
            )
        });
        Err(ClientError::Refused {
            path: self.path.clone(),
            problem: Box::new(problem),
        })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let started = tokio::time::Instant::now();
        loop {
            let error = match UnixStream::connect(&self.path).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let path = self.path.clone();
            match error.kind() {
                // EAGAIN: more connections wait than the backlog holds (`unix(7)`).
                io::ErrorKind::WouldBlock if started.elapsed() < CONNECT_TIMEOUT => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    return Err(ClientError::NoDaemon {
                        path,
                        source: error,
                    });
                }
                _ => {
                    return Err(ClientError::Connect {
                        path,
                        source: error,
                    });
                }
            }
        }
    }

    async fn whole(&self, answer: Answer) -> Result<Bytes, ClientError> {
        let Answer { mut driver, body } = answer;
        let body = driver
            .run(Limited::new(body, MAX_ANSWER_BYTES).collect())
            .await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|source| self.broken(source))
    }

    async fn next_chunk(&self, answer: &mut Answer) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = answer.driver.run(answer.body.frame()).await else {
                return Ok(None);
            };
            let frame = frame.map_err(|source| self.broken(source))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    fn decode(
        &self,
        decoder: &mut sse::Decoder,
        bytes: &[u8],
    ) -> Result<std::vec::IntoIter<Event>, ClientError> {
        let events = decoder.push(bytes);
        events
            .map(Vec::into_iter)
            .map_err(|source| ClientError::Events {
                path: self.path.clone(),
                source,
            })
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Broken {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub struct Chunks {
    client: Client,
    answer: Answer,
}

impl Chunks {
    /// The next piece, `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the daemon goes away in the middle.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.client.next_chunk(&mut self.answer).await
    }
}

/// Events, as they happen.
#[derive(Debug)]
pub struct EventStream {
    chunks: Chunks,
    decoder: sse::Decoder,
    ready: std::vec::IntoIter<Event>,
}

impl EventStream {
    /// The next event, `None` when the daemon ended the stream (it is stopping). Dropping the future loses
    /// nothing. To resume on a new connection, ask for the events after the last id seen.
    ///
    /// # Errors
    /// [`ClientError`] when the daemon goes away in the middle or sends what is no event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(Some(event));
            }
            let Some(bytes) = self.chunks.next().await? else {
                return Ok(None);
            };
            self.ready = self.chunks.client.decode(&mut self.decoder, &bytes)?;
        }
    }
}
