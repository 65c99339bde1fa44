//! One process as the brain knows it: settings, life, and what of it is written into the holder.
//! Not here: changing it (see `supervisor`), or starting it (see `start`).

use super::logs::filter::Wanted;
use super::logs::tail::Follower;
use super::logs::tap::Tap;
use crate::clock;
use crate::config;
use crate::config::extras::Schedule;
use crate::config::is_default;
use crate::holder::wire::{Channel, Order};
use crate::program::moment::Moment;
use crate::program::state::{Code, Exit, Life, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use trine_control::{ProgramState, ProgramStatus};

/// What the next brain needs to know of a process; written with each transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the process runs with; the configuration may say something newer already.
    #[serde(with = "config::shared")]
    pub settings: Arc<config::Process>,
    #[serde(default)]
    pub life: Life,
    /// Number of the latest spawn order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub generation: u64,
    /// How often it was started again by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restarts: u64,
    /// The same by what had happened before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_causes: BTreeMap<String, u64>,
    /// Why it could not be started.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spawn_error: Option<String>,
    /// When it was last seen to end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ended: Option<Timestamp>,
    /// When it was last started.
    #[serde(default, skip_serializing_if = "is_default")]
    pub started: Option<Timestamp>,
    /// It said that it is going (STOPPING=1) since it was ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaving: bool,
    /// The latest STATUS= of this generation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status_text: Option<String>,
    /// The files of logs that were left to us to name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub auto_logs: BTreeMap<Channel, PathBuf>,
    /// It is to start once what it depends on is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting: bool,
    /// Why it is ended or was ended, when its exit does not say so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cause: Option<String>,
    /// The schedule that `next_run` comes from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub planned: Option<Schedule>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub next_run: Option<Timestamp>,
    /// It is to run once more when it has ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queued: bool,
    /// How long its log was before this generation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_mark: u64,
}

impl Record {
    #[must_use]
    pub fn new(settings: Arc<config::Process>) -> Self {
        Self {
            settings,
            life: Life::default(),
            generation: 0,
            restarts: 0,
            restart_causes: BTreeMap::new(),
            spawn_error: None,
            ended: None,
            started: None,
            leaving: false,
            status_text: None,
            auto_logs: BTreeMap::new(),
            waiting: false,
            cause: None,
            planned: None,
            next_run: None,
            queued: false,
            log_mark: 0,
        }
    }
}

#[derive(Debug)]
pub struct Process {
    /// On its own, as it is large, and maps keep room for more than they hold.
    pub record: Box<Record>,
    /// Settings to use from the next start on.
    pub next: Option<Arc<config::Process>>,
    /// No longer in the configuration: goes once it is at rest.
    pub retiring: bool,
    pub pid: Option<i32>,
    pub since: Option<Moment>,
    pub pidfd: Option<OwnedFd>,
    /// Another process that speaks for it (MAINPID).
    pub main_pid: Option<i32>,
    pub taps: BTreeMap<Channel, Arc<Tap>>,
    /// What the log pump was told to look at, and whether output is changed on its way.
    pub wanted: BTreeMap<Channel, (Wanted, bool)>,
    /// Of the process that was last started.
    pub last_pid: Option<i32>,
    pub probe: Option<AbortHandle>,
    /// Where the log of this generation begins, for who waits for a line in it.
    pub log_watch: Option<Follower>,
    /// Where it says that it is ready, s6's way.
    pub ready_pipe: Option<OwnedFd>,
    pub health: Option<AbortHandle>,
    /// What its liveness check has found last.
    pub healthy: Option<bool>,
    pub watchdog_at: Option<Moment>,
    /// The interval it has asked for (WATCHDOG_USEC).
    pub watchdog: Option<Duration>,
    /// Until when it has asked for patience (EXTEND_TIMEOUT_USEC).
    pub extended: Option<Moment>,
    pub sweeping: Option<AbortHandle>,
}

pub const KEY_PREFIX: &str = "process/";
/// How a cause begins when the kernel has killed it for want of memory.
pub const OUT_OF_MEMORY: &str = "out of memory";

impl Process {
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self {
            record: Box::new(record),
            next: None,
            retiring: false,
            pid: None,
            since: None,
            pidfd: None,
            main_pid: None,
            taps: BTreeMap::new(),
            wanted: BTreeMap::new(),
            last_pid: None,
            probe: None,
            log_watch: None,
            ready_pipe: None,
            health: None,
            healthy: None,
            watchdog_at: None,
            watchdog: None,
            extended: None,
            sweeping: None,
        }
    }

    /// The order that writes it down.
    #[must_use]
    pub fn store(&self, id: &str) -> Order {
        // A record is strings, numbers and plain enums: it always becomes JSON.
        Order::Store {
            key: format!("{KEY_PREFIX}{id}"),
            value: serde_json::to_string(&self.record).ok(),
        }
    }

    /// The orders that make the holder forget one that is at rest.
    #[must_use]
    pub fn forget(id: &str) -> [Order; 2] {
        let store = Order::Store {
            key: format!("{KEY_PREFIX}{id}"),
            value: None,
        };
        [store, Order::Forget { id: id.to_owned() }]
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.record.life.code()
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.record.life.state, State::Running { .. }) && !self.record.leaving
    }

    /// Neither on the way up nor on the way down.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(
            self.record.life.state,
            State::Starting { .. } | State::Stopping { .. }
        )
    }

    /// When `Tick` is due. A process that was ordered and is not there yet has not begun to live.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        if matches!(self.record.life.state, State::Starting { .. }) && self.pid.is_none() {
            return None;
        }
        let due = self.record.life.deadline(&self.record.settings.policy);
        // A process that has asked for more time gets it.
        let due = due.map(|due| self.extended.map_or(due, |extended| due.max(extended)));
        due.into_iter().chain(self.watchdog_at).min()
    }

    /// The settings of its next start.
    #[must_use]
    pub fn wanted(&self) -> &Arc<config::Process> {
        self.next.as_ref().unwrap_or(&self.record.settings)
    }

    /// The process is gone; forget what was true of it alone.
    pub fn clear(&mut self) {
        self.pid = None;
        self.since = None;
        self.pidfd = None;
        self.main_pid = None;
        self.healthy = None;
        self.watchdog_at = None;
        self.watchdog = None;
        self.extended = None;
        for task in [self.probe.take(), self.health.take()]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }

    /// Why it has to be started again, as a word for metrics.
    #[must_use]
    pub fn restart_cause(&self) -> String {
        match (&self.record.spawn_error, self.record.life.last_exit) {
            (Some(_), _) => "not_spawned".to_owned(),
            _ if self.ran_out_of_memory() => "out_of_memory".to_owned(),
            (None, Some(Exit::Signal { signal, .. })) => nix::sys::signal::Signal::try_from(signal)
                .map_or_else(|_| format!("signal_{signal}"), |signal| signal.to_string()),
            (None, Some(Exit::Code(code))) => format!("exit_{code}"),
            (None, None) => "other".to_owned(),
        }
    }

    fn ran_out_of_memory(&self) -> bool {
        let cause = self.record.cause.as_deref();
        cause.is_some_and(|cause| cause.starts_with(OUT_OF_MEMORY))
    }

    #[must_use]
    pub fn status(&self) -> ProgramStatus {
        let record = &self.record;
        let path = |channel| {
            self.taps
                .get(&channel)
                .map(|tap| tap.path().display().to_string())
        };
        let uptime = self.since.map(|since| clock::now() - since);
        ProgramStatus {
            name: record.settings.name.clone(),
            group: record.settings.group.clone(),
            state: state(self.code()),
            pid: self.pid.and_then(|pid| u32::try_from(pid).ok()),
            uptime_ms: uptime.map(|uptime| u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
            exit_code: record.life.last_exit.map(exit_code),
            restarts: record.restarts,
            ready: self.is_ready(),
            description: self.description(),
            stdout_log: path(Channel::Stdout),
            stderr_log: path(Channel::Stderr),
        }
    }

    /// supervisorctl's words.
    fn description(&self) -> String {
        match self.code() {
            Code::Running => self.running_for(),
            Code::Starting => self.record.status_text.clone().unwrap_or_default(),
            Code::Stopping => String::new(),
            Code::Backoff | Code::Fatal => {
                match (&self.record.spawn_error, self.record.life.last_exit) {
                    (Some(error), _) => error.clone(),
                    (None, Some(exit)) => format!("{}; see its log", describe(exit)),
                    (None, None) => String::new(),
                }
            }
            Code::Stopped | Code::Exited => match self.record.ended {
                Some(time) => time
                    .to_zoned(jiff::tz::TimeZone::system())
                    .strftime("%b %d %I:%M %p")
                    .to_string(),
                None => "Not started".to_owned(),
            },
        }
    }

    fn running_for(&self) -> String {
        let (Some(pid), Some(since)) = (self.pid, self.since) else {
            return String::new();
        };
        let seconds = (clock::now() - since).as_secs();
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
        let days = match days {
            0 => String::new(),
            1 => "1 day, ".to_owned(),
            days => format!("{days} days, "),
        };
        format!(
            "pid {pid}, uptime {days}{hours}:{minutes:02}:{:02}",
            seconds % 60
        )
    }
}

/// How a process ended, in supervisord's words.
#[must_use]
pub fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal { signal, core } => {
            let name = nix::sys::signal::Signal::try_from(signal)
                .map_or_else(|_| format!("signal {signal}"), |s| s.to_string());
            format!(
                "terminated by {name}{}",
                if core { " (core dumped)" } else { "" }
            )
        }
    }
}

/// The code of exit, or minus the signal's number.
#[must_use]
pub fn exit_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal { signal, .. } => -signal,
    }
}

fn state(code: Code) -> ProgramState {
    match code {
        Code::Stopped => ProgramState::Stopped,
        Code::Starting => ProgramState::Starting,
        Code::Running => ProgramState::Running,
        Code::Backoff => ProgramState::Backoff,
        Code::Stopping => ProgramState::Stopping,
        Code::Exited => ProgramState::Exited,
        Code::Fatal => ProgramState::Fatal,
    }
}
