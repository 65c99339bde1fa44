//! One program of the YAML: its keys, their defaults and checks, and its processes.
//! Not here: what programs have to do with one another (`yaml`).

use super::endpoints::{RawReady, RawSocket, check_ready, check_sockets, octal};
use super::values::{TextOrBlock, TextOrList, Word};
use super::yaml::absolute;
use super::{ErrorSink, LogFile, Process, Ready, Sink};
use crate::program::backoff::Backoff;
use crate::program::state::{AutoRestart, Gate, Policy, Scope};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use trine_config::{ByteSize, Duration, Place, Problems};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawProgram {
    /// What to run: a list, or one text that is split like a shell's words. No shell is involved.
    command: Option<TextOrList<Word>>,
    /// Where to run it; the configuration file's folder if not given.
    directory: Option<String>,
    /// Variables on top of the supervisor's own.
    environment: BTreeMap<String, Word>,
    /// How many processes; with more than one they are called NAME_00, NAME_01 and so on.
    numprocs: Option<u32>,
    /// Whether to start it with the supervisor (default true).
    autostart: Option<bool>,
    /// Whether to start it again when it ends: true, false, or unexpected (default), which means after an exit code that
    /// is not among `exitcodes`, or a signal.
    autorestart: Option<Word>,
    /// Exit codes that are expected (default 0).
    exitcodes: Option<TextOrList<i32>>,
    /// How long it has to live to count as started (default 1s).
    startsecs: Option<Duration>,
    /// How often to try again when it does not (default 3).
    startretries: Option<u32>,
    /// The signal that asks it to stop (default TERM).
    stopsignal: Option<Word>,
    /// How long it then has before it is killed (default 10s).
    stopwaitsecs: Option<Duration>,
    /// Whether `stopsignal` goes to its whole process group (default false).
    stopasgroup: Option<bool>,
    /// Whether SIGKILL goes to its whole process group (default true).
    killasgroup: Option<bool>,
    /// Lower ones start earlier and stop later (default 999).
    priority: Option<i32>,
    /// A file; `-` for the supervisor's own standard output; NONE for nowhere. `{process}` stands for the process's name.
    /// Default logs/{process}.log.
    stdout_logfile: Option<String>,
    /// When to begin a new file (default 50MB; 0 for never).
    stdout_logfile_maxbytes: Option<ByteSize>,
    /// How many old ones to keep (default 10).
    stdout_logfile_backups: Option<u32>,
    /// Like `stdout_logfile`. Default logs/{process}.err.log.
    stderr_logfile: Option<String>,
    stderr_logfile_maxbytes: Option<ByteSize>,
    stderr_logfile_backups: Option<u32>,
    /// Send standard error where standard output goes (default false).
    redirect_stderr: Option<bool>,
    /// Run as USER or USER:GROUP, by name or number. Only root can.
    user: Option<Word>,
    /// Octal, in quotes: "022".
    umask: Option<Word>,
    /// Listening sockets, held by the supervisor and handed down by LISTEN_FDS.
    sockets: BTreeMap<String, TextOrBlock<RawSocket>>,
    /// How it is known to be ready: startsecs (default), notify, {http: URL} or {tcp: HOST:PORT}.
    ready: Option<TextOrBlock<RawReady>>,
    /// How long it may take to get ready (default 60s).
    ready_timeout: Option<Duration>,
}

const MOST_PROCESSES: u32 = 1000;

/// The processes of one program. Problems are noted; with any, the result is not to be used.
pub(super) fn check(
    name: &str,
    raw: RawProgram,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Process> {
    if name.is_empty()
        || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/')
    {
        problems.push(
            at.clone(),
            "not usable as a name",
            "leave out spaces, colons and slashes",
        );
    }
    let count = raw.numprocs.unwrap_or(1);
    if count == 0 || count > MOST_PROCESSES {
        problems.push(
            at.key("numprocs"),
            format!("expected 1 to {MOST_PROCESSES}, found {count}"),
            "",
        );
    }
    let ready = check_ready(raw.ready.as_ref(), &at.key("ready"), folder, problems);
    let policy = check_policy(&raw, &ready, at, problems);
    let (stdout, stderr) = check_logs(&raw, at, folder, problems);
    let template = Process {
        name: name.to_owned(),
        group: name.to_owned(),
        priority: raw.priority.unwrap_or(999),
        autostart: raw.autostart.unwrap_or(true),
        command: check_command(raw.command, &at.key("command"), problems),
        directory: raw
            .directory
            .map_or_else(|| folder.to_owned(), |path| absolute(folder, &path)),
        environment: check_environment(raw.environment, &at.key("environment"), problems),
        user: raw.user.map(|word| word.0),
        umask: raw
            .umask
            .and_then(|word| octal(&word.0, &at.key("umask"), problems)),
        sockets: check_sockets(raw.sockets, &at.key("sockets"), folder, problems),
        stdout,
        stderr,
        ready,
        policy,
    };
    (0..count.min(MOST_PROCESSES))
        .map(|number| template.numbered(number, count))
        .collect()
}

impl Process {
    fn numbered(&self, number: u32, count: u32) -> Self {
        let mut process = self.clone();
        if count > 1 {
            process.name = format!("{}_{number:02}", self.group);
        }
        let name = process.name.clone();
        let fill = |sink: &mut Sink| {
            if let Sink::File(file) = sink
                && let Some(path) = file.path.to_str()
            {
                file.path = path.replace("{process}", &name).into();
            }
        };
        fill(&mut process.stdout);
        if let ErrorSink::Own(sink) = &mut process.stderr {
            fill(sink);
        }
        process
    }
}

fn check_command(
    raw: Option<TextOrList<Word>>,
    at: &Place,
    problems: &mut Problems,
) -> Vec<String> {
    let words = match raw {
        None => {
            problems.missing(
                at.clone(),
                "say what to run, such as [trine-wsgi, \"app:app\"]",
            );
            return Vec::new();
        }
        Some(TextOrList::List(words)) => words.into_iter().map(|word| word.0).collect(),
        Some(TextOrList::Text(line)) => match shell_words::split(&line) {
            Ok(words) => words,
            Err(_) => {
                problems.push(
                    at.clone(),
                    "a quote is not closed",
                    "close it, or write the command as a list",
                );
                return Vec::new();
            }
        },
    };
    if words.first().is_none_or(String::is_empty) {
        problems.push(at.clone(), "is empty", "say what to run");
    }
    words
}

fn check_environment(
    raw: BTreeMap<String, Word>,
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
    raw.into_iter()
        .map(|(name, value)| (name, value.0))
        .collect()
}

fn check_policy(raw: &RawProgram, ready: &Ready, at: &Place, problems: &mut Problems) -> Policy {
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
    let stop_signal = trine_sys::signals::parse(stop).map_or_else(
        || {
            problems.push(
                at.key("stopsignal"),
                format!("{stop:?} is no signal"),
                "name one, such as TERM, INT or QUIT",
            );
            0
        },
        |signal| signal as i32,
    );
    let stop_as_group = raw.stopasgroup.unwrap_or(false);
    let kill_as_group = raw.killasgroup.unwrap_or(true);
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
        backoff: Backoff::default(),
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

fn check_logs(
    raw: &RawProgram,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> (Sink, ErrorSink) {
    let sink = |path: Option<&str>,
                default: &str,
                bytes: Option<ByteSize>,
                backups: Option<u32>| match path {
        Some("NONE" | "none" | "OFF" | "off") => Sink::Discard,
        Some("-" | "/dev/stdout" | "/dev/fd/1") => Sink::Stdout,
        path => Sink::File(LogFile {
            path: absolute(folder, path.unwrap_or(default)),
            max_bytes: bytes.unwrap_or(ByteSize::mib(50)).bytes(),
            backups: backups.unwrap_or(10),
        }),
    };
    let stdout = sink(
        raw.stdout_logfile.as_deref(),
        "logs/{process}.log",
        raw.stdout_logfile_maxbytes,
        raw.stdout_logfile_backups,
    );
    let own = || {
        let (bytes, backups) = (raw.stderr_logfile_maxbytes, raw.stderr_logfile_backups);
        sink(
            raw.stderr_logfile.as_deref(),
            "logs/{process}.err.log",
            bytes,
            backups,
        )
    };
    let joined = raw.redirect_stderr.unwrap_or(false);
    if joined && raw.stderr_logfile.is_some() {
        problems.push(
            at.key("stderr_logfile"),
            "nothing would be written there, as redirect_stderr is true",
            "leave one of the two out",
        );
    }
    (
        stdout,
        if joined {
            ErrorSink::Joined
        } else {
            ErrorSink::Own(own())
        },
    )
}
