//! start, stop, restart, signal, clear: what is done to processes. Not here: groups of the configuration (`groups`).

use trine_control::xmlrpc::Value;

use super::link::CallError;
use super::session::{GENERIC, INVALID_ARGS, Outcome, Session, fault};

/// Group and process of a name; `None`: the whole group.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        None => (name, Some(name)),
        Some((group, "" | "*")) => (group, None),
        Some((group, process)) => (group, Some(process)),
    }
}

pub(super) fn join(group: &str, process: &str) -> String {
    if group == process {
        group.to_owned()
    } else {
        format!("{group}:{process}")
    }
}

/// What became of one process.
struct Row {
    name: String,
    status: i32,
    description: String,
}

/// How a command tells what became of a process; `None`: a code that it does not know.
type Tell = fn(&Row) -> Option<String>;

fn started(row: &Row) -> Option<String> {
    let name = &row.name;
    let why = match row.status {
        fault::SUCCESS => return Some(format!("{name}: started")),
        fault::BAD_NAME => "no such process",
        fault::NO_FILE => "no such file",
        fault::NOT_EXECUTABLE => "file is not executable",
        fault::ALREADY_STARTED => "already started",
        fault::SPAWN_ERROR => "spawn error",
        fault::ABNORMAL_TERMINATION => "abnormal termination",
        _ => return None,
    };
    Some(format!("{name}: ERROR ({why})"))
}

fn signalled_or(row: &Row, done: &str) -> Option<String> {
    let name = &row.name;
    let why = match row.status {
        fault::SUCCESS => return Some(format!("{name}: {done}")),
        fault::BAD_NAME => "no such process",
        fault::BAD_SIGNAL => "bad signal name",
        fault::NOT_RUNNING => "not running",
        fault::FAILED => return Some(row.description.clone()),
        _ => return None,
    };
    Some(format!("{name}: ERROR ({why})"))
}

fn signalled(row: &Row) -> Option<String> {
    signalled_or(row, "signalled")
}

fn stopped(row: &Row) -> Option<String> {
    signalled_or(row, "stopped")
}

fn cleared(row: &Row) -> Option<String> {
    let name = &row.name;
    let why = match row.status {
        fault::SUCCESS => return Some(format!("{name}: cleared")),
        fault::BAD_NAME => "no such process",
        fault::FAILED => "failed",
        _ => return None,
    };
    Some(format!("{name}: ERROR ({why})"))
}

/// A command that does one thing to one, several, or all processes.
struct Verb {
    all: &'static str,
    group: &'static str,
    one: &'static str,
    tell: Tell,
    /// The fault that is no failure.
    ignored: i32,
    /// The exit code when there is no such group.
    no_group: u8,
}

const START: Verb = Verb {
    all: "startAllProcesses",
    group: "startProcessGroup",
    one: "startProcess",
    tell: started,
    ignored: fault::ALREADY_STARTED,
    no_group: INVALID_ARGS,
};

const STOP: Verb = Verb {
    all: "stopAllProcesses",
    group: "stopProcessGroup",
    one: "stopProcess",
    tell: stopped,
    ignored: fault::NOT_RUNNING,
    no_group: GENERIC,
};

const SIGNAL: Verb = Verb {
    all: "signalAllProcesses",
    group: "signalProcessGroup",
    one: "signalProcess",
    tell: signalled,
    ignored: fault::SUCCESS,
    no_group: GENERIC,
};

impl Session {
    pub(super) fn start(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        if rest.is_empty() {
            self.misused("start", "start requires a process name");
            self.exit = INVALID_ARGS;
            return Ok(());
        }
        self.each(&START, rest.split_whitespace(), &[])
    }

    pub(super) fn stop(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        if rest.is_empty() {
            self.misused("stop", "stop requires a process name");
            return Ok(());
        }
        self.each(&STOP, rest.split_whitespace(), &[])
    }

    pub(super) fn restart(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        if rest.is_empty() {
            self.misused("restart", "restart requires a process name");
            return Ok(());
        }
        self.stop(rest)?;
        self.start(rest)
    }

    pub(super) fn signal(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        match rest.split_once(char::is_whitespace) {
            Some((signal, names)) => {
                self.each(&SIGNAL, names.split_whitespace(), &[Value::from(signal)])
            }
            None => {
                self.misused("signal", "signal requires a signal name and a process name");
                Ok(())
            }
        }
    }

    pub(super) fn clear(&mut self, rest: &str) -> Outcome {
        if !self.is_up()? {
            return Ok(());
        }
        if rest.is_empty() {
            self.misused("clear", "clear requires a process name");
            return Ok(());
        }
        if rest.split_whitespace().any(|name| name == "all") {
            let rows = self.call("clearAllProcessLogs", &[])?;
            return self.tell_rows(&rows, cleared, fault::SUCCESS);
        }
        for name in rest.split_whitespace() {
            let (group, process) = split(name);
            // Stock supervisorctl's word for a whole group, which cannot be cleared.
            let shown = join(group, process.unwrap_or("None"));
            let result = self.call("clearProcessLogs", &[Value::from(name)]);
            self.tell_one(shown, result, cleared, fault::SUCCESS)?;
        }
        Ok(())
    }

    fn each<'a>(
        &mut self,
        verb: &Verb,
        names: impl Iterator<Item = &'a str> + Clone,
        more: &[Value],
    ) -> Outcome {
        if names.clone().any(|name| name == "all") {
            let rows = self.call(verb.all, more)?;
            return self.tell_rows(&rows, verb.tell, verb.ignored);
        }
        for name in names {
            let (group, process) = split(name);
            let params = |name: &str| [&[Value::from(name)], more].concat();
            let Some(process) = process else {
                match self.call(verb.group, &params(group)) {
                    Ok(rows) => self.tell_rows(&rows, verb.tell, verb.ignored)?,
                    Err(error) if error.fault() == Some(fault::BAD_NAME) => {
                        self.say(format!("{group}: ERROR (no such group)"));
                        self.exit = verb.no_group;
                    }
                    Err(error) => {
                        self.exit = GENERIC;
                        return Err(error);
                    }
                }
                continue;
            };
            let result = self.call(verb.one, &params(name));
            self.tell_one(join(group, process), result, verb.tell, verb.ignored)?;
        }
        Ok(())
    }

    fn tell_one(
        &mut self,
        name: String,
        result: Result<Value, CallError>,
        tell: Tell,
        ignored: i32,
    ) -> Outcome {
        let (status, description) = match result {
            Ok(_) => (fault::SUCCESS, String::new()),
            Err(CallError::Fault(fault)) => (fault.code, fault.text),
            Err(error) => return Err(error),
        };
        let row = Row {
            name,
            status,
            description,
        };
        self.tell_row(&row, tell, ignored)
    }

    fn tell_rows(&mut self, rows: &Value, tell: Tell, ignored: i32) -> Outcome {
        for row in rows.as_array().unwrap_or_default() {
            let text = |key| row.member(key).and_then(Value::as_str).unwrap_or_default();
            let row = Row {
                name: join(text("group"), text("name")),
                status: row
                    .member("status")
                    .and_then(Value::as_int)
                    .unwrap_or_default(),
                description: text("description").to_owned(),
            };
            self.tell_row(&row, tell, ignored)?;
        }
        Ok(())
    }

    fn tell_row(&mut self, row: &Row, tell: Tell, ignored: i32) -> Outcome {
        let Some(line) = tell(row) else {
            let what = format!(
                "<class 'ValueError'>, Unknown result code {} for {}",
                row.status, row.name
            );
            self.fail(format!("error: {what}"));
            return Ok(());
        };
        self.say(line);
        self.count(row.status, ignored);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(split("a"), ("a", Some("a")));
        assert_eq!(split("g:a:b"), ("g", Some("a:b")));
        assert_eq!((split("g:*"), split("g:")), (("g", None), ("g", None)));
        assert_eq!((join("a", "a"), join("g", "a")), ("a".into(), "g:a".into()));
    }
}
