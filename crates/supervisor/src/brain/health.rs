//! Watching over processes that run: liveness checks, and the watchdog of those that have to say that they live.
//! Not here: one look (`check`), readiness (`probe`).

use super::check;
use super::probe::{Finding, Found};
use super::supervisor::Supervisor;
use crate::clock;
use crate::error::Error;
use crate::holder::wire::Order;
use crate::program::moment::Moment;
use crate::program::state::{Event, SIGKILL, State};
use trine_sys::process::Signal;

impl Supervisor {
    /// Begins to look after a process, if it is to be looked after.
    pub fn start_health(&mut self, id: &str) {
        let manner = self.manner(id);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let extras = &process.record.settings.extras;
        process.watchdog_at = extras.watchdog.map(|time| clock::now() + time);
        process.healthy = None;
        let Some(liveness) = extras.liveness.clone() else {
            return;
        };
        let (id, generation) = (id.to_owned(), process.record.generation);
        let found = move |what| Found {
            id: id.clone(),
            generation,
            what,
        };
        if let Some(old) = process.health.take() {
            old.abort();
        }
        let findings = self.findings.clone();
        let task = self.probes.spawn(async move {
            let mut failures = 0;
            let mut was_good = false;
            loop {
                match check::look(&liveness.check, &manner, liveness.timeout).await {
                    Ok(()) => {
                        failures = 0;
                        if !was_good {
                            let _ = findings.send(found(Finding::Healthy));
                        }
                        was_good = true;
                    }
                    Err(why) => {
                        failures += 1;
                        was_good = false;
                        if failures >= liveness.failures {
                            return found(Finding::Unhealthy(why));
                        }
                    }
                }
                tokio::time::sleep(liveness.interval).await;
            }
        });
        process.health = Some(task);
    }

    /// Its liveness check has failed too often.
    pub(super) fn unhealthy(&mut self, id: &str, why: &str) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        process.healthy = Some(false);
        match process.record.life.state {
            State::Running { .. } => {
                tracing::warn!("{id} is not healthy ({why}), restarting it");
                process.record.cause = Some(format!("not healthy: {why}"));
                process.record.restarts += 1;
                self.feed(id, Event::Restart)
            }
            // Not up yet: readiness decides, and it is looked after again from then on.
            State::Starting { .. } => {
                self.start_health(id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// It said WATCHDOG=1, or asked for another interval.
    pub(super) fn patted(&mut self, id: &str, interval: Option<std::time::Duration>) {
        if let Some(process) = self.processes.get_mut(id) {
            if interval.is_some() {
                process.watchdog = interval;
            }
            let interval = process.watchdog.or(process.record.settings.extras.watchdog);
            process.watchdog_at = interval.map(|time| clock::now() + time);
        }
    }

    /// Ends those whose watchdog is overdue: asked with SIGABRT for a core to look at, killed when that does not help.
    pub(super) fn check_watchdogs(&mut self, now: Moment) -> Result<bool, Error> {
        let mut orders = Vec::new();
        for (id, process) in &mut self.processes {
            if process.watchdog_at.is_none_or(|at| at > now) {
                continue;
            }
            let is_first = process.record.cause.as_deref() != Some(SILENT);
            let signal = if is_first {
                tracing::warn!("{id} has not said WATCHDOG=1 in time, ending it");
                Signal::SIGABRT as i32
            } else {
                SIGKILL
            };
            process.record.cause = Some(SILENT.to_owned());
            process.watchdog_at = Some(now + process.record.settings.policy.stop_wait);
            orders.push(process.store(id));
            orders.push(Order::Signal {
                id: id.clone(),
                signal,
                group: false,
            });
        }
        self.link.send(&orders)?;
        Ok(!orders.is_empty())
    }
}

const SILENT: &str = "watchdog: it gave no sign of life in time";
