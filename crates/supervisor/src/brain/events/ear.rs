//! Listening to a listener: its standard output is read here and not by the log pump, because what it says decides what
//! it is sent. Not here: what its words mean (see `protocol`).

use super::EAR_PREFIX;
use super::pool::Queued;
use super::protocol::{State, Talk, Word};
use crate::brain::logs::Peek;
use crate::brain::supervisor::Supervisor;
use crate::error::Error;
use crate::holder::wire::{Channel, Order};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use trine_sys::file as sys;

/// Read at a time.
const PIECE: usize = 64 << 10;

/// Listeners whose output can be read, each told once until it was read.
pub(in crate::brain) type Spoken = JoinSet<String>;

/// What the next brain needs to know of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarRecord {
    talk: Talk,
    /// The event that it has.
    event: Option<Queued>,
    /// What was taken in last. It is written down before it is taken out of the pipe, so a new brain may meet it again.
    last: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Ear {
    record: EarRecord,
    pipe: Option<Arc<AsyncFd<OwnedFd>>>,
    /// `record.last` may still be in the pipe.
    may_be_again: bool,
}

impl Ear {
    pub(super) fn adopted(record: EarRecord) -> Self {
        Self {
            may_be_again: !record.last.is_empty(),
            record,
            pipe: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.record.talk.state
    }

    pub(super) fn give(&mut self, queued: Queued) {
        self.record.event = Some(queued);
        // What it said before is out of the pipe by now; it may well say the same again.
        self.record.last.clear();
        self.record.talk.sent();
    }

    pub(super) fn store(&self, id: &str) -> Order {
        Order::Store {
            key: format!("{EAR_PREFIX}{id}"),
            value: serde_json::to_string(&self.record).ok(),
        }
    }
}

/// Resolves when there is something to read.
async fn readable(pipe: Arc<AsyncFd<OwnedFd>>, id: String) -> String {
    loop {
        let Ok(mut guard) = pipe.readable().await else {
            return std::future::pending().await;
        };
        match sys::readable_bytes(pipe.get_ref()) {
            Ok(0) | Err(_) => guard.clear_ready(),
            Ok(_) => return id,
        }
    }
}

impl Supervisor {
    /// Whether the group of this process is a pool of listeners.
    pub(in crate::brain) fn is_listener(&self, group: &str) -> bool {
        self.config
            .group(group)
            .is_some_and(|group| group.listener.is_some())
    }

    /// Begins to listen on the pipe of a listener's standard output.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's cannot"
    )]
    pub(in crate::brain) fn listen_to(&mut self, id: &str, pipe: OwnedFd) -> io::Result<()> {
        let pipe = Arc::new(AsyncFd::with_interest(pipe, Interest::READABLE)?);
        let ear = self.events.ears.entry(id.to_owned()).or_default();
        ear.pipe = Some(pipe.clone());
        self.events.spoke.spawn(readable(pipe, id.to_owned()));
        Ok(())
    }

    /// Reads what a listener has said, and waits for more.
    pub(in crate::brain) fn spoke(&mut self, id: &str) -> Result<(), Error> {
        self.hear(id)?;
        if let Some(pipe) = self.events.ears.get(id).and_then(|ear| ear.pipe.clone()) {
            self.events.spoke.spawn(readable(pipe, id.to_owned()));
        }
        Ok(())
    }

    /// What an earlier brain had written down and not yet taken out of the pipes goes out of them, before anything is
    /// given: the answer to that may well be the same words.
    pub(in crate::brain) fn hear_what_was_noted(&mut self) -> Result<(), Error> {
        let ids: Vec<String> = self.events.ears.keys().cloned().collect();
        for id in ids {
            self.hear(&id)?;
            if let Some(ear) = self.events.ears.get_mut(&id) {
                ear.may_be_again = false;
            }
        }
        Ok(())
    }

    fn hear(&mut self, id: &str) -> Result<(), Error> {
        let failed = |source| Error::Brain {
            doing: "read what a listener says",
            source,
        };
        let Some(pipe) = self.events.ears.get(id).and_then(|ear| ear.pipe.clone()) else {
            return Ok(());
        };
        let mut peek = Peek::new().map_err(failed)?;
        let null = File::options()
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        loop {
            let bytes = peek.look(pipe.get_ref(), PIECE).map_err(failed)?.to_vec();
            if bytes.is_empty() {
                return Ok(());
            }
            self.take_in(id, &bytes)?;
            crate::brain::logs::discard(pipe.get_ref(), bytes.len(), &null).map_err(failed)?;
        }
    }

    fn take_in(&mut self, id: &str, bytes: &[u8]) -> Result<(), Error> {
        let Some(ear) = self.events.ears.get_mut(id) else {
            return Ok(());
        };
        let mut fresh = bytes;
        if std::mem::take(&mut ear.may_be_again)
            && let Some(rest) = bytes.strip_prefix(ear.record.last.as_slice())
        {
            fresh = rest;
        }
        let words = ear.record.talk.hear(fresh);
        ear.record.last = bytes.to_vec();
        let mut back = None;
        for word in &words {
            match word {
                Word::Ready => {}
                Word::Accepted => ear.record.event = None,
                Word::Rejected | Word::Confused { had_event: true } => {
                    back = ear.record.event.take()
                }
                Word::Confused { had_event: false } => {}
            }
        }
        if words
            .iter()
            .any(|word| matches!(word, Word::Confused { .. }))
        {
            tracing::warn!(
                "{id}: has gone to UNKNOWN: it said {:?}",
                bytes.escape_ascii().to_string()
            );
        }
        let store = ear.store(id);
        self.link.send(&[store])?;
        let process = self.processes.get(id);
        if let Some(tap) = process.and_then(|process| process.taps.get(&Channel::Stdout)) {
            tap.append(fresh);
        }
        let group = process.map(|process| process.record.settings.group.clone());
        if let (Some(queued), Some(group)) = (back, group) {
            tracing::warn!("{id}: has rejected event {}", queued.serial);
            self.send_again(&group, queued)?;
        }
        Ok(())
    }

    /// A listener's process has ended: what it said last counts, what it had goes to another.
    pub(in crate::brain) fn listener_ended(&mut self, id: &str) -> Result<(), Error> {
        if !self.events.ears.contains_key(id) {
            return Ok(());
        }
        self.hear(id)?;
        let group = self
            .processes
            .get(id)
            .map(|process| process.record.settings.group.clone());
        let Some(ear) = self.events.ears.get_mut(id) else {
            return Ok(());
        };
        let had = ear.record.event.take();
        ear.record = EarRecord::default();
        let store = ear.store(id);
        self.link.send(&[store])?;
        match (had, group) {
            (Some(queued), Some(group)) => self.send_again(&group, queued),
            _ => Ok(()),
        }
    }

    /// A listener that is removed.
    pub(in crate::brain) fn forget_listener(&mut self, id: &str) -> Result<(), Error> {
        if self.events.ears.remove(id).is_none() {
            return Ok(());
        }
        self.link.send(&[Order::Store {
            key: format!("{EAR_PREFIX}{id}"),
            value: None,
        }])
    }
}
