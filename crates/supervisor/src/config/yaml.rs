//! The supervisor's YAML: what was typed becomes what can run, or every problem is told at once.
//! Not here: YAML itself (`trine_config::yaml`), the shapes of single programs (`program`).

use super::program::{self, RawProgram};
use super::{Config, Log, Overrides};
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trine_config::{Place, Problems, yaml};
use trine_service::logging;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    /// The Unix socket of the control API, mode 0600.
    control: Option<String>,
    /// A file that holds the supervisor's process id while it runs.
    pidfile: Option<String>,
    /// The supervisor's own log.
    log: RawLog,
    /// What to keep running, by name.
    programs: BTreeMap<String, RawProgram>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    /// `text` (default) or `json`.
    format: Option<String>,
    /// `error`, `warn`, `info` (default), `debug` or `trace`.
    level: Option<String>,
    /// Standard error if not given.
    file: Option<String>,
}

/// Reads and checks a file. Paths in it count from its folder.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Config, Error> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    if file.to_str().is_none() {
        return Err(Error::Path { path: file });
    }
    let mut problems = Problems::new();
    let document = yaml::load::<RawConfig>(&file, &mut problems);
    let config = document.and_then(|document| {
        let root = document.root().clone();
        check(document.raw, &root, &file, overrides, &mut problems)
    });
    problems.finish(config).map_err(Error::Config)
}

fn check(
    raw: RawConfig,
    root: &Place,
    file: &Path,
    overrides: &Overrides,
    problems: &mut Problems,
) -> Option<Config> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let at = root.key("programs");
    let mut processes = Vec::new();
    for (name, raw) in raw.programs {
        processes.extend(program::check(&name, raw, &at.key(&name), folder, problems));
    }
    same_names(&processes, &at, problems);
    same_logs(&processes, &at, problems);
    let resolve = |path: String| absolute(folder, &path);
    Some(Config {
        file: file.to_owned(),
        control: match &overrides.control {
            // A path on the command line counts from where the command was given.
            Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            None => raw.control.map(resolve),
        },
        pidfile: raw.pidfile.map(resolve),
        log: check_log(raw.log, &root.key("log"), folder, overrides, problems)?,
        processes,
    })
}

/// `path` counted from `folder`, without `.` and doubled slashes. `..` stays: it may go through a link.
pub(super) fn absolute(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().collect()
}

fn check_log(
    raw: RawLog,
    at: &Place,
    folder: &Path,
    overrides: &Overrides,
    problems: &mut Problems,
) -> Option<Log> {
    let json = match raw.format.as_deref() {
        None | Some("text") => Some(false),
        Some("json") => Some(true),
        Some(other) => {
            problems.push(
                at.key("format"),
                format!("{other:?} is not known here"),
                "there are text and json",
            );
            None
        }
    };
    let level = raw.level.unwrap_or_else(|| "info".to_owned());
    let known = problems.keep(at.key("level"), logging::parse_level(&level));
    let file = raw.file.map(|path| absolute(folder, &path));
    known?;
    Some(Log {
        json: overrides.json.unwrap_or(json?),
        level: overrides.level.clone().unwrap_or(level),
        file,
    })
}

fn same_names(processes: &[super::Process], at: &Place, problems: &mut Problems) {
    let mut seen: BTreeMap<&str, &super::Process> = BTreeMap::new();
    for process in processes {
        if let Some(other) = seen
            .insert(&process.name, process)
            .filter(|other| other.group != process.group)
        {
            problems.push(
                at.key(&process.group),
                format!(
                    "two processes would be called {}, one of {} and one of {}",
                    process.name, other.group, process.group
                ),
                "rename one of the programs",
            );
        }
    }
}

/// Processes of one program may share a file; two programs would mix what nobody can tell apart again.
fn same_logs(processes: &[super::Process], at: &Place, problems: &mut Problems) {
    let mut seen: BTreeMap<&Path, (&super::Process, &str)> = BTreeMap::new();
    for process in processes {
        for (channel, file) in process.log_files() {
            match seen.get(file.path.as_path()) {
                Some((other, _)) if other.group == process.group => {}
                Some((other, theirs)) => problems.push(
                    at.key(&process.group).key(&format!("{channel}_logfile")),
                    format!(
                        "{}'s {channel} and {}'s {theirs} would write the same file {}",
                        process.group,
                        other.group,
                        file.path.display()
                    ),
                    "give each its own file; {process} in the name stands for the process's name",
                ),
                None => drop(seen.insert(&file.path, (process, channel))),
            }
        }
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
