//! The checked settings: what can run. Names are gunicorn's; every default stands here and nowhere else.
//!
//! Not here: where a value came from.

use std::path::PathBuf;
use std::time::Duration;

use trine_config::ListenAddr;
use trine_http1::{Limits, Policy};
use trine_service::logging::{LogFormat, LogSettings, LogTarget};

use crate::access_log::Format;
use crate::error::Error;
use crate::worker::io::{Deadlines, Rules};
use crate::worker::trust::{SchemeHeaders, TrustedPeers};

use super::Given;

/// A whole head may take this long.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// A body may stall this long.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// A client may leave an answer untouched this long.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// gunicorn's limit for reading our last words.
const LINGER: Duration = Duration::from_secs(2);
/// More workers than this is a typing error.
const MOST_WORKERS: usize = 1024;
/// Likewise.
const MOST_THREADS: usize = 1024;

#[derive(Debug, Clone)]
pub struct Settings {
    pub app: String,
    /// Empty: the default address, or whatever was inherited.
    pub bind: Vec<ListenAddr>,
    pub backlog: u32,
    pub workers: usize,
    pub threads: usize,
    pub worker_connections: usize,
    /// `None`: no limit.
    pub timeout: Option<Duration>,
    pub graceful_timeout: Duration,
    pub keepalive: Duration,
    pub preload_app: bool,
    pub chdir: Option<PathBuf>,
    pub pythonpath: Vec<PathBuf>,
    pub python: Option<PathBuf>,
    pub raw_env: Vec<(String, String)>,
    /// `-` is standard output.
    pub accesslog: Option<PathBuf>,
    pub access_log_format: Format,
    pub errorlog: Option<PathBuf>,
    pub loglevel: tracing::Level,
    pub log_format: LogFormat,
    pub pidfile: Option<PathBuf>,
    pub control: Option<PathBuf>,
    pub forwarded_allow_ips: TrustedPeers,
    pub secure_scheme_headers: SchemeHeaders,
    pub limits: Limits,
}

impl Settings {
    /// Checks what was given and puts the defaults in.
    pub fn check(given: Given) -> Result<Self, Error> {
        let app = given
            .app
            .filter(|app| !app.is_empty())
            .ok_or_else(|| Error::Usage("No application module specified.".to_owned()))?;
        let defaults = Limits::default();
        // gunicorn: 0 is no limit for the line, and the largest that is allowed for a field.
        let line = given.limit_request_line.unwrap_or(4094);
        let field = given
            .limit_request_field_size
            .filter(|size| *size > 0)
            .unwrap_or(8190);
        let fields = given.limit_request_fields.unwrap_or(100).clamp(1, 32768);
        let limits = Limits {
            request_line: if line == 0 {
                usize::MAX
            } else {
                line.min(8190)
            },
            header_line: field,
            header_count: fields,
            head: defaults
                .head
                .max(fields.saturating_mul(field + 2).saturating_add(4)),
        };
        let format = given
            .access_log_format
            .as_deref()
            .unwrap_or(Format::DEFAULT);
        Ok(Self {
            app,
            bind: given.bind.unwrap_or_default(),
            backlog: given.backlog.unwrap_or(2048),
            workers: given.workers.unwrap_or(1),
            threads: given.threads.unwrap_or(1),
            worker_connections: given.worker_connections.unwrap_or(1000),
            timeout: Some(
                given
                    .timeout
                    .map_or(Duration::from_secs(30), |time| time.get()),
            )
            .filter(|timeout| !timeout.is_zero()),
            graceful_timeout: given
                .graceful_timeout
                .map_or(Duration::from_secs(30), |time| time.get()),
            keepalive: given
                .keepalive
                .map_or(Duration::from_secs(2), |time| time.get()),
            preload_app: given.preload_app.unwrap_or(false),
            chdir: given.chdir,
            pythonpath: given.pythonpath.unwrap_or_default(),
            python: given.python,
            raw_env: given.raw_env.unwrap_or_default(),
            accesslog: given
                .accesslog
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            access_log_format: Format::parse(format).map_err(Error::Usage)?,
            errorlog: given.errorlog.filter(|path| path != "-").map(PathBuf::from),
            loglevel: given.loglevel.unwrap_or(tracing::Level::INFO),
            log_format: given.log_format.unwrap_or_default(),
            pidfile: given.pidfile,
            control: given.control,
            forwarded_allow_ips: given.forwarded_allow_ips.unwrap_or_default(),
            secure_scheme_headers: given.secure_scheme_headers.unwrap_or_default(),
            limits,
        })
    }

    #[must_use]
    pub fn log(&self) -> LogSettings {
        LogSettings {
            format: self.log_format,
            level: self.loglevel,
            target: self
                .errorlog
                .clone()
                .map_or(LogTarget::Stderr, LogTarget::File),
            ..LogSettings::new("wsgi")
        }
    }

    /// What the I/O loop of a worker keeps to.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            limits: self.limits,
            policy: Policy::default(),
            deadlines: Deadlines {
                head: HEAD_DEADLINE,
                body: BODY_DEADLINE,
                send: SEND_DEADLINE,
                keepalive: self.keepalive,
                linger: LINGER,
            },
            trusted: self.forwarded_allow_ips.clone(),
            max_connections: self.worker_connections,
            accepts_per_turn: if self.workers > 1 { 1 } else { 64 },
        }
    }
}

/// A number of workers or threads that can be meant.
pub(crate) fn count(number: i64, what: &str) -> Result<usize, String> {
    let most = if what == "threads" {
        MOST_THREADS
    } else {
        MOST_WORKERS
    };
    match usize::try_from(number) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "expected a number of {what} from 1 to {most}, found {number}"
        )),
    }
}

/// `KEY=value`.
pub(crate) fn env_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains('\0') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text:?} is not of the form NAME=value")),
    }
}
