//! `[supervisord]`, the HTTP servers, `[rpcinterface:x]` and `[supervisorctl]`.
//! Not here: programs and groups.

use super::keys::Keys;
use super::values::{boolean, count, environment, inet_address, integer, octal, path, size};
use super::{Here, Notes, machine};
use crate::config::raw::RawConfig;
use crate::config::{
    ChildLogs, Client, Credentials, Daemon, HttpServer, Level, Log, LogFormat, LogTarget,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use trine_config::ini::{Ini, Section};

const SUPERVISORD: &[&str] = &[
    "logfile",
    "logfile_maxbytes",
    "logfile_backups",
    "loglevel",
    "pidfile",
    "umask",
    "nodaemon",
    "silent",
    "minfds",
    "minprocs",
    "nocleanup",
    "childlogdir",
    "user",
    "directory",
    "strip_ansi",
    "environment",
    "identifier",
    "profile_options",
];
/// Blocks of the YAML, which are sections of their own here.
const NOT_HERE: &[&str] = &[
    "log",
    "servers",
    "rpcinterfaces",
    "supervisorctl",
    "groups",
    "programs",
];
const FACTORIES: [&str; 2] = [
    "supervisor.rpcinterface:make_main_rpcinterface",
    "supervisor.rpcinterface:make_main_rpcinterface()",
];

/// What `[supervisord]` says.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) log: Log,
    pub(super) pidfile: PathBuf,
    pub(super) identifier: String,
    pub(super) daemon: Daemon,
    pub(super) child_logs: ChildLogs,
    /// The keys that supervisord does not have.
    pub(super) beyond: RawConfig,
}

pub(super) fn supervisord(section: &Section, here: &Here, notes: &mut Notes) -> Own {
    let keys = Keys::new(section, &here.names);
    let beyond = keys.beyond(SUPERVISORD, NOT_HERE, notes);
    let directory = keys.parse(
        "directory",
        |text| machine::folder(&here.own_base, text),
        notes,
    );
    let base = directory.clone().unwrap_or_else(|| here.own_base.clone());
    let file = |key, default: &str, notes: &mut Notes| {
        let text = keys.text(key, notes).unwrap_or_else(|| default.to_owned());
        path(&here.own_base, &text)
    };
    let log = Log {
        format: LogFormat::Supervisord,
        level: keys.parse("loglevel", level, notes).unwrap_or(Level::Info),
        target: match keys.text("logfile", notes).as_deref() {
            Some("syslog") => LogTarget::Syslog,
            Some(text) => LogTarget::File(path(&here.own_base, text)),
            None => LogTarget::File(path(&here.own_base, "supervisord.log")),
        },
        max_bytes: keys
            .parse("logfile_maxbytes", size, notes)
            .map_or(50 << 20, |size| size.bytes()),
        backups: keys.parse("logfile_backups", count, notes).unwrap_or(10),
    };
    let pidfile = file("pidfile", "supervisord.pid", notes);
    let variables = own_environment(&keys, notes);
    let limit = |text: &str| integer(text).map(|number| u64::try_from(number).unwrap_or(0));
    if let Some(entry) = keys.raw("profile_options") {
        let help = "leave it out";
        notes
            .traps
            .push(entry.at.clone(), "there is no Python to profile", help);
    }
    Own {
        log,
        pidfile,
        identifier: keys
            .text("identifier", notes)
            .unwrap_or_else(|| "supervisor".to_owned()),
        daemon: Daemon {
            daemonize: !keys.parse("nodaemon", boolean, notes).unwrap_or(false),
            silent: keys.parse("silent", boolean, notes).unwrap_or(false),
            umask: keys.parse("umask", octal, notes),
            directory,
            user: keys.parse("user", machine::user, notes),
            min_descriptors: keys.parse("minfds", limit, notes).unwrap_or(1024),
            min_processes: keys.parse("minprocs", limit, notes).unwrap_or(200),
            environment: variables.into_iter().collect(),
        },
        child_logs: ChildLogs {
            folder: keys.parse("childlogdir", |text| machine::folder(&base, text), notes),
            keep: keys.parse("nocleanup", boolean, notes).unwrap_or(false),
            strip_ansi: keys.parse("strip_ansi", boolean, notes).unwrap_or(false),
        },
        beyond,
    }
}

fn level(text: &str) -> Result<Level, String> {
    text.to_lowercase().parse()
}

fn own_environment(keys: &Keys<'_>, notes: &mut Notes) -> Vec<(String, String)> {
    // Twice, as supervisord does.
    let Some(entry) = keys.raw("environment") else {
        return Vec::new();
    };
    let once = keys.expand(&entry.value, entry, notes);
    let twice = once.and_then(|once| keys.expand(&once, entry, notes));
    let found = twice.and_then(|text| notes.problems.keep(entry.at.clone(), environment(&text)));
    let found = found.unwrap_or_default();
    if let Some(odd) = found.odd {
        notes
            .traps
            .push(entry.at.clone(), odd, "put the value into double quotes");
    }
    found.pairs
}

pub(super) fn servers(ini: &Ini, here: &Here, notes: &mut Notes) -> Vec<HttpServer> {
    let of = |kind: &'static str| {
        ini.sections()
            .filter(move |section| section.name.starts_with(kind))
    };
    let inet = of("inet_http_server").map(|section| (section, false));
    let unix = of("unix_http_server").map(|section| (section, true));
    inet.chain(unix)
        .filter_map(|(section, is_unix)| server(section, is_unix, here, notes))
        .collect()
}

fn server(section: &Section, is_unix: bool, here: &Here, notes: &mut Notes) -> Option<HttpServer> {
    let keys = Keys::new(section, &here.names);
    let stock: &[&str] = if is_unix {
        &["file", "chmod", "chown", "username", "password"]
    } else {
        &["port", "username", "password"]
    };
    let beyond: ServerBeyond = keys.beyond(stock, &[], notes);
    let (key, help) = if is_unix {
        ("file", "say where, such as /run/supervisor.sock")
    } else {
        ("port", "say where, such as 127.0.0.1:9001")
    };
    if keys.raw(key).is_none() {
        notes.problems.missing(keys.place.key(key), help);
    }
    let address = if is_unix {
        let file = keys.text(key, notes);
        file.map(|file| format!("unix:{}", path(&here.own_base, file.trim()).display()))
    } else {
        keys.parse(key, inet_address, notes)
    };
    let mode = keys.parse("chmod", octal, notes).unwrap_or(0o700);
    let owner = keys.parse("chown", machine::owner, notes);
    let username = keys.text("username", notes);
    let password = keys.text("password", notes);
    let credentials = match (username, password) {
        (Some(username), Some(password)) => Some(Credentials { username, password }),
        (None, None) => None,
        (username, _) => {
            let missing = if username.is_none() {
                "username"
            } else {
                "password"
            };
            let help = "give both username and password, or neither";
            notes.problems.missing(keys.place.key(missing), help);
            None
        }
    };
    Some(HttpServer {
        name: section.name.clone(),
        address: address?,
        mode,
        owner,
        credentials,
        get_actions: beyond.get_actions.unwrap_or(false),
    })
}

/// The keys of a server that supervisord has not.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerBeyond {
    get_actions: Option<bool>,
}

/// The namespaces there are. Only supervisord's own can be had.
pub(super) fn rpc_namespaces(ini: &Ini, here: &Here, notes: &mut Notes) -> Vec<String> {
    let mut names = Vec::new();
    for section in ini.sections() {
        let Some(name) = section.name.strip_prefix("rpcinterface:") else {
            continue;
        };
        let keys = Keys::new(section, &here.names);
        let place = keys.place.key("supervisor.rpcinterface_factory");
        match keys.text("supervisor.rpcinterface_factory", notes) {
            None => {
                let help = format!("write supervisor.rpcinterface_factory = {}", FACTORIES[0]);
                notes.problems.missing(place, help);
            }
            Some(factory) if FACTORIES.contains(&factory.as_str()) => names.push(name.to_owned()),
            Some(factory) => notes.problems.push(
                place,
                format!("{factory} is Python code, which cannot be loaded here"),
                "leave the section out; what it did may be there by itself, see the guide",
            ),
        }
    }
    names
}

pub(super) fn client(section: Option<&Section>, here: &Here, notes: &mut Notes) -> Client {
    let mut client = Client {
        server_url: "http://localhost:9001".to_owned(),
        username: None,
        password: None,
        prompt: "supervisor".to_owned(),
        history_file: None,
    };
    let Some(section) = section else {
        return client;
    };
    let keys = Keys::new(section, &here.names);
    let stock = [
        "serverurl",
        "username",
        "password",
        "prompt",
        "history_file",
    ];
    let _: super::Nothing = keys.beyond(&stock, &[], notes);
    if let Some(url) = keys.text("serverurl", notes) {
        client.server_url = match url.strip_prefix("unix://") {
            Some(file) => format!("unix://{}", path(&here.own_base, file).display()),
            None => url,
        };
    }
    client.username = keys.text("username", notes);
    client.password = keys.text("password", notes);
    if let Some(prompt) = keys.text("prompt", notes) {
        client.prompt = prompt;
    }
    let history = keys
        .text("history_file", notes)
        .filter(|text| !text.is_empty());
    client.history_file = history.map(|text| path(&here.own_base, &text));
    client
}

/// Where relative paths of the file count from.
pub(super) fn current_folder() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned())
}
