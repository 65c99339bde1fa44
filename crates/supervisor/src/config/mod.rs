//! The checked configuration: what can run, with nothing left to interpret. It is stored in the holder, so that a new
//! brain goes on with what is in force and not with what happens to be in the file. Two readers, one model: YAML and
//! supervisord's INI dialect both become a [`Config`].
//! Not here: reading files (`yaml`, `ini`), looking anything up on this machine (that is done when a program is started).

pub mod convert;
mod daemon;
mod endpoints;
pub mod events;
pub mod extras;
mod groups;
pub mod ini;
pub mod limits;
mod numbering;
mod overrides;
mod process;
mod program;
mod raw;
mod values;
pub mod yaml;

pub use extras::Extras;
pub use overrides::Overrides;
pub use process::{
    Destination, HttpPeer, LogFile, Output, Process, Ready, Sink, Socket, is_default, shared,
};

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trine_config::Problems;

/// A file that can be used, and what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What is hardly meant as it is read.
    pub traps: Problems,
    pub infos: Vec<String>,
    /// By section of an INI file: its keys that are not supervisord's, as YAML.
    pub beyond: BTreeMap<String, String>,
    /// Which section a process comes from, and its number there, by id.
    pub sections: BTreeMap<String, (String, u32)>,
}

/// The JSON schema of the YAML, for editors and for the reference.
#[must_use]
pub fn schema() -> String {
    trine_config::schema::<raw::RawConfig>()
}

/// Reads a file of either format: YAML if it is called so, INI if that, otherwise by what it looks like.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Loaded, Error> {
    let is_ini = match file.extension().and_then(std::ffi::OsStr::to_str) {
        Some("yaml" | "yml") => false,
        Some("conf" | "ini" | "cfg") => true,
        _ => std::fs::read_to_string(file).is_ok_and(|text| looks_like_ini(&text)),
    };
    let mut loaded = if is_ini {
        ini::load(file, overrides)?
    } else {
        Loaded {
            config: yaml::load(file, &overrides.numprocs)?,
            traps: Problems::new(),
            infos: Vec::new(),
            beyond: BTreeMap::new(),
            sections: BTreeMap::new(),
        }
    };
    overrides.apply(&mut loaded.config);
    Ok(loaded)
}

fn looks_like_ini(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first.is_some_and(|line| line.starts_with('[') && line.contains(']'))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// The Unix socket of the control API.
    pub control: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub log: Log,
    /// supervisord's identifier: in events, in RPC, and in the names of automatic logs.
    pub identifier: String,
    pub daemon: Daemon,
    pub child_logs: ChildLogs,
    /// What SIGHUP, and `restart` of the RPC interface, do.
    pub hangup: Hangup,
    pub habits: Habits,
    /// HTTP servers with XML-RPC and the web page, by name.
    pub servers: Vec<HttpServer>,
    /// The namespaces of the RPC interface beside `system`: `supervisor`, unless the file leaves it out.
    pub rpc_namespaces: Vec<String>,
    pub client: Client,
    /// By name. Every process belongs to one; a group may be empty.
    pub groups: Vec<Group>,
    /// In the order of their names; unique by id.
    /// Shared with those who run by them: there may be many.
    #[serde(with = "process::shared_list")]
    pub processes: Vec<Arc<Process>>,
}

impl Config {
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Whether the RPC interface has supervisord's own methods.
    #[must_use]
    pub fn has_main_interface(&self) -> bool {
        self.rpc_namespaces.iter().any(|name| name == "supervisor")
    }

    /// What SUPERVISOR_SERVER_URL says unless a program has its own: a Unix server if there is one.
    #[must_use]
    pub fn server_url(&self) -> Option<String> {
        let unix = self.servers.iter().find(|server| server.is_unix());
        unix.or(self.servers.last()).map(HttpServer::url)
    }
}

/// The supervisor's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub format: LogFormat,
    pub level: Level,
    pub target: LogTarget,
    /// 0: never rotated.
    pub max_bytes: u64,
    pub backups: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
    /// `2026-11-25 20:00:00,123 INFO spawned: 'web' with pid 7`
    Supervisord,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    Stderr,
    File(PathBuf),
    Syslog,
}

/// supervisord's levels, the least talkative first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Critical,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    Blather,
}

impl Level {
    pub const ALL: [Self; 7] = [
        Self::Critical,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
        Self::Blather,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
            Self::Blather => "blather",
        }
    }

    /// The level of the log library that lets it through.
    #[must_use]
    pub fn tracing(self) -> trine_service::logging::Level {
        use trine_service::logging::Level as L;
        match self {
            Self::Critical | Self::Error => L::ERROR,
            Self::Warn => L::WARN,
            Self::Info => L::INFO,
            Self::Debug => L::DEBUG,
            Self::Trace | Self::Blather => L::TRACE,
        }
    }
}

impl clap::ValueEnum for Level {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.name() == text);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is no log level; there are {names}")
        })
    }
}

/// The supervisor as a process: `[supervisord]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Go into the background.
    pub daemonize: bool,
    /// In the foreground: say nothing on standard output.
    pub silent: bool,
    pub umask: Option<u32>,
    /// Where to change to.
    pub directory: Option<PathBuf>,
    /// Whom to become, as `user`, by name or number.
    pub user: Option<String>,
    /// Least limits to run with; 0: whatever there is.
    pub min_descriptors: u64,
    pub min_processes: u64,
    /// For itself and for all programs.
    pub environment: BTreeMap<String, String>,
}

/// What the logs of programs have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildLogs {
    /// Where automatic logs go; `None`: the folder for temporary files.
    pub folder: Option<PathBuf>,
    /// Keep automatic logs of earlier runs (`nocleanup`).
    pub keep: bool,
    /// Leave escape sequences of terminals out.
    pub strip_ansi: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hangup {
    /// Read the configuration again and change only what changed.
    Reload,
    /// supervisord's way: stop everything, read the configuration again, start everything.
    Restart,
}

/// Whose ways count where nobody says anything and the two differ: how the log calls processes, and what a pid file
/// that is there already means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Habits {
    Own,
    Supervisord,
}

/// `[unix_http_server]` or `[inet_http_server]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpServer {
    /// As its section is called.
    pub name: String,
    /// In the notation of `trine_config::ListenAddr`; Unix paths are absolute.
    pub address: String,
    /// Permission bits of a Unix socket.
    pub mode: u32,
    /// Who gets a Unix socket: `user` or `user:group`.
    pub owner: Option<String>,
    /// Name and password (plain, or `{SHA}` and 40 hex digits) that clients have to give.
    pub credentials: Option<Credentials>,
    /// The web page's actions may come by GET, as supervisord's do.
    #[serde(default)]
    pub get_actions: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl HttpServer {
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.address.starts_with("unix:")
    }

    /// For SUPERVISOR_SERVER_URL.
    #[must_use]
    pub fn url(&self) -> String {
        match self.address.strip_prefix("unix:") {
            Some(path) => format!("unix://{path}"),
            None => {
                let (host, port) = self.address.rsplit_once(':').unwrap_or(("", &self.address));
                let host = match host {
                    "" | "*" | "0.0.0.0" | "[::]" => "localhost",
                    host => host,
                };
                format!("http://{host}:{port}")
            }
        }
    }
}

/// `[supervisorctl]`: what a client that is given this file uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub server_url: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub prompt: String,
    pub history_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// Lower ones start earlier and stop later.
    pub priority: i32,
    /// Its processes are a pool of event listeners.
    pub listener: Option<Listener>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Names of [`events::NAMES`], sorted.
    pub events: Vec<String>,
    /// How many events wait for a listener before the oldest is given up.
    pub buffer_size: u32,
}
