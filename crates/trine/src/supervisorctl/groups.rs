//! reread, update, add, remove: process groups of the configuration. Not here: processes.

use std::collections::BTreeMap;

use trine_control::xmlrpc::Value;

use super::link::CallError;
use super::session::{GENERIC, Outcome, Session, fault};

/// What a reread found, by group.
struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    fn of(value: &Value) -> Self {
        let lists = value
            .as_array()
            .and_then(|outer| outer.first()?.as_array())
            .unwrap_or_default();
        let names = |at: usize| -> Vec<String> {
            let list = lists.get(at).and_then(Value::as_array).unwrap_or_default();
            list.iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            added: names(0),
            changed: names(1),
            removed: names(2),
        }
    }
}

impl Session {
    pub(super) fn reread(&mut self, rest: &str) -> Outcome {
        if !rest.is_empty() {
            self.misused("reread", "reread accepts no arguments");
            return Ok(());
        }
        let changes = match self.call("reloadConfig", &[]) {
            Ok(changes) => Changes::of(&changes),
            Err(CallError::Fault(told)) if told.code == fault::SHUTDOWN_STATE => {
                self.fail("ERROR: supervisor shutting down");
                return Ok(());
            }
            Err(CallError::Fault(told)) if told.code == fault::CANT_REREAD => {
                self.fail(format!("ERROR: {}", told.text));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let words = [
            (changes.added, "available"),
            (changes.changed, "changed"),
            (changes.removed, "disappeared"),
        ];
        let by_name: BTreeMap<String, &str> = words
            .into_iter()
            .flat_map(|(names, word)| names.into_iter().map(move |name| (name, word)))
            .collect();
        if by_name.is_empty() {
            self.say("No config updates to processes");
        }
        for (name, word) in by_name {
            self.say(format!("{name}: {word}"));
        }
        Ok(())
    }

    pub(super) fn update(&mut self, rest: &str) -> Outcome {
        let changes = match self.call("reloadConfig", &[]) {
            Ok(changes) => Changes::of(&changes),
            Err(error) if error.fault() == Some(fault::SHUTDOWN_STATE) => {
                self.fail("ERROR: already shutting down");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut wanted: Vec<&str> = rest.split_whitespace().collect();
        if wanted.contains(&"all") {
            wanted.clear();
        }
        if !wanted.is_empty() {
            let active = self.known_names();
            for name in &wanted {
                let is_known = active.iter().any(|(group, _)| group == name)
                    || changes.added.iter().any(|added| added == name);
                if !is_known {
                    self.fail(format!("ERROR: no such group: {name}"));
                }
            }
        }
        let is_wanted = |name: &String| wanted.is_empty() || wanted.contains(&name.as_str());
        for name in changes.removed.iter().filter(|name| is_wanted(name)) {
            let group = [Value::from(name.as_str())];
            let results = self.call("stopProcessGroup", &group)?;
            self.say(format!("{name}: stopped"));
            let rows = results.as_array().unwrap_or_default();
            let has_failed = rows
                .iter()
                .any(|row| row.member("status").and_then(Value::as_int) == Some(fault::FAILED));
            if has_failed {
                self.fail(format!("{name}: has problems; not removing"));
                continue;
            }
            self.call("removeProcessGroup", &group)?;
            self.say(format!("{name}: removed process group"));
        }
        for name in changes.changed.iter().filter(|name| is_wanted(name)) {
            let group = [Value::from(name.as_str())];
            self.call("stopProcessGroup", &group)?;
            self.say(format!("{name}: stopped"));
            self.call("removeProcessGroup", &group)?;
            self.call("addProcessGroup", &group)?;
            self.say(format!("{name}: updated process group"));
        }
        for name in changes.added.iter().filter(|name| is_wanted(name)) {
            self.call("addProcessGroup", &[Value::from(name.as_str())])?;
            self.say(format!("{name}: added process group"));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, rest: &str) -> Outcome {
        for name in rest.split_whitespace() {
            let error = match self.call("addProcessGroup", &[Value::from(name)]) {
                Ok(_) => {
                    self.say(format!("{name}: added process group"));
                    continue;
                }
                Err(error) => error,
            };
            match error.fault() {
                Some(fault::SHUTDOWN_STATE) => self.fail("ERROR: shutting down"),
                Some(fault::ALREADY_ADDED) => self.say("ERROR: process group already active"),
                Some(fault::BAD_NAME) => self.fail(format!("ERROR: no such process/group: {name}")),
                _ => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, rest: &str) -> Outcome {
        for name in rest.split_whitespace() {
            let error = match self.call("removeProcessGroup", &[Value::from(name)]) {
                Ok(_) => {
                    self.say(format!("{name}: removed process group"));
                    continue;
                }
                Err(error) => error,
            };
            self.exit = GENERIC;
            match error.fault() {
                Some(fault::STILL_RUNNING) => {
                    self.say(format!("ERROR: process/group still running: {name}"));
                }
                Some(fault::BAD_NAME) => self.say(format!("ERROR: no such process/group: {name}")),
                _ => return Err(error),
            }
        }
        Ok(())
    }
}
