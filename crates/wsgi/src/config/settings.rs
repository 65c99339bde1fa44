//! The checked settings: what can run. Names are gunicorn's.
//!
//! Not here: defaults and single values (`table`, `validate`), where a value came from (`sources`).

use std::path::PathBuf;
use std::time::Duration;

use trine_config::ListenAddr;
use trine_http1::{Limits, Policy, PreambleVersions};
use trine_service::logging::{LogFormat, LogSettings, LogTarget};

use crate::access_log::Format;
use crate::python::{Config, Hooks, Object};
use crate::worker::io::{Deadlines, Rules};
use crate::worker::trust::{SchemeHeaders, TrustedPeers};

/// gunicorn's limit for reading our last words.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct Settings {
    /// `MODULE:NAME`, `MODULE:FACTORY(literals)`, or the PasteDeploy file if there is `paste`.
    pub app: String,
    pub paste: Option<Paste>,
    /// Empty: the default address, or whatever was inherited.
    pub bind: Vec<ListenAddr>,
    pub backlog: u32,
    pub workers: usize,
    pub worker_class: WorkerClass,
    pub threads: usize,
    pub worker_connections: usize,
    /// A worker is replaced after so many requests, and up to `max_requests_jitter` more.
    pub max_requests: Option<u64>,
    pub max_requests_jitter: u64,
    pub max_worker_lifetime: Option<Duration>,
    /// Bytes of resident memory.
    pub max_worker_memory: Option<u64>,
    /// `None`: no limit.
    pub timeout: Option<Duration>,
    /// The limit of one request; what `timeout` says unless it is given. `None`: no limit.
    pub request_timeout: Option<Duration>,
    /// Whether `request_timeout` was given, rather than taken from `timeout`.
    pub request_timeout_given: bool,
    pub graceful_timeout: Duration,
    pub keepalive: Duration,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub send_timeout: Duration,
    pub preload_app: bool,
    pub reload: bool,
    /// Paths and patterns, as they were written.
    pub reload_extra_files: Vec<String>,
    pub spew: bool,
    pub sendfile: bool,
    pub reuse_port: bool,
    pub daemon: bool,
    pub chdir: PathBuf,
    pub pythonpath: Vec<PathBuf>,
    pub python: Option<PathBuf>,
    pub raw_env: Vec<(String, String)>,
    pub pidfile: Option<PathBuf>,
    pub worker_tmp_dir: Option<PathBuf>,
    /// Of the workers; as we are unless it is given.
    pub user: u32,
    pub group: u32,
    pub umask: u32,
    pub initgroups: bool,
    pub protocol: Protocol,
    pub proxy_protocol: ProxyProtocol,
    pub proxy_allow_ips: TrustedPeers,
    pub uwsgi_allow_ips: TrustedPeers,
    pub fastcgi_allow_ips: TrustedPeers,
    pub forwarded_allow_ips: TrustedPeers,
    pub secure_scheme_headers: SchemeHeaders,
    pub headers: HeaderPolicy,
    pub limits: Limits,
    pub tls: Option<Tls>,
    pub log: Logging,
    pub statsd: Option<Statsd>,
    /// What `{}` of `gunicorn: master [{}]` is.
    pub proc_name: String,
    pub control: Option<PathBuf>,
    pub control_mode: u32,
    /// Those that somebody gave; their parameters are counted.
    pub hooks: Hooks,
    /// All of it as hooks see it; `None` where there are none.
    pub shown: Option<Config>,
    /// What should be told once, at start and with every reload.
    pub warnings: Vec<String>,
}

/// PasteDeploy: the file is `Settings::app`.
#[derive(Debug, Clone)]
pub struct Paste {
    pub global_conf: Vec<(String, String)>,
}

/// Who calls the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerClass {
    /// The main thread.
    Sync,
    /// `threads` threads.
    Gthread,
}

impl WorkerClass {
    /// gunicorn's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Gthread => "gthread",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Uwsgi,
    Fastcgi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    Off,
    V1,
    V2,
    Auto,
}

impl ProxyProtocol {
    /// What is looked for at the start of a connection; `None`: nothing.
    #[must_use]
    pub fn versions(self) -> Option<PreambleVersions> {
        let (v1, v2) = match self {
            Self::Off => return None,
            Self::V1 => (true, false),
            Self::V2 => (false, true),
            Self::Auto => (true, true),
        };
        Some(PreambleVersions { v1, v2 })
    }
}

/// What is let through beyond the strict rules, and which names reach `environ`.
#[derive(Debug, Clone)]
pub struct HeaderPolicy {
    pub permit_obsolete_folding: bool,
    pub strip_header_spaces: bool,
    pub permit_unconventional_http_method: bool,
    pub permit_unconventional_http_version: bool,
    pub casefold_http_method: bool,
    /// Upper case, with underscores; `*` is all.
    pub forwarder_headers: Vec<String>,
    pub header_map: HeaderMap,
}

impl HeaderPolicy {
    /// What the parser lets through.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            permit_obsolete_folding: self.permit_obsolete_folding,
            strip_header_spaces: self.strip_header_spaces,
            permit_unconventional_http_method: self.permit_unconventional_http_method,
            permit_unconventional_http_version: self.permit_unconventional_http_version,
            casefold_http_method: self.casefold_http_method,
            drop_odd_header_names: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMap {
    Drop,
    Refuse,
    Dangerous,
}

/// On all sockets, if there is a certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    /// May hold the key, too.
    pub certfile: PathBuf,
    pub keyfile: Option<PathBuf>,
    pub ca_certs: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    /// OpenSSL's words.
    pub ciphers: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    No,
    Optional,
    Required,
}

/// Both logs.
#[derive(Debug, Clone)]
pub struct Logging {
    /// `-` is standard output.
    pub accesslog: Option<PathBuf>,
    pub access_log_format: Format,
    pub access_log_json: bool,
    pub disable_redirect_access_to_syslog: bool,
    /// `None` is standard error.
    pub errorlog: Option<PathBuf>,
    pub level: tracing::Level,
    /// gunicorn's word for the level.
    pub loglevel: String,
    pub format: LogFormat,
    pub capture_output: bool,
    pub enable_stdio_inheritance: bool,
    /// `None`: gunicorn's own, which is native here.
    pub logger_class: Option<LoggerClass>,
    pub logconfig: Option<PathBuf>,
    pub logconfig_dict: Option<Object>,
    pub logconfig_json: Option<PathBuf>,
    pub syslog: Option<Syslog>,
    pub slow_request_time: Option<Duration>,
    /// `None` is the error log.
    pub slow_request_log: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum LoggerClass {
    /// A dotted name, or `egg:` and an entry point.
    Named(String),
    Class(Object),
}

#[derive(Debug, Clone)]
pub struct Syslog {
    /// `udp://HOST:PORT`, `tcp://…`, `unix://PATH[#stream|#dgram]`
    pub address: String,
    pub prefix: Option<String>,
    pub facility: String,
}

#[derive(Debug, Clone)]
pub struct Statsd {
    pub address: StatsdAddress,
    pub prefix: String,
    pub dogstatsd_tags: String,
    pub backlog_metric: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsdAddress {
    Udp(String, u16),
    Unix(PathBuf),
}

impl Settings {
    #[must_use]
    pub fn log(&self) -> LogSettings {
        let target = self.log.errorlog.clone();
        LogSettings {
            format: self.log.format,
            level: self.log.level,
            target: target.map_or(LogTarget::Stderr, LogTarget::File),
            ..LogSettings::new("wsgi")
        }
    }

    /// What the I/O loop of a worker keeps to.
    #[must_use]
    pub fn rules(&self, siblings: bool) -> Rules {
        Rules {
            limits: self.limits,
            policy: self.headers.policy(),
            deadlines: Deadlines {
                head: self.head_timeout,
                body: self.body_timeout,
                send: self.send_timeout,
                keepalive: self.keepalive,
                linger: LINGER,
            },
            trusted: self.forwarded_allow_ips.clone(),
            protocol: self.protocol,
            gateway_peers: match self.protocol {
                Protocol::Uwsgi => self.uwsgi_allow_ips.clone(),
                Protocol::Http | Protocol::Fastcgi => self.fastcgi_allow_ips.clone(),
            },
            // Read before the fork, which is the arbiter's.
            tls: None,
            preamble: self.proxy_protocol.versions(),
            preamble_peers: self.proxy_allow_ips.clone(),
            max_connections: self.worker_connections,
            accepts_per_turn: if siblings { 1 } else { 64 },
        }
    }
}
