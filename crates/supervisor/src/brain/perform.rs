//! Feeding an event to a process and carrying out what comes of it: one batch of orders to the holder, in which the new
//! life is written down together with the deeds; then the log, the events, the world.
//! Not here: which effects an event has (`program::state`).

use super::process::{Process, describe, exit_code};
use super::start;
use super::supervisor::Supervisor;
use super::sweep;
use crate::clock;
use crate::error::Error;
use crate::holder::wire::{Channel, Order, Output};
use crate::program::state::{
    AutoRestart, Code, Effect, Event, Exit, Policy, SIGKILL, Scope, Why, step,
};

impl Supervisor {
    pub fn feed(&mut self, id: &str, event: Event) -> Result<(), Error> {
        let closing = self.daemon.closing.is_some();
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        let settings = &process.record.settings;
        let without = closing.then(|| without_restarts(&settings.policy));
        let policy = without.as_ref().unwrap_or(&settings.policy);
        let (life, effects) = step(process.record.life.clone(), event, clock::now(), policy);
        let is_over = matches!(event, Event::Exited { .. } | Event::SpawnFailed);
        if life == process.record.life && effects.is_empty() && !is_over {
            return Ok(());
        }
        process.record.life = life;
        let mut orders = Vec::new();
        if is_over {
            orders.push(Order::Acknowledge {
                id: id.to_owned(),
                generation: process.record.generation,
            });
        }
        let (pid, mut cannot_spawn) = (process.pid, None);
        if is_over {
            process.clear();
        }
        for effect in &effects {
            match effect {
                Effect::Spawn => match self.prepare_spawn(id)? {
                    Ok(order) => orders.push(order),
                    Err(reason) => cannot_spawn = Some(reason),
                },
                Effect::Signal { signal, scope } => {
                    orders.push(Order::Signal {
                        id: id.to_owned(),
                        signal: *signal,
                        group: *scope == Scope::Group,
                    });
                    if *signal == SIGKILL {
                        let name = self.spoken(id);
                        tracing::warn!("killing '{name}' ({}) with SIGKILL", pid.unwrap_or(0));
                    }
                }
                Effect::Announce {
                    to: Code::Starting,
                    why: Why::Retry | Why::AutoRestart,
                    ..
                } => {
                    if let Some(process) = self.processes.get_mut(id) {
                        process.record.restarts += 1;
                        let cause = process.restart_cause();
                        *process.record.restart_causes.entry(cause).or_default() += 1;
                    }
                }
                Effect::Announce { .. } => {}
            }
        }
        if let Some(process) = self.processes.get(id) {
            orders.insert(0, process.store(id));
        }
        // In one frame with the change: listeners hear of it if it has happened, whatever becomes of us.
        for effect in &effects {
            if let Effect::Announce { from, to, why } = effect {
                orders.extend(self.state_event(id, pid, (*from, *to), *why));
            }
        }
        self.link.send(&orders)?;
        for effect in &effects {
            if let Effect::Announce { from, to, why } = effect {
                self.announce(id, pid, *from, *to, *why);
            }
        }
        if let Some(reason) = cannot_spawn {
            if let Some(process) = self.processes.get_mut(id) {
                process.record.spawn_error = Some(reason);
                process.record.ended = Some(jiff::Timestamp::now());
            }
            return self.feed(id, Event::SpawnFailed);
        }
        self.decide_end(id)
    }

    /// Everything up to the order itself: newer settings, log files, pipes. `Ok(Err)`: the reason why not.
    pub fn prepare_spawn(&mut self, id: &str) -> Result<Result<Order, String>, Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(Err("it is gone".to_owned()));
        };
        if let Some(next) = process.next.take() {
            process.record.settings = next;
        }
        process.record.generation += 1;
        process.record.spawn_error = None;
        process.record.started = Some(jiff::Timestamp::now());
        process.record.leaving = false;
        process.record.status_text = None;
        process.record.cause = None;
        let settings = process.record.settings.clone();
        let generation = process.record.generation;
        if let Err(reason) = self.prepare_logs(id, &settings)? {
            return Ok(Err(reason));
        }
        self.watch_log(id, &settings);
        if let Err(reason) = self.prepare_ready_pipe(id, &settings)? {
            return Ok(Err(reason));
        }
        let confinement = match self.confine(id, generation, &settings) {
            Ok(confinement) => confinement,
            Err(reason) => return Ok(Err(reason)),
        };
        let is_listener = self.is_listener(&settings.group);
        let mark = self.mark(id, generation);
        Ok(
            start::order(id, generation, &settings, &self.house).map(|mut order| {
                order.confinement = confinement;
                if is_listener {
                    order.stdout = Output::Pipe(Channel::Stdout);
                }
                if settings.extras.kill_descendants {
                    order.set_env.insert(sweep::MARK.to_owned(), mark);
                }
                Order::Spawn(Box::new(order))
            }),
        )
    }

    fn announce(&self, id: &str, pid: Option<i32>, from: Code, to: Code, why: Why) {
        let Some(process) = self.processes.get(id) else {
            return;
        };
        log_change(self.spoken(id), process, to, why);
        let exit = why_exit(why);
        let signal = exit.and_then(|exit| match exit {
            Exit::Signal { signal, .. } => Some(signal),
            Exit::Code(_) => None,
        });
        self.hub.push(
            "program.state",
            serde_json::json!({
                "name": process.record.settings.name,
                "group": process.record.settings.group,
                "from": from.name(),
                "to": to.name(),
                "pid": pid.or(process.pid),
                "exit_code": exit.map(exit_code),
                "signal": signal,
                "reason": reason(process, why),
                "ready": process.is_ready(),
            }),
        );
    }
}

/// While everything is being stopped nothing is started again by itself.
fn without_restarts(policy: &Policy) -> Policy {
    Policy {
        auto_restart: AutoRestart::Never,
        start_retries: 0,
        ..policy.clone()
    }
}

fn why_exit(why: Why) -> Option<Exit> {
    match why {
        Why::TooQuick(exit) | Why::Expected(exit) | Why::Unexpected(exit) => Some(exit),
        Why::Stopped(exit) => exit,
        Why::Asked
        | Why::Age
        | Why::Ready
        | Why::SpawnFailed
        | Why::NotReadyInTime
        | Why::RestartDelay
        | Why::Retry
        | Why::AutoRestart
        | Why::TooManyRetries => None,
    }
}

fn reason(process: &Process, why: Why) -> String {
    match why {
        Why::Asked => "asked".to_owned(),
        Why::Age => "stayed up for startsecs".to_owned(),
        Why::Ready => "is ready".to_owned(),
        Why::SpawnFailed => process
            .record
            .spawn_error
            .clone()
            .unwrap_or_else(|| "could not be started".to_owned()),
        Why::TooQuick(exit) => format!("{}, too quickly", describe(exit)),
        Why::Expected(exit) => format!("{}; expected", describe(exit)),
        Why::Unexpected(exit) => format!("{}; not expected", describe(exit)),
        Why::Stopped(exit) => exit.map_or_else(|| "stopped".to_owned(), describe),
        Why::NotReadyInTime => "was not ready in time".to_owned(),
        Why::RestartDelay => "will be started again after a while".to_owned(),
        Why::Retry => "next attempt".to_owned(),
        Why::AutoRestart => "autorestart".to_owned(),
        Why::TooManyRetries => "too many start retries too quickly".to_owned(),
    }
}

/// supervisord's phrases, which log parsers know.
fn log_change(id: &str, process: &Process, to: Code, why: Why) {
    match (to, why) {
        (Code::Running, Why::Age) => {
            let seconds = process.record.settings.policy.start_secs.as_secs();
            tracing::info!(
                "success: {id} entered RUNNING state, process has stayed up for > than {seconds} seconds (startsecs)"
            );
        }
        (Code::Running, _) => tracing::info!("success: {id} entered RUNNING state, it is ready"),
        (_, Why::Expected(exit)) => tracing::info!("exited: {id} ({}; expected)", describe(exit)),
        (_, Why::Unexpected(exit) | Why::TooQuick(exit)) => {
            tracing::warn!("exited: {id} ({}; not expected)", describe(exit));
        }
        (Code::Stopped, Why::Stopped(Some(exit))) => {
            if process.record.settings.policy.expects(exit) {
                tracing::info!("stopped: {id} ({})", describe(exit));
            } else {
                tracing::warn!("stopped: {id} ({})", describe(exit));
            }
        }
        // supervisord leaves out whose it is; its parsers look for the first word only.
        (Code::Backoff, Why::SpawnFailed) => {
            tracing::info!("spawnerr: {id}: {}", reason(process, why))
        }
        (Code::Fatal, _) => {
            tracing::info!("gave up: {id} entered FATAL state, too many start retries too quickly");
        }
        (Code::Stopping, Why::NotReadyInTime) => {
            tracing::warn!("{id} was not ready in time, stopping it")
        }
        (Code::Stopping, _) => tracing::info!("waiting for {id} to stop"),
        _ => tracing::debug!("{id}: {} ({})", to.name(), reason(process, why)),
    }
}
