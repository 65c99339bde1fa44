//! What a name of a call means: a process, a whole group, and which processes in which order.
//! Not here: the control API's more generous names (`Supervisor::find`).

use super::fault::{BAD_NAME, about};
use crate::brain::process::Process;
use crate::brain::supervisor::Supervisor;
use crate::group::{Rank, start_order};
use trine_control::xmlrpc::Fault;

/// Group and process; `None`: the whole group.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        None => (name, Some(name)),
        Some((group, "" | "*")) => (group, None),
        Some((group, process)) => (group, Some(process)),
    }
}

fn id(group: &str, process: &str) -> String {
    if group == process {
        process.to_owned()
    } else {
        format!("{group}:{process}")
    }
}

/// The id of one process. A whole group is no process.
pub(super) fn one(supervisor: &Supervisor, name: &str) -> Result<String, Fault> {
    let (group, process) = split(name);
    let id = process.map(|process| id(group, process));
    id.filter(|id| supervisor.processes.contains_key(id))
        .ok_or_else(|| about(BAD_NAME, name))
}

pub(super) fn process<'a>(supervisor: &'a Supervisor, name: &str) -> Result<&'a Process, Fault> {
    let id = one(supervisor, name)?;
    supervisor
        .processes
        .get(&id)
        .ok_or_else(|| about(BAD_NAME, name))
}

/// The ids of a group's processes, in the order in which they are started.
pub(super) fn group(supervisor: &Supervisor, name: &str) -> Result<Vec<String>, Fault> {
    if supervisor.config.group(name).is_none() {
        return Err(about(BAD_NAME, name));
    }
    Ok(in_order(supervisor, |process| {
        process.record.settings.group == name
    }))
}

/// The ids of all processes, in the order in which they are started.
pub(super) fn all(supervisor: &Supervisor) -> Vec<String> {
    in_order(supervisor, |_| true)
}

fn in_order(supervisor: &Supervisor, wanted: impl Fn(&Process) -> bool) -> Vec<String> {
    let processes = supervisor.processes.iter();
    let found = processes.filter(|(_, process)| wanted(process)).collect();
    let rank = |(_, process): &(&String, &Process)| {
        let settings = &process.record.settings;
        Rank {
            group_priority: settings.group_priority,
            group: settings.group.clone(),
            priority: settings.priority,
            name: settings.name.clone(),
        }
    };
    let ordered = start_order(found, rank);
    ordered.into_iter().map(|(id, _)| id.clone()).collect()
}
