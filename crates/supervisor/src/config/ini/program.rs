//! `[program:x]`, `[eventlistener:x]` and `[fcgi-program:x]`: from what was typed to one raw program for each process.
//! Not here: checking those (`config::program`), groups (`groups`).

use super::keys::Keys;
use super::values::{boolean, count, environment, exit_codes, integer, octal, path, size};
use super::{Here, Notes};
use crate::config::groups::{Program, check_name};
use crate::config::program::{Defaults, check_listener, check_process};
use crate::config::raw::{RawProgram, RawSocket};
use crate::config::values::{TextOrBlock, TextOrList, Word};
use std::collections::BTreeMap;
use trine_config::ini::Section;
use trine_config::percent::Value;
use trine_config::{ByteSize, Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    EventListener,
    FastCgi,
}

impl Kind {
    pub(super) const ALL: [(Self, &'static str); 3] = [
        (Self::Program, "program:"),
        (Self::EventListener, "eventlistener:"),
        (Self::FastCgi, "fcgi-program:"),
    ];

    fn keys(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::Program => &[],
            Self::EventListener => &["events", "buffer_size", "result_handler"],
            Self::FastCgi => &["socket", "socket_owner", "socket_mode", "socket_backlog"],
        };
        [PROGRAM_KEYS, own].concat()
    }
}

/// supervisord's own.
const PROGRAM_KEYS: &[&str] = &[
    "command",
    "process_name",
    "numprocs",
    "numprocs_start",
    "priority",
    "autostart",
    "startsecs",
    "startretries",
    "autorestart",
    "exitcodes",
    "stopsignal",
    "stopwaitsecs",
    "stopasgroup",
    "killasgroup",
    "user",
    "redirect_stderr",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_syslog",
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_syslog",
    "environment",
    "directory",
    "umask",
    "serverurl",
];
/// YAML's names for what supervisord has other keys for.
const NOT_HERE: &[&str] = &["stdin_socket", "events", "buffer_size"];
/// What supervisord takes for as many processes as it is told to start; more than this is a slip of the finger.
const MOST_PROCESSES: u32 = 10_000;
const BACKLOG: u32 = 4096;
const HANDLER: &str = "supervisor.dispatchers:default_handler";

/// One section in one group.
pub(super) fn read(
    section: &Section,
    kind: Kind,
    name: &str,
    group: &str,
    from: &Here,
    notes: &mut Notes,
) -> Program {
    let mut keys = Keys::new(section, &from.names);
    let text = |text: &str| Value::Text(text.to_owned());
    keys.names.insert("program_name".to_owned(), text(name));
    keys.names.insert("group_name".to_owned(), text(group));
    let mut raw: RawProgram = keys.beyond(&kind.keys(), NOT_HERE, notes);
    plain_keys(&keys, &mut raw, notes);
    match kind {
        Kind::Program => {}
        Kind::EventListener => listener_keys(&keys, &mut raw, notes),
        Kind::FastCgi => {
            raw.stdin_socket = socket(&keys, &raw, from, notes).map(TextOrBlock::Block)
        }
    }
    let scaled = from.numprocs.get(name).copied();
    let numprocs = keys.parse("numprocs", count, notes).unwrap_or(1);
    let numprocs = scaled.unwrap_or(numprocs);
    let start = keys.parse("numprocs_start", count, notes).unwrap_or(0);
    if numprocs > MOST_PROCESSES {
        let message =
            format!("{numprocs} processes are more than the {MOST_PROCESSES} there can be");
        notes.problems.push(keys.place.key("numprocs"), message, "");
    }
    let mut processes = Vec::new();
    for number in start..start.saturating_add(numprocs.min(MOST_PROCESSES)) {
        let value = |number: u32| Value::Number(number.into());
        keys.names.insert("process_num".to_owned(), value(number));
        keys.names.insert("numprocs".to_owned(), value(numprocs));
        let mut raw = raw.clone();
        let name = numbered_keys(&mut keys, &mut raw, numprocs, notes);
        let defaults = Defaults {
            base: from.base.clone(),
            stock: true,
        };
        let name = name.unwrap_or_default();
        let mut process = check_process(&name, &raw, &keys.place, &defaults, &mut notes.problems);
        process.command = super::words::split(&process.command_line).unwrap_or_default();
        processes.push(process);
    }
    Program {
        listener: check_listener(&raw, &keys.place, &mut notes.problems),
        priority: raw.priority,
        first: start,
        processes,
    }
}

/// Those that are the same for all processes of the section.
fn plain_keys(keys: &Keys<'_>, raw: &mut RawProgram, notes: &mut Notes) {
    let seconds = |text: &str| count(text).map(|secs| Duration::from_secs(secs.into()));
    raw.priority = keys.parse("priority", small, notes);
    raw.autostart = keys.parse("autostart", boolean, notes);
    raw.autorestart = keys.parse("autorestart", autorestart, notes).map(Word);
    raw.startsecs = keys.parse("startsecs", seconds, notes);
    raw.startretries = keys.parse("startretries", count, notes);
    raw.stopsignal = keys.text("stopsignal", notes).map(Word);
    raw.stopwaitsecs = keys.parse("stopwaitsecs", seconds, notes);
    raw.stopasgroup = keys.parse("stopasgroup", boolean, notes);
    raw.killasgroup = keys.parse("killasgroup", boolean, notes);
    raw.exitcodes = keys
        .parse("exitcodes", exit_codes, notes)
        .map(TextOrList::List);
    raw.redirect_stderr = keys.parse("redirect_stderr", boolean, notes);
    raw.stdout_capture_maxbytes = keys.parse("stdout_capture_maxbytes", size, notes);
    raw.stderr_capture_maxbytes = keys.parse("stderr_capture_maxbytes", size, notes);
    raw.stdout_events_enabled = keys.parse("stdout_events_enabled", boolean, notes);
    raw.stderr_events_enabled = keys.parse("stderr_events_enabled", boolean, notes);
    raw.user = keys.parse("user", super::machine::user, notes).map(Word);
    let umask = keys.parse("umask", octal, notes);
    raw.umask = umask.map(|bits| Word(format!("0{bits:o}")));
    let url = keys.text("serverurl", notes);
    raw.serverurl =
        url.filter(|url| !url.trim().is_empty() && !url.trim().eq_ignore_ascii_case("auto"));
}

/// Those that may say something else for each process; gives its name.
fn numbered_keys(
    keys: &mut Keys<'_>,
    raw: &mut RawProgram,
    numprocs: u32,
    notes: &mut Notes,
) -> Option<String> {
    let own = variables(keys, notes);
    for (name, value) in &own {
        let value = Value::Text(value.0.clone());
        keys.names.insert(format!("ENV_{name}"), value);
    }
    raw.environment = own;
    raw.directory = keys
        .text("directory", notes)
        .map(|text| super::values::home(&text));
    raw.command = keys.text("command", notes).map(TextOrList::Text);
    if let Some(TextOrList::Text(line)) = &raw.command
        && let Err(why) = super::words::split(line)
    {
        // supervisord finds out when it starts the program, and runs the others; so do we.
        let help = "a comment begins at a blank and ; or #, even between quotes";
        notes.traps.push(keys.place.key("command"), why, help);
    }
    let out = log_keys(keys, STDOUT, notes);
    raw.stdout_logfile = out.file;
    raw.stdout_syslog = out.syslog;
    raw.stdout_logfile_maxbytes = out.max_bytes;
    raw.stdout_logfile_backups = out.backups;
    let err = log_keys(keys, STDERR, notes);
    raw.stderr_logfile = err.file;
    raw.stderr_syslog = err.syslog;
    raw.stderr_logfile_maxbytes = err.max_bytes;
    raw.stderr_logfile_backups = err.backups;
    let is_file = |text: &String| !["none", "off", "auto"].contains(&text.to_lowercase().as_str());
    if raw.redirect_stderr == Some(true) && raw.stderr_logfile.as_ref().is_some_and(is_file) {
        notes.traps.push(
            keys.place.key("stderr_logfile"),
            "nothing is written there, as redirect_stderr is true",
            "leave one of the two out",
        );
    }
    process_name(keys, numprocs, notes)
}

/// The keys of one channel: file, maxbytes, backups, syslog.
type Channel = [&'static str; 4];
const STDOUT: Channel = [
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_syslog",
];
const STDERR: Channel = [
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stderr_syslog",
];

struct LogKeys {
    file: Option<String>,
    max_bytes: Option<ByteSize>,
    backups: Option<u32>,
    syslog: Option<bool>,
}

fn log_keys(
    keys: &Keys<'_>,
    [file, max_bytes, backups, syslog]: Channel,
    notes: &mut Notes,
) -> LogKeys {
    let mut found = LogKeys {
        // Twice: supervisord expands these two again, so a percent sign is written %%%%.
        file: keys.text(file, notes).and_then(|once| {
            let entry = keys.raw(file)?;
            keys.expand(&once, entry, notes)
        }),
        max_bytes: keys.parse(max_bytes, size, notes),
        backups: keys.parse(backups, count, notes),
        syslog: keys.parse(syslog, boolean, notes),
    };
    match found.file.as_deref().map(str::to_lowercase).as_deref() {
        Some("syslog") => {
            notes.traps.push(
                keys.place.key(file),
                format!("syslog as a file is an old way to say {syslog} = true"),
                format!("write {file} = NONE and {syslog} = true"),
            );
            found.file = Some("NONE".to_owned());
            found.syslog = Some(true);
        }
        None | Some("auto") if found.max_bytes.is_some_and(|size| size.bytes() == 0) => {
            notes.traps.push(
                keys.place.key(max_bytes),
                "an AUTO log that is never begun anew may fill the disk",
                "give a size, or name the file",
            );
        }
        _ => {}
    }
    found.file = found.file.map(|text| super::values::home(&text));
    found
}

fn process_name(keys: &Keys<'_>, numprocs: u32, notes: &mut Notes) -> Option<String> {
    let place = keys.place.key("process_name");
    let typed = keys.raw("process_name");
    if numprocs > 1 && !typed.is_some_and(|entry| entry.value.contains("%(process_num)")) {
        notes.problems.push(
            place,
            "with more than one process the name has to say which",
            "write process_name = %(program_name)s_%(process_num)02d",
        );
        return None;
    }
    let name = match typed {
        Some(_) => keys.text("process_name", notes)?,
        None => match keys.names.get("program_name") {
            Some(Value::Text(name)) => name.clone(),
            _ => String::new(),
        },
    };
    let name = name.trim().to_owned();
    check_name(&name, &place, &mut notes.problems);
    Some(name)
}

fn variables(keys: &Keys<'_>, notes: &mut Notes) -> BTreeMap<String, Word> {
    let Some(found) = keys.parse("environment", environment, notes) else {
        return BTreeMap::new();
    };
    if let Some(odd) = found.odd {
        let help = "put the value into double quotes";
        notes.traps.push(keys.place.key("environment"), odd, help);
    }
    let pairs = found.pairs.into_iter();
    pairs.map(|(name, value)| (name, Word(value))).collect()
}

fn listener_keys(keys: &Keys<'_>, raw: &mut RawProgram, notes: &mut Notes) {
    raw.events = Some(TextOrList::Text(
        keys.text("events", notes).unwrap_or_default(),
    ));
    raw.buffer_size = keys.parse("buffer_size", count, notes);
    let handler = keys.text("result_handler", notes);
    if handler.is_some_and(|handler| handler != HANDLER) {
        notes.problems.push(
            keys.place.key("result_handler"),
            "Python code cannot be loaded here",
            "leave it out: RESULT 2 and OK mean that an event was dealt with",
        );
    }
}

fn socket(keys: &Keys<'_>, raw: &RawProgram, from: &Here, notes: &mut Notes) -> Option<RawSocket> {
    let place = keys.place.key("socket");
    let Some(typed) = keys.text("socket", notes).filter(|text| !text.is_empty()) else {
        notes
            .problems
            .missing(place, "say where, such as unix:///run/app.sock");
        return None;
    };
    let mode = keys.parse("socket_mode", octal, notes);
    let owner = keys.parse("socket_owner", super::machine::owner, notes);
    let backlog = keys.parse(
        "socket_backlog",
        |text| match integer(text)? {
            number @ 1..=65535 => Ok(number.unsigned_abs()),
            other => Err(format!("expected 1 to 65535, found {other}")),
        },
        notes,
    );
    let unix = typed.strip_prefix("unix://");
    if unix.is_none() && (mode.is_some() || owner.is_some()) {
        notes.problems.push(
            place.clone(),
            "socket_mode and socket_owner are for Unix sockets",
            "leave them out",
        );
    }
    let listen = match (unix, typed.strip_prefix("tcp://")) {
        (Some(file), _) if file.starts_with('/') => {
            Ok(format!("unix:{}", path(&from.own_base, file).display()))
        }
        (Some(file), _) => Err(format!("{file:?} is not an absolute path")),
        (None, Some(address)) => super::machine::resolve(address),
        (None, None) => Err(format!(
            "expected unix:///PATH or tcp://HOST:PORT, found {typed:?}"
        )),
    };
    let listen = notes.problems.keep(place, listen)?;
    Some(RawSocket {
        listen: Some(Word(listen)),
        mode: Some(Word(format!("0{:o}", mode.unwrap_or(0o700)))),
        owner: owner
            .map(Word)
            .or_else(|| raw.user.clone().filter(|_| unix.is_some())),
        backlog: Some(backlog.map_or(BACKLOG, |number| number as u32)),
    })
}

fn autorestart(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("unexpected") {
        return Ok("unexpected".to_owned());
    }
    boolean(text)
        .map(|always| always.to_string())
        .map_err(|_| format!("expected true, false or unexpected, found {text:?}"))
}

pub(super) fn small(text: &str) -> Result<i32, String> {
    i32::try_from(integer(text)?).map_err(|_| format!("{text} is out of range"))
}
