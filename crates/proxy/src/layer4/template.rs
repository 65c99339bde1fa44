//! Strings with the variables of sessions: compiled once, written for each session.
//!
//! Not here: how strings are taken apart (`crate::template`), or what a session is (`session`).

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::handshake::TlsVariable;
use super::session::{Attempt, Session};
use crate::config::StreamTable;
use crate::limit;
use crate::pattern::Captures;
use crate::template::geo;
use crate::template::{Part, TemplateError, compile};
use crate::tls::Shown;

/// A string, some parts of which are known only with the session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text(Vec<Part<Variable>>);

/// nginx's variables of `stream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    BinaryRemoteAddr,
    BytesReceived,
    BytesSent,
    Connection,
    HostName,
    Msec,
    Version,
    Pid,
    Protocol,
    IntroducedAddr,
    IntroducedPort,
    IntroducedServerAddr,
    IntroducedServerPort,
    RealipRemoteAddr,
    RealipRemotePort,
    RemoteAddr,
    RemotePort,
    ServerAddr,
    ServerPort,
    SessionTime,
    Status,
    TimeIso,
    TimeLocal,
    Tls(TlsVariable),
    TlsClient(Shown),
    HelloName,
    HelloProtocols,
    HelloVersion,
    UpstreamAddr,
    UpstreamReceived,
    UpstreamSent,
    UpstreamConnect,
    UpstreamFirstByte,
    UpstreamSession,
    /// A group of the expression that a `map`'s row has matched by.
    Group(usize),
    NamedGroup(String),
    Map(usize),
    Slot(usize),
    LimitStatus,
}

/// Names that a configuration adds.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) maps: HashMap<String, usize>,
    /// Variables that `set` makes.
    pub(crate) slots: HashMap<String, usize>,
    /// Named groups of the expressions of maps.
    pub(crate) groups: Vec<String>,
}

/// What the values are taken from.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) session: &'a Session,
    captures: Option<&'a Captures>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self {
            session,
            captures: None,
        }
    }
}

impl Text {
    /// Compiles a string.
    ///
    /// # Errors
    /// A `$` that is no variable, or one that nobody knows.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Self, TemplateError> {
        compile(text, |name| Variable::find(name, names)).map(Self)
    }

    /// Appends its value.
    pub(crate) fn write(&self, out: &mut Vec<u8>, scene: Scene<'_>) {
        self.write_escaped(out, scene, |out, value| {
            out.extend_from_slice(value.unwrap_or_default());
        });
    }

    /// Appends its value, each variable's part made safe by `escape`; it gets `None` for one that has no value.
    pub(crate) fn write_escaped(
        &self,
        out: &mut Vec<u8>,
        scene: Scene<'_>,
        escape: impl Fn(&mut Vec<u8>, Option<&[u8]>),
    ) {
        let mut value = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    value.clear();
                    let found = variable.write(&mut value, scene);
                    escape(out, found.then_some(&value));
                }
            }
        }
    }

    /// Its value.
    pub(crate) fn value(&self, session: &Session) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, Scene::new(session));
        out
    }
}

impl Variable {
    fn find(name: &str, names: &Names) -> Option<Self> {
        if let Some(map) = names.maps.get(name) {
            return Some(Self::Map(*map));
        }
        if let Some(slot) = names.slots.get(name) {
            return Some(Self::Slot(*slot));
        }
        Some(match name {
            "binary_remote_addr" => Self::BinaryRemoteAddr,
            "bytes_received" => Self::BytesReceived,
            "bytes_sent" => Self::BytesSent,
            "connection" => Self::Connection,
            "hostname" => Self::HostName,
            "msec" => Self::Msec,
            "nginx_version" => Self::Version,
            "pid" => Self::Pid,
            "protocol" => Self::Protocol,
            "proxy_protocol_addr" => Self::IntroducedAddr,
            "proxy_protocol_port" => Self::IntroducedPort,
            "proxy_protocol_server_addr" => Self::IntroducedServerAddr,
            "proxy_protocol_server_port" => Self::IntroducedServerPort,
            "realip_remote_addr" => Self::RealipRemoteAddr,
            "realip_remote_port" => Self::RealipRemotePort,
            "remote_addr" => Self::RemoteAddr,
            "remote_port" => Self::RemotePort,
            "server_addr" => Self::ServerAddr,
            "server_port" => Self::ServerPort,
            "session_time" => Self::SessionTime,
            "status" => Self::Status,
            "time_iso8601" => Self::TimeIso,
            "time_local" => Self::TimeLocal,
            "ssl_preread_server_name" => Self::HelloName,
            "ssl_preread_alpn_protocols" => Self::HelloProtocols,
            "ssl_preread_protocol" => Self::HelloVersion,
            "ssl_protocol" => Self::Tls(TlsVariable::Protocol),
            "ssl_cipher" => Self::Tls(TlsVariable::Cipher),
            "ssl_server_name" => Self::Tls(TlsVariable::ServerName),
            "ssl_client_verify" => Self::Tls(TlsVariable::Verdict),
            "ssl_curve" => Self::Tls(TlsVariable::Curve),
            "ssl_alpn_protocol" => Self::Tls(TlsVariable::Application),
            "ssl_session_reused" => Self::Tls(TlsVariable::Reused),
            "ssl_client_s_dn" => Self::TlsClient(Shown::Subject),
            "ssl_client_i_dn" => Self::TlsClient(Shown::Issuer),
            "ssl_client_serial" => Self::TlsClient(Shown::Serial),
            "ssl_client_fingerprint" => Self::TlsClient(Shown::Fingerprint),
            "ssl_client_v_start" => Self::TlsClient(Shown::Begin),
            "ssl_client_v_end" => Self::TlsClient(Shown::End),
            "ssl_client_v_remain" => Self::TlsClient(Shown::Remain),
            "ssl_client_cert" => Self::TlsClient(Shown::Indented),
            "ssl_client_raw_cert" => Self::TlsClient(Shown::Raw),
            "limit_conn_status" => Self::LimitStatus,
            "upstream_addr" => Self::UpstreamAddr,
            "upstream_bytes_received" => Self::UpstreamReceived,
            "upstream_bytes_sent" => Self::UpstreamSent,
            "upstream_connect_time" => Self::UpstreamConnect,
            "upstream_first_byte_time" => Self::UpstreamFirstByte,
            "upstream_session_time" => Self::UpstreamSession,
            _ => {
                if let Ok(number @ 0..=9) = name.parse() {
                    return Some(Self::Group(number));
                }
                let known = names.groups.iter().any(|group| group == name);
                return known.then(|| Self::NamedGroup(name.to_owned()));
            }
        })
    }

    /// Appends the value; false if there is none.
    fn write(&self, out: &mut Vec<u8>, scene: Scene<'_>) -> bool {
        let session = scene.session;
        let time = &session.engine.time;
        // Writing to a Vec cannot fail.
        macro_rules! put {
            ($($value:tt)+) => {{
                let _ = write!(out, $($value)+);
            }};
        }
        macro_rules! maybe {
            ($value:expr) => {
                match $value {
                    Some(value) => put!("{value}"),
                    None => return false,
                }
            };
        }
        let introduced = session.introduced.as_ref();
        match self {
            Self::BinaryRemoteAddr => match session.client().0 {
                Some(std::net::IpAddr::V4(addr)) => out.extend_from_slice(&addr.octets()),
                Some(std::net::IpAddr::V6(addr)) => out.extend_from_slice(&addr.octets()),
                None => out.extend_from_slice(b"unix:"),
            },
            Self::BytesReceived => put!("{}", session.received.get()),
            Self::BytesSent => put!("{}", session.sent.get()),
            Self::Connection => put!("{}", session.number),
            Self::HostName => match nix::unistd::gethostname() {
                Ok(name) => out.extend_from_slice(name.as_encoded_bytes()),
                Err(_) => return false,
            },
            Self::Msec => {
                let since = time.now().duration_since(UNIX_EPOCH).unwrap_or_default();
                seconds(out, since);
            }
            Self::Version => put!("{}", crate::NGINX_VERSION),
            Self::Pid => put!("{}", std::process::id()),
            Self::Protocol => put!("{}", session.protocol),
            Self::IntroducedAddr => maybe!(introduced.map(|pair| pair.0.ip())),
            Self::IntroducedPort => maybe!(introduced.map(|pair| pair.0.port())),
            Self::IntroducedServerAddr => maybe!(introduced.map(|pair| pair.1.ip())),
            Self::IntroducedServerPort => maybe!(introduced.map(|pair| pair.1.port())),
            Self::RealipRemoteAddr => put!("{}", session.peer_text()),
            Self::RealipRemotePort => put!("{}", session.peer_port),
            Self::RemoteAddr => put!("{}", session.client_text()),
            Self::RemotePort => put!("{}", session.client().1),
            Self::ServerAddr => maybe!(session.local.map(|local| local.ip())),
            Self::ServerPort => put!("{}", session.local.map_or(0, |local| local.port())),
            Self::SessionTime => seconds(out, session.began.elapsed()),
            Self::Status => put!("{:03}", session.status.get()),
            Self::TimeIso => {
                let now = jiff::Timestamp::try_from(time.now()).unwrap_or_default();
                let zoned = now.to_zoned(jiff::tz::TimeZone::system());
                put!("{}", zoned.strftime("%Y-%m-%dT%H:%M:%S%:z"));
            }
            Self::TimeLocal => time.write_local(out),
            Self::Tls(what) => return session.tls().is_some_and(|tls| what.write(out, tls)),
            Self::TlsClient(what) => maybe!(session.tls().and_then(|tls| tls.shown(*what))),
            Self::HelloName => match session.hello.get() {
                Some(hello) => out.extend_from_slice(&hello.server_name),
                None => return false,
            },
            Self::HelloProtocols => match session.hello.get() {
                Some(hello) => out.extend_from_slice(&hello.protocols.join(&b","[..])),
                None => return false,
            },
            Self::HelloVersion => maybe!(session.hello.get().map(|hello| hello.version_text())),
            Self::UpstreamAddr => {
                return attempts(out, session, |out, one| {
                    out.extend_from_slice(one.addr.as_bytes());
                });
            }
            Self::UpstreamReceived => {
                return attempts(out, session, |out, one| _ = write!(out, "{}", one.received));
            }
            Self::UpstreamSent => {
                return attempts(out, session, |out, one| _ = write!(out, "{}", one.sent));
            }
            Self::UpstreamConnect => {
                return attempts(out, session, |out, one| moment(out, one.connected));
            }
            Self::UpstreamFirstByte => {
                return attempts(out, session, |out, one| moment(out, one.first_byte));
            }
            Self::UpstreamSession => {
                return attempts(out, session, |out, one| {
                    let time = one.lasted.unwrap_or_else(|| one.began.elapsed());
                    seconds(out, time);
                });
            }
            Self::Group(number) => match scene.captures.and_then(|all| all.number(*number)) {
                Some(value) => out.extend_from_slice(value),
                None => return false,
            },
            Self::NamedGroup(name) => match scene.captures.and_then(|all| all.name(name)) {
                Some(value) => out.extend_from_slice(value),
                None => return false,
            },
            Self::LimitStatus => maybe!(session.limited.get().map(limit::Status::name)),
            Self::Slot(slot) => {
                // What is set later, or not at all, is empty.
                if let Some(Some(value)) = session.slots.borrow().get(*slot) {
                    out.extend_from_slice(value);
                }
            }
            Self::Map(number) => {
                let config = &session.generation.config;
                let table = match config.streams.maps.get(*number) {
                    Some(StreamTable::Map(table)) => table,
                    Some(StreamTable::Geo(table)) => {
                        let addr = match &table.source {
                            None => session.client().0,
                            Some(source) => {
                                let mut text = Vec::new();
                                source.write(&mut text, scene);
                                let text = std::str::from_utf8(&text).ok();
                                text.and_then(|text| text.parse().ok())
                            }
                        };
                        out.extend_from_slice(table.find(addr.unwrap_or(geo::NONE)));
                        return true;
                    }
                    Some(StreamTable::Split(table)) => {
                        let mut key = Vec::new();
                        table.source.write(&mut key, scene);
                        out.extend_from_slice(table.find(&key).unwrap_or_default());
                        return true;
                    }
                    None => return false,
                };
                let mut key = Vec::new();
                table.source.write(&mut key, scene);
                let (value, captures) = table.find(&key);
                let scene = match &captures {
                    Some(_) => Scene {
                        captures: captures.as_ref(),
                        ..scene
                    },
                    None => scene,
                };
                value.write(out, scene);
            }
        }
        true
    }
}

/// One value for each server that was tried.
fn attempts(out: &mut Vec<u8>, session: &Session, put: impl Fn(&mut Vec<u8>, &Attempt)) -> bool {
    let attempts = session.attempts.borrow();
    for (index, one) in attempts.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        put(out, one);
    }
    !attempts.is_empty()
}

fn moment(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => seconds(out, time),
        None => out.push(b'-'),
    }
}

fn seconds(out: &mut Vec<u8>, time: Duration) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{}.{:03}", time.as_secs(), time.subsec_millis());
}
