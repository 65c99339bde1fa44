//! What is known of a process's life, and by which rules it is lived: supervisord's states, codes and settings.
//! Not here: what happens next (see `state`).

use super::backoff::Backoff;
use super::moment::Moment;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// supervisord's name and number of a state: what clients see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Stopped = 0,
    Starting = 10,
    Running = 20,
    Backoff = 30,
    Stopping = 40,
    Exited = 100,
    Fatal = 200,
}

impl Code {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
        }
    }
}

/// Where a process is in its life. supervisord's UNKNOWN is absent: a pidfd never misfires, so nothing leads there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum State {
    Stopped,
    Starting { since: Moment },
    Running { since: Moment },
    Backoff { until: Moment },
    Stopping { kill_at: Moment, then: Then },
    Exited,
    Fatal,
}

/// What follows once a stopping process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// STOPPED.
    Stay,
    /// A fresh start: this was a restart.
    Start,
    /// It was stopped because it did not get ready in time; that counts as a failed start.
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal { signal: i32, core: bool },
}

impl Exit {
    /// supervisord's exit status: death by a signal is -1.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal { .. } => -1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The process that was spawned.
    Main,
    /// Its whole process group.
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoRestart {
    Never,
    Always,
    /// Only after an exit code that is not in `exit_codes`.
    Unexpected,
}

/// What makes STARTING into RUNNING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Having lived for `start_secs`.
    Age,
    /// Being told by [`Event::Ready`], within this time.
    Told { within: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub auto_restart: AutoRestart,
    pub exit_codes: Vec<i32>,
    pub start_secs: Duration,
    pub start_retries: u32,
    pub backoff: Backoff,
    pub stop_signal: i32,
    pub stop_scope: Scope,
    pub stop_wait: Duration,
    pub kill_scope: Scope,
    pub gate: Gate,
}

impl Policy {
    #[must_use]
    pub fn expects(&self, exit: Exit) -> bool {
        matches!(exit, Exit::Code(code) if self.exit_codes.contains(&code))
    }

    pub(super) fn restarts_after(&self, exit: Exit) -> bool {
        match self.auto_restart {
            AutoRestart::Never => false,
            AutoRestart::Always => true,
            AutoRestart::Unexpected => !self.expects(exit),
        }
    }
}

/// Everything about a process that must outlive the brain: it is written into the holder with each transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pub state: State,
    /// Failed starts in a row; supervisord's back-off counter.
    pub failures: u32,
    /// How often in a row it was started again after it had counted as running, without being forgiven.
    #[serde(default)]
    pub returns: u32,
    /// How often it was spawned.
    pub spawns: u64,
    pub last_exit: Option<Exit>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            state: State::Stopped,
            failures: 0,
            returns: 0,
            spawns: 0,
            last_exit: None,
        }
    }
}

impl Life {
    #[must_use]
    pub fn code(&self) -> Code {
        match self.state {
            State::Stopped => Code::Stopped,
            State::Starting { .. } => Code::Starting,
            State::Running { .. } => Code::Running,
            State::Backoff { .. } => Code::Backoff,
            State::Stopping { .. } => Code::Stopping,
            State::Exited => Code::Exited,
            State::Fatal => Code::Fatal,
        }
    }

    /// Whether a process was ordered and has not been reported gone.
    #[must_use]
    pub fn has_process(&self) -> bool {
        matches!(
            self.state,
            State::Starting { .. } | State::Running { .. } | State::Stopping { .. }
        )
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        matches!(self.state, State::Stopped | State::Exited | State::Fatal)
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self, policy: &Policy) -> Option<Moment> {
        match (&self.state, policy.gate) {
            (State::Starting { since }, Gate::Age) => Some(*since + policy.start_secs),
            (State::Starting { since }, Gate::Told { within }) => Some(*since + within),
            (State::Backoff { until }, _) => Some(*until),
            (State::Stopping { kill_at, .. }, _) => Some(*kill_at),
            (State::Stopped | State::Running { .. } | State::Exited | State::Fatal, _) => None,
        }
    }
}
