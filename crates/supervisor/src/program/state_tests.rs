//! Rows of the state table, one `check` each: where a process is, what happens, where it is then and what is done.

use super::*;
use crate::program::backoff::{Backoff, Exponential};

const SECOND: u64 = 1_000_000_000;

fn policy() -> Policy {
    Policy {
        auto_restart: AutoRestart::Unexpected,
        exit_codes: vec![0],
        start_secs: Duration::from_secs(1),
        start_retries: 3,
        backoff: Backoff::default(),
        stop_signal: 15,
        stop_scope: Scope::Main,
        stop_wait: Duration::from_secs(10),
        kill_scope: Scope::Group,
        gate: Gate::Age,
    }
}

fn told() -> Policy {
    Policy {
        gate: Gate::Told {
            within: Duration::from_secs(60),
        },
        ..policy()
    }
}

fn at(tenths: u64) -> Moment {
    Moment(tenths * SECOND / 10)
}

fn life(state: State) -> Life {
    Life {
        state,
        ..Life::default()
    }
}

fn starting() -> Life {
    life(State::Starting { since: at(0) })
}

fn running() -> Life {
    life(State::Running { since: at(0) })
}

fn stopping(then: Then) -> Life {
    life(State::Stopping {
        kill_at: at(100),
        then,
    })
}

fn exited(code: i32, tenths: u64) -> Event {
    Event::Exited {
        exit: Exit::Code(code),
        at: at(tenths),
    }
}

/// `want`: the states passed through and the deeds, in order; then what the life has become.
#[track_caller]
fn check(life: Life, event: Event, now: Moment, policy: &Policy, want: &str) -> Life {
    let (life, effects) = step(life, event, now, policy);
    let mut words: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Spawn => "spawn".to_owned(),
            Effect::Signal { signal, scope } => format!("signal {signal} {scope:?}"),
            Effect::Announce { to, why, .. } => format!("{} ({why:?})", to.name()),
        })
        .collect();
    words.push(format!(
        "= {} after {} failures",
        life.code().name(),
        life.failures
    ));
    if let Some(deadline) = life.deadline(policy) {
        words.push(format!("until {}", deadline.0 as f64 / SECOND as f64));
    }
    assert_eq!(words.join(", "), want);
    life
}

#[test]
fn starting_and_stopping() {
    let p = policy();
    check(
        Life::default(),
        Event::Start,
        at(0),
        &p,
        "STARTING (Asked), spawn, = STARTING after 0 failures, until 1",
    );
    check(
        starting(),
        Event::Spawned,
        at(0),
        &p,
        "= STARTING after 0 failures, until 1",
    );
    check(
        starting(),
        Event::Tick,
        at(9),
        &p,
        "= STARTING after 0 failures, until 1",
    );
    check(
        starting(),
        Event::Tick,
        at(10),
        &p,
        "RUNNING (Age), = RUNNING after 0 failures",
    );
    check(
        starting(),
        Event::Ready,
        at(5),
        &p,
        "= STARTING after 0 failures, until 1",
    );
    for life in [starting(), running()] {
        check(
            life,
            Event::Stop,
            at(20),
            &p,
            "STOPPING (Asked), signal 15 Main, = STOPPING after 0 failures, until 12",
        );
    }
    let stopping = || stopping(Then::Stay);
    check(
        stopping(),
        Event::Tick,
        at(99),
        &p,
        "= STOPPING after 0 failures, until 10",
    );
    check(
        stopping(),
        Event::Tick,
        at(100),
        &p,
        "signal 9 Group, = STOPPING after 0 failures, until 20",
    );
    check(
        stopping(),
        exited(3, 20),
        at(20),
        &p,
        "STOPPED (Stopped(Some(Code(3)))), = STOPPED after 0 failures",
    );
    check(
        stopping(),
        Event::SpawnFailed,
        at(20),
        &p,
        "STOPPED (Stopped(None)), = STOPPED after 0 failures",
    );
    check(
        life(State::Backoff { until: at(30) }),
        Event::Stop,
        at(20),
        &p,
        "STOPPED (Stopped(None)), = STOPPED after 0 failures",
    );
    for state in [State::Stopped, State::Exited, State::Fatal] {
        let code = life(state.clone()).code().name();
        check(
            life(state),
            Event::Stop,
            at(0),
            &p,
            &format!("= {code} after 0 failures"),
        );
    }
}

#[test]
fn no_start_seconds_means_running_at_once_and_never_too_quick() {
    let p = Policy {
        start_secs: Duration::ZERO,
        ..policy()
    };
    check(
        starting(),
        Event::Spawned,
        at(0),
        &p,
        "RUNNING (Age), = RUNNING after 0 failures",
    );
    // The brain was away when it was spawned and ended.
    check(
        starting(),
        exited(0, 0),
        at(9),
        &p,
        "RUNNING (Age), EXITED (Expected(Code(0))), = EXITED after 0 failures",
    );
}

#[test]
fn failing_to_start_waits_longer_each_time_and_gives_up() {
    let p = policy();
    let quick = exited(7, 1);
    let life = check(
        starting(),
        quick,
        at(1),
        &p,
        "BACKOFF (TooQuick(Code(7))), = BACKOFF after 1 failures, until 1.1",
    );
    check(
        life.clone(),
        Event::Start,
        at(1),
        &p,
        "= BACKOFF after 1 failures, until 1.1",
    );
    check(
        life.clone(),
        Event::Tick,
        at(10),
        &p,
        "= BACKOFF after 1 failures, until 1.1",
    );
    check(
        life.clone(),
        Event::Restart,
        at(2),
        &p,
        "STARTING (Asked), spawn, = STARTING after 0 failures, until 1.2",
    );
    let life = check(
        life,
        Event::Tick,
        at(11),
        &p,
        "STARTING (Retry), spawn, = STARTING after 1 failures, until 2.1",
    );
    let life = check(
        life,
        Event::SpawnFailed,
        at(11),
        &p,
        "BACKOFF (SpawnFailed), = BACKOFF after 2 failures, until 3.1",
    );
    let third = Life {
        failures: 3,
        state: State::Starting { since: at(40) },
        ..life
    };
    check(
        third,
        exited(0, 41),
        at(41),
        &p,
        "BACKOFF (TooQuick(Code(0))), FATAL (TooManyRetries), = FATAL after 0 failures",
    );
    let none = Policy {
        start_retries: 0,
        ..policy()
    };
    check(
        starting(),
        quick,
        at(1),
        &none,
        "BACKOFF (TooQuick(Code(7))), FATAL (TooManyRetries), = FATAL after 0 failures",
    );
}

#[test]
fn what_ends_is_restarted_as_asked() {
    let signal = Event::Exited {
        exit: Exit::Signal {
            signal: 11,
            core: true,
        },
        at: at(50),
    };
    let p = policy();
    check(
        running(),
        exited(0, 50),
        at(50),
        &p,
        "EXITED (Expected(Code(0))), = EXITED after 0 failures",
    );
    check(
        running(),
        exited(1, 50),
        at(50),
        &p,
        "EXITED (Unexpected(Code(1))), STARTING (AutoRestart), spawn, = STARTING after 0 failures, until 6",
    );
    check(
        running(),
        signal,
        at(50),
        &p,
        "EXITED (Unexpected(Signal { signal: 11, core: true })), STARTING (AutoRestart), spawn, = STARTING after 0 failures, until 6",
    );
    let always = Policy {
        auto_restart: AutoRestart::Always,
        ..policy()
    };
    check(
        running(),
        exited(0, 50),
        at(50),
        &always,
        "EXITED (Expected(Code(0))), STARTING (AutoRestart), spawn, = STARTING after 0 failures, until 6",
    );
    let never = Policy {
        auto_restart: AutoRestart::Never,
        ..policy()
    };
    check(
        running(),
        exited(1, 50),
        at(50),
        &never,
        "EXITED (Unexpected(Code(1))), = EXITED after 0 failures",
    );
    // It lived long enough, but the exit was seen before the clock was looked at: not a failed start.
    check(
        starting(),
        exited(0, 10),
        at(90),
        &p,
        "RUNNING (Age), EXITED (Expected(Code(0))), = EXITED after 0 failures",
    );
    // It did not, but nobody was there to see it for a while: a failed start.
    check(
        starting(),
        exited(0, 9),
        at(90),
        &p,
        "BACKOFF (TooQuick(Code(0))), = BACKOFF after 1 failures, until 10",
    );
}

#[test]
fn restart_is_a_stop_and_a_fresh_start() {
    let p = policy();
    for life in [starting(), running()] {
        let life = check(
            life,
            Event::Restart,
            at(0),
            &p,
            "STOPPING (Asked), signal 15 Main, = STOPPING after 0 failures, until 10",
        );
        let life = check(
            life,
            exited(1, 20),
            at(20),
            &p,
            "STOPPED (Stopped(Some(Code(1)))), STARTING (Asked), spawn, = STARTING after 0 failures, until 3",
        );
        assert_eq!(life.spawns, 1);
    }
    check(
        Life::default(),
        Event::Restart,
        at(0),
        &p,
        "STARTING (Asked), spawn, = STARTING after 0 failures, until 1",
    );
    // The last word counts while it is stopping.
    let (life, _) = step(stopping(Then::Start), Event::Stop, at(0), &p);
    check(
        life,
        exited(0, 20),
        at(20),
        &p,
        "STOPPED (Stopped(Some(Code(0)))), = STOPPED after 0 failures",
    );
    for event in [Event::Start, Event::Restart] {
        let (life, _) = step(stopping(Then::Stay), event, at(0), &p);
        assert_eq!(
            life.state,
            State::Stopping {
                kill_at: at(100),
                then: Then::Start
            }
        );
    }
}

#[test]
fn told_to_be_ready() {
    let p = told();
    check(
        starting(),
        Event::Tick,
        at(30),
        &p,
        "= STARTING after 0 failures, until 60",
    );
    check(
        starting(),
        Event::Ready,
        at(5),
        &p,
        "RUNNING (Ready), = RUNNING after 0 failures",
    );
    let late = check(
        starting(),
        Event::Tick,
        at(600),
        &p,
        "STOPPING (NotReadyInTime), signal 15 Main, = STOPPING after 0 failures, until 70",
    );
    check(
        late,
        exited(0, 610),
        at(610),
        &p,
        "BACKOFF (NotReadyInTime), = BACKOFF after 1 failures, until 62",
    );
    // Not ready yet, however long it lived.
    check(
        starting(),
        exited(0, 400),
        at(400),
        &p,
        "BACKOFF (TooQuick(Code(0))), = BACKOFF after 1 failures, until 41",
    );
    // Ready and dead within start_secs: no restart in a hot loop, and the failures add up.
    let hasty = Life {
        failures: 1,
        ..running()
    };
    check(
        hasty,
        exited(1, 5),
        at(5),
        &p,
        "BACKOFF (TooQuick(Code(1))), = BACKOFF after 2 failures, until 2.5",
    );
}

#[test]
fn a_restart_that_is_to_wait_waits_longer_each_time_until_it_is_forgiven() {
    let policy = Policy {
        backoff: Backoff::Exponential(Exponential {
            jitter: false,
            ..Exponential::default()
        }),
        ..policy()
    };
    check(
        running(),
        exited(1, 50),
        at(50),
        &policy,
        "EXITED (Unexpected(Code(1))), BACKOFF (RestartDelay), = BACKOFF after 0 failures, until 6",
    );
    let returning = |returns| Life {
        returns,
        ..running()
    };
    check(
        returning(3),
        exited(1, 50),
        at(50),
        &policy,
        "EXITED (Unexpected(Code(1))), BACKOFF (RestartDelay), = BACKOFF after 0 failures, until 13",
    );
    check(
        returning(3),
        exited(1, 600),
        at(600),
        &policy,
        "EXITED (Unexpected(Code(1))), BACKOFF (RestartDelay), = BACKOFF after 0 failures, until 61",
    );
    check(
        returning(3),
        exited(0, 50),
        at(50),
        &policy,
        "EXITED (Expected(Code(0))), = EXITED after 0 failures",
    );
    let waiting = Life {
        returns: 1,
        ..life(State::Backoff { until: at(60) })
    };
    check(
        waiting,
        Event::Tick,
        at(60),
        &policy,
        "STARTING (Retry), spawn, = STARTING after 0 failures, until 7",
    );
}
