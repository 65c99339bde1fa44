//! The line to a daemon: calls as XML-RPC over HTTP, and streams of logs, on Unix and TCP sockets.
//! Not here: what is called, or what is printed.

use std::fmt;
use std::io;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use trine_control::client::Driver;
use trine_control::xmlrpc::{self, Fault, Value};

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum CallError {
    /// The daemon says no.
    Fault(Fault),
    /// It answers something else than 200.
    Status { code: u16, reason: String },
    /// The connection cannot be made, or breaks.
    Io(io::Error),
    /// What came is no XML-RPC.
    Answer(String),
    /// The URL is of no use.
    Url(String),
}

/// As Python shows the exceptions that scripts have met in supervisorctl's output.
impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "<class 'xmlrpc.client.Fault'>, {fault}"),
            Self::Status { code, reason } => write!(
                f,
                "<class 'xmlrpc.client.ProtocolError'>, <ProtocolError for 127.0.0.1/RPC2: {code} {reason}>"
            ),
            Self::Io(error) => {
                let class = match error.kind() {
                    io::ErrorKind::NotFound => "FileNotFoundError",
                    io::ErrorKind::ConnectionRefused => "ConnectionRefusedError",
                    io::ErrorKind::PermissionDenied => "PermissionError",
                    io::ErrorKind::ConnectionReset => "ConnectionResetError",
                    io::ErrorKind::TimedOut => "TimeoutError",
                    _ => "OSError",
                };
                match error.raw_os_error().map(nix::errno::Errno::from_raw) {
                    Some(errno) => {
                        write!(
                            f,
                            "<class '{class}'>, [Errno {}] {}",
                            errno as i32,
                            errno.desc()
                        )
                    }
                    None => write!(f, "<class '{class}'>, {error}"),
                }
            }
            Self::Answer(why) => write!(f, "<class 'xmlrpc.client.ResponseError'>, {why}"),
            Self::Url(url) => {
                write!(
                    f,
                    "<class 'ValueError'>, Unknown protocol for serverurl {url}"
                )
            }
        }
    }
}

impl CallError {
    pub(super) fn fault(&self) -> Option<i32> {
        match self {
            Self::Fault(fault) => Some(fault.code),
            _ => None,
        }
    }

    pub(super) fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// An answer's head is read; this is the rest.
pub(super) struct Stream {
    driver: Driver,
    body: Incoming,
}

impl Stream {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let Some(frame) = self.driver.run(self.body.frame()).await else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl Server {
    pub(super) async fn call(&self, method: &str, params: &[Value]) -> Result<Value, CallError> {
        let body = xmlrpc::write_call(method, params);
        let Stream { mut driver, body } = self.ask("POST", "/RPC2", body).await?;
        let body = Limited::new(body, xmlrpc::MAX_BYTES).collect();
        let bytes = driver.run(body).await.map_err(broken)?.to_bytes();
        match xmlrpc::read_answer(&bytes) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(fault)) => Err(CallError::Fault(fault)),
            Err(error) => Err(CallError::Answer(error.to_string())),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Stream, CallError> {
        self.ask("GET", path, String::new()).await
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<Stream, CallError> {
        let (mut sender, mut driver, host) = self.connect().await?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("user-agent", "trine")
            .header("accept-encoding", "identity");
        if method == "POST" {
            request = request.header("content-type", "text/xml");
        }
        if let (Some(name), password) = (&self.username, self.password.as_deref()) {
            let pair = format!("{name}:{}", password.unwrap_or_default());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header("authorization", format!("Basic {encoded}"));
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_| CallError::Url(self.url.clone()))?;
        let response = driver
            .run(sender.send_request(request))
            .await
            .map_err(broken)?;
        let (head, body) = response.into_parts();
        if head.status != 200 {
            return Err(CallError::Status {
                code: head.status.as_u16(),
                reason: head
                    .status
                    .canonical_reason()
                    .unwrap_or_default()
                    .to_owned(),
            });
        }
        Ok(Stream { driver, body })
    }

    async fn connect(&self) -> Result<(Sender, Driver, String), CallError> {
        if let Some(path) = self.url.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).await.map_err(CallError::Io)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            return Ok((sender, Driver::new(connection), "localhost".to_owned()));
        }
        let unusable = || CallError::Url(self.url.clone());
        let rest = self.url.strip_prefix("http://").ok_or_else(unusable)?;
        let authority: http::uri::Authority = rest
            .split('/')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| unusable())?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(CallError::Io)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        Ok((sender, Driver::new(connection), authority.to_string()))
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
    CallError::Io(io::Error::new(io::ErrorKind::ConnectionReset, error))
}
