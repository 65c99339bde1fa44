//! What the holder reports, turned into events of processes.
//! Not here: what an event does to a life (`program::state`).

use super::process::Process;
use super::start::{self, NotRunnable};
use super::supervisor::Supervisor;
use crate::error::Error;
use crate::holder::wire::{Order, Report};
use crate::program::state::Event;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

impl Supervisor {
    pub fn reported(&mut self, report: Report, fds: Vec<OwnedFd>) -> Result<(), Error> {
        match report {
            Report::Spawned {
                id,
                generation,
                pid,
                at,
            } => {
                let Some(process) = current(&mut self.processes, &id, generation) else {
                    return Ok(());
                };
                process.pid = Some(pid);
                process.last_pid = Some(pid);
                process.since = Some(at);
                process.pidfd = fds.into_iter().next();
                tracing::info!("spawned: '{}' with pid {pid}", self.spoken(&id));
                self.feed(&id, Event::Spawned)?;
                self.start_probe(&id);
                Ok(())
            }
            Report::SpawnFailed {
                id,
                generation,
                failure,
                ..
            } => {
                let Some(process) = current(&mut self.processes, &id, generation) else {
                    return Ok(());
                };
                // In supervisord's words where it has some for it.
                let text = match start::check_command(&process.record.settings, &self.house) {
                    Err(NotRunnable::Missing(text) | NotRunnable::Refused(text)) => text,
                    Ok(()) => failure.text,
                };
                process.record.spawn_error = Some(text);
                process.record.ended = Some(jiff::Timestamp::now());
                self.feed(&id, Event::SpawnFailed)
            }
            Report::Exited {
                id,
                generation,
                at,
                exit,
                ..
            } => {
                let Some(process) = current(&mut self.processes, &id, generation) else {
                    return Ok(());
                };
                process.record.ended = Some(jiff::Timestamp::now());
                self.listener_ended(&id)?;
                self.note_cause(&id);
                self.feed(&id, Event::Exited { exit, at })?;
                self.after_exit(&id, generation)
            }
            Report::Followed {
                id,
                generation,
                pid,
            } => {
                if let Some(process) = current(&mut self.processes, &id, generation) {
                    tracing::info!("{id} goes on as pid {pid}, which it named as its main process");
                    process.pid = Some(pid);
                    process.pidfd = fds.into_iter().next();
                }
                Ok(())
            }
            Report::Stranger { pid, exit } => {
                tracing::info!(
                    "reaped unknown pid {pid} ({})",
                    super::process::describe(exit)
                );
                Ok(())
            }
            Report::Signal { number, signal } => self.signalled(number, signal),
            Report::Ping { number } => self.link.send(&[Order::Pong { number }]),
            Report::Refused { ticket, failure } => {
                self.not_upgraded(ticket, failure);
                Ok(())
            }
            // Answers nobody waits for any more, and a table nobody asked for.
            Report::Done { .. }
            | Report::Table(_)
            | Report::Slot { .. }
            | Report::Socket { .. }
            | Report::TableEnd => Ok(()),
        }
    }
}

/// The process, if what is reported of this run of it is not about an earlier one.
fn current<'a>(
    processes: &'a mut BTreeMap<String, Process>,
    id: &str,
    generation: u64,
) -> Option<&'a mut Process> {
    let process = processes.get_mut(id)?;
    (process.record.generation == generation).then_some(process)
}
