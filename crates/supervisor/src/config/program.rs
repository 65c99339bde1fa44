//! One program: its keys, their defaults and checks, and its processes.
//! Not here: what programs have to do with one another (`groups`), its sockets (`endpoints`).

use super::endpoints::{check_ready, check_socket, check_sockets, octal};
use super::groups::{PRIORITY, Program, check_name};
use super::raw::RawProgram;
use super::values::{TextOrList, Word};
use super::yaml::absolute;
use super::{Destination, Listener, Output, Process, Ready, events, extras};
use crate::program::backoff::{Backoff, Exponential};
use crate::program::state::{AutoRestart, Gate, Policy, Scope};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trine_config::suggest::nearest;
use trine_config::{ByteSize, Duration, Place, Problems};

const LOG_BYTES: ByteSize = ByteSize::mib(50);
const LOG_BACKUPS: u32 = 10;
const MOST_PROCESSES: u32 = 1000;

/// What the two readers take for granted differently.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    /// What relative paths count from.
    pub(super) base: PathBuf,
    /// supervisord's defaults: the supervisor's own folder, automatic logs, and `killasgroup` like `stopasgroup`.
    pub(super) stock: bool,
}

/// One program of the YAML. Problems are noted; with any, the result is not to be used.
pub(super) fn check(
    name: &str,
    raw: &RawProgram,
    at: &Place,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Program {
    check_name(name, at, problems);
    let count = raw.numprocs.unwrap_or(1);
    if count == 0 || count > MOST_PROCESSES {
        problems.push(
            at.key("numprocs"),
            format!("expected 1 to {MOST_PROCESSES}, found {count}"),
            "",
        );
    }
    let first = raw.numprocs_start.unwrap_or(0);
    let called = raw.process_name.as_deref().unwrap_or(name);
    let is_numbered = called.contains("{process_num");
    if raw.process_name.is_some() && !is_numbered {
        check_name(called, &at.key("process_name"), problems);
    }
    if raw.process_name.is_some() && count > 1 && !is_numbered {
        let help = "leave process_name out, or put {process_num} or {process_num:02} into it";
        problems.push(
            at.key("process_name"),
            "one name for several processes",
            help,
        );
    }
    let template = check_process(called, raw, at, defaults, problems);
    if is_numbered {
        let first = template.numbered(first, count);
        check_name(&first.name, &at.key("process_name"), problems);
    }
    Program {
        listener: check_listener(raw, at, problems),
        priority: raw.priority,
        first,
        processes: (0..count.min(MOST_PROCESSES))
            .map(|number| template.numbered(first.saturating_add(number), count))
            .collect(),
    }
}

/// One process, as the only one of a group that is called like it.
pub(super) fn check_process(
    name: &str,
    raw: &RawProgram,
    at: &Place,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Process {
    let folder = defaults.base.as_path();
    let ready = check_ready(raw.ready.as_ref(), &at.key("ready"), folder, problems);
    let policy = check_policy(raw, &ready, at, defaults, problems);
    let (stdout, stderr) = check_outputs(raw, at, defaults, problems);
    let command_at = at.key("command");
    let (command, command_line) =
        check_command(raw.command.as_ref(), defaults.stock, &command_at, problems);
    let stdin_socket = raw.stdin_socket.clone();
    Process {
        name: name.to_owned(),
        group: name.to_owned(),
        group_priority: PRIORITY,
        priority: raw.priority.unwrap_or(PRIORITY),
        autostart: raw.autostart.unwrap_or(raw.schedule.is_none()),
        command,
        command_line,
        directory: match raw.directory.as_deref() {
            Some("inherit") if !defaults.stock => None,
            Some(path) => Some(absolute(folder, path)),
            None => Some(folder.to_owned()).filter(|_| !defaults.stock),
        },
        environment: check_environment(&raw.environment, &at.key("environment"), problems),
        user: raw.user.as_ref().map(|word| word.0.clone()),
        umask: raw
            .umask
            .as_ref()
            .and_then(|word| octal(&word.0, &at.key("umask"), problems)),
        sockets: check_sockets(&raw.sockets, &at.key("sockets"), folder, problems),
        stdin_socket: stdin_socket.and_then(|socket| {
            let at = at.key("stdin_socket");
            check_socket("stdin".to_owned(), socket, &at, folder, problems)
        }),
        stdout,
        stderr,
        redirect_stderr: raw.redirect_stderr.unwrap_or(false),
        server_url: raw.serverurl.clone(),
        ready,
        policy,
        extras: extras::check(raw, at, folder, defaults.stock, problems),
    }
}

pub(super) fn check_listener(
    raw: &RawProgram,
    at: &Place,
    problems: &mut Problems,
) -> Option<Listener> {
    let Some(typed) = &raw.events else {
        if raw.buffer_size.is_some() {
            problems.push(
                at.key("buffer_size"),
                "only event listeners have one",
                "give events, or leave it out",
            );
        }
        return None;
    };
    let buffer_size = raw.buffer_size.unwrap_or(10);
    if buffer_size == 0 {
        problems.push(at.key("buffer_size"), "expected 1 or more, found 0", "");
    }
    if raw.redirect_stderr == Some(true) {
        problems.push(
            at.key("redirect_stderr"),
            "what an event listener says on standard error would be taken for its answers",
            "leave it out",
        );
    }
    let at = at.key("events");
    let typed: Vec<String> = match typed {
        TextOrList::Text(text) => text.split(',').map(str::to_owned).collect(),
        TextOrList::List(words) => words.iter().map(|word| word.0.clone()).collect(),
    };
    let mut names: Vec<String> = Vec::new();
    for name in typed
        .iter()
        .map(|name| name.trim())
        .filter(|name| !name.is_empty())
    {
        let upper = name.to_ascii_uppercase();
        if !events::NAMES.contains(&upper.as_str()) {
            let help = nearest(&upper, events::NAMES)
                .map(|near| format!("did you mean {near}?"))
                .unwrap_or_default();
            problems.push(at.clone(), format!("there is no event {name}"), help);
        }
        names.push(upper);
    }
    if names.is_empty() {
        problems.push(at, "is empty", "name the events it wants, such as TICK_60");
    }
    names.sort();
    names.dedup();
    Some(Listener {
        events: names,
        buffer_size,
    })
}

/// Its words, and the line they were typed as.
fn check_command(
    raw: Option<&TextOrList<Word>>,
    stock: bool,
    at: &Place,
    problems: &mut Problems,
) -> (Vec<String>, String) {
    let (words, line) = match raw {
        None => {
            problems.missing(
                at.clone(),
                "say what to run, such as [trine-wsgi, \"app:app\"]",
            );
            return (Vec::new(), String::new());
        }
        Some(TextOrList::List(words)) => {
            let words: Vec<String> = words.iter().map(|word| word.0.clone()).collect();
            let line = shell_words::join(&words);
            (words, line)
        }
        // Its reader splits it.
        Some(TextOrList::Text(line)) if stock => return (Vec::new(), line.clone()),
        Some(TextOrList::Text(line)) => match shell_words::split(line) {
            Ok(words) => (words, line.clone()),
            Err(_) => {
                problems.push(
                    at.clone(),
                    "a quote is not closed",
                    "close it, or write the command as a list",
                );
                return (Vec::new(), String::new());
            }
        },
    };
    if words.first().is_none_or(String::is_empty) {
        problems.push(at.clone(), "is empty", "say what to run");
    }
    (words, line)
}

pub(super) fn check_environment(
    raw: &BTreeMap<String, Word>,
    at: &Place,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    for name in raw
        .keys()
        .filter(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        problems.push(
            at.key(name),
            "not usable as the name of a variable",
            "leave out =",
        );
    }
    raw.iter()
        .map(|(name, value)| (name.clone(), value.0.clone()))
        .collect()
}

fn check_policy(
    raw: &RawProgram,
    ready: &Ready,
    at: &Place,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Policy {
    let seconds =
        |given: Option<Duration>, default: u64| given.unwrap_or(Duration::from_secs(default)).get();
    let auto_restart = match raw.autorestart.as_ref().map(|word| word.0.as_str()) {
        Some("true") => AutoRestart::Always,
        Some("false") => AutoRestart::Never,
        None | Some("unexpected") => AutoRestart::Unexpected,
        Some(other) => {
            problems.push(
                at.key("autorestart"),
                format!("{other:?} is not known here"),
                "there are true, false and unexpected",
            );
            AutoRestart::Unexpected
        }
    };
    let stop = raw
        .stopsignal
        .as_ref()
        .map_or("TERM", |word| word.0.as_str());
    let stop_signal = trine_sys::signals::parse_number(stop).unwrap_or_else(|| {
        problems.push(
            at.key("stopsignal"),
            format!("{stop:?} is no signal"),
            "name one, such as TERM, INT or QUIT",
        );
        0
    });
    let stop_as_group = raw.stopasgroup.unwrap_or(false);
    let kill_as_group = raw.killasgroup.unwrap_or(!defaults.stock || stop_as_group);
    if stop_as_group && !kill_as_group {
        problems.push(
            at.key("killasgroup"),
            "a group that is asked to stop would not be killed as one",
            "leave killasgroup out",
        );
    }
    let scope = |group: bool| if group { Scope::Group } else { Scope::Main };
    let within = seconds(raw.ready_timeout, 60);
    if within.is_zero() {
        problems.push(
            at.key("ready_timeout"),
            "nothing is ready in no time",
            "give it some, such as 60s",
        );
    }
    Policy {
        auto_restart,
        exit_codes: check_exit_codes(raw.exitcodes.as_ref(), &at.key("exitcodes"), problems),
        start_secs: seconds(raw.startsecs, 1),
        start_retries: raw.startretries.unwrap_or(3),
        backoff: check_backoff(raw, at, problems),
        stop_signal,
        stop_scope: scope(stop_as_group),
        stop_wait: seconds(raw.stopwaitsecs, 10),
        kill_scope: scope(kill_as_group),
        gate: if *ready == Ready::Age {
            Gate::Age
        } else {
            Gate::Told { within }
        },
    }
}

fn check_backoff(raw: &RawProgram, at: &Place, problems: &mut Problems) -> Backoff {
    let silent = raw.restart_delay.is_none()
        && raw.restart_factor.is_none()
        && raw.restart_delay_max.is_none()
        && raw.restart_jitter.is_none()
        && raw.restart_reset.is_none();
    if silent {
        return Backoff::default();
    }
    let usual = Exponential::default();
    let factor = raw.restart_factor.map_or(usual.factor_percent, |factor| {
        if !(1.0..=1000.0).contains(&factor) {
            problems.push(
                at.key("restart_factor"),
                format!("expected a number from 1 to 1000, found {factor}"),
                "2 doubles the wait each time",
            );
        }
        (factor * 100.0).round() as u32
    });
    let or = |given: Option<Duration>, usual| given.map_or(usual, Duration::get);
    Backoff::Exponential(Exponential {
        first: or(raw.restart_delay, usual.first),
        factor_percent: factor,
        most: or(raw.restart_delay_max, usual.most),
        jitter: raw.restart_jitter.unwrap_or(usual.jitter),
        forgiven_after: or(raw.restart_reset, usual.forgiven_after),
    })
}

fn check_exit_codes(
    raw: Option<&TextOrList<i32>>,
    at: &Place,
    problems: &mut Problems,
) -> Vec<i32> {
    let codes = match raw {
        None => return vec![0],
        Some(TextOrList::List(codes)) => codes.clone(),
        Some(TextOrList::Text(text)) => {
            let parsed: Result<Vec<i32>, _> =
                text.split(',').map(|code| code.trim().parse()).collect();
            parsed.unwrap_or_else(|_| vec![-1])
        }
    };
    if codes.iter().any(|code| !(0..=255).contains(code)) {
        problems.push(
            at.clone(),
            "an exit code is a number from 0 to 255",
            "write a list, such as [0, 2]",
        );
    }
    codes
}

fn check_outputs(
    raw: &RawProgram,
    at: &Place,
    defaults: &Defaults,
    problems: &mut Problems,
) -> (Output, Output) {
    let joined = raw.redirect_stderr.unwrap_or(false);
    let lines = extras::check_lines(raw, at, problems);
    let default = |name: &str| {
        if defaults.stock {
            Destination::Auto
        } else {
            Destination::Path(absolute(&defaults.base, name))
        }
    };
    let to = |typed: Option<&str>, name: &str| {
        typed.map_or_else(|| default(name), |text| destination(text, &defaults.base))
    };
    let stdout = Output {
        to: to(raw.stdout_logfile.as_deref(), "logs/{process}.log"),
        max_bytes: raw.stdout_logfile_maxbytes.unwrap_or(LOG_BYTES).bytes(),
        backups: raw.stdout_logfile_backups.unwrap_or(LOG_BACKUPS),
        syslog: raw.stdout_syslog.unwrap_or(false),
        capture_bytes: bytes(raw.stdout_capture_maxbytes),
        events: raw.stdout_events_enabled.unwrap_or(false),
        lines,
    };
    let stderr = Output {
        to: if joined {
            Destination::Nowhere
        } else {
            to(raw.stderr_logfile.as_deref(), "logs/{process}.err.log")
        },
        max_bytes: raw.stderr_logfile_maxbytes.unwrap_or(LOG_BYTES).bytes(),
        backups: raw.stderr_logfile_backups.unwrap_or(LOG_BACKUPS),
        syslog: raw.stderr_syslog.unwrap_or(false),
        capture_bytes: bytes(raw.stderr_capture_maxbytes),
        events: raw.stderr_events_enabled.unwrap_or(false),
        lines,
    };
    if joined && raw.stderr_logfile.is_some() && !defaults.stock {
        problems.push(
            at.key("stderr_logfile"),
            "nothing would be written there, as redirect_stderr is true",
            "leave one of the two out",
        );
    }
    (stdout, stderr)
}

fn bytes(size: Option<ByteSize>) -> u64 {
    size.map_or(0, ByteSize::bytes)
}

fn destination(text: &str, base: &Path) -> Destination {
    match text.to_ascii_lowercase().as_str() {
        "none" | "off" => Destination::Nowhere,
        "auto" => Destination::Auto,
        "-" => Destination::Path("/dev/stdout".into()),
        _ => Destination::Path(absolute(base, text)),
    }
}
