//! Setting up the log: text or JSON lines, to standard error or to a file that can be opened again.
//!
//! Not here: access logs (each server writes its own), rotation, or what is worth a line.

mod lines;
mod sink;
mod syslog;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
pub use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{filter::LevelFilter, fmt::layer, registry, reload};

use crate::Error;
use lines::Lines;
use sink::Sink;
pub use syslog::{Syslog, SyslogServer, SyslogSettings};

/// How a line looks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `2026-11-23T10:00:00.123Z INFO proxy: message key=value`
    #[default]
    Text,
    /// One JSON object per line: `time`, `level`, `program`, `pid`, `message`, and the event's own fields.
    Json,
    /// `[2026-11-23 10:00:00 +0000] [4711] [INFO] message`: gunicorn's lines, in local time. A message may have
    /// several lines, which stand as they are.
    Gunicorn,
    /// `2026-11-23 10:00:00,123 INFO message`: supervisord's lines, in local time.
    Supervisord,
    /// `2026/11/23 10:00:00 [error] 4711#4711: *3 message, client: …, request: "…"`: nginx's lines, in local time.
    Nginx,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "gunicorn" => Ok(Self::Gunicorn),
            "supervisord" => Ok(Self::Supervisord),
            "nginx" => Ok(Self::Nginx),
            _ => Err(format!(
                "unknown log format {text:?}; there are text, json, gunicorn, supervisord and nginx"
            )),
        }
    }
}

/// Where the lines go.
#[derive(Debug, Clone, Default)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// A file, appended to and made (mode 0640) when it is not there.
    File(PathBuf),
    /// Something of the daemon's own.
    Own(Arc<dyn LineSink>),
    /// Each gets the lines of its level and above; they can be changed while the daemon runs.
    Several(Vec<(Level, LogTarget)>),
}

/// Takes finished lines. Must not log itself.
pub trait LineSink: fmt::Debug + Send + Sync {
    /// One line with its newline. What cannot be written is dropped.
    fn line(&self, line: &[u8]);

    /// The same, for those who want to know how important it is.
    fn line_at(&self, level: Level, line: &[u8]) {
        let _ = level;
        self.line(line);
    }

    /// Opens again by name what is a file.
    ///
    /// # Errors
    /// When it cannot be opened; the lines go on to where they went.
    fn reopen(&self) -> Result<(), Error>;
}

/// What [`init`] needs to know.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The word before the colon: `proxy`, `wsgi`, `supervisor`.
    pub program: String,
    /// Text or JSON.
    pub format: LogFormat,
    /// Lines less important than this are left out.
    pub level: Level,
    /// Where the lines go.
    pub target: LogTarget,
}

impl LogSettings {
    /// Text on standard error, INFO and above.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            format: LogFormat::Text,
            level: Level::INFO,
            target: LogTarget::Stderr,
        }
    }
}

/// A level by its name in any case, also in gunicorn's and supervisord's words.
///
/// # Errors
/// A sentence that lists the names.
pub fn parse_level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "trace" | "blather" => Ok(Level::TRACE),
        "debug" => Ok(Level::DEBUG),
        "info" | "notice" => Ok(Level::INFO),
        "warn" | "warning" => Ok(Level::WARN),
        "error" | "critical" | "crit" => Ok(Level::ERROR),
        _ => Err(format!(
            "unknown log level {text:?}; there are error, warn, info, debug and trace"
        )),
    }
}

/// One line on its way to somebody else's logger.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub level: Level,
    /// An error of the kind that Python calls critical: the event had a field of that name.
    pub critical: bool,
    pub message: &'a str,
}

/// Takes a line, or answers `false` to have it written here.
pub type Taker = dyn Fn(&Line<'_>) -> bool + Send + Sync;

/// Who gets the lines instead of the target, if anybody.
#[derive(Clone, Default)]
struct Relay(Arc<RwLock<Option<Arc<Taker>>>>);

impl Relay {
    fn take(&self, line: &Line<'_>) -> bool {
        // Nothing is held during the call: the taker may log, too.
        let taker = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        taker.is_some_and(|taker| taker(line))
    }

    fn is_set(&self) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relay").field(&self.is_set()).finish()
    }
}

/// Steers the log after it was set up. Clones steer the same log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    sink: Sink,
    level: reload::Handle<LevelFilter, registry::Registry>,
    format: Form,
    relay: Relay,
}

/// How lines look at the moment. Clones are the same.
#[derive(Debug, Clone)]
struct Form(Arc<RwLock<LogFormat>>);

impl Form {
    fn get(&self) -> LogFormat {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogHandle {
    /// Opens the log file again by its name, after somebody (logrotate) moved it away. Does nothing for
    /// standard error.
    ///
    /// # Errors
    /// [`Error::LogFile`]; the lines go on into the old file then.
    pub fn reopen(&self) -> Result<(), Error> {
        self.sink.reopen()
    }

    /// Goes on with other targets, if it was begun with several.
    ///
    /// # Errors
    /// [`Error::LogFile`] when one cannot be opened; the lines go on to where they went.
    pub fn retarget(&self, targets: &[(Level, LogTarget)]) -> Result<(), Error> {
        if self.sink.retarget(targets)? {
            self.set_level(most_verbose(targets));
        }
        Ok(())
    }

    /// Has `taker` get every line that is not left out, instead of the target; `None`: nobody any more.
    pub fn relay(&self, taker: Option<Arc<Taker>>) {
        *self.relay.0.write().unwrap_or_else(PoisonError::into_inner) = taker;
    }

    /// Changes how lines look, from now on.
    pub fn set_format(&self, format: LogFormat) {
        *self
            .format
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = format;
    }

    /// Changes which lines are left out, from now on.
    pub fn set_level(&self, level: Level) {
        // Fails only after the subscriber is gone, and then there is no log to steer.
        let _ = self
            .level
            .modify(|filter| *filter = LevelFilter::from_level(level));
    }
}

/// Makes this the log of the whole process. Each line is one `write(2)`, so processes that share the file
/// do not mix theirs; a line that cannot be written is dropped.
///
/// # Errors
/// [`Error::LogFile`] when the file cannot be opened, [`Error::LogTwice`] when there is a log already.
pub fn init(settings: &LogSettings) -> Result<LogHandle, Error> {
    let (subscriber, handle) = build(settings)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::LogTwice)?;
    Ok(handle)
}

/// The level that leaves out nothing that some target wants.
#[must_use]
pub fn most_verbose(targets: &[(Level, LogTarget)]) -> Level {
    let levels = targets.iter().map(|(level, _)| *level);
    levels.max().unwrap_or(Level::ERROR)
}

fn build(
    settings: &LogSettings,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, LogHandle), Error> {
    let sink = Sink::open(&settings.target)?;
    let (filter, level) = reload::Layer::new(LevelFilter::from_level(settings.level));
    let relay = Relay::default();
    let format = Form(Arc::new(RwLock::new(settings.format)));
    let lines = layer()
        .event_format(Lines {
            program: settings.program.clone(),
            format: format.clone(),
            relay: relay.clone(),
        })
        .log_internal_errors(false)
        .with_ansi(false)
        .with_writer(sink.clone());
    let subscriber = registry().with(filter).with(lines);
    let handle = LogHandle {
        sink,
        level,
        format,
        relay,
    };
    Ok((subscriber, handle))
}

#[cfg(test)]
mod tests;
