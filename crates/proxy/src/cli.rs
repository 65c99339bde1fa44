//! The command line: nginx's options, and ours. Not here: what any of it does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use trine_service::logging::{LogTarget, Syslog};

use crate::config::{Log, LogPlace};

/// Where nginx's file lies on Debian, and elsewhere too.
pub(crate) const NGINX_CONF: &str = "/etc/nginx/nginx.conf";

/// Reverse proxy and file server.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "trine-proxy",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    after_help = "A file that ends in .yaml or .yml is read as YAML, every other one as nginx.conf."
)]
pub struct Cli {
    /// The configuration file [default: /etc/nginx/nginx.conf]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Check the configuration, say all that is wrong with it, and end
    #[arg(short = 't', long = "test")]
    pub test: bool,
    /// The same, and print the configuration with all that it includes
    #[arg(short = 'T')]
    pub dump: bool,
    /// Say nothing but errors while checking
    #[arg(short = 'q')]
    pub quiet: bool,
    /// Folder that relative paths in nginx.conf start from [default: where the file lies]
    #[arg(short = 'p', value_name = "FOLDER", global = true)]
    pub prefix: Option<PathBuf>,
    /// Error log, if nginx.conf has no `error_log`; stderr is standard error
    #[arg(short = 'e', value_name = "FILE")]
    pub error_log: Option<PathBuf>,
    /// Directives in front of those of nginx.conf
    #[arg(short = 'g', value_name = "DIRECTIVES")]
    pub directives: Option<String>,
    /// Tell the running daemon: stop, quit, reopen or reload
    #[arg(short = 's', value_name = "SIGNAL", value_parser = ["stop", "quit", "reopen", "reload"])]
    pub signal: Option<String>,
    /// Print nginx's version, whose behaviour nginx.conf gets
    #[arg(short = 'v')]
    pub nginx_version: bool,
    /// The same, and what is built in
    #[arg(short = 'V')]
    pub nginx_build: bool,
    /// Go on without the directives that are not supported
    #[arg(long)]
    pub ignore_unsupported: bool,
    /// The program was called as nginx.
    #[arg(skip)]
    pub as_nginx: bool,
    /// Print our own version
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Print a document made from the code's own tables
    #[arg(long, value_name = "DOCUMENT", value_parser = ["nginx-parity", "schema", "reference", "man", "man5"])]
    pub generate: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The Unix socket of the control API, instead of the one in the file
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// How log lines are written: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<trine_service::logging::LogFormat>,
    /// Leave out less important log lines: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", value_parser = trine_service::logging::parse_level)]
    pub log_level: Option<tracing::Level>,
}

/// What can be done with a configuration beside serving it.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Print an nginx.conf, with all that it includes, as the YAML file that means the same
    Convert {
        /// The file [default: the one of -c]
        file: Option<PathBuf>,
    },
    /// Say what would happen to a request: which server and location, which file or upstream, and why
    Explain {
        /// The URL, as a browser has it
        url: String,
        /// The method
        #[arg(short = 'X', long, default_value = "GET")]
        method: String,
        /// A field of the request, `Name: value`; several times if need be
        #[arg(short = 'H', long = "header", value_name = "FIELD")]
        headers: Vec<String>,
        /// Where the client is
        #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
        from: std::net::IpAddr,
    },
    /// Run CGI scripts for a web server that speaks FastCGI, such as this one
    CgiHelper(crate::cgi_helper::Options),
    /// Name the traps that the configuration is in, with file, line and the way out; ends with 1 if there are any
    Lint {
        /// Leave this one out; several times if need be
        #[arg(long, value_name = "TRAP")]
        skip: Vec<String>,
    },
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// What clap says to it.
    pub fn read() -> Result<Self, clap::Error> {
        let mut cli = Self::try_parse()?;
        cli.as_nginx = called_as_nginx();
        Ok(cli)
    }

    /// The file to read.
    pub(crate) fn path(&self) -> PathBuf {
        match (&self.config, &self.prefix) {
            (Some(path), Some(prefix)) => prefix.join(path),
            (Some(path), None) => path.clone(),
            (None, Some(prefix)) => prefix.join("nginx.conf"),
            (None, None) => NGINX_CONF.into(),
        }
    }

    /// Where the log goes: what nginx.conf says, else the command line's word, else the file's.
    pub(crate) fn log_target(&self, file: &Log) -> LogTarget {
        if !file.targets.is_empty() {
            return LogTarget::Several(log_targets(file));
        }
        match self.error_log.as_ref().or(file.file.as_ref()) {
            Some(path) if path.as_os_str() != "stderr" => LogTarget::File(path.clone()),
            Some(_) | None => LogTarget::Stderr,
        }
    }

    /// Whether lines of the log go to standard error.
    pub(crate) fn logs_to_stderr(&self, file: &Log) -> bool {
        let is_stderr = |(_, place): &(_, LogPlace)| *place == LogPlace::Stderr;
        matches!(self.log_target(file), LogTarget::Stderr) || file.targets.iter().any(is_stderr)
    }

    /// How it is to be read.
    pub(crate) fn reading(&self) -> crate::config::Reading {
        crate::config::Reading {
            path: self.path(),
            prefix: self.prefix.clone(),
            directives: self.directives.clone(),
            ignore_unsupported: self.ignore_unsupported,
            as_nginx: self.as_nginx,
        }
    }
}

/// The targets of `error_log`.
pub(crate) fn log_targets(log: &Log) -> Vec<(tracing::Level, LogTarget)> {
    let target = |place: &LogPlace| match place {
        LogPlace::Stderr => LogTarget::Stderr,
        LogPlace::File(path) => LogTarget::File(path.clone()),
        LogPlace::Syslog(settings) => LogTarget::Own(Arc::new(Syslog::new(settings.clone()))),
    };
    log.targets
        .iter()
        .map(|(level, place)| (*level, target(place)))
        .collect()
}

fn called_as_nginx() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name)
        .file_name()
        .is_some_and(|name| name == "nginx")
}

/// Says what is wrong with the command line in nginx's words, if the program was called so.
#[must_use]
pub fn usage_of_nginx(error: &clap::Error) -> Option<ExitCode> {
    use clap::error::{ContextKind, ErrorKind};
    if !called_as_nginx() || !error.use_stderr() {
        return None;
    }
    let word = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let option = word(ContextKind::InvalidArg);
    let option = option.split(' ').next().unwrap_or_default();
    let value = word(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidValue if value.is_empty() => {
            let what = match option {
                "-c" | "--config" | "-e" => "file name",
                "-p" => "directory name",
                _ => "parameter",
            };
            eprintln!("nginx: option \"{option}\" requires {what}");
        }
        ErrorKind::InvalidValue => eprintln!("nginx: invalid option: \"{option} {value}\""),
        _ => eprintln!(
            "nginx: invalid option: \"{}\"",
            option.trim_start_matches('-')
        ),
    }
    Some(ExitCode::FAILURE)
}
