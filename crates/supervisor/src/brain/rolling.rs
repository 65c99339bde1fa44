//! Restarting the processes of a group one batch after the other, each only when the one before is ready again.
//! It is written down in the holder, so that the next brain carries it on.
//! Not here: how one process is restarted (`program::state`).

use super::process::Process;
use super::supervisor::Supervisor;
use crate::error::Error;
use crate::program::state::{Event, State};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// How it went: all of them, or the reason why it was broken off.
pub type Outcome = Result<usize, String>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    pub name: String,
    batch: usize,
    /// Those to come.
    left: Vec<String>,
    /// Those under way, with their generation from before.
    now: Vec<(String, u64)>,
    done: usize,
}

/// Whoever asked, while this brain lives.
#[derive(Debug)]
pub struct Asker(pub String, pub oneshot::Sender<Outcome>);

impl Supervisor {
    pub fn begin_rolling(
        &mut self,
        name: &str,
        batch: usize,
        reply: oneshot::Sender<Outcome>,
    ) -> Result<(), Error> {
        let ids = self.find(name).unwrap_or_default();
        let refusal = if self.daemon.closing.is_some() {
            Some("everything is being stopped".to_owned())
        } else if ids.is_empty() {
            Some(format!("there is no group {name}"))
        } else {
            let mut others = self.daemon.rolling.iter();
            others
                .any(|other| other.name == name)
                .then(|| format!("{name} is being restarted already"))
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return Ok(());
        }
        let is_up = |id: &String| {
            let process = self.processes.get(id);
            process.is_some_and(|process| !process.record.life.at_rest())
        };
        let rolling = Rolling {
            name: name.to_owned(),
            batch: batch.max(1),
            left: ids.into_iter().filter(is_up).collect(),
            now: Vec::new(),
            done: 0,
        };
        tracing::info!(
            "restarting the {} processes of {name}, {} at a time",
            rolling.left.len(),
            rolling.batch
        );
        self.askers.push(Asker(name.to_owned(), reply));
        self.daemon.rolling.push(rolling);
        let store = self.store_daemon();
        self.link.send(&[store])
    }

    /// Carries them on as far as they go; to be called after every change.
    pub fn roll_on(&mut self) -> Result<(), Error> {
        let mut index = 0;
        while let Some(rolling) = self.daemon.rolling.get(index).cloned() {
            match self.roll(rolling.clone())? {
                None => index += 1, // waits
                Some(Ok(next)) if next != rolling => {
                    self.daemon.rolling[index] = next;
                    let store = self.store_daemon();
                    self.link.send(&[store])?;
                }
                Some(ended) => {
                    self.daemon.rolling.remove(index);
                    let store = self.store_daemon();
                    self.link.send(&[store])?;
                    self.tell_asker(&rolling.name, ended.map(|rolling| rolling.done));
                }
            }
        }
        Ok(())
    }

    /// One step. `None`: nothing to do yet; the same one again: all is done; `Err`: why it is broken off.
    fn roll(&mut self, mut rolling: Rolling) -> Result<Option<Result<Rolling, String>>, Error> {
        if self.daemon.closing.is_some() {
            return Ok(Some(Err("everything is being stopped".to_owned())));
        }
        for (id, before) in &rolling.now {
            let Some(process) = self.processes.get(id) else {
                continue; // no longer configured
            };
            match progress(process, *before) {
                Progress::Ready => {}
                Progress::Under => return Ok(None),
                Progress::Failed => {
                    let code = process.code().name();
                    return Ok(Some(Err(format!("{id} is {code} after its restart"))));
                }
            }
        }
        if rolling.now.is_empty() && rolling.left.is_empty() {
            return Ok(Some(Ok(rolling)));
        }
        rolling.done += rolling.now.len();
        let count = rolling.batch.min(rolling.left.len());
        let batch: Vec<String> = rolling.left.drain(..count).collect();
        rolling.now = batch
            .into_iter()
            .filter_map(|id| {
                let generation = self.processes.get(&id)?.record.generation;
                Some((id, generation))
            })
            .collect();
        for (id, _) in &rolling.now {
            self.feed(id, Event::Restart)?;
        }
        Ok(Some(Ok(rolling)))
    }

    fn tell_asker(&mut self, name: &str, outcome: Outcome) {
        match &outcome {
            Ok(count) => tracing::info!("restarted the {count} processes of {name}"),
            Err(why) => tracing::error!("stopped restarting {name}: {why}"),
        }
        if let Some(place) = self.askers.iter().position(|Asker(known, _)| known == name) {
            let Asker(_, reply) = self.askers.swap_remove(place);
            let _ = reply.send(outcome);
        }
    }
}

enum Progress {
    Under,
    Ready,
    Failed,
}

fn progress(process: &Process, before: u64) -> Progress {
    let is_new = process.record.generation > before;
    match process.record.life.state {
        State::Running { .. } if is_new => Progress::Ready,
        State::Fatal | State::Exited | State::Backoff { .. } if is_new => Progress::Failed,
        State::Stopped if !process.record.waiting => Progress::Failed,
        _ => Progress::Under,
    }
}
