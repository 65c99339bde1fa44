//! The command line: gunicorn's flags, as far as they are there, and the house's.
//!
//! Not here: what the values mean together (`config`).

use std::path::PathBuf;

use clap::Parser;
use trine_config::{Duration, ListenAddr};
use trine_service::logging::{self, LogFormat};

use crate::config::settings::{count, env_pair};
use crate::config::{Given, Sources};

/// Serves a Python WSGI application.
#[derive(Debug, Parser)]
#[command(name = "trine-wsgi", version, disable_version_flag = true)]
pub struct Cli {
    /// The application: MODULE, MODULE:NAME or MODULE:FACTORY(literals)
    #[arg(value_name = "MODULE:APP")]
    app: Option<String>,
    /// Settings in a YAML file
    #[arg(short, long, value_name = "FILE.yaml")]
    config: Option<PathBuf>,
    /// Address to listen on, repeatable: HOST:PORT, unix:PATH, fd:NAME
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Vec<ListenAddr>,
    /// Connections that may wait in the kernel [default: 2048]
    #[arg(long)]
    backlog: Option<u32>,
    /// Worker processes [default: 1]
    #[arg(short, long, value_parser = |text: &str| number(text, "workers"))]
    workers: Option<usize>,
    /// Threads per worker [default: 1]
    #[arg(long, value_parser = |text: &str| number(text, "threads"))]
    threads: Option<usize>,
    /// Connections per worker at the same time [default: 1000]
    #[arg(long)]
    worker_connections: Option<usize>,
    /// A worker at one request for longer is killed; 0 is never [default: 30s]
    #[arg(short, long)]
    timeout: Option<Duration>,
    /// How long workers may finish their requests when asked to stop [default: 30s]
    #[arg(long)]
    graceful_timeout: Option<Duration>,
    /// How long an idle connection is kept [default: 2s]
    #[arg(long)]
    keep_alive: Option<Duration>,
    /// Import the application before workers are forked
    #[arg(long)]
    preload: bool,
    /// Change to this folder first
    #[arg(long, value_name = "FOLDER")]
    chdir: Option<PathBuf>,
    /// Folders for the front of sys.path
    #[arg(long, value_delimiter = ',', value_name = "FOLDERS")]
    pythonpath: Option<Vec<PathBuf>>,
    /// A virtualenv, or the python in one [default: VIRTUAL_ENV]
    #[arg(long, value_name = "VENV_OR_EXE")]
    python: Option<PathBuf>,
    /// Environment variable for the application, NAME=value, repeatable
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = env_pair)]
    env: Vec<(String, String)>,
    /// Access log; - is standard output
    #[arg(long, value_name = "FILE")]
    access_logfile: Option<String>,
    /// Format of the access log, gunicorn's
    #[arg(long, value_name = "FORMAT")]
    access_logformat: Option<String>,
    /// Error log; - is standard error
    #[arg(long, visible_alias = "log-file", value_name = "FILE")]
    error_logfile: Option<String>,
    /// debug, info, warning, error
    #[arg(long, value_parser = logging::parse_level)]
    log_level: Option<tracing::Level>,
    /// text or json
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// File to write our process number to
    #[arg(short, long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Peers whose X-Forwarded-Proto counts: addresses, networks or * [default: 127.0.0.1,::1]
    #[arg(long, value_name = "ADDRESSES")]
    forwarded_allow_ips: Option<crate::worker::trust::TrustedPeers>,
    /// Longest request line [default: 4094]
    #[arg(long)]
    limit_request_line: Option<usize>,
    /// Most headers [default: 100]
    #[arg(long)]
    limit_request_fields: Option<usize>,
    /// Longest header [default: 8190]
    #[arg(long = "limit-request-field_size")]
    limit_request_field_size: Option<usize>,
    /// Check settings and application, serve nothing
    #[arg(long)]
    pub check_config: bool,
    /// Print the version
    #[arg(short, long)]
    pub version: bool,
}

impl Cli {
    /// The sources of settings that this command line makes.
    #[must_use]
    pub fn sources(self) -> Sources {
        let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
        let given = Given {
            app: self.app,
            bind: (!self.bind.is_empty()).then_some(self.bind),
            backlog: self.backlog,
            workers: self.workers,
            threads: self.threads,
            worker_connections: self.worker_connections,
            timeout: self.timeout,
            graceful_timeout: self.graceful_timeout,
            keepalive: self.keep_alive,
            preload_app: self.preload.then_some(true),
            chdir: self.chdir,
            pythonpath: self.pythonpath,
            python: self.python,
            raw_env: some(self.env),
            accesslog: self.access_logfile,
            access_log_format: self.access_logformat,
            errorlog: self.error_logfile,
            loglevel: self.log_level,
            log_format: self.log_format,
            pidfile: self.pid,
            control: self.control,
            forwarded_allow_ips: self.forwarded_allow_ips,
            secure_scheme_headers: None,
            limit_request_line: self.limit_request_line,
            limit_request_fields: self.limit_request_fields,
            limit_request_field_size: self.limit_request_field_size,
        };
        Sources::new(given, self.config.as_deref())
    }
}

fn number(text: &str, what: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .map_err(|_| format!("invalid int value: {text:?}"))?;
    count(number, what)
}
