//! The messages of the API, version 1. Released ones are frozen in `golden/v1`: fields are added, never
//! removed or given another meaning, and readers ignore what they do not know.
//!
//! Not here: how they travel.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trine_service::Phase;

/// `GET /v1/status`: what a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `trine-proxy`, `trine-wsgi` or `trine-supervisor`.
    pub daemon: String,
    /// Its version, `major.minor.patch`.
    pub version: String,
    /// Its main process.
    pub pid: u32,
    /// Where it is in its life.
    pub phase: Phase,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// One line for people; what NOTIFY_SOCKET's STATUS says.
    #[serde(default)]
    pub status_text: String,
    /// Counts configurations put into effect: 1 after the start, one more with each reload.
    #[serde(default)]
    pub generation: u64,
    /// The sockets it takes connections on.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
    /// How the latest reload went, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<ReloadReport>,
    /// What only this daemon has to tell.
    #[serde(default)]
    pub detail: Value,
}

/// One listening socket of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerStatus {
    /// `127.0.0.1:8000`, `[::]:80` or `unix:/path`.
    pub address: String,
    /// Whether it was handed down by LISTEN_FDS.
    #[serde(default)]
    pub inherited: bool,
}

/// How a reload, or its rehearsal, went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReport {
    /// Whether the new configuration is good, and in effect unless this was a dry run.
    pub ok: bool,
    /// When it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Whether this was a rehearsal that changed nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// What is wrong, one problem with file and line per entry.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// Something that happened, as `/v1/events` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Grows with each event, also over restarts of the daemon; a reader resumes after the last it saw.
    pub id: u64,
    /// When it happened, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// What happened: `phase`, `reload`, `worker.ready`, `program.state`, and `gap` for events lost.
    pub kind: String,
    /// The particulars of this kind.
    #[serde(default)]
    pub data: Value,
}

/// An answer that says no (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDocument {
    /// Names the kind of problem, as `trine:WORD`; `about:blank` when the status code says it all.
    #[serde(default = "about_blank", rename = "type")]
    pub kind: String,
    /// The kind of problem for people.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong this time and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Single problems, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl ProblemDocument {
    /// The content type of a problem document.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// A problem that its status code names.
    #[must_use]
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        let title = title(status).to_owned();
        Self {
            kind: about_blank(),
            title,
            status,
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    /// The same with single problems.
    #[must_use]
    pub fn with_problems(self, problems: Vec<String>) -> Self {
        Self { problems, ..self }
    }
}

impl std::fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        })?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Problem",
    }
}

/// The states of a program, in supervisord's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProgramState {
    /// Not running, because somebody stopped it or it was never started.
    Stopped,
    /// Started, not yet up for long enough (or not yet ready).
    Starting,
    /// Up.
    Running,
    /// Ended too soon; it will be started again after a while.
    Backoff,
    /// Asked to stop, not yet gone.
    Stopping,
    /// Ended by itself.
    Exited,
    /// Could not be started often enough.
    Fatal,
    /// Nobody knows.
    Unknown,
}

impl ProgramState {
    /// The word, as supervisorctl prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl std::fmt::Display for ProgramState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One process of a program of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramStatus {
    /// The process's name, `web` or `web_00`.
    pub name: String,
    /// The program or group it belongs to.
    pub group: String,
    /// Where it is in its life.
    pub state: ProgramState,
    /// Its process, while there is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Milliseconds since it was started, while it lives.
    #[serde(default)]
    pub uptime_ms: Option<u64>,
    /// How its last process ended: the code of exit, or minus the signal's number.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// How often it was started again by itself.
    #[serde(default)]
    pub restarts: u64,
    /// Whether it is ready for work, by the check that the configuration names.
    #[serde(default)]
    pub ready: bool,
    /// One line for people, `pid 4711, uptime 0:01:05`.
    #[serde(default)]
    pub description: String,
    /// Where its standard output goes; `None` when nowhere.
    #[serde(default)]
    pub stdout_log: Option<String>,
    /// Where its standard error goes; `None` when nowhere, or to `stdout_log`.
    #[serde(default)]
    pub stderr_log: Option<String>,
}

/// `GET /v1/programs` of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProgramList {
    /// All processes, in order of their start.
    pub programs: Vec<ProgramStatus>,
}

/// The answer to a POST that did, or began, something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ActionResult {
    /// Whether it was done, or is under way.
    pub ok: bool,
    /// One line for people.
    #[serde(default)]
    pub message: String,
    /// The processes it was done to, as they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramStatus>,
}

impl ActionResult {
    /// Done, or under way.
    #[must_use]
    pub fn done(message: impl Into<String>) -> Self {
        Self {
            ok: true,
            message: message.into(),
            programs: Vec::new(),
        }
    }
}

/// `GET /v1/cache` of the proxy, and the answer to `POST /v1/cache/purge`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CacheList {
    /// In the order of the configuration; after a purge those that were meant.
    pub zones: Vec<CacheZone>,
}

/// One cache of the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CacheZone {
    /// As `keys_zone` names it.
    pub name: String,
    /// Keys with an answer in memory.
    #[serde(default)]
    pub keys: u64,
    /// Bytes of memory in use.
    #[serde(default)]
    pub bytes: u64,
    /// How many there may be.
    #[serde(default)]
    pub most_bytes: u64,
    /// The folder with its files, if it has one.
    #[serde(default)]
    pub folder: Option<String>,
    /// After a purge: how many keys were forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<u64>,
}

/// `GET /v1/cache/keys` of the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CacheKeys {
    /// In order; bytes that are not UTF-8 are replaced.
    pub keys: Vec<String>,
    /// Whether there are more than were asked for.
    #[serde(default)]
    pub more: bool,
}
