//! The checked configuration: what can run, with nothing left to interpret. It is stored in the holder, so that a new
//! brain goes on with what is in force and not with what happens to be in the file.
//! Not here: reading files (`yaml`), looking anything up on this machine (that is done when a program is started).

mod endpoints;
mod program;
mod values;
pub mod yaml;

use crate::program::state::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the command line says instead of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub control: Option<PathBuf>,
    pub json: Option<bool>,
    pub level: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    pub control: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub log: Log,
    /// In the order of their names; unique by id.
    pub processes: Vec<Process>,
}

/// The supervisor's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub json: bool,
    pub level: String,
    /// `None` is standard error.
    pub file: Option<PathBuf>,
}

/// One process to keep, with everything that starting it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub name: String,
    pub group: String,
    pub priority: i32,
    pub autostart: bool,
    pub command: Vec<String>,
    pub directory: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub umask: Option<u32>,
    pub sockets: Vec<Socket>,
    pub stdout: Sink,
    pub stderr: ErrorSink,
    pub ready: Ready,
    pub policy: Policy,
}

impl Process {
    /// supervisord's namespec: the name alone for a group of one that is named like its process.
    #[must_use]
    pub fn id(&self) -> String {
        if self.name == self.group {
            self.name.clone()
        } else {
            format!("{}:{}", self.group, self.name)
        }
    }

    /// The holder's keys of its sockets.
    pub fn socket_keys(&self) -> impl Iterator<Item = String> {
        self.sockets.iter().map(|socket| socket.key(&self.group))
    }

    /// The files its output goes to, with the name of the channel.
    #[must_use]
    pub fn log_files(&self) -> Vec<(&'static str, &LogFile)> {
        let stderr = match &self.stderr {
            ErrorSink::Joined => None,
            ErrorSink::Own(sink) => sink.file(),
        };
        let stdout = self.stdout.file().map(|file| ("stdout", file));
        stdout
            .into_iter()
            .chain(stderr.map(|file| ("stderr", file)))
            .collect()
    }
}

/// A listening socket that the holder keeps for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// As in LISTEN_FDNAMES.
    pub name: String,
    /// In the notation of `trine_config::ListenAddr`; Unix paths are absolute.
    pub address: String,
    pub mode: u32,
    pub backlog: u32,
}

impl Socket {
    /// Under what the holder keeps it: programs that name the same address share one socket. With port 0 every one
    /// gets a port of its own.
    #[must_use]
    pub fn key(&self, group: &str) -> String {
        if self.address.ends_with(":0") {
            format!("listen/{group}/{}", self.name)
        } else {
            format!("listen/{}", self.address)
        }
    }
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    Discard,
    /// The supervisor's own standard output.
    Stdout,
    File(LogFile),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    pub path: PathBuf,
    /// 0: never rotated.
    pub max_bytes: u64,
    /// How many old files are kept; 0: the file is emptied instead.
    pub backups: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorSink {
    /// Into the same pipe as standard output.
    Joined,
    Own(Sink),
}

impl Sink {
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Discard => Path::new("/dev/null"),
            Self::Stdout => Path::new("/dev/stdout"),
            Self::File(file) => &file.path,
        }
    }

    #[must_use]
    pub fn file(&self) -> Option<&LogFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Discard | Self::Stdout => None,
        }
    }
}

/// How it is known that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// It has lived for its start seconds.
    Age,
    /// It says so on NOTIFY_SOCKET.
    Notify,
    /// A connection is accepted.
    Tcp { address: String },
    /// A GET is answered with 2xx or 3xx.
    Http { peer: HttpPeer, path: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpPeer {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}
