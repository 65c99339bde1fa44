//! The words of the workers' life: where a worker is, what happens, what is to be done.
//!
//! Not here: what follows from what (`state`).

use std::time::{Duration, Instant};

/// A process number.
pub type Pid = i32;

/// What the arbiter goes by.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// After TERM.
    pub graceful: Duration,
    /// After QUIT.
    pub quick: Duration,
    /// A worker that has not booted by then is killed; `None` waits for ever.
    pub boot: Option<Duration>,
    /// Between ABRT and KILL.
    pub abort: Duration,
}

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Booting {
        since: Instant,
    },
    Ready {
        since: Instant,
    },
    /// Asked to leave; is killed at `kill_at`.
    Leaving {
        kill_at: Instant,
    },
    /// Sent KILL.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    pub generation: u64,
    pub stage: Stage,
    /// Its request took too long: it is at its end, but its place is to be filled again.
    pub hung: bool,
    /// It serves on until another one is ready for its place.
    pub retiring: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// No worker was ever ready.
    Starting,
    Running,
    Stopping {
        code: u8,
    },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Start,
    Spawned {
        pid: Pid,
        generation: u64,
    },
    SpawnFailed {
        generation: u64,
    },
    Ready {
        pid: Pid,
    },
    /// `code` as in `exit`; `None`: by a signal.
    Exited {
        pid: Pid,
        code: Option<u8>,
    },
    /// Its request, or its boot, takes too long.
    Hung {
        pid: Pid,
    },
    /// It has served long enough (requests, age, memory): it leaves once another is ready for its place.
    Recycle {
        pid: Pid,
    },
    Stop,
    QuickStop,
    /// A spawn failed in a way that calls the start off.
    Halt {
        code: u8,
    },
    /// New settings are valid and wait to be used by `workers` workers.
    Reload {
        workers: usize,
    },
    More,
    Fewer,
    /// All workers leave, the arbiter stays: gunicorn's WINCH. More, or a reload, brings workers again.
    Empty,
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Spawn {
        generation: u64,
    },
    Terminate(Pid),
    Quit(Pid),
    Abort(Pid),
    Kill(Pid),
    /// The first worker is ready.
    BecameReady,
    /// The candidate has proved itself; its settings are in force.
    Promoted {
        generation: u64,
    },
    /// The candidate failed; the old generation serves on. `code` as in [`Event::Exited`].
    Rejected {
        generation: u64,
        code: Option<u8>,
    },
    /// No new connections; workers finish what they have.
    Drain,
    /// All workers know that it is the end.
    TellStopping,
    /// A worker is not started again before a while.
    BackOff(Duration),
    /// The number of workers is another.
    Resized(usize),
    Exit {
        code: u8,
    },
}
