//! status, pid, avail, version, open: what is only looked at. Not here: logs.

use std::io::IsTerminal as _;

use trine_control::xmlrpc::Value;

use super::processes::{join, split};
use super::session::{
    GENERIC, NOT_RUNNING, Outcome, STATUS_NOT_RUNNING, STATUS_UNKNOWN, Session, fault,
};

/// What `status` needs of one process.
struct Info {
    group: String,
    name: String,
    state: i32,
    state_name: String,
    description: String,
    pid: i32,
}

impl Info {
    fn of(value: &Value) -> Self {
        let text = |key| {
            let text = value.member(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let int = |key| {
            value
                .member(key)
                .and_then(Value::as_int)
                .unwrap_or_default()
        };
        Self {
            group: text("group"),
            name: text("name"),
            state: int("state"),
            state_name: text("statename"),
            description: text("description"),
            pid: int("pid"),
        }
    }

    /// STOPPED, EXITED, FATAL, UNKNOWN.
    fn is_down(&self) -> bool {
        matches!(self.state, 0 | 100 | 200 | 1000)
    }

    fn colour(&self) -> &'static str {
        match self.state {
            20 => "\x1b[32m",
            10 | 40 => "\x1b[36m",
            30 => "\x1b[33m",
            200 | 1000 => "\x1b[31m",
            _ => "\x1b[2m",
        }
    }
}

impl Session {
    fn infos(&self) -> Result<Vec<Info>, super::link::CallError> {
        let all = self.call("getAllProcessInfo", &[])?;
        Ok(all
            .as_array()
            .unwrap_or_default()
            .iter()
            .map(Info::of)
            .collect())
    }

    pub(super) fn status(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            self.exit = STATUS_UNKNOWN;
            return Ok(());
        }
        let all = self.infos()?;
        let mut shown: Vec<&Info> = Vec::new();
        if rest.is_empty() || rest.split_whitespace().any(|name| name == "all") {
            shown.extend(&all);
        } else {
            for wanted in rest.split_whitespace() {
                let (group, process) = split(wanted);
                let before = shown.len();
                shown.extend(all.iter().filter(|info| {
                    info.group == group && process.is_none_or(|process| info.name == process)
                }));
                if shown.len() > before {
                    continue;
                }
                let line = match process {
                    None => format!("{group}: ERROR (no such group)"),
                    Some(_) => format!("{wanted}: ERROR (no such process)"),
                };
                self.say(line);
                self.exit = STATUS_UNKNOWN;
            }
        }
        self.table(&shown);
        if shown.iter().any(|info| info.is_down()) {
            self.exit = STATUS_NOT_RUNNING;
        }
        Ok(())
    }

    fn table(&self, infos: &[&Info]) {
        let names: Vec<String> = infos
            .iter()
            .map(|info| join(&info.group, &info.name))
            .collect();
        let longest = names.iter().map(|name| name.chars().count()).max();
        let width = longest.unwrap_or(0).max(30) + 3;
        let (styled, plain) = ((self.styled && std::io::stdout().is_terminal()), "");
        for (info, name) in infos.iter().zip(names) {
            let (on, off) = if styled {
                (info.colour(), "\x1b[0m")
            } else {
                (plain, plain)
            };
            let (state, description) = (&info.state_name, &info.description);
            self.say(format!("{name:<width$}{on}{state:<10}{off}{description}"));
        }
    }

    pub(super) fn pid(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        let number = |value: &Value| value.as_int().unwrap_or_default().to_string();
        if rest.is_empty() {
            let pid = self.call("getPID", &[])?;
            self.say(number(&pid));
            return Ok(());
        }
        if rest.split_whitespace().any(|name| name == "all") {
            for info in self.infos()? {
                self.say(info.pid.to_string());
            }
            return Ok(());
        }
        for name in rest.split_whitespace() {
            match self.call("getProcessInfo", &[Value::from(name)]) {
                Ok(info) => {
                    let pid = Info::of(&info).pid;
                    self.say(pid.to_string());
                    if pid == 0 {
                        self.exit = NOT_RUNNING;
                    }
                }
                Err(error) => {
                    self.exit = GENERIC;
                    if error.fault() != Some(fault::BAD_NAME) {
                        return Err(error);
                    }
                    self.say(format!("No such process {name}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn avail(&mut self, rest: &str) -> Outcome {
        if !rest.is_empty() {
            self.misused("avail", "avail accepts no arguments");
            return Ok(());
        }
        let all = match self.call("getAllConfigInfo", &[]) {
            Ok(all) => all,
            Err(error) if error.fault() == Some(fault::SHUTDOWN_STATE) => {
                self.fail("ERROR: supervisor shutting down");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for info in all.as_array().unwrap_or_default() {
            let text = |key| info.member(key).and_then(Value::as_str).unwrap_or_default();
            let int = |key| info.member(key).and_then(Value::as_int).unwrap_or_default();
            let is = |key| matches!(info.member(key), Some(Value::Bool(true)));
            self.say(format!(
                "{:<32} {:<9} {:<9} {}:{}",
                join(text("group"), text("name")),
                if is("inuse") { "in use" } else { "avail" },
                if is("autostart") { "auto" } else { "manual" },
                int("group_prio"),
                int("process_prio"),
            ));
        }
        Ok(())
    }

    pub(super) fn version(&mut self, rest: &str) -> Outcome {
        if !rest.is_empty() {
            self.misused("version", "version accepts no arguments");
            return Ok(());
        }
        if self.is_up()? {
            let version = self.call("getSupervisorVersion", &[])?;
            self.say(version.as_str().unwrap_or_default());
        }
        Ok(())
    }

    pub(super) fn open(&mut self, rest: &str) -> Outcome {
        let scheme = rest.split_once(':').map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("unix" | "http")) {
            self.fail("ERROR: url must be http:// or unix://");
            return Ok(());
        }
        self.server.url = rest.to_owned();
        let exit = self.exit;
        let outcome = self.status("");
        self.exit = exit;
        outcome
    }

    /// For completion: groups with their processes, nothing when there is no answer.
    pub(super) fn known_names(&self) -> Vec<(String, String)> {
        let infos = self.infos().unwrap_or_default();
        infos
            .into_iter()
            .map(|info| (info.group, info.name))
            .collect()
    }
}
