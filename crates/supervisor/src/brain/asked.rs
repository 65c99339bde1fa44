//! What others ask the supervisor for by the names of processes and groups.
//! Not here: the ways to ask (`ask`), the methods of XML-RPC (`rpc`).

use super::ask::{Act, Ask, Waiter};
use super::process::Process;
use super::shutdown::Closing;
use super::supervisor::Supervisor;
use crate::config::Habits;
use crate::error::Error;
use crate::program::state::Event;
use trine_control::ProgramStatus;

impl Supervisor {
    pub(super) fn asked(&mut self, ask: Ask) -> Result<(), Error> {
        match ask {
            Ask::Look { look } => look(self),
            Ask::Act {
                name,
                act,
                wait,
                reply,
            } => match self.find(&name) {
                None => drop(reply.send(None)),
                Some(ids) => {
                    let event = match act {
                        Act::Start => Event::Start,
                        Act::Stop => Event::Stop,
                        Act::Restart => Event::Restart,
                    };
                    if self.daemon.closing.is_none() || act == Act::Stop {
                        if act == Act::Start {
                            self.open_pipes_of(&ids)?;
                        }
                        ids.iter().try_for_each(|id| match event {
                            Event::Start => self.start(id),
                            event => {
                                self.stop_waiting(id)?;
                                self.feed(id, event)
                            }
                        })?;
                    }
                    self.waiters.push(Waiter {
                        ids,
                        wait,
                        reply: Some(reply),
                    });
                }
            },
            Ask::Reload { dry_run, reply } => {
                let report = self.reload(dry_run)?;
                let _ = reply.send(report);
            }
            Ask::Do { deed } => deed(self)?,
            Ask::Stop { reply } => {
                tracing::info!("asked to stop");
                self.close(Closing::End)?;
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// What the log calls a process: supervisord leaves the group out.
    #[must_use]
    pub fn spoken<'a>(&'a self, id: &'a str) -> &'a str {
        match self.processes.get(id) {
            Some(process) if self.config.habits == Habits::Supervisord => {
                &process.record.settings.name
            }
            _ => id,
        }
    }

    /// The processes that a name means: an id, a process name that is unique, a group, or `group:*`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Vec<String>> {
        if self.processes.contains_key(name) {
            return Some(vec![name.to_owned()]);
        }
        let group = name.strip_suffix(":*").unwrap_or(name);
        let matching = |test: &dyn Fn(&Process) -> bool| -> Vec<String> {
            self.processes
                .iter()
                .filter(|(_, process)| test(process))
                .map(|(id, _)| id.clone())
                .collect()
        };
        let members = matching(&|process| process.record.settings.group == group);
        if !members.is_empty() {
            return Some(members);
        }
        Some(matching(&|process| process.record.settings.name == name)).filter(|ids| ids.len() == 1)
    }

    #[must_use]
    pub fn statuses(&self, ids: &[String]) -> Vec<ProgramStatus> {
        ids.iter()
            .filter_map(|id| {
                let process = self.processes.get(id)?;
                let mut status = process.status();
                if process.record.waiting
                    && let Some(what) = self.missing(id)
                {
                    status.description = format!("waits {what}");
                } else if let Some(cause) = &process.record.cause
                    && process.pid.is_none()
                {
                    status.description = format!("{} ({cause})", status.description);
                }
                Some(status)
            })
            .collect()
    }
}
