//! The one transition function of a process's life: event in, effects out.
//! Not here: spawning, signalling, timers, logging. The caller carries effects out in order and asks
//! [`Life::deadline`] when to come back with [`Event::Tick`].

use super::backoff::Backoff;
use super::moment::Moment;
use std::time::Duration;

pub use super::life::{AutoRestart, Code, Exit, Gate, Life, Policy, Scope, State, Then};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Asked to run.
    Start,
    /// Asked to stop.
    Stop,
    /// Asked to stop if it runs, and to start afresh.
    Restart,
    /// The process exists.
    Spawned,
    /// It could not be created.
    SpawnFailed,
    /// It ended at this moment, which may lie before `now` when nobody was there to see it.
    Exited { exit: Exit, at: Moment },
    /// It said, or a probe found, that it is ready.
    Ready,
    /// Time has passed. Only to be sent while the process is known to be alive, so that an exit is never overtaken.
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Spawn,
    Signal {
        signal: i32,
        scope: Scope,
    },
    /// Tell the world. `from` and `to` as supervisord's event listeners see them.
    Announce {
        from: Code,
        to: Code,
        why: Why,
    },
}

/// The reason of a change, for the log and for event streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Asked,
    /// Lived long enough.
    Age,
    /// Told to be ready.
    Ready,
    SpawnFailed,
    /// Ended before it counted as started.
    TooQuick(Exit),
    Expected(Exit),
    Unexpected(Exit),
    /// Ended because it was stopped.
    Stopped(Option<Exit>),
    NotReadyInTime,
    /// It is to run again, but not at once.
    RestartDelay,
    /// The wait before another attempt is over.
    Retry,
    AutoRestart,
    TooManyRetries,
}

pub const SIGKILL: i32 = 9;
/// SIGKILL is repeated, but not in a busy loop when `stop_wait` is zero.
const KILL_AGAIN_AT_LEAST: Duration = Duration::from_secs(1);

#[must_use = "a dropped effect is a signal or a spawn that never happens"]
pub fn step(life: Life, event: Event, now: Moment, policy: &Policy) -> (Life, Vec<Effect>) {
    let mut turn = Turn {
        life,
        effects: Vec::new(),
        now,
        policy,
    };
    match (turn.life.state.clone(), event) {
        (State::Stopped | State::Exited | State::Fatal, Event::Start | Event::Restart)
        | (State::Backoff { .. }, Event::Restart) => turn.begin_afresh(),

        (State::Starting { .. } | State::Running { .. }, Event::Stop) => {
            turn.terminate(Then::Stay, Why::Asked)
        }
        (State::Starting { .. } | State::Running { .. }, Event::Restart) => {
            turn.terminate(Then::Start, Why::Asked)
        }
        (State::Stopping { kill_at, .. }, Event::Stop) => {
            turn.life.state = State::Stopping {
                kill_at,
                then: Then::Stay,
            };
        }
        (State::Stopping { kill_at, .. }, Event::Start | Event::Restart) => {
            turn.life.state = State::Stopping {
                kill_at,
                then: Then::Start,
            };
        }
        (State::Backoff { .. }, Event::Stop) => turn.enter(State::Stopped, Why::Stopped(None)),

        (State::Starting { since }, Event::Spawned) => {
            if policy.gate == Gate::Age && policy.start_secs.is_zero() {
                turn.enter(State::Running { since }, Why::Age);
            }
        }
        (State::Starting { .. }, Event::SpawnFailed) => turn.fail(Why::SpawnFailed),
        (State::Starting { since }, Event::Exited { exit, at }) => {
            if policy.gate == Gate::Age && at - since >= policy.start_secs {
                turn.enter(State::Running { since }, Why::Age);
                turn.ended(exit, at - since);
            } else {
                turn.life.last_exit = Some(exit);
                turn.fail(Why::TooQuick(exit));
            }
        }
        (State::Starting { since }, Event::Ready) => {
            if matches!(policy.gate, Gate::Told { .. }) {
                turn.enter(State::Running { since }, Why::Ready);
            }
        }
        (State::Starting { since }, Event::Tick) if turn.is_due() => match policy.gate {
            Gate::Age => turn.enter(State::Running { since }, Why::Age),
            Gate::Told { .. } => turn.terminate(Then::Retry, Why::NotReadyInTime),
        },

        (State::Running { since }, Event::Exited { exit, at }) => {
            if at - since < policy.start_secs {
                turn.life.last_exit = Some(exit);
                turn.fail(Why::TooQuick(exit)); // said it was ready, and died at once: no hot loop
            } else {
                turn.ended(exit, at - since);
            }
        }

        (State::Backoff { .. }, Event::Tick) if turn.is_due() => turn.spawn(Why::Retry),

        (State::Stopping { then, .. }, Event::Exited { exit, .. }) => {
            turn.life.last_exit = Some(exit);
            turn.gone(then, Some(exit));
        }
        (State::Stopping { then, .. }, Event::SpawnFailed) => turn.gone(then, None),
        (State::Stopping { then, .. }, Event::Tick) if turn.is_due() => {
            let again = policy.stop_wait.max(KILL_AGAIN_AT_LEAST);
            turn.life.state = State::Stopping {
                kill_at: now + again,
                then,
            };
            turn.effects.push(Effect::Signal {
                signal: SIGKILL,
                scope: policy.kill_scope,
            });
        }

        (
            State::Stopped,
            Event::Stop | Event::Spawned | Event::SpawnFailed | Event::Exited { .. },
        )
        | (State::Stopped, Event::Ready | Event::Tick)
        | (State::Starting { .. }, Event::Start | Event::Tick)
        | (
            State::Running { .. },
            Event::Start | Event::Spawned | Event::SpawnFailed | Event::Ready | Event::Tick,
        )
        | (
            State::Backoff { .. },
            Event::Start | Event::Spawned | Event::SpawnFailed | Event::Exited { .. },
        )
        | (State::Backoff { .. }, Event::Ready | Event::Tick)
        | (State::Stopping { .. }, Event::Spawned | Event::Ready | Event::Tick)
        | (
            State::Exited,
            Event::Stop | Event::Spawned | Event::SpawnFailed | Event::Exited { .. },
        )
        | (State::Exited, Event::Ready | Event::Tick)
        | (
            State::Fatal,
            Event::Stop | Event::Spawned | Event::SpawnFailed | Event::Exited { .. },
        )
        | (State::Fatal, Event::Ready | Event::Tick) => {}
    }
    (turn.life, turn.effects)
}

struct Turn<'a> {
    life: Life,
    effects: Vec<Effect>,
    now: Moment,
    policy: &'a Policy,
}

impl Turn<'_> {
    fn is_due(&self) -> bool {
        self.life
            .deadline(self.policy)
            .is_some_and(|deadline| deadline <= self.now)
    }

    fn enter(&mut self, state: State, why: Why) {
        let from = self.life.code();
        self.life.state = state;
        self.effects.push(Effect::Announce {
            from,
            to: self.life.code(),
            why,
        });
    }

    fn begin_afresh(&mut self) {
        self.life.failures = 0;
        self.life.returns = 0;
        self.spawn(Why::Asked);
    }

    fn spawn(&mut self, why: Why) {
        self.life.spawns += 1;
        self.enter(State::Starting { since: self.now }, why);
        self.effects.push(Effect::Spawn);
    }

    fn terminate(&mut self, then: Then, why: Why) {
        self.enter(
            State::Stopping {
                kill_at: self.now + self.policy.stop_wait,
                then,
            },
            why,
        );
        self.effects.push(Effect::Signal {
            signal: self.policy.stop_signal,
            scope: self.policy.stop_scope,
        });
    }

    fn fail(&mut self, why: Why) {
        self.life.failures += 1;
        let until = self.now + self.delay(self.life.failures);
        self.enter(State::Backoff { until }, why);
        if self.life.failures > self.policy.start_retries {
            self.life.failures = 0;
            self.enter(State::Fatal, Why::TooManyRetries);
        }
    }

    /// No two lives meet the same nanosecond with the same past, which is all the luck that jitter needs.
    fn delay(&self, attempt: u32) -> Duration {
        let luck = self.now.0.rotate_left(20) ^ self.life.spawns;
        self.policy.backoff.delay(attempt, luck)
    }

    /// A process that had counted as running ended by itself after so long.
    fn ended(&mut self, exit: Exit, lived: Duration) {
        self.life.failures = 0;
        self.life.last_exit = Some(exit);
        let why = if self.policy.expects(exit) {
            Why::Expected(exit)
        } else {
            Why::Unexpected(exit)
        };
        self.enter(State::Exited, why);
        if !self.policy.restarts_after(exit) {
            return;
        }
        match &self.policy.backoff {
            Backoff::Linear { .. } => self.spawn(Why::AutoRestart),
            Backoff::Exponential(rule) => {
                let forgiven = lived >= rule.forgiven_after;
                self.life.returns = if forgiven { 1 } else { self.life.returns + 1 };
                let until = self.now + self.delay(self.life.returns);
                self.enter(State::Backoff { until }, Why::RestartDelay);
            }
        }
    }

    /// A process that was being stopped is gone.
    fn gone(&mut self, then: Then, exit: Option<Exit>) {
        match then {
            Then::Stay => self.enter(State::Stopped, Why::Stopped(exit)),
            Then::Start => {
                self.enter(State::Stopped, Why::Stopped(exit));
                self.begin_afresh();
            }
            Then::Retry => self.fail(Why::NotReadyInTime),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
