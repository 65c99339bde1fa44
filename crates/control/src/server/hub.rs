//! The event log shared by a daemon's tasks, and streams of it that wait for what comes next.
//!
//! Not here: the ring itself (`events`) and the bytes on the wire (`sse`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use crate::events::EventLog;
use crate::message::Event;
use crate::route::EventQuery;

/// A handle on a shared [`EventLog`]; clones are the same log. Pushing never waits: a slow reader loses
/// events (and is told by a gap), it holds nobody up.
#[derive(Debug, Clone)]
pub struct EventHub {
    log: Arc<Mutex<EventLog>>,
    newest: watch::Sender<u64>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self::new(EventLog::default())
    }
}

impl EventHub {
    /// Shares `log`.
    #[must_use]
    pub fn new(log: EventLog) -> Self {
        let newest = watch::Sender::new(log.last_id());
        Self {
            log: Arc::new(Mutex::new(log)),
            newest,
        }
    }

    /// Adds an event that happened now, wakes the readers, and returns its id.
    pub fn push(&self, kind: impl Into<String>, data: Value) -> u64 {
        let mut log = self.log();
        let id = log.push(kind, data).id;
        self.newest.send_replace(id);
        id
    }

    /// The events kept after `id`; see [`EventLog::since`].
    #[must_use]
    pub fn since(&self, id: u64) -> Vec<Event> {
        self.log().since(id)
    }

    /// A stream of the events that `query` asks for.
    #[must_use]
    pub fn subscribe(&self, query: EventQuery) -> Events {
        let newest = self.newest.subscribe();
        let seen = query.since.unwrap_or_else(|| self.log().last_id());
        Events {
            hub: self.clone(),
            newest,
            query,
            seen,
        }
    }

    fn log(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place in an [`EventHub`].
#[derive(Debug)]
pub struct Events {
    hub: EventHub,
    newest: watch::Receiver<u64>,
    query: EventQuery,
    seen: u64,
}

impl Events {
    /// What happened since the last call, if anything that was asked for; never waits.
    pub fn ready(&mut self) -> Vec<Event> {
        self.newest.mark_unchanged();
        let events = self.hub.since(self.seen);
        if let Some(last) = events.last() {
            self.seen = last.id;
        }
        events
            .into_iter()
            .filter(|event| self.query.wants(&event.kind))
            .collect()
    }

    /// The next events, at least one. Dropping the future loses none.
    pub async fn next(&mut self) -> Vec<Event> {
        loop {
            let events = self.ready();
            if !events.is_empty() {
                return events;
            }
            // The sender is inside `hub`, so this waits for an event and cannot fail.
            let _ = self.newest.changed().await;
        }
    }
}
