//! Zones: what `limit_req_zone` and `limit_conn_zone` define, and what is counted in them, shared by all cores.
//!
//! A reload goes on with what was counted. Not here: the rules (`bucket`, `connections`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bucket::Bucket;
use super::table::Table;
use crate::config::Config;
use crate::layer4::session::Session;
use crate::layer4::template::Text;
use crate::template::{Scene, Template};

/// A longer key is none, as in nginx.
const LONGEST_KEY: usize = 65_535;

/// Something that requests are counted by.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    key: Key,
    /// The same as it was written.
    pub(crate) key_text: String,
    /// Bytes of the table.
    pub(crate) size: u64,
    pub(crate) kind: Kind,
    counts: Arc<Counts>,
}

/// What it is that is counted by.
#[derive(Debug)]
pub(crate) enum Key {
    Request(Template),
    Session(Text),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests, so many thousandths in a second.
    Requests { rate: u64 },
    /// Those under way at a time.
    Connections,
}

/// The tables of a zone; only one of them is used.
#[derive(Debug)]
pub(crate) struct Counts {
    began: Instant,
    pub(super) buckets: Mutex<Table<Bucket>>,
    pub(super) connections: Mutex<Table<u32>>,
}

impl Zone {
    pub(crate) fn new(name: String, key: Key, key_text: String, size: u64, kind: Kind) -> Self {
        let counts = Counts {
            began: Instant::now(),
            buckets: Mutex::new(Table::new(size)),
            connections: Mutex::new(Table::new(size)),
        };
        Self {
            name,
            key,
            key_text,
            size,
            kind,
            counts: Arc::new(counts),
        }
    }

    /// What the request is counted by; `None` if it is not.
    pub(super) fn key_of(&self, scene: &Scene<'_>) -> Option<Vec<u8>> {
        match &self.key {
            Key::Request(key) => self.usable(key.value(scene)),
            Key::Session(_) => None,
        }
    }

    /// What a session of `stream` is counted by.
    pub(crate) fn key_of_session(&self, session: &Session) -> Option<Vec<u8>> {
        match &self.key {
            Key::Request(_) => None,
            Key::Session(key) => self.usable(key.value(session)),
        }
    }

    /// Whether it counts sessions of `stream`.
    pub(crate) fn is_for_sessions(&self) -> bool {
        matches!(self.key, Key::Session(_))
    }

    fn usable(&self, key: Vec<u8>) -> Option<Vec<u8>> {
        if key.len() > LONGEST_KEY {
            tracing::error!(
                zone = self.name,
                "the value of the \"{}\" key is more than 65535 bytes",
                self.key_text
            );
            return None;
        }
        (!key.is_empty()).then_some(key)
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Thousandths of a request that flow off in a second.
    pub(super) fn rate(&self) -> u64 {
        match self.kind {
            Kind::Requests { rate } => rate,
            Kind::Connections => 0,
        }
    }
}

impl Counts {
    /// Milliseconds on this zone's clock.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A panic while a table was locked cannot leave it inconsistent in a way that matters for counting.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Zones of the new configuration that the old one has too go on with what was counted.
///
/// # Errors
/// A zone counts by another key now, in nginx's words: what was counted would be wrong.
pub(crate) fn adopt(new: &mut Config, old: &Config) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for zone in &mut new.zones {
        let same_kind = |other: &&Zone| {
            other.name == zone.name
                && std::mem::discriminant(&other.kind) == std::mem::discriminant(&zone.kind)
        };
        let Some(before) = old.zones.iter().find(same_kind) else {
            continue;
        };
        if before.size != zone.size {
            continue;
        }
        if before.key_text != zone.key_text {
            let what = match zone.kind {
                Kind::Requests { .. } => "limit_req",
                Kind::Connections => "limit_conn_zone",
            };
            problems.push(format!(
                "{what} \"{}\" uses the \"{}\" key while previously it used the \"{}\" key",
                zone.name, zone.key_text, before.key_text
            ));
            continue;
        }
        zone.counts = Arc::clone(&before.counts);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}
