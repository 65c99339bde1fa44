//! Reading the configuration again without putting it into effect, and putting single groups of it into effect.
//! Not here: putting all of it into effect at once (`reload`).

use super::Outcome;
use super::fault::{ALREADY_ADDED, BAD_NAME, CANT_REREAD, FAILED, STILL_RUNNING, about};
use crate::brain::supervisor::Supervisor;
use crate::config::{Config, Group, Process};
use crate::error::Error;
use crate::holder::wire::Order;
use std::sync::Arc;
use trine_control::xmlrpc::Value;

/// What a `reloadConfig` has read, for `addProcessGroup`.
const REREAD_KEY: &str = "reread";

impl Supervisor {
    /// The configuration that was read last, which may be newer than the one in force.
    #[must_use]
    pub fn known_config(&self) -> &Config {
        self.reread.as_ref().unwrap_or(&self.config)
    }

    /// Takes up what an earlier brain has read.
    pub fn adopt_reread(&mut self, stored: &std::collections::BTreeMap<String, String>) {
        let text = stored.get(REREAD_KEY);
        self.reread = text.and_then(|text| serde_json::from_str(text).ok());
    }

    /// Everything that was read is in force.
    #[must_use]
    pub fn forget_reread(&mut self) -> Order {
        self.reread = None;
        Order::Store {
            key: REREAD_KEY.to_owned(),
            value: None,
        }
    }

    pub(super) fn reread(&mut self) -> Result<Outcome, Error> {
        let fresh = match self.read_config() {
            Ok(fresh) => fresh,
            Err(problems) => return Ok(Err(about(CANT_REREAD, problems.join("; ")))),
        };
        let (added, changed, removed) = differences(&self.config, &fresh);
        self.link.send(&[Order::Store {
            key: REREAD_KEY.to_owned(),
            value: serde_json::to_string(&fresh).ok(),
        }])?;
        self.reread = Some(fresh);
        let lists = [added, changed, removed]
            .map(|names| Value::Array(names.into_iter().map(Value::from).collect()));
        Ok(Ok(Value::Array(vec![Value::Array(lists.to_vec())])))
    }

    pub(super) fn add_group(&mut self, name: &str) -> Result<Outcome, Error> {
        let known = self.known_config();
        let Some(group) = known.group(name).cloned() else {
            return Ok(Err(about(BAD_NAME, name)));
        };
        if self.config.group(name).is_some() {
            return Ok(Err(about(ALREADY_ADDED, name)));
        }
        let mut config = self.config.clone();
        config.processes.extend(members(known, name).cloned());
        config.groups.push(group);
        config.groups.sort_by(|a, b| a.name.cmp(&b.name));
        config.processes.sort_by_key(|process| process.id());
        let problems = self.bind_all(&config)?;
        if !problems.is_empty() {
            return Ok(Err(about(FAILED, problems.join("; "))));
        }
        self.config = config;
        self.in_force(name, "PROCESS_GROUP_ADDED")
    }

    pub(super) fn remove_group(&mut self, name: &str) -> Result<Outcome, Error> {
        if self.config.group(name).is_none() {
            return Ok(Err(about(BAD_NAME, name)));
        }
        let mut members = self
            .processes
            .values()
            .filter(|p| p.record.settings.group == name);
        if members.any(|process| !process.record.life.at_rest()) {
            return Ok(Err(about(STILL_RUNNING, name)));
        }
        self.config.groups.retain(|group| group.name != name);
        self.config
            .processes
            .retain(|process| process.group != name);
        self.sockets_may_be_unnamed = true;
        self.in_force(name, "PROCESS_GROUP_REMOVED")
    }

    fn in_force(&mut self, name: &str, event: &'static str) -> Result<Outcome, Error> {
        self.daemon.generation += 1;
        let orders = [self.store_config(), self.store_daemon()];
        self.link.send(&orders)?;
        self.match_pools();
        self.group_event(event, name)?;
        self.reconcile()?;
        Ok(Ok(true.into()))
    }
}

fn members<'a>(config: &'a Config, group: &'a str) -> impl Iterator<Item = &'a Arc<Process>> + 'a {
    config
        .processes
        .iter()
        .filter(move |process| process.group == group)
}

/// Groups that are new, that differ, and that are gone.
fn differences(old: &Config, new: &Config) -> (Vec<String>, Vec<String>, Vec<String>) {
    let names = |groups: Vec<&Group>| -> Vec<String> {
        groups.into_iter().map(|group| group.name.clone()).collect()
    };
    let is_new = |group: &&Group| old.group(&group.name).is_none();
    let is_gone = |group: &&Group| new.group(&group.name).is_none();
    let has_changed = |group: &&Group| {
        old.group(&group.name).is_some_and(|known| {
            known != *group || !members(old, &group.name).eq(members(new, &group.name))
        })
    };
    (
        names(new.groups.iter().filter(is_new).collect()),
        names(new.groups.iter().filter(has_changed).collect()),
        names(old.groups.iter().filter(is_gone).collect()),
    )
}
