//! Settings: the command line over the YAML file over the defaults, checked as a whole.
//!
//! `settings` has the checked values, `yaml` the file's form. gunicorn's own sources (`gunicorn.conf.py`,
//! GUNICORN_CMD_ARGS) will be further layers of the same [`Given`].
//! Not here: opening, binding or importing anything.

pub mod settings;
mod yaml;

use std::path::{Path, PathBuf};

use trine_config::{Duration, ListenAddr, Problems};

use crate::error::Error;
pub use settings::Settings;

/// What one source says; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub app: Option<String>,
    pub bind: Option<Vec<ListenAddr>>,
    pub backlog: Option<u32>,
    pub workers: Option<usize>,
    pub threads: Option<usize>,
    pub worker_connections: Option<usize>,
    pub timeout: Option<Duration>,
    pub graceful_timeout: Option<Duration>,
    pub keepalive: Option<Duration>,
    pub preload_app: Option<bool>,
    pub chdir: Option<PathBuf>,
    pub pythonpath: Option<Vec<PathBuf>>,
    pub python: Option<PathBuf>,
    pub raw_env: Option<Vec<(String, String)>>,
    pub accesslog: Option<String>,
    pub access_log_format: Option<String>,
    pub errorlog: Option<String>,
    pub loglevel: Option<tracing::Level>,
    pub log_format: Option<trine_service::logging::LogFormat>,
    pub pidfile: Option<PathBuf>,
    pub control: Option<PathBuf>,
    pub forwarded_allow_ips: Option<crate::worker::trust::TrustedPeers>,
    pub secure_scheme_headers: Option<crate::worker::trust::SchemeHeaders>,
    pub limit_request_line: Option<usize>,
    pub limit_request_fields: Option<usize>,
    pub limit_request_field_size: Option<usize>,
}

macro_rules! layer {
    ($over:ident, $under:ident, $($field:ident),* $(,)?) => {
        Given { $($field: $over.$field.or($under.$field)),* }
    };
}

impl Given {
    /// These values where there are any, else those.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        layer!(
            self,
            under,
            app,
            bind,
            backlog,
            workers,
            threads,
            worker_connections,
            timeout,
            graceful_timeout,
            keepalive,
            preload_app,
            chdir,
            pythonpath,
            python,
            raw_env,
            accesslog,
            access_log_format,
            errorlog,
            loglevel,
            log_format,
            pidfile,
            control,
            forwarded_allow_ips,
            secure_scheme_headers,
            limit_request_line,
            limit_request_fields,
            limit_request_field_size,
        )
    }
}

/// Where settings come from; read again on reload.
#[derive(Debug, Clone)]
pub struct Sources {
    pub command_line: Given,
    /// An absolute path, so that a later change of folder does not matter.
    pub file: Option<PathBuf>,
}

impl Sources {
    /// The settings as the sources say now.
    pub fn read(&self) -> Result<Settings, Error> {
        let mut problems = Problems::new();
        let file = match &self.file {
            Some(path) => yaml::read(path, &mut problems),
            None => Some(Given::default()),
        };
        let given = problems.finish(file).map_err(Error::Config)?;
        Settings::check(self.command_line.clone().over(given))
    }

    /// Makes the path of the file absolute.
    #[must_use]
    pub fn new(command_line: Given, file: Option<&Path>) -> Self {
        let file = file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        Self { command_line, file }
    }
}
