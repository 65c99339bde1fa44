//! supervisord's events: when they happen, what they carry, and bringing them to listeners.
//! Not here: the event stream of the control API (`trine_control::EventHub`).
//!
//! What waits and what a listener has is written into the holder with each change, so that the death of a brain loses
//! no event and confuses no listener.

mod ear;
mod payload;
mod pool;
mod protocol;
mod tick;

use ear::Ear;

use super::supervisor::Supervisor;
use crate::config::Config;
use crate::error::Error;
use crate::holder::wire::Order;
use crate::program::moment::Moment;
use crate::program::state::State as Life;
use pool::{Pool, Queued};
use protocol::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tick::Ticks;

/// How long the end of listeners is put off for events that wait.
const FAREWELL: Duration = Duration::from_secs(1);
const COUNTERS_KEY: &str = "events";
const EVENT_PREFIX: &str = "event/";
const EAR_PREFIX: &str = "listener/";

/// All pools, their listeners, and the clock for ticks.
#[derive(Debug, Default)]
pub struct Events {
    pools: BTreeMap<String, Pool>,
    /// By the id of the process.
    ears: BTreeMap<String, Ear>,
    serial: u64,
    ticks: Ticks,
    /// Until when listeners that are to end may still take what waits for them.
    farewell: Option<Moment>,
    farewell_is_over: bool,
    /// Listeners that have something to say.
    pub(in crate::brain) spoke: ear::Spoken,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Counters {
    serial: u64,
    pools: BTreeMap<String, u64>,
}

/// What `/metrics` shows of a pool.
#[derive(Debug)]
pub struct PoolCounts<'a> {
    pub name: &'a str,
    pub waiting: usize,
    pub dropped: u64,
}

impl Events {
    pub fn counts(&self) -> impl Iterator<Item = PoolCounts<'_>> {
        self.pools.iter().map(|(name, pool)| PoolCounts {
            name,
            waiting: pool.waiting.len(),
            dropped: pool.dropped,
        })
    }

    fn store_counters(&self) -> Order {
        let pools = self
            .pools
            .iter()
            .map(|(name, pool)| (name.clone(), pool.next_serial));
        let counters = Counters {
            serial: self.serial,
            pools: pools.collect(),
        };
        Order::Store {
            key: COUNTERS_KEY.to_owned(),
            value: serde_json::to_string(&counters).ok(),
        }
    }
}

fn event_key(pool: &str, queued: &Queued) -> String {
    format!("{EVENT_PREFIX}{pool}/{}", queued.pool_serial)
}

fn store(pool: &str, queued: &Queued) -> Order {
    Order::Store {
        key: event_key(pool, queued),
        value: serde_json::to_string(queued).ok(),
    }
}

fn forget(pool: &str, queued: &Queued) -> Order {
    Order::Store {
        key: event_key(pool, queued),
        value: None,
    }
}

impl Supervisor {
    /// Makes the pools those of the configuration in force. What waits in one that stays goes on waiting.
    pub(super) fn match_pools(&mut self) {
        self.events.farewell = None;
        self.events.farewell_is_over = false;
        let mut old = std::mem::take(&mut self.events.pools);
        for group in &self.config.groups {
            let Some(listener) = &group.listener else {
                continue;
            };
            let mut pool = old.remove(&group.name).unwrap_or_default();
            pool.events.clone_from(&listener.events);
            pool.buffer_size = usize::try_from(listener.buffer_size).unwrap_or(usize::MAX);
            self.events.pools.insert(group.name.clone(), pool);
        }
        let pools = &self.events.pools;
        self.events
            .ticks
            .ask(|kind| pools.values().any(|pool| pool.wants(kind)));
    }

    /// Takes up what waited, and what was under way, when an earlier brain died.
    pub(super) fn adopt_events(&mut self, stored: &BTreeMap<String, String>) {
        self.match_pools();
        let counters: Option<Counters> = stored
            .get(COUNTERS_KEY)
            .and_then(|text| serde_json::from_str(text).ok());
        let counters = counters.unwrap_or_default();
        self.events.serial = counters.serial;
        for (name, pool) in &mut self.events.pools {
            pool.next_serial = counters.pools.get(name).copied().unwrap_or(0);
        }
        for (key, text) in stored {
            if let Some(id) = key.strip_prefix(EAR_PREFIX) {
                if let Ok(ear) = serde_json::from_str(text) {
                    self.events.ears.insert(id.to_owned(), Ear::adopted(ear));
                }
                continue;
            }
            let Some((pool, _)) = key
                .strip_prefix(EVENT_PREFIX)
                .and_then(|key| key.split_once('/'))
            else {
                continue;
            };
            if let (Some(pool), Ok(queued)) =
                (self.events.pools.get_mut(pool), serde_json::from_str(text))
            {
                pool.waiting.push_back(queued);
            }
        }
        for pool in self.events.pools.values_mut() {
            pool.waiting
                .make_contiguous()
                .sort_by_key(|queued| queued.pool_serial);
        }
    }

    /// Something that listeners may have asked for. It is delivered by [`Self::deliver_events`].
    pub(super) fn happened(&mut self, kind: &str, payload: &str) -> Result<(), Error> {
        let orders = self.note_event(kind, payload);
        self.link.send(&orders)
    }

    /// The same, to be sent by the caller together with what has happened.
    pub(super) fn note_event(&mut self, kind: &str, payload: &str) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut is_wanted = false;
        let serial = self.events.serial;
        for (name, pool) in &mut self.events.pools {
            if !pool.wants(kind) {
                continue;
            }
            is_wanted = true;
            let (queued, dropped) = pool.push(serial, kind, payload);
            orders.push(store(name, &queued));
            if let Some(dropped) = dropped {
                overflowed(name, &dropped);
                orders.push(forget(name, &dropped));
            }
        }
        if is_wanted {
            self.events.serial += 1;
            orders.push(self.events.store_counters());
        }
        orders
    }

    /// Whether the end of these processes has to wait a moment, because they are listeners that have events to take.
    pub(super) fn has_farewells(&mut self, ids: &[String]) -> bool {
        let concerns = |id: &String| self.events.ears.contains_key(id);
        if self.events.farewell_is_over || !ids.iter().all(concerns) {
            return false;
        }
        let waits = self
            .events
            .pools
            .values()
            .any(|pool| !pool.waiting.is_empty());
        let mut ears = self.events.ears.values();
        if !waits && !ears.any(|ear| ear.state() == State::Busy) {
            return false;
        }
        let now = crate::clock::now();
        self.events.farewell.get_or_insert(now + FAREWELL);
        true
    }

    /// Gives what waits to listeners that are ready for it.
    pub(super) fn deliver_events(&mut self) -> Result<(), Error> {
        let names: Vec<String> = self
            .events
            .pools
            .iter()
            .filter(|(_, pool)| !pool.waiting.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            while let Some(id) = self.ready_listener(&name) {
                let pool = self.events.pools.get_mut(&name);
                let Some(queued) = pool.and_then(|pool| pool.waiting.pop_front()) else {
                    break;
                };
                let text = queued.envelope(&self.config.identifier, &name);
                let ticket = self.link.ticket();
                let mut orders = vec![forget(&name, &queued)];
                if let Some(ear) = self.events.ears.get_mut(&id) {
                    ear.give(queued);
                    orders.push(ear.store(&id));
                }
                // In one frame: the event is noted as under way and on its way, or neither.
                orders.push(Order::Feed { ticket, id, text });
                self.link.send(&orders)?;
            }
        }
        Ok(())
    }

    fn ready_listener(&self, group: &str) -> Option<String> {
        let ears = self.events.ears.iter();
        ears.filter(|(_, ear)| ear.state() == State::Ready)
            .map(|(id, _)| id)
            .find(|id| {
                self.processes.get(*id).is_some_and(|process| {
                    process.record.settings.group == group
                        && matches!(process.record.life.state, Life::Running { .. })
                })
            })
            .cloned()
    }

    /// The event goes back to the head of the pool that it came from, and to no other.
    fn send_again(&mut self, pool_name: &str, queued: Queued) -> Result<(), Error> {
        let Some(pool) = self.events.pools.get_mut(pool_name) else {
            return Ok(());
        };
        let mut orders = vec![store(pool_name, &queued)];
        if let Some(dropped) = pool.push_back_in_front(queued) {
            overflowed(pool_name, &dropped);
            orders.push(forget(pool_name, &dropped));
        }
        self.link.send(&orders)
    }

    /// At the very first start: all groups are new.
    pub(super) fn announce_groups(&mut self) -> Result<(), Error> {
        let mut groups: Vec<(i32, String)> = self
            .config
            .groups
            .iter()
            .map(|group| (group.priority, group.name.clone()))
            .collect();
        groups.sort();
        groups
            .iter()
            .try_for_each(|(_, group)| self.group_event("PROCESS_GROUP_ADDED", group))?;
        self.happened("SUPERVISOR_STATE_CHANGE_RUNNING", "")
    }

    /// After a reload of everything.
    pub(super) fn announce_group_changes(&mut self, old: &Config) -> Result<(), Error> {
        let names = |config: &Config| -> Vec<String> {
            config
                .groups
                .iter()
                .map(|group| group.name.clone())
                .collect()
        };
        let (before, after) = (names(old), names(&self.config));
        for gone in before.iter().filter(|name| !after.contains(name)) {
            self.group_event("PROCESS_GROUP_REMOVED", gone)?;
        }
        for fresh in after.iter().filter(|name| !before.contains(name)) {
            self.group_event("PROCESS_GROUP_ADDED", fresh)?;
        }
        Ok(())
    }
}

fn overflowed(pool: &str, dropped: &Queued) {
    tracing::error!(
        "pool {pool} event buffer overflowed, discarding event {}",
        dropped.serial
    );
}
