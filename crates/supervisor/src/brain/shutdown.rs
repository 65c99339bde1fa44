//! The end: signals, stopping everything in reverse order of priority, batch after batch, and the last words.
//! Not here: how one process is stopped (`program::state`).

use super::supervisor::Supervisor;
use crate::clock;
use crate::error::Error;
use crate::group::stop_batch;
use crate::holder::wire::Order;
use crate::program::state::{Event, SIGKILL, State, Then};
use std::time::Duration;
use trine_service::Phase;
use trine_sys::process::Signal;

/// Another signal to end, this long after the first, means: at once. Terminals and wrappers often send the first twice.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
                    self.close(&format!("received {signal} indicating exit request"))?;
                }
            }
            Ok(Signal::SIGHUP) if self.daemon.closing.is_none() => {
                tracing::info!("received SIGHUP indicating reload request");
                self.reload(false)?;
            }
            Ok(Signal::SIGUSR2) => {
                tracing::info!("reopening log files");
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
    pub fn close(&mut self, why: &str) -> Result<(), Error> {
        if self.daemon.closing.is_some() {
            return Ok(());
        }
        tracing::info!("{why}");
        self.daemon.closing = Some(clock::now());
        let store = self.store_daemon();
        self.link.send(&[
            store,
            Order::Notify {
                text: "STOPPING=1".to_owned(),
            },
        ])?;
        let up: Vec<String> = self.unfinished().into_iter().map(|(id, _)| id).collect();
        if !up.is_empty() {
            tracing::info!("waiting for {} to die", up.join(", "));
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
    pub fn stop_next_batch(&mut self) -> Result<(), Error> {
        self.set_phase(Phase::Draining);
        let unfinished = self.unfinished();
        if unfinished.is_empty() {
            self.set_phase(Phase::Gone);
            return Ok(());
        }
        let waiting: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| matches!(process.record.life.state, State::Backoff { .. }))
            .map(|(id, _)| id.clone())
            .collect();
        let batch = stop_batch(unfinished, |(_, priority)| *priority)
            .into_iter()
            .map(|(id, _)| id);
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
