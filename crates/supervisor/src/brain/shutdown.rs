//! The end: signals, stopping everything in reverse order of priority, batch after batch, and the last words.
//! Not here: how one process is stopped (`program::state`).

use super::process::Process;
use super::supervisor::Supervisor;
use crate::clock;
use crate::config::Hangup;
use crate::error::Error;
use crate::group::stop_batch;
use crate::holder::wire::Order;
use crate::program::state::{Event, SIGKILL, State, Then};
use std::time::Duration;
use trine_service::Phase;
use trine_sys::process::Signal;

/// What follows when everything is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    End,
    Restart,
}

/// Another signal to end, this long after the first, means: at once. Terminals and wrappers often send the first twice.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the log says who is waited for, as supervisord's does.
const CLOSING_REPORT: Duration = Duration::from_secs(3);
const STOPPING_REPORT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// A signal to the holder. It is ours to say when it has been written down.
    pub fn signalled(&mut self, number: u64, signal: i32) -> Result<(), Error> {
        match Signal::try_from(signal) {
            Ok(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)) => {
                if self
                    .daemon
                    .closing
                    .is_some_and(|since| clock::now() - since >= AGAIN_AFTER)
                {
                    self.kill_all()?;
                } else {
                    tracing::warn!("received {signal} indicating exit request");
                    self.close(Closing::End)?;
                }
            }
            Ok(Signal::SIGHUP) if self.daemon.closing.is_some() => {
                tracing::warn!("ignored SIGHUP indicating restart request (shutdown in progress)")
            }
            Ok(Signal::SIGHUP) => match self.config.hangup {
                Hangup::Reload => {
                    tracing::info!("received SIGHUP indicating reload request");
                    self.reload(false)?;
                }
                Hangup::Restart => {
                    tracing::warn!("received SIGHUP indicating restart request");
                    self.restart_all()?;
                }
            },
            Ok(Signal::SIGUSR2) => {
                tracing::info!("received SIGUSR2 indicating log reopen request");
                tracing::info!("supervisord logreopen");
                self.pump.reopen();
                if let Err(err) = self.log.reopen() {
                    tracing::error!("{}", trine_service::exit::chain(&err));
                }
            }
            _ => {}
        }
        self.link.send(&[Order::TakeSignals { up_to: number }])
    }

    /// Begins the end. It is carried on by [`Self::stop_next_batch`] and, if need be, by the next brain.
    pub fn close(&mut self, what: Closing) -> Result<(), Error> {
        if self.daemon.closing.is_some() {
            self.daemon.restarting &= what == Closing::Restart; // an end wins over a restart
            return Ok(());
        }
        self.daemon.closing = Some(clock::now());
        self.daemon.restarting = what == Closing::Restart;
        let text = match what {
            Closing::End => "STOPPING=1",
            Closing::Restart => "STATUS=restarting everything",
        };
        let notify = Order::Notify {
            text: text.to_owned(),
        };
        let mut orders = vec![self.store_daemon(), notify];
        orders.extend(self.note_event("SUPERVISOR_STATE_CHANGE_STOPPING", ""));
        self.link.send(&orders)?;
        if let Some(names) = self.waited_for() {
            tracing::info!("waiting for {names} to die");
        }
        self.report_at = Some(clock::now() + CLOSING_REPORT);
        Ok(())
    }

    /// Everything that has not ended yet.
    fn waited_for(&self) -> Option<String> {
        let up = self.unfinished();
        let names: Vec<&str> = up.iter().map(|(id, _)| self.spoken(id)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Says now and then for whom we wait.
    pub fn report_waiting(&mut self) {
        let now = clock::now();
        let is_due = self.report_at.is_some_and(|at| at <= now);
        if self.report_at.is_some() && !is_due {
            return;
        }
        if self.daemon.closing.is_some() {
            let names = self.waited_for();
            if let Some(names) = names.as_ref().filter(|_| is_due) {
                tracing::info!("waiting for {names} to die");
            }
            self.report_at = names.map(|_| now + CLOSING_REPORT);
            return;
        }
        let mut stopping = self
            .processes
            .iter()
            .filter(|(_, process)| matches!(process.record.life.state, State::Stopping { .. }));
        if !is_due {
            self.report_at = stopping.next().map(|_| now + STOPPING_REPORT);
            return;
        }
        let mut next = None;
        for (id, _) in stopping {
            tracing::info!("waiting for {} to stop", self.spoken(id));
            next = Some(now + STOPPING_REPORT);
        }
        self.report_at = next;
    }

    /// supervisord's restart: stops everything, reads the configuration again, starts everything. A file that cannot
    /// be used is told, and nothing is stopped.
    pub fn restart_all(&mut self) -> Result<(), Error> {
        let report = self.reload(true)?;
        if !report.ok {
            for problem in &report.problems {
                tracing::error!("not restarted: {problem}");
            }
            return Ok(());
        }
        self.close(Closing::Restart)
    }

    /// Everything is stopped, and what was read anew is put into effect.
    async fn begin_again(&mut self) -> Result<(), Error> {
        self.daemon.closing = None;
        self.daemon.restarting = false;
        self.daemon.generation += 1;
        for (id, process) in std::mem::take(&mut self.processes) {
            self.disconnect_all(&id, &process).await;
            self.link.send(&Process::forget(&id))?;
        }
        self.pipes.clear();
        let store = self.store_daemon();
        self.link.send(&[store])?;
        self.clear_auto_logs();
        let report = self.reload(false)?;
        tracing::info!("supervisord started with pid {}", self.holder_pid);
        if !report.ok {
            // Spoilt since it was looked at: rather the old programs than none.
            self.reconcile()?;
        }
        Ok(())
    }

    /// What is not at rest yet, with its group's priority and its own.
    fn unfinished(&self) -> Vec<(String, (i32, i32))> {
        let up = self
            .processes
            .iter()
            .filter(|(_, process)| !process.record.life.at_rest());
        up.map(|(id, process)| {
            let settings = &process.record.settings;
            (id.clone(), (settings.group_priority, settings.priority))
        })
        .collect()
    }

    /// Tells those who are next to stop; ends when there is nobody left.
    pub async fn stop_next_batch(&mut self) -> Result<(), Error> {
        if !self.daemon.restarting {
            self.set_phase(Phase::Draining);
        }
        // What only waits for another attempt is at rest at once, and nothing else will tell us to go on.
        loop {
            let before = self.unfinished().len();
            if before == 0 && self.daemon.restarting {
                return self.begin_again().await;
            }
            if before == 0 {
                self.set_phase(Phase::Gone);
                return Ok(());
            }
            self.tell_next_batch()?;
            if self.unfinished().len() == before {
                return Ok(());
            }
        }
    }

    fn tell_next_batch(&mut self) -> Result<(), Error> {
        let unfinished = self.unfinished();
        let waiting: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| matches!(process.record.life.state, State::Backoff { .. }))
            .map(|(id, _)| id.clone())
            .collect();
        let mut all = self.processes.values();
        let some_depend = all.any(|p| !p.record.settings.extras.depends_on.is_empty());
        let needs =
            |(id, _): &(String, _), (other, _): &(String, _)| some_depend && self.needs(id, other);
        let batch = stop_batch(unfinished, |(_, priority)| *priority, needs);
        let batch: Vec<String> = batch.into_iter().map(|(id, _)| id).collect();
        if waiting.is_empty() && self.has_farewells(&batch) {
            return Ok(());
        }
        for id in waiting.into_iter().chain(batch) {
            let state = self
                .processes
                .get(&id)
                .map(|process| process.record.life.state.clone());
            if !matches!(
                state,
                Some(State::Stopping {
                    then: Then::Stay,
                    ..
                })
            ) {
                self.feed(&id, Event::Stop)?;
            }
        }
        Ok(())
    }

    fn kill_all(&mut self) -> Result<(), Error> {
        tracing::warn!("asked to end again: killing everything");
        let alive = self
            .processes
            .iter()
            .filter(|(_, process)| process.record.life.has_process());
        let orders: Vec<Order> = alive
            .map(|(id, _)| Order::Signal {
                id: id.clone(),
                signal: SIGKILL,
                group: true,
            })
            .collect();
        self.link.send(&orders)
    }
}
