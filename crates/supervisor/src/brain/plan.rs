//! What putting the file into effect would do, process by process, and which changes need no restart.
//! Not here: doing it (`adopt`).

use super::supervisor::Supervisor;
use crate::config::{self, Config};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The answer of `GET /v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Why the file cannot be put into effect.
    pub problems: Vec<String>,
    pub add: Vec<String>,
    pub remove: Vec<String>,
    pub restart: Vec<Change>,
    /// Takes effect without a restart.
    pub adjust: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub name: String,
    /// The settings that differ.
    pub keys: Vec<String>,
}

/// Settings that a process does not carry: they are ours to keep to.
const OURS: [&str; 4] = ["autostart", "priority", "group_priority", "command_line"];
const OUR_POLICY: [&str; 9] = [
    "auto_restart",
    "exit_codes",
    "start_secs",
    "start_retries",
    "backoff",
    "stop_signal",
    "stop_scope",
    "stop_wait",
    "kill_scope",
];
const OUR_EXTRAS: [&str; 4] = ["depends_on", "schedule", "shutdown_on", "liveness"];

/// The names of the settings that differ, and whether a running process has to be restarted for them.
#[must_use]
pub fn difference(old: &config::Process, new: &config::Process) -> (Vec<String>, bool) {
    let (old, new) = (fields(old), fields(new));
    let mut names = Vec::new();
    let mut needs_restart = false;
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let value = new.get(key).unwrap_or(&Value::Null);
        if old.get(key).unwrap_or(&Value::Null) == value {
            continue;
        }
        let mut inner = |known: &[&str]| -> Vec<String> {
            let (Some(Value::Object(was)), Value::Object(is)) = (old.get(key), value) else {
                return Vec::new();
            };
            let changed = is
                .iter()
                .filter(|(name, value)| was.get(*name) != Some(value));
            let changed = changed.map(|(name, _)| name.clone());
            changed
                .inspect(|name| needs_restart |= !known.contains(&name.as_str()))
                .collect()
        };
        match key.as_str() {
            "policy" => names.extend(inner(&OUR_POLICY)),
            "extras" => names.extend(inner(&OUR_EXTRAS)),
            name => {
                needs_restart |= !OURS.contains(&name);
                names.push(name.to_owned());
            }
        }
    }
    (names, needs_restart)
}

/// What is left out is null; of the extras everything is there, to be compared one by one.
fn fields(settings: &config::Process) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    if let Ok(extras) = serde_json::to_value(&settings.extras) {
        fields.insert("extras".to_owned(), extras);
    }
    fields
}

impl Supervisor {
    /// What a reload would do now.
    #[must_use]
    pub fn plan(&self, config: &Config) -> Plan {
        let wanted: BTreeMap<String, &config::Process> = config
            .processes
            .iter()
            .map(|process| (process.id(), &**process))
            .collect();
        let mut plan = Plan::default();
        for (id, settings) in &wanted {
            let Some(process) = self.processes.get(id).filter(|process| !process.retiring) else {
                plan.add.push(id.clone());
                continue;
            };
            let (keys, needs_restart) = difference(process.wanted(), settings);
            if keys.is_empty() {
                continue;
            }
            let change = Change {
                name: id.clone(),
                keys,
            };
            if needs_restart && !process.record.life.at_rest() {
                plan.restart.push(change);
            } else {
                plan.adjust.push(change);
            }
        }
        let known = self
            .processes
            .iter()
            .filter(|(_, process)| !process.retiring);
        plan.remove = known
            .map(|(id, _)| id.clone())
            .filter(|id| !wanted.contains_key(id))
            .collect();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::extras::Extras;
    use crate::config::{Destination, Output, Process, Ready};
    use crate::program::backoff::Backoff;
    use crate::program::state::{AutoRestart, Gate, Policy, Scope};
    use std::time::Duration;

    fn process() -> Process {
        Process {
            name: "web".to_owned(),
            group: "web".to_owned(),
            group_priority: 999,
            priority: 999,
            autostart: true,
            command: vec!["run".to_owned()],
            command_line: "run".to_owned(),
            directory: None,
            environment: BTreeMap::new(),
            user: None,
            umask: None,
            sockets: Vec::new(),
            stdin_socket: None,
            stdout: Output::new(Destination::Auto),
            stderr: Output::new(Destination::Auto),
            redirect_stderr: false,
            server_url: None,
            ready: Ready::Age,
            policy: Policy {
                auto_restart: AutoRestart::Unexpected,
                exit_codes: vec![0],
                start_secs: Duration::from_secs(1),
                start_retries: 3,
                backoff: Backoff::default(),
                stop_signal: 15,
                stop_scope: Scope::Main,
                stop_wait: Duration::from_secs(10),
                kill_scope: Scope::Main,
                gate: Gate::Age,
            },
            extras: Extras::default(),
        }
    }

    /// Both ways: what is set and what is given up.
    #[track_caller]
    fn check(change: impl Fn(&mut Process), names: &[&str], restarts: bool) {
        let (old, mut new) = (process(), process());
        change(&mut new);
        let want = (names.iter().map(ToString::to_string).collect(), restarts);
        assert_eq!(difference(&old, &new), want);
        assert_eq!(difference(&new, &old), want);
    }

    #[test]
    fn what_differs_and_what_needs_a_restart() {
        check(|_| (), &[], false);
        check(|p| p.user = Some("nobody".to_owned()), &["user"], true);
        check(|p| p.umask = Some(0o22), &["umask"], true);
        check(|p| p.autostart = false, &["autostart"], false);
        check(|p| p.stdout.lines.compress = true, &["stdout"], true);
        check(|p| p.policy.stop_signal = 9, &["stop_signal"], false);
        check(
            |p| p.extras.kill_descendants = true,
            &["kill_descendants"],
            true,
        );
        check(
            |p| {
                p.extras.watchdog = Some(Duration::from_secs(1));
                p.extras.shutdown_on = crate::config::extras::ShutdownOn::End;
            },
            &["shutdown_on", "watchdog"],
            true,
        );
    }
}
