//! Taking over: what a new brain makes of the holder's table, and making the processes match a configuration.
//! The same way is gone at the first start, after a reload, and after the death of a brain.
//! Not here: reading configuration files, or asking for the table (see `mod`).

use super::plan::difference;
use super::process::{KEY_PREFIX, Process, Record};
use super::supervisor::Supervisor;
use crate::config;
use crate::error::Error;
use crate::group::{Rank, start_order};
use crate::holder::wire::{Channel, Order, SlotLife};
use crate::program::state::{Event, State};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A slot of the table with its descriptors.
#[derive(Debug)]
pub struct Row {
    pub id: String,
    pub generation: u64,
    pub life: SlotLife,
    pub channels: Vec<Channel>,
    pub fds: Vec<OwnedFd>,
}

impl Supervisor {
    /// Goes on with the processes of earlier brains.
    pub fn adopt(
        &mut self,
        stored: &BTreeMap<String, String>,
        rows: Vec<Row>,
    ) -> Result<(), Error> {
        let configured = self.config.processes.iter();
        let configured: BTreeMap<String, _> =
            configured.map(|process| (process.id(), process)).collect();
        for (key, text) in stored {
            let Some(id) = key.strip_prefix(KEY_PREFIX) else {
                continue;
            };
            let mut record: Record =
                serde_json::from_str(text).map_err(|source| Error::Stored {
                    key: key.clone(),
                    source,
                })?;
            // As a rule the same, and then shared.
            if let Some(same) = configured.get(id).filter(|p| ***p == record.settings) {
                record.settings = Arc::clone(same);
            }
            self.processes.insert(id.to_owned(), Process::new(record));
        }
        let mut rows: BTreeMap<String, Row> =
            rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        // Of all before anything is written anywhere: several may share a log.
        for row in rows.values_mut() {
            self.take_back(row);
        }
        let ids: Vec<String> = self.processes.keys().cloned().collect();
        for id in ids {
            let row = rows.remove(&id);
            self.adopt_one(&id, row)?;
        }
        for id in rows.into_keys() {
            // A pipe was made, and the brain died before it wrote anything down.
            self.link.send(&[Order::Forget { id }])?;
        }
        Ok(())
    }

    fn adopt_one(&mut self, id: &str, row: Option<Row>) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        let Some(row) = row else {
            return self.spawn_again(id);
        };
        let mut fds = row.fds.into_iter();
        let (mut outputs, mut staged) = (Vec::new(), BTreeMap::new());
        if let SlotLife::Alive { pid, since } = row.life {
            process.pid = Some(pid);
            process.since = Some(since);
            process.pidfd = fds.next();
        }
        for (channel, pipe) in row.channels.into_iter().zip(fds) {
            match channel {
                Channel::Ready => process.ready_pipe = Some(pipe),
                channel if channel.is_staging() => drop(staged.insert(channel.other(), pipe)),
                channel => outputs.push((channel, pipe)),
            }
        }
        for (channel, pipe) in outputs {
            let staging = staged.remove(&Some(channel));
            self.reconnect(id, channel, pipe, staging)?;
        }
        self.watch_log_again(id);
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        if !process.record.life.has_process() {
            return Ok(());
        }
        if row.generation != process.record.generation {
            return self.spawn_again(id);
        }
        match row.life {
            SlotLife::Empty => Ok(()),
            SlotLife::Alive { .. } => {
                self.feed(id, Event::Spawned)?;
                self.start_probe(id);
                Ok(())
            }
            SlotLife::Exited { pid, at, exit, .. } => {
                process.pid = Some(pid);
                process.record.ended = Some(jiff::Timestamp::now());
                self.listener_ended(id)?;
                self.note_cause(id);
                self.feed(id, Event::Exited { exit, at })?;
                self.after_exit(id, row.generation)
            }
            SlotLife::Failed { failure, .. } => {
                process.record.spawn_error = Some(failure.text);
                self.feed(id, Event::SpawnFailed)
            }
        }
    }

    /// The life says that a process was ordered, but the order was never given.
    fn spawn_again(&mut self, id: &str) -> Result<(), Error> {
        if !self
            .processes
            .get(id)
            .is_some_and(|process| process.record.life.has_process())
        {
            return Ok(());
        }
        match self.prepare_spawn(id)? {
            Ok(order) => {
                let store = self.processes.get(id).map(|process| process.store(id));
                self.link
                    .send(&store.into_iter().chain([order]).collect::<Vec<_>>())
            }
            Err(reason) => {
                if let Some(process) = self.processes.get_mut(id) {
                    process.record.spawn_error = Some(reason);
                }
                self.feed(id, Event::SpawnFailed)
            }
        }
    }

    /// Makes the processes match the configuration in force: new ones are added and started, changed ones are restarted
    /// with their new settings, those it no longer names are stopped and removed; all others are left alone.
    pub fn reconcile(&mut self) -> Result<(), Error> {
        let wanted: BTreeMap<String, Arc<config::Process>> = self
            .config
            .processes
            .iter()
            .map(|process| (process.id(), process.clone()))
            .collect();
        let known: Vec<String> = self.processes.keys().cloned().collect();
        for id in &known {
            if !wanted.contains_key(id) {
                self.let_go(id)?;
            }
        }
        let order = start_order(wanted.into_iter().collect(), |(id, settings)| Rank {
            group_priority: settings.group_priority,
            priority: settings.priority,
            group: settings.group.clone(),
            name: id.clone(),
        });
        let mut coming = Vec::new();
        for (id, settings) in &order {
            if settings.autostart && !self.processes.contains_key(id) {
                coming.push((id.as_str(), &**settings));
            }
        }
        self.open_pipes(coming)?;
        let mut to_start = Vec::new();
        for (id, settings) in order {
            match self.processes.get_mut(&id) {
                None => to_start.extend(self.add(id, settings)?),
                Some(process) if process.retiring => {
                    process.retiring = false;
                    process.next = Some(settings);
                    self.start(&id)?;
                }
                Some(process) if process.record.settings == settings => process.next = None,
                Some(_) => self.change(&id, settings)?,
            }
        }
        // Only now is everything there that they may depend on.
        to_start.into_iter().try_for_each(|id| self.start(&id))
    }

    /// Gives the name of one that is to be started when all are there.
    fn add(&mut self, id: String, settings: Arc<config::Process>) -> Result<Option<String>, Error> {
        let autostart = settings.autostart;
        let depends = !settings.extras.depends_on.is_empty();
        let mut process = Process::new(Record::new(settings));
        process.record.waiting = autostart && depends;
        let settings = process.record.settings.clone();
        self.processes.insert(id.clone(), process);
        // Known from the beginning, as supervisord's clients expect; what fails here is told when it is started.
        let _ = self.name_auto_logs(&id, &settings);
        let Some(store) = self.processes.get(&id).map(|process| process.store(&id)) else {
            return Ok(None);
        };
        if autostart && !depends {
            self.feed(&id, Event::Start)?;
            return Ok(None);
        }
        self.link.send(&[store])?;
        Ok(Some(id).filter(|_| autostart))
    }

    fn change(&mut self, id: &str, settings: Arc<config::Process>) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        let (keys, needs_restart) = difference(&process.record.settings, &settings);
        if !needs_restart && process.next.is_none() {
            tracing::info!(
                "{id} has changed settings that need no restart: {}",
                keys.join(", ")
            );
            process.record.settings = settings;
            let (store, is_up) = (process.store(id), process.pid.is_some());
            self.link.send(&[store])?;
            if is_up && keys.iter().any(|key| key == "liveness") {
                self.start_health(id);
            }
            return Ok(());
        }
        let event = match process.record.life.state {
            State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => {
                process.next = Some(settings);
                Event::Restart
            }
            // What somebody stopped stays so; what had ended or failed may do better now.
            State::Stopped | State::Exited | State::Fatal => {
                let again = settings.autostart && process.record.life.state != State::Stopped;
                process.record.settings = settings;
                let store = process.store(id);
                self.link.send(&[store])?;
                if !again {
                    return Ok(());
                }
                Event::Start
            }
        };
        tracing::info!("{id} has changed settings, starting it again");
        self.feed(id, event)
    }

    fn let_go(&mut self, id: &str) -> Result<(), Error> {
        let Some(process) = self.processes.get_mut(id) else {
            return Ok(());
        };
        if !process.retiring {
            process.retiring = true;
            tracing::info!("{id} is no longer configured, removing it");
        }
        self.stop_waiting(id)?;
        self.feed(id, Event::Stop)
    }

    /// Removes those that are no longer configured and have come to rest.
    pub async fn retire(&mut self) -> Result<(), Error> {
        let gone: Vec<String> = self
            .processes
            .iter()
            .filter(|(_, process)| process.retiring && process.record.life.at_rest())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            let Some(process) = self.processes.remove(&id) else {
                continue;
            };
            self.disconnect_all(&id, &process).await;
            self.pipes.retain(|key, _| key.id != id);
            self.forget_listener(&id)?;
            self.link.send(&[
                Order::Store {
                    key: format!("{KEY_PREFIX}{id}"),
                    value: None,
                },
                Order::Forget { id: id.clone() },
            ])?;
            self.hub.push(
                "program.removed",
                serde_json::json!({ "name": process.record.settings.name }),
            );
            tracing::info!("removed {id}");
        }
        Ok(())
    }
}
