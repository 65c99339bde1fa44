//! supervisord.conf: the same sections, keys, expansions and includes, into the same model as the YAML. What supervisord
//! refuses is a problem; what it takes in silence although hardly anybody means it so is a trap, and told.
//! Not here: the INI dialect itself (`trine_config::ini`), what programs of either format become (`config::program`).

mod daemon;
mod groups;
mod keys;
mod machine;
mod program;
mod tokens;
mod values;
mod words;

use super::daemon::{check_habits, check_hangup};
use super::values::Word;
use super::{Config, Loaded, Overrides};
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trine_config::ini::Ini;
use trine_config::percent::{Names, Value, expand};
use trine_config::{Place, Problems};

/// What is told about a file.
#[derive(Debug, Default)]
struct Notes {
    problems: Problems,
    traps: Problems,
    /// Files that were included.
    infos: Vec<String>,
    /// See [`Loaded`].
    beyond: BTreeMap<String, String>,
    sections: BTreeMap<String, (String, u32)>,
}

/// What every section may use.
#[derive(Debug)]
struct Here {
    names: Names,
    /// What relative paths of the supervisor's own files count from.
    own_base: PathBuf,
    /// What those of programs count from.
    base: PathBuf,
    /// How many processes programs were scaled to at run time.
    numprocs: BTreeMap<String, u32>,
}

/// A section without keys other than supervisord's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Reads and checks a file with all it includes.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Loaded, Error> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    if file.to_str().is_none() {
        return Err(Error::Path { path: file });
    }
    let mut notes = Notes::default();
    let mut ini = Ini::default();
    read_file(&file, &mut ini, &mut notes);
    let mut here = Here::new();
    here.numprocs.clone_from(&overrides.numprocs);
    include(&file, &mut ini, &here, &mut notes);
    let config = check(&ini, &file, &mut here, overrides, &mut notes);
    notes.problems.dedup();
    notes.traps.dedup();
    let config = notes.problems.finish(config).map_err(Error::Config)?;
    Ok(Loaded {
        config,
        traps: notes.traps,
        infos: notes.infos,
        beyond: notes.beyond,
        sections: notes.sections,
    })
}

impl Here {
    fn new() -> Self {
        let mut names: Names = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .map(|(name, value)| (format!("ENV_{name}"), Value::Text(value)))
            .collect();
        let node = nix::sys::utsname::uname().ok();
        let node = node.and_then(|uname| uname.nodename().to_str().map(str::to_owned));
        names.insert(
            "host_node_name".to_owned(),
            Value::Text(node.unwrap_or_default()),
        );
        let folder = daemon::current_folder();
        Self {
            names,
            numprocs: BTreeMap::new(),
            own_base: folder.clone(),
            base: folder,
        }
    }
}

fn read_file(file: &Path, ini: &mut Ini, notes: &mut Notes) {
    let told = |message: String, help: &str, notes: &mut Notes| {
        notes.problems.push(Place::file_only(file), message, help);
    };
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => ini.read(&text, file, &mut notes.problems, &mut notes.traps),
        Ok(Err(_)) => told(
            "is not UTF-8 text".to_owned(),
            "save the file as UTF-8",
            notes,
        ),
        Err(err) => told(format!("cannot be read: {err}"), "", notes),
    }
}

fn include(file: &Path, ini: &mut Ini, here: &Here, notes: &mut Notes) {
    let Some(section) = ini.section("include") else {
        return;
    };
    let Some(entry) = section.get("files").cloned() else {
        let place = section.place().key("files");
        notes
            .problems
            .missing(place, "name the files, such as conf.d/*.conf");
        return;
    };
    let folder = file.parent().unwrap_or(Path::new("/"));
    let own = Value::Text(folder.display().to_string());
    let own = Names::from([("here".to_owned(), own)]);
    let Some(patterns) = notes
        .problems
        .keep(entry.at.clone(), expand(&entry.value, &[&own, &here.names]))
    else {
        return;
    };
    for pattern in patterns.split_whitespace() {
        let full = folder.join(pattern);
        let found = notes.problems.keep(entry.at.clone(), matching(&full));
        let Some(mut found) = found else { continue };
        found.sort();
        if found.is_empty() {
            let message = format!("no file matches {}", full.display());
            notes.traps.push(entry.at.clone(), message, "");
        }
        for file in found {
            notes.infos.push(format!(
                "Included extra file \"{}\" during parsing",
                file.display()
            ));
            read_file(&file, ini, notes);
        }
    }
}

/// The files of a pattern as Python finds them: `*` and `?` stop at slashes and leave hidden files out.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let text = pattern.to_str().unwrap_or_default();
    let found = glob::glob_with(text, options).map_err(|err| format!("{text:?}: {err}"))?;
    let found: Result<Vec<PathBuf>, _> = found.collect();
    found.map_err(|err| err.to_string())
}

fn check(
    ini: &Ini,
    file: &Path,
    here: &mut Here,
    overrides: &Overrides,
    notes: &mut Notes,
) -> Option<Config> {
    let Some(section) = ini.section("supervisord") else {
        let place = Place::file_only(file);
        notes.problems.push(
            place,
            "has no [supervisord] section",
            "add one; it may be empty",
        );
        return None;
    };
    unknown_sections(ini, notes);
    let own = daemon::supervisord(section, here, notes);
    // From here on everybody may use its variables, and its folder is the programs'.
    for (name, value) in &own.daemon.environment {
        let value = Value::Text(value.clone());
        here.names.insert(format!("ENV_{name}"), value);
    }
    if let Some(folder) = overrides
        .directory
        .as_ref()
        .or(own.daemon.directory.as_ref())
    {
        here.base.clone_from(folder);
    }
    let (groups, processes) = groups::read(ini, here, notes);
    let place = section.place();
    let hangup = own
        .beyond
        .hangup
        .clone()
        .unwrap_or_else(|| Word("restart".to_owned()));
    let habits = own.beyond.habits.clone();
    let habits = habits.unwrap_or_else(|| Word("supervisord".to_owned()));
    let control = own.beyond.control.as_ref();
    Some(Config {
        file: file.to_owned(),
        control: control.map(|text| values::path(&here.own_base, text)),
        pidfile: Some(own.pidfile),
        log: own.log,
        identifier: own.identifier,
        daemon: own.daemon,
        child_logs: own.child_logs,
        hangup: check_hangup(Some(&hangup), &place.key("hangup"), &mut notes.problems),
        habits: check_habits(Some(&habits), &place.key("habits"), &mut notes.problems),
        servers: daemon::servers(ini, here, notes),
        rpc_namespaces: daemon::rpc_namespaces(ini, here, notes),
        client: daemon::client(ini.section("supervisorctl"), here, notes),
        groups,
        processes: processes.into_iter().map(Arc::new).collect(),
    })
}

/// Sections that nobody reads.
fn unknown_sections(ini: &Ini, notes: &mut Notes) {
    let whole = ["supervisord", "supervisorctl", "include"];
    let with_name = [
        "program",
        "eventlistener",
        "fcgi-program",
        "group",
        "rpcinterface",
        "ctlplugin",
    ];
    let servers = ["unix_http_server", "inet_http_server"];
    for section in ini.sections() {
        let name = section.name.as_str();
        let kind = name.split_once(':').map(|(kind, _)| kind);
        let known = whole.contains(&name)
            || kind.is_some_and(|kind| with_name.contains(&kind))
            || servers.iter().any(|server| name.starts_with(server));
        if !known {
            let all = whole.into_iter().chain(with_name).chain(servers);
            let help = trine_config::suggest::nearest(kind.unwrap_or(name), all).map_or_else(
                || "supervisord ignores it, and so do we".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            notes.traps.push(section.place(), "unknown section", help);
        } else if kind == Some("ctlplugin") {
            let message = "Python plug-ins of supervisorctl cannot be loaded here";
            notes
                .traps
                .push(section.place(), message, "leave the section out");
        }
    }
}

#[cfg(test)]
mod tests;
