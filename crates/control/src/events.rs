//! The last events of a daemon, in a ring: what `/v1/events` tells, and tells again to a client that
//! resumes.
//!
//! Not here: waiting for the next event; `server::EventHub` wakes tasks, a poll loop looks by itself.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::message::Event;

/// The kind of the event that tells of events lost.
pub const GAP: &str = "gap";

/// How many events a daemon keeps, if it has no reason for another number.
pub const DEFAULT_CAPACITY: usize = 1024;

/// A bounded list of events with growing ids. The oldest makes room for the newest.
///
/// Ids start at the time of creation in milliseconds, so those of a restarted daemon go on growing and a
/// client that resumes after the restart is told of the gap instead of missing events.
#[derive(Debug)]
pub struct EventLog {
    ring: VecDeque<Kept>,
    capacity: usize,
    next_id: u64,
}

/// An event as it is kept: its data as JSON, which takes a tenth of the memory of a [`Value`], and is rarely asked for.
#[derive(Debug)]
struct Kept {
    id: u64,
    time: Timestamp,
    kind: Box<str>,
    data: Box<str>,
}

impl Kept {
    fn event(&self) -> Event {
        Event {
            id: self.id,
            time: self.time,
            kind: self.kind.to_string(),
            // It was a value: it can be read back.
            data: serde_json::from_str(&self.data).unwrap_or_default(),
        }
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl EventLog {
    /// An empty log for `capacity` events, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        Self::starting_at(capacity, now.max(1))
    }

    /// An empty log whose first event gets `first_id`.
    #[must_use]
    pub fn starting_at(capacity: usize, first_id: u64) -> Self {
        Self {
            ring: VecDeque::new(),
            capacity: capacity.max(1),
            next_id: first_id,
        }
    }

    /// Adds an event that happened now and returns it.
    pub fn push(&mut self, kind: impl Into<String>, data: Value) -> Event {
        if self.ring.len() == self.capacity {
            self.ring.pop_front();
        }
        let event = Event {
            id: self.next_id,
            time: Timestamp::now(),
            kind: kind.into(),
            data,
        };
        self.ring.push_back(Kept {
            id: event.id,
            time: event.time,
            kind: event.kind.as_str().into(),
            data: event.data.to_string().into(),
        });
        self.next_id += 1;
        event
    }

    /// The id of the newest event; before the first one, the id before it.
    #[must_use]
    pub fn last_id(&self) -> u64 {
        self.next_id - 1
    }

    /// The events after `id`; 0 means all that are kept. When events in between fell out of the ring, or
    /// `id` is from another life of the daemon, a `gap` event comes first. Its data is
    /// `{"after": id asked for, "next": id of the first event that follows}`; its own id is one less than
    /// `next`, so resuming from it is right.
    #[must_use]
    pub fn since(&self, id: u64) -> Vec<Event> {
        let oldest = self.next_id - self.ring.len() as u64;
        let lost = id != 0 && (id >= self.next_id || id + 1 < oldest);
        let gap = lost.then(|| Event {
            id: oldest - 1,
            time: Timestamp::now(),
            kind: GAP.to_owned(),
            data: json!({"after": id, "next": oldest}),
        });
        let skip = if lost || id < oldest {
            0
        } else {
            id + 1 - oldest
        };
        gap.into_iter()
            .chain(
                self.ring
                    .iter()
                    .skip(usize::try_from(skip).unwrap_or(usize::MAX))
                    .map(Kept::event),
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(first: u64, count: usize) -> EventLog {
        let mut log = EventLog::starting_at(3, first);
        for _ in 0..count {
            let _ = log.push("tick", Value::Null);
        }
        log
    }

    #[track_caller]
    fn check(log: &EventLog, since: u64, want: &str) {
        let show = |event: &Event| match event.kind.as_str() {
            GAP => format!("gap{}{}", event.id, event.data),
            _ => event.id.to_string(),
        };
        let got: Vec<_> = log.since(since).iter().map(show).collect();
        assert_eq!(got.join(" "), want);
    }

    #[test]
    fn resuming() {
        let five = log(10, 5); // 10 … 14, of which 12, 13, 14 are kept
        assert_eq!(five.last_id(), 14);
        check(&five, 0, "12 13 14");
        check(&five, 14, "");
        check(&five, 12, "13 14");
        check(&five, 11, "12 13 14");
        check(&five, 10, r#"gap11{"after":10,"next":12} 12 13 14"#);
        check(&five, 3, r#"gap11{"after":3,"next":12} 12 13 14"#);
        check(&five, 99, r#"gap11{"after":99,"next":12} 12 13 14"#);
        check(
            &five,
            u64::MAX,
            r#"gap11{"after":18446744073709551615,"next":12} 12 13 14"#,
        );
    }

    #[test]
    fn empty() {
        let fresh = log(10, 0);
        assert_eq!(fresh.last_id(), 9);
        check(&fresh, 0, "");
        check(&fresh, 9, "");
        check(&fresh, 5, r#"gap9{"after":5,"next":10}"#);
        assert!(
            EventLog::default().last_id() > 1_600_000_000_000,
            "milliseconds since 1970"
        );
    }
}
