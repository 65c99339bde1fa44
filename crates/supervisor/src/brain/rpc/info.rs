//! The structs that tell about processes and the configuration. Not here: finding the processes.

use crate::brain::process::Process;
use crate::brain::supervisor::Supervisor;
use crate::config::{self, Destination, Output};
use crate::holder::wire::Channel;
use crate::program::state::{Code, Exit, Scope};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use trine_control::xmlrpc::{ArrayWriter, Value};

/// While it answers at all it is running: everything else is fault 6.
pub(super) fn daemon_state() -> Value {
    Value::members([
        ("statecode", Value::Int(1)),
        ("statename", "RUNNING".into()),
    ])
}

/// Why it is not up, in supervisord's words; empty when there is nothing to say.
pub(in crate::brain) fn spawn_error(process: &Process) -> String {
    let record = &process.record;
    match (process.code(), &record.spawn_error, record.life.last_exit) {
        (Code::Backoff | Code::Fatal, Some(error), _) => error.clone(),
        (Code::Backoff | Code::Fatal, None, Some(_)) => {
            "Exited too quickly (process log may have details)".to_owned()
        }
        (Code::Exited, _, Some(exit)) if !record.settings.policy.expects(exit) => {
            format!("Bad exit code {}", exit.status())
        }
        _ => String::new(),
    }
}

/// What supervisorctl shows behind the state.
pub(in crate::brain) fn description(process: &Process, now: jiff::Timestamp) -> String {
    let record = &process.record;
    match process.code() {
        Code::Running => {
            let lived = record.started.map_or(0, |started| {
                now.as_second().saturating_sub(started.as_second()).max(0)
            });
            up(process.pid.unwrap_or_default(), lived)
        }
        Code::Fatal | Code::Backoff => match spawn_error(process) {
            error if error.is_empty() => {
                format!("unknown error (try \"tail {}\")", record.settings.name)
            }
            error => error,
        },
        Code::Stopped | Code::Exited => match (record.started, record.ended) {
            (Some(_), Some(ended)) => {
                let local = ended.to_zoned(jiff::tz::TimeZone::system());
                let time = local.strftime("%b %d %I:%M %p");
                match &record.cause {
                    None => time.to_string(),
                    Some(cause) => format!("{time} ({cause})"),
                }
            }
            _ => "Not started".to_owned(),
        },
        Code::Starting | Code::Stopping => String::new(),
    }
}

/// Without the machinery of formatting: this is said of all processes at a time.
fn up(pid: i32, seconds: i64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let mut number = itoa::Buffer::new();
    let mut out = String::with_capacity(64);
    out.push_str("pid ");
    out.push_str(number.format(pid));
    out.push_str(", uptime ");
    if days > 0 {
        out.push_str(number.format(days));
        out.push_str(if days == 1 { " day, " } else { " days, " });
    }
    out.push_str(number.format(rest / 3600));
    for part in [rest / 60 % 60, rest % 60] {
        out.push_str(if part < 10 { ":0" } else { ":" });
        out.push_str(number.format(part));
    }
    out
}

/// Seconds since the epoch, as far as 32 bits go.
fn seconds(time: Option<jiff::Timestamp>) -> i32 {
    let seconds = time.map_or(0, |time| time.as_second());
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// Where a channel's log lies, if it is a file.
pub(super) fn log_path(process: &Process, channel: Channel) -> Option<&Path> {
    let settings = &process.record.settings;
    let output = match channel {
        Channel::Stdout => &settings.stdout,
        Channel::Stderr if settings.redirect_stderr => return None,
        Channel::Ready | Channel::StdoutStaging | Channel::StderrStaging => return None,
        Channel::Stderr => &settings.stderr,
    };
    match &output.to {
        Destination::Nowhere => None,
        Destination::Auto => process.record.auto_logs.get(&channel).map(PathBuf::as_path),
        Destination::Path(path) => Some(path),
    }
}

/// A member of a struct about a process.
enum Member<'a> {
    Int(i32),
    Text(Cow<'a, str>),
}

fn path_text(path: Option<&Path>) -> Member<'_> {
    let text = path.map(|path| {
        path.to_str()
            .map_or_else(|| path.to_string_lossy(), Cow::from)
    });
    Member::Text(text.unwrap_or_default())
}

pub(super) fn of(process: &Process) -> Value {
    let mut all = Vec::new();
    members(process, jiff::Timestamp::now(), |name, member| {
        let value = match member {
            Member::Int(number) => Value::Int(number),
            Member::Text(text) => Value::Str(text.into_owned()),
        };
        all.push((name.to_owned(), value));
    });
    Value::Struct(all)
}

fn members<'a>(
    process: &'a Process,
    now: jiff::Timestamp,
    mut put: impl FnMut(&'static str, Member<'a>),
) {
    let (record, code) = (&process.record, process.code());
    let exit_status = match code {
        Code::Stopped | Code::Exited => record.life.last_exit.map_or(0, Exit::status),
        _ => 0,
    };
    let (int, text) = (Member::Int, Member::Text);
    put("name", text(record.settings.name.as_str().into()));
    put("group", text(record.settings.group.as_str().into()));
    put("start", int(seconds(record.started)));
    put("stop", int(seconds(record.ended)));
    put("now", int(seconds(Some(now))));
    put("state", int(code as i32));
    put("statename", text(code.name().into()));
    put("spawnerr", text(spawn_error(process).into()));
    put("exitstatus", int(exit_status));
    put("logfile", path_text(log_path(process, Channel::Stdout)));
    put(
        "stdout_logfile",
        path_text(log_path(process, Channel::Stdout)),
    );
    put(
        "stderr_logfile",
        path_text(log_path(process, Channel::Stderr)),
    );
    put("pid", int(process.pid.unwrap_or_default()));
    put("description", text(description(process, now).into()));
}

/// About what one process takes in the answer about all.
const BYTES_OF_ONE: usize = 1600;

/// By group, then by name. Written at once: built as values it would be thousands of small pieces.
pub(super) fn of_all(supervisor: &Supervisor) -> Value {
    let mut all: Vec<&Process> = supervisor.processes.values().collect();
    all.sort_by(|a, b| {
        let (a, b) = (&a.record.settings, &b.record.settings);
        (&a.group, &a.name).cmp(&(&b.group, &b.name))
    });
    let now = jiff::Timestamp::now();
    let mut out = ArrayWriter::with_capacity(all.len() * BYTES_OF_ONE);
    for process in all {
        out.add_struct(|out| {
            members(process, now, |name, member| match member {
                Member::Int(number) => out.int(name, number),
                Member::Text(text) => out.text(name, &text),
            });
        });
    }
    out.finish()
}

/// Every process of the configuration that was read last, sorted by name.
pub(super) fn configured(supervisor: &Supervisor) -> Value {
    let known = supervisor.known_config();
    let mut processes: Vec<&config::Process> = known.processes.iter().map(|p| &**p).collect();
    processes.sort_by(|a, b| a.name.cmp(&b.name));
    let in_use = |process: &config::Process| supervisor.config.group(&process.group).is_some();
    let rows = processes
        .into_iter()
        .map(|process| one_configured(supervisor, process, in_use(process)));
    Value::Array(rows.collect())
}

fn number(number: u64) -> Value {
    Value::Int(i32::try_from(number).unwrap_or(i32::MAX))
}

fn one_configured(supervisor: &Supervisor, process: &config::Process, in_use: bool) -> Value {
    let policy = &process.policy;
    let codes = policy.exit_codes.iter().map(|code| Value::Int(*code));
    let uid = process.user.as_deref().and_then(|user| {
        let user = user.split(':').next().unwrap_or(user);
        trine_sys::privileges::find_user(user).ok().flatten()
    });
    let mut members = vec![
        ("autostart".to_owned(), process.autostart.into()),
        (
            "directory".to_owned(),
            process
                .directory
                .as_ref()
                .map_or_else(|| "none".into(), |path| path.display().to_string().into()),
        ),
        (
            "uid".to_owned(),
            uid.map_or_else(|| "none".into(), |user| number(u64::from(user.uid))),
        ),
        ("command".to_owned(), process.command_line.as_str().into()),
        ("exitcodes".to_owned(), Value::Array(codes.collect())),
        ("group".to_owned(), process.group.as_str().into()),
        ("group_prio".to_owned(), process.group_priority.into()),
        ("inuse".to_owned(), in_use.into()),
        (
            "killasgroup".to_owned(),
            (policy.kill_scope == Scope::Group).into(),
        ),
        ("name".to_owned(), process.name.as_str().into()),
        ("process_prio".to_owned(), process.priority.into()),
        ("redirect_stderr".to_owned(), process.redirect_stderr.into()),
        (
            "startretries".to_owned(),
            number(u64::from(policy.start_retries)),
        ),
        ("startsecs".to_owned(), number(policy.start_secs.as_secs())),
        ("stopsignal".to_owned(), policy.stop_signal.into()),
        (
            "stopwaitsecs".to_owned(),
            number(policy.stop_wait.as_secs()),
        ),
        (
            "serverurl".to_owned(),
            process.server_url.as_deref().unwrap_or("none").into(),
        ),
    ];
    let known = supervisor.processes.get(&process.id());
    for (name, which, output) in [
        ("stdout", Channel::Stdout, &process.stdout),
        ("stderr", Channel::Stderr, &process.stderr),
    ] {
        let is_joined = process.redirect_stderr && which == Channel::Stderr;
        let made = known.and_then(|known| known.record.auto_logs.get(&which));
        channel(
            &mut members,
            name,
            output,
            made.filter(|_| !is_joined),
            is_joined,
        );
    }
    Value::Struct(members)
}

/// `made`: the file of an automatic log.
fn channel(
    members: &mut Vec<(String, Value)>,
    name: &str,
    output: &Output,
    made: Option<&PathBuf>,
    is_joined: bool,
) {
    let file: Value = match &output.to {
        _ if is_joined => "none".into(),
        Destination::Nowhere => "none".into(),
        Destination::Auto => made.map_or("auto".into(), |path| path.display().to_string().into()),
        Destination::Path(path) => path.display().to_string().into(),
    };
    let mut push = |key: &str, value| members.push((format!("{name}_{key}"), value));
    push("capture_maxbytes", number(output.capture_bytes));
    push("events_enabled", output.events.into());
    push("logfile", file);
    push("logfile_backups", number(u64::from(output.backups)));
    push("logfile_maxbytes", number(output.max_bytes));
    push("syslog", output.syslog.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python writes a `timedelta`.
    #[test]
    fn uptimes() {
        for (seconds, want) in [
            (0, "0:00:00"),
            (9, "0:00:09"),
            (3599, "0:59:59"),
            (36_610, "10:10:10"),
            (86_399, "23:59:59"),
            (86_400, "1 day, 0:00:00"),
            (172_801, "2 days, 0:00:01"),
            (123 * 86_400 + 11 * 3600, "123 days, 11:00:00"),
        ] {
            assert_eq!(up(7, seconds), format!("pid 7, uptime {want}"));
        }
    }
}
