//! The YAML file: gunicorn's setting names, `python` and `control` beside them.
//!
//! Not here: defaults (`settings`), and gunicorn's own Python files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use trine_config::{Duration, ListenAddr, Place, Problems, yaml};
use trine_service::logging::{self, LogFormat};

use crate::worker::trust::SchemeHeaders;

use super::Given;
use super::settings::{count, env_pair};

/// One value or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> From<OneOrMore<T>> for Vec<T> {
    fn from(given: OneOrMore<T>) -> Self {
        match given {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    /// The application, `MODULE:APP`, when the command line names none.
    wsgi_app: Option<String>,
    /// Addresses to listen on: `127.0.0.1:8000`, `unix:PATH`, `fd:NAME`.
    bind: Option<OneOrMore<String>>,
    /// Connections that may wait in the kernel.
    backlog: Option<u32>,
    /// Worker processes.
    workers: Option<i64>,
    /// Threads per worker.
    threads: Option<i64>,
    /// Connections per worker at the same time.
    worker_connections: Option<u32>,
    /// A worker that is at one request for longer is killed; 0 is never.
    timeout: Option<Duration>,
    /// How long workers may finish their requests after TERM.
    graceful_timeout: Option<Duration>,
    /// How long an idle connection is kept; 0 closes after each answer.
    keepalive: Option<Duration>,
    /// Import the application once, before workers are forked.
    preload_app: Option<bool>,
    /// Change to this folder before anything is imported.
    chdir: Option<String>,
    /// Folders for the front of sys.path, comma-separated.
    pythonpath: Option<String>,
    /// A virtualenv, or the python in one.
    python: Option<String>,
    /// Environment variables of workers, `NAME=value`.
    raw_env: Option<OneOrMore<String>>,
    /// The access log; `-` is standard output.
    accesslog: Option<String>,
    /// gunicorn's access log format.
    access_log_format: Option<String>,
    /// The error log; `-` is standard error.
    errorlog: Option<String>,
    loglevel: Option<String>,
    /// `text` or `json`.
    log_format: Option<LogFormat>,
    pidfile: Option<String>,
    /// The control socket.
    control: Option<String>,
    /// Peers whose X-Forwarded-Proto counts.
    forwarded_allow_ips: Option<OneOrMore<String>>,
    secure_scheme_headers: Option<BTreeMap<String, String>>,
    limit_request_line: Option<usize>,
    limit_request_fields: Option<usize>,
    limit_request_field_size: Option<usize>,
}

/// Reads the file; every problem is noted. Relative paths are taken from its folder.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Option<Given> {
    let mut document = yaml::load::<Raw>(path, problems)?;
    let raw = std::mem::take(&mut document.raw);
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    let mut check = Check {
        at: &|key| document.at(key),
        problems,
    };
    let beneath = |text: String| folder.join(text);
    let log_path = |text: String| {
        if text == "-" {
            text
        } else {
            folder.join(text).to_string_lossy().into_owned()
        }
    };
    let bind = raw.bind.map(|bind| {
        check.each("bind", bind, |text| {
            text.parse::<ListenAddr>()
                .map(|addr| addr.resolved_in(&folder))
        })
    });
    let chdir = raw.chdir.map(beneath);
    if let Some(folder) = chdir.as_ref().filter(|folder| !folder.is_dir()) {
        let said = format!("there is no folder {}", folder.display());
        check.note("chdir", &said);
    }
    Some(Given {
        app: raw.wsgi_app,
        bind,
        backlog: raw.backlog,
        workers: check.keep("workers", raw.workers, |number| count(number, "workers")),
        threads: check.keep("threads", raw.threads, |number| count(number, "threads")),
        worker_connections: raw.worker_connections.map(|count| count as usize),
        timeout: raw.timeout,
        graceful_timeout: raw.graceful_timeout,
        keepalive: raw.keepalive,
        preload_app: raw.preload_app,
        chdir,
        pythonpath: raw
            .pythonpath
            .map(|list| list.split(',').map(|one| folder.join(one)).collect()),
        python: raw.python.map(beneath),
        raw_env: raw
            .raw_env
            .map(|pairs| check.each("raw_env", pairs, |pair| env_pair(&pair))),
        accesslog: raw.accesslog.map(log_path),
        access_log_format: check.keep("access_log_format", raw.access_log_format, |format| {
            crate::access_log::Format::parse(&format).map(|_| format)
        }),
        errorlog: raw.errorlog.map(log_path),
        loglevel: check.keep("loglevel", raw.loglevel, |level| {
            logging::parse_level(&level)
        }),
        log_format: raw.log_format,
        pidfile: raw.pidfile.map(beneath),
        control: raw.control.map(beneath),
        forwarded_allow_ips: raw.forwarded_allow_ips.and_then(|list| {
            let list = Vec::from(list).join(",");
            check.keep("forwarded_allow_ips", Some(list), |list| list.parse())
        }),
        secure_scheme_headers: raw
            .secure_scheme_headers
            .map(|pairs| SchemeHeaders::new(pairs.into_iter().collect())),
        limit_request_line: raw.limit_request_line,
        limit_request_fields: raw.limit_request_fields,
        limit_request_field_size: raw.limit_request_field_size,
    })
}

/// Notes problems with the place of their key.
struct Check<'a> {
    at: &'a dyn Fn(&str) -> Place,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn keep<T, U, E: fmt::Display>(
        &mut self,
        key: &str,
        value: Option<T>,
        check: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<U> {
        let result = check(value?);
        self.problems.keep((self.at)(key), result)
    }

    fn each<T, U, E: fmt::Display>(
        &mut self,
        key: &str,
        values: OneOrMore<T>,
        check: impl Fn(T) -> Result<U, E>,
    ) -> Vec<U> {
        let values = Vec::from(values).into_iter().map(check);
        values
            .filter_map(|result| self.problems.keep((self.at)(key), result))
            .collect()
    }

    fn note(&mut self, key: &str, message: &str) {
        self.problems
            .push((self.at)(key), message, "make it, or correct the path");
    }
}
