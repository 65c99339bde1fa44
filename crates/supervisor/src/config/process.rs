//! One process of the checked configuration: everything that starting and keeping it takes.
//! Not here: how it is read (`program`), or looking its user and command up (`brain::start`).

use super::extras::{Extras, Lines};
use crate::program::state::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One process to keep, with everything that starting it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub name: String,
    pub group: String,
    /// Its group's priority, which counts before its own.
    pub group_priority: i32,
    pub priority: i32,
    pub autostart: bool,
    pub command: Vec<String>,
    /// The command as it was typed, for clients that ask.
    pub command_line: String,
    /// `None`: wherever the supervisor is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    pub sockets: Vec<Socket>,
    /// FastCGI's way: a listening socket as standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_socket: Option<Socket>,
    pub stdout: Output,
    pub stderr: Output,
    /// Standard error goes where standard output goes.
    pub redirect_stderr: bool,
    /// What SUPERVISOR_SERVER_URL says; `None`: [`super::Config::server_url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
    pub ready: Ready,
    pub policy: Policy,
    #[serde(default, skip_serializing_if = "is_default")]
    pub extras: Extras,
}

/// What many have is written down as if each had its own. (serde can do that itself, by a feature for everybody.)
pub mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub fn serialize<T: Serialize, S: Serializer>(one: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        T::serialize(one, to)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

/// The same for a list.
pub(super) mod shared_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(in crate::config) fn serialize<T: Serialize, S: Serializer>(
        all: &[Arc<T>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|one| &**one))
    }

    pub(in crate::config) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Arc<T>>, D::Error> {
        let all: Vec<T> = Deserialize::deserialize(from)?;
        Ok(all.into_iter().map(Arc::new).collect())
    }
}

/// Whether it can be left out of what is written down: there are many processes, and few of them have all of this.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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

    /// Whether a name stands for it: its group's, its own, or both.
    #[must_use]
    pub fn is_meant_by(&self, name: &str) -> bool {
        self.group == name || self.name == name || self.id() == name
    }

    /// The holder's keys of its sockets.
    pub fn socket_keys(&self) -> impl Iterator<Item = String> {
        let all = self.sockets.iter().chain(&self.stdin_socket);
        all.map(|socket| socket.key(&self.group))
    }

    /// The files its output goes to, with the name of the channel.
    #[must_use]
    pub fn log_files(&self) -> Vec<(&'static str, &Path)> {
        let stdout = self.stdout.path().map(|path| ("stdout", path));
        let stderr = self.stderr.path().filter(|_| !self.redirect_stderr);
        let stderr = stderr.map(|path| ("stderr", path));
        stdout
            .into_iter()
            .chain(stderr)
            .filter(|(_, path)| !path.starts_with("/dev"))
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
    /// Who gets a Unix socket: `user` or `user:group`.
    #[serde(default)]
    pub owner: Option<String>,
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

/// What becomes of one channel of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub to: Destination,
    /// When a log file is begun anew; 0: never.
    pub max_bytes: u64,
    /// How many old files are kept; 0: the file is emptied instead.
    pub backups: u32,
    /// Each line goes to syslog too.
    pub syslog: bool,
    /// How much text between communication tags is kept; 0: tags are not looked for.
    pub capture_bytes: u64,
    /// Whether what it writes becomes PROCESS_LOG events.
    pub events: bool,
    /// How its lines are written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lines: Lines,
}

/// Where output is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Nowhere,
    /// A file of a new name in the folder for such logs.
    Auto,
    /// A file, a device, or `/dev/stdout` for the supervisor's own standard output.
    Path(PathBuf),
}

impl Output {
    /// Into a file or nowhere, and nothing else.
    #[must_use]
    pub fn new(to: Destination) -> Self {
        Self {
            to,
            max_bytes: 50 << 20,
            backups: 10,
            syslog: false,
            capture_bytes: 0,
            events: false,
            lines: Lines::default(),
        }
    }

    /// Whether somebody wants to see it, wherever it goes.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.events || self.capture_bytes > 0 || self.syslog
    }

    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.to {
            Destination::Path(path) => Some(path),
            Destination::Nowhere | Destination::Auto => None,
        }
    }

    /// What the log pump is to write to. `auto`: the file that was made for [`Destination::Auto`].
    #[must_use]
    pub fn sink(&self, auto: Option<&Path>) -> Sink {
        let path = match &self.to {
            Destination::Nowhere => return Sink::Discard,
            Destination::Auto => auto,
            Destination::Path(path) => Some(path.as_path()),
        };
        match path {
            None => Sink::Discard,
            Some(path) if ["/dev/stdout", "/dev/fd/1"].iter().any(|out| path == *out) => {
                Sink::Stdout
            }
            Some(path) => Sink::File(LogFile {
                path: path.to_owned(),
                max_bytes: self.max_bytes,
                backups: self.backups,
                lines: self.lines,
            }),
        }
    }
}

/// What the log pump writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Discard,
    /// The supervisor's own standard output.
    Stdout,
    File(LogFile),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// 0: never rotated.
    pub max_bytes: u64,
    /// How many old files are kept; 0: the file is emptied instead.
    pub backups: u32,
    pub lines: Lines,
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
    /// A command, run like the program itself, ends with 0.
    Exec { command: Vec<String> },
    /// It has written this text to its standard output.
    Log { text: String },
    /// It has written a newline to this descriptor (s6's way).
    Descriptor { number: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpPeer {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}
