//! A pool of listeners: which events it wants, those that wait for one of them, and what is dropped.
//! Not here: the listeners' words (see `protocol`), or sending.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// An event that waits, or that a listener has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queued {
    /// Among all events.
    pub(super) serial: u64,
    /// Among those of its pool.
    pub(super) pool_serial: u64,
    pub(super) kind: String,
    pub(super) payload: String,
}

impl Queued {
    /// The header line and the payload, as a listener reads them. `len` counts characters: listeners read text.
    pub(super) fn envelope(&self, identifier: &str, pool: &str) -> String {
        format!(
            "ver:3.0 server:{identifier} serial:{} pool:{pool} poolserial:{} eventname:{} len:{}\n{}",
            self.serial,
            self.pool_serial,
            self.kind,
            self.payload.chars().count(),
            self.payload
        )
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    pub(super) events: Vec<String>,
    pub(super) buffer_size: usize,
    /// The oldest first.
    pub(super) waiting: VecDeque<Queued>,
    pub(super) next_serial: u64,
    /// Since this brain began.
    pub(super) dropped: u64,
}

impl Pool {
    /// Whether it asked for this kind, or for one that stands for it.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.events.iter().any(|asked| {
            asked == "EVENT"
                || kind
                    .strip_prefix(asked.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    }

    /// At the end of the line; gives what had to make room.
    pub(super) fn push(
        &mut self,
        serial: u64,
        kind: &str,
        payload: &str,
    ) -> (Queued, Option<Queued>) {
        let queued = Queued {
            serial,
            pool_serial: self.next_serial,
            kind: kind.to_owned(),
            payload: payload.to_owned(),
        };
        self.next_serial += 1;
        let dropped = self.make_room();
        self.waiting.push_back(queued.clone());
        (queued, dropped)
    }

    /// At the head of the line, as it was there before.
    pub(super) fn push_back_in_front(&mut self, queued: Queued) -> Option<Queued> {
        let dropped = self.make_room();
        self.waiting.push_front(queued);
        dropped
    }

    fn make_room(&mut self) -> Option<Queued> {
        if self.waiting.len() < self.buffer_size.max(1) {
            return None;
        }
        self.dropped += 1;
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(events: &[&str], buffer_size: usize) -> Pool {
        Pool {
            events: events.iter().map(|&event| event.to_owned()).collect(),
            buffer_size,
            ..Pool::default()
        }
    }

    #[test]
    fn what_is_wanted() {
        let wants = |asked: &str, kind: &str| pool(&[asked], 1).wants(kind);
        assert!(wants("EVENT", "TICK_5") && wants("PROCESS_STATE", "PROCESS_STATE_EXITED"));
        assert!(wants("TICK_60", "TICK_60") && wants("TICK", "TICK_3600"));
        assert!(
            !wants("TICK_6", "TICK_60") && !wants("PROCESS_STATE_EXITED", "PROCESS_STATE_FATAL")
        );
        assert!(!wants("PROCESS_LOG", "PROCESS_STATE_EXITED"));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut pool = pool(&["EVENT"], 2);
        for serial in 10..14 {
            pool.push(serial, "TICK_5", "");
        }
        let serials = |pool: &Pool| -> Vec<(u64, u64)> {
            pool.waiting
                .iter()
                .map(|q| (q.serial, q.pool_serial))
                .collect()
        };
        assert_eq!((serials(&pool), pool.dropped), (vec![(12, 2), (13, 3)], 2));
        let first = pool.waiting.pop_front().unwrap();
        assert_eq!(pool.push_back_in_front(first), None);
        assert_eq!(serials(&pool), [(12, 2), (13, 3)]);
    }

    #[test]
    fn an_envelope() {
        let queued = Queued {
            serial: 7,
            pool_serial: 3,
            kind: "REMOTE_COMMUNICATION".to_owned(),
            payload: "type:x\né".to_owned(),
        };
        assert_eq!(
            queued.envelope("supervisor", "mail"),
            "ver:3.0 server:supervisor serial:7 pool:mail poolserial:3 eventname:REMOTE_COMMUNICATION len:8\ntype:x\né"
        );
    }
}
