//! Starting, stopping and signalling processes, waiting for what comes of it, and what is written to their input.
//! Not here: the state machine that decides it.

use super::fault::{
    ABNORMAL_TERMINATION, ALREADY_STARTED, BAD_SIGNAL, FAILED, NO_FILE, NOT_EXECUTABLE,
    NOT_RUNNING, SPAWN_ERROR, SUCCESS, about, shutdown_state,
};
use super::{Outcome, Rpc, info, names};
use crate::brain::ask::Ending;
use crate::brain::start::{self, NotRunnable};
use crate::brain::supervisor::Supervisor;
use crate::error::Error;
use crate::holder::wire::Order;
use crate::program::state::{Event, State, Then};
use tokio::sync::oneshot;
use trine_control::xmlrpc::{Fault, Value};

/// What was done to a process, and what to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Start,
    Stop,
}

/// What became of one process; `None`: nothing yet.
type Settled = Option<Result<(), Fault>>;

impl Deed {
    /// Carries it out. `name`: as the caller knows it, for the fault.
    fn begin(self, s: &mut Supervisor, id: &str, name: &str) -> Result<Result<(), Fault>, Error> {
        let Some(process) = s.processes.get(id) else {
            return Ok(Err(about(super::fault::BAD_NAME, name)));
        };
        let state = &process.record.life.state;
        let is_up = matches!(
            state,
            State::Starting { .. } | State::Running { .. } | State::Backoff { .. }
        );
        match self {
            Self::Start => {
                let settings = process.next.as_deref().unwrap_or(&process.record.settings);
                match start::check_command(settings, &s.house) {
                    Ok(()) => {}
                    Err(NotRunnable::Missing(why)) => return Ok(Err(about(NO_FILE, why))),
                    Err(NotRunnable::Refused(why)) => return Ok(Err(about(NOT_EXECUTABLE, why))),
                }
                if is_up {
                    return Ok(Err(about(ALREADY_STARTED, name)));
                }
                s.start(id)?;
                let process = s.processes.get(id);
                let has_failed = process.is_some_and(|process| {
                    matches!(
                        process.record.life.state,
                        State::Backoff { .. } | State::Fatal
                    )
                });
                if has_failed {
                    return Ok(Err(about(SPAWN_ERROR, name)));
                }
            }
            Self::Stop => {
                let waits = process.record.waiting;
                s.stop_waiting(id)?;
                if !is_up && waits {
                    return Ok(Ok(()));
                }
                if !is_up {
                    return Ok(Err(about(NOT_RUNNING, name)));
                }
                s.feed(id, Event::Stop)?;
            }
        }
        Ok(Ok(()))
    }

    fn settled(self, s: &Supervisor, id: &str, name: &str) -> Settled {
        let Some(process) = s.processes.get(id) else {
            return Some(match self {
                Self::Start => Err(about(ABNORMAL_TERMINATION, name)),
                Self::Stop => Ok(()),
            });
        };
        let life = &process.record.life;
        match (self, &life.state) {
            (Self::Start, State::Running { .. }) => Some(Ok(())),
            (Self::Start, _) if process.record.waiting && !s.waits_in_vain(id) => None,
            (
                Self::Start,
                State::Starting { .. }
                | State::Stopping {
                    then: Then::Start, ..
                },
            ) => None,
            (Self::Start, _) if !info::spawn_error(process).is_empty() => {
                Some(Err(about(SPAWN_ERROR, name)))
            }
            (Self::Start, _) => Some(Err(about(ABNORMAL_TERMINATION, name))),
            (Self::Stop, _) => life.at_rest().then_some(Ok(())),
        }
    }
}

/// One process in a group's result.
fn row(s: &Supervisor, id: &str, result: Result<(), Fault>) -> Value {
    let (status, description) = match result {
        Ok(()) => (SUCCESS, "OK".to_owned()),
        Err(fault) => (fault.code, fault.text),
    };
    let (group, name) = match s.processes.get(id) {
        Some(process) => {
            let settings = &process.record.settings;
            (settings.group.clone(), settings.name.clone())
        }
        None => {
            let (group, name) = id.split_once(':').unwrap_or((id, id));
            (group.to_owned(), name.to_owned())
        }
    };
    Value::members([
        ("name", name.into()),
        ("group", group.into()),
        ("status", status.into()),
        ("description", description.into()),
    ])
}

/// Which processes a group call is about.
enum Whom {
    All,
    Group(String),
}

impl Whom {
    fn ids(&self, s: &Supervisor) -> Result<Vec<String>, Fault> {
        match self {
            Self::All => Ok(names::all(s)),
            Self::Group(name) => names::group(s, name),
        }
    }
}

impl Rpc {
    pub(super) async fn start(&self, name: String, wait: bool) -> Outcome {
        self.to_one(Deed::Start, name, wait).await
    }

    pub(super) async fn stop(&self, name: String, wait: bool) -> Outcome {
        self.to_one(Deed::Stop, name, wait).await
    }

    pub(super) async fn start_group(&self, name: String, wait: bool) -> Outcome {
        self.to_several(Deed::Start, Whom::Group(name), wait).await
    }

    pub(super) async fn stop_group(&self, name: String, wait: bool) -> Outcome {
        self.to_several(Deed::Stop, Whom::Group(name), wait).await
    }

    pub(super) async fn start_all(&self, wait: bool) -> Outcome {
        self.to_several(Deed::Start, Whom::All, wait).await
    }

    pub(super) async fn stop_all(&self, wait: bool) -> Outcome {
        self.to_several(Deed::Stop, Whom::All, wait).await
    }

    async fn to_one(&self, deed: Deed, name: String, wait: bool) -> Outcome {
        if let (group, None) = names::split(&name) {
            return self
                .to_several(deed, Whom::Group(group.to_owned()), wait)
                .await;
        }
        let act = move |s: &mut Supervisor, reply: oneshot::Sender<Outcome>| {
            let begun = match is_open(s).and_then(|()| names::one(s, &name)) {
                Ok(id) => deed.begin(s, &id, &name)?.map(|()| id),
                Err(fault) => Err(fault),
            };
            match begun {
                Err(fault) => drop(reply.send(Err(fault))),
                Ok(_) if !wait => drop(reply.send(Ok(true.into()))),
                Ok(id) => {
                    let mut reply = Some(reply);
                    s.watch(move |s| {
                        if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                            return true;
                        }
                        let settled = deed.settled(s, &id, &name);
                        match (settled, &mut reply) {
                            (Some(result), reply) => {
                                let outcome = result.map(|()| true.into());
                                reply.take().is_none_or(|reply| {
                                    let _ = reply.send(outcome);
                                    true
                                })
                            }
                            (None, _) => false,
                        }
                    });
                }
            }
            Ok(())
        };
        let done = self.handle.carry_out(act).await;
        done.unwrap_or_else(|Ending| Err(shutdown_state()))
    }

    async fn to_several(&self, deed: Deed, whom: Whom, wait: bool) -> Outcome {
        let act = move |s: &mut Supervisor, reply: oneshot::Sender<Outcome>| {
            let ids = match is_open(s).and_then(|()| whom.ids(s)) {
                Ok(ids) => ids,
                Err(fault) => {
                    let _ = reply.send(Err(fault));
                    return Ok(());
                }
            };
            let concerned = |s: &Supervisor, id: &String| {
                s.processes.get(id).is_some_and(|process| {
                    let is_up = matches!(
                        process.record.life.state,
                        State::Starting { .. } | State::Running { .. } | State::Backoff { .. }
                    );
                    is_up == (deed == Deed::Stop)
                })
            };
            let mut ids: Vec<String> = ids.into_iter().filter(|id| concerned(s, id)).collect();
            if deed == Deed::Stop {
                // The reverse of starting, as at the end; only the answer is in the order of starting.
                ids.reverse();
            }
            if deed == Deed::Start {
                s.open_pipes_of(&ids)?;
            }
            let (mut rows, mut pending) = (Vec::new(), Vec::new());
            for id in ids {
                match deed.begin(s, &id, &id)? {
                    Ok(()) if wait => pending.push(id),
                    result => rows.push(row(s, &id, result)),
                }
            }
            if deed == Deed::Stop {
                rows.reverse();
                pending.reverse();
            }
            let mut results: Vec<Option<Value>> = vec![None; pending.len()];
            let mut reply = Some(reply);
            s.watch(move |s| {
                if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                    return true;
                }
                for (id, result) in pending.iter().zip(&mut results) {
                    if result.is_none() {
                        *result = deed.settled(s, id, id).map(|settled| row(s, id, settled));
                    }
                }
                if results.iter().any(Option::is_none) {
                    return false;
                }
                rows.extend(results.drain(..).flatten());
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Ok(Value::Array(std::mem::take(&mut rows))));
                }
                true
            });
            Ok(())
        };
        let done = self.handle.carry_out(act).await;
        done.unwrap_or_else(|Ending| Err(shutdown_state()))
    }

    pub(super) async fn signal(&self, name: String, signal: String) -> Outcome {
        if let (group, None) = names::split(&name) {
            return self.signal_group(group.to_owned(), signal).await;
        }
        self.deed(move |s| {
            let id = match names::one(s, &name) {
                Ok(id) => id,
                Err(fault) => return Ok(Err(fault)),
            };
            Ok(send(s, &id, &name, &signal)?.map(|()| true.into()))
        })
        .await
    }

    pub(super) async fn signal_group(&self, name: String, signal: String) -> Outcome {
        self.signal_several(Whom::Group(name), signal).await
    }

    pub(super) async fn signal_all(&self, signal: String) -> Outcome {
        self.signal_several(Whom::All, signal).await
    }

    async fn signal_several(&self, whom: Whom, signal: String) -> Outcome {
        self.deed(move |s| {
            let ids = match whom.ids(s) {
                Ok(ids) => ids,
                Err(fault) => return Ok(Err(fault)),
            };
            let mut rows = Vec::new();
            for id in ids {
                let process = s.processes.get(&id);
                if process.is_some_and(|process| process.record.life.has_process()) {
                    let result = send(s, &id, &id, &signal)?;
                    rows.push(row(s, &id, result));
                }
            }
            Ok(Ok(Value::Array(rows)))
        })
        .await
    }
}

fn is_open(s: &Supervisor) -> Result<(), Fault> {
    match s.daemon.closing {
        None => Ok(()),
        Some(_) => Err(shutdown_state()),
    }
}

fn send(
    s: &mut Supervisor,
    id: &str,
    name: &str,
    signal: &str,
) -> Result<Result<(), Fault>, Error> {
    let number = match signal.trim().parse::<i32>() {
        Ok(0) => Some(0),
        _ => trine_sys::signals::parse(signal).map(|signal| signal as i32),
    };
    let Some(signal) = number else {
        return Ok(Err(about(BAD_SIGNAL, signal)));
    };
    let process = s.processes.get(id);
    if !process.is_some_and(|process| process.record.life.has_process()) {
        return Ok(Err(about(NOT_RUNNING, name)));
    }
    s.link.send(&[Order::Signal {
        id: id.to_owned(),
        signal,
        group: false,
    }])?;
    Ok(Ok(()))
}

pub(super) fn send_stdin(s: &mut Supervisor, name: &str, text: String) -> Result<Outcome, Error> {
    let id = match names::one(s, name) {
        Ok(id) => id,
        Err(fault) => return Ok(Err(fault)),
    };
    let is_up = s.processes.get(&id).is_some_and(|process| {
        process.pid.is_some() && !matches!(process.record.life.state, State::Stopping { .. })
    });
    if !is_up {
        return Ok(Err(about(NOT_RUNNING, name)));
    }
    let fed = s.link.call(|ticket| Order::Feed { ticket, id, text })?;
    Ok(match fed {
        Ok(_) => Ok(true.into()),
        Err(failure) if failure.errno.is_none() => Err(about(FAILED, failure.text)),
        Err(_) => Err(about(NO_FILE, name)),
    })
}
