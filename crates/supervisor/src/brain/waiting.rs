//! Programs that wait for others: what is still missing before one may start, and starting it once nothing is.
//! Not here: circles among them (they are refused with the configuration), or stopping (`shutdown`).

use super::process::Process;
use super::supervisor::Supervisor;
use crate::config::extras::{Condition, Dependency};
use crate::error::Error;
use crate::program::state::{Event, State};

/// How a dependency stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Met,
    /// It may yet come; this process is the one to wait for.
    Awaited(String),
    /// It will not come by itself.
    Failed(String),
}

impl Supervisor {
    /// Starts a process now, or notes that it waits, and starts what it waits for.
    pub fn start(&mut self, id: &str) -> Result<(), Error> {
        let Some(process) = self.processes.get(id) else {
            return Ok(());
        };
        let needed = process.record.settings.extras.depends_on.clone();
        if !process.record.life.at_rest() || needed.is_empty() || self.missing(id).is_none() {
            return self.begin_now(id);
        }
        if let Some(process) = self.processes.get_mut(id)
            && !process.record.waiting
        {
            process.record.waiting = true;
            process.record.spawn_error = None;
            let store = process.store(id);
            self.link.send(&[store])?;
            tracing::info!("{id} waits: {}", self.missing(id).unwrap_or_default());
        }
        for Dependency { name, condition } in needed {
            let all = self.processes.iter();
            let idle: Vec<String> = all
                .filter(|(_, other)| other.record.settings.is_meant_by(&name))
                .filter(|(_, other)| {
                    let has_run = other.record.life.state == State::Exited;
                    other.record.life.at_rest()
                        && !other.record.waiting
                        && !(condition == Condition::Completed && has_run)
                        && other.record.life.state != State::Fatal
                })
                .map(|(id, _)| id.clone())
                .collect();
            idle.into_iter().try_for_each(|id| self.start(&id))?;
        }
        Ok(())
    }

    fn begin_now(&mut self, id: &str) -> Result<(), Error> {
        if let Some(process) = self.processes.get_mut(id) {
            process.record.waiting = false;
        }
        self.feed(id, Event::Start)
    }

    /// Does not wait any more, if it did.
    pub fn stop_waiting(&mut self, id: &str) -> Result<(), Error> {
        if let Some(process) = self.processes.get_mut(id)
            && std::mem::take(&mut process.record.waiting)
        {
            let store = process.store(id);
            self.link.send(&[store])?;
        }
        Ok(())
    }

    /// Starts those that have waited long enough; to be called after every change.
    pub fn start_waiting(&mut self) -> Result<(), Error> {
        if self.daemon.closing.is_some() {
            return Ok(());
        }
        loop {
            let waiting = self.processes.iter().filter(|(_, p)| p.record.waiting);
            let free = waiting
                .map(|(id, _)| id.clone())
                .find(|id| self.missing(id).is_none());
            match free {
                Some(id) => self.begin_now(&id)?,
                None => return Ok(()),
            }
        }
    }

    /// What a process has to wait for, for people; `None`: nothing.
    #[must_use]
    pub fn missing(&self, id: &str) -> Option<String> {
        match self.standing(id) {
            Standing::Met => None,
            Standing::Awaited(what) | Standing::Failed(what) => Some(what),
        }
    }

    /// Whether it waits for something that will not come by itself.
    #[must_use]
    pub fn waits_in_vain(&self, id: &str) -> bool {
        matches!(self.standing(id), Standing::Failed(_))
    }

    fn standing(&self, id: &str) -> Standing {
        let Some(process) = self.processes.get(id) else {
            return Standing::Met;
        };
        let mut found = Standing::Met;
        for Dependency { name, condition } in &process.record.settings.extras.depends_on {
            let all = self.processes.iter();
            for (id, other) in all.filter(|(_, p)| p.record.settings.is_meant_by(name)) {
                match stands(id, other, *condition) {
                    Standing::Met => {}
                    failed @ Standing::Failed(_) => return failed,
                    awaited => found = awaited,
                }
            }
        }
        found
    }

    /// Whether one process needs another to be there while it runs.
    #[must_use]
    pub fn needs(&self, id: &str, other: &str) -> bool {
        let (Some(process), Some(other)) = (self.processes.get(id), self.processes.get(other))
        else {
            return false;
        };
        let mut needed = process.record.settings.extras.depends_on.iter();
        needed.any(|dependency| other.record.settings.is_meant_by(&dependency.name))
    }
}

fn stands(id: &str, process: &Process, condition: Condition) -> Standing {
    let state = &process.record.life.state;
    let policy = &process.record.settings.policy;
    let completed = *state == State::Exited
        && process
            .record
            .life
            .last_exit
            .is_some_and(|exit| policy.expects(exit));
    let is_met = match condition {
        Condition::Started => process.pid.is_some() || completed,
        Condition::Ready => process.is_ready(),
        Condition::Healthy => {
            let unchecked = process.record.settings.extras.liveness.is_none();
            process.is_ready() && (unchecked || process.healthy == Some(true))
        }
        Condition::Completed => completed,
    };
    if is_met {
        return Standing::Met;
    }
    let name = Condition::ALL
        .iter()
        .find(|(_, known)| *known == condition)
        .map_or("", |(name, _)| *name);
    let failed = *state == State::Fatal
        || (*state == State::Exited && !completed)
        || (completed && condition != Condition::Completed);
    let code = process.code().name();
    if failed && !process.record.waiting {
        return Standing::Failed(format!("for {id} to be {name}, which is {code}"));
    }
    Standing::Awaited(format!("for {id} to be {name}"))
}
