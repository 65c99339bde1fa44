//! The supervisor's YAML: what was typed becomes what can run, or every problem is told at once.
//! Not here: YAML itself (`trine_config::yaml`), the shapes of single programs (`program`).

use super::daemon::{check_client, check_habits, check_hangup, check_log, check_servers};
use super::endpoints::octal;
use super::groups::{form, same_logs, same_names};
use super::program::{self, Defaults, check_environment};
use super::raw::RawConfig;
use super::{ChildLogs, Config, Daemon, Habits, extras};
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trine_config::{Place, Problems, yaml};

/// `numprocs`: how many processes programs were scaled to. Reads and checks a file. Paths in it count from its folder.
pub fn load(file: &Path, numprocs: &BTreeMap<String, u32>) -> Result<Config, Error> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    if file.to_str().is_none() {
        return Err(Error::Path { path: file });
    }
    let mut problems = Problems::new();
    let document = yaml::load::<RawConfig>(&file, &mut problems);
    let config = document.map(|document| {
        let root = document.root().clone();
        check(document.raw, &root, &file, numprocs, &mut problems)
    });
    problems.finish(config).map_err(Error::Config)
}

fn check(
    mut raw: RawConfig,
    root: &Place,
    file: &Path,
    numprocs: &BTreeMap<String, u32>,
    problems: &mut Problems,
) -> Config {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let defaults = Defaults {
        base: folder.to_owned(),
        stock: false,
    };
    let at = root.key("programs");
    let mut programs = BTreeMap::new();
    for (name, raw) in std::mem::take(&mut raw.programs) {
        let mut raw = raw;
        if let Some(count) = numprocs.get(&name) {
            raw.numprocs = Some(*count);
        }
        let program = program::check(&name, &raw, &at.key(&name), &defaults, problems);
        programs.insert(name, program);
    }
    let place_of = |name: &str| Some(at.key(name));
    let habits = check_habits(raw.habits.as_ref(), &root.key("habits"), problems);
    if habits == Habits::Own {
        same_logs(&programs, &place_of, problems);
    }
    let groups = std::mem::take(&mut raw.groups);
    let (groups, processes) = form(&programs, groups, &root.key("groups"), problems);
    same_names(&processes, &place_of, problems);
    extras::check_together(&processes, &place_of, problems);
    let resolve = |path: String| absolute(folder, &path);
    Config {
        file: file.to_owned(),
        daemon: check_daemon(&raw, root, folder, problems),
        child_logs: ChildLogs {
            folder: raw.childlogdir.map(resolve),
            keep: raw.nocleanup.unwrap_or(false),
            strip_ansi: raw.strip_ansi.unwrap_or(false),
        },
        control: raw.control.map(resolve),
        pidfile: raw.pidfile.map(resolve),
        log: check_log(raw.log, &root.key("log"), folder, problems),
        identifier: raw.identifier.unwrap_or_else(|| "supervisor".to_owned()),
        habits,
        hangup: check_hangup(raw.hangup.as_ref(), &root.key("hangup"), problems),
        servers: check_servers(raw.servers, &root.key("servers"), folder, problems),
        rpc_namespaces: raw
            .rpcinterfaces
            .unwrap_or_else(|| vec!["supervisor".to_owned()]),
        client: check_client(raw.supervisorctl, folder),
        groups,
        processes: processes.into_iter().map(Arc::new).collect(),
    }
}

fn check_daemon(raw: &RawConfig, root: &Place, folder: &Path, problems: &mut Problems) -> Daemon {
    let umask = raw.umask.as_ref();
    Daemon {
        daemonize: !raw.nodaemon.unwrap_or(true),
        silent: raw.silent.unwrap_or(false),
        umask: umask.and_then(|word| octal(&word.0, &root.key("umask"), problems)),
        directory: raw.directory.as_ref().map(|path| absolute(folder, path)),
        user: raw.user.as_ref().map(|word| word.0.clone()),
        min_descriptors: raw.minfds.unwrap_or(0),
        min_processes: raw.minprocs.unwrap_or(0),
        environment: check_environment(&raw.environment, &root.key("environment"), problems),
    }
}

/// `path` counted from `folder`, without `.` and doubled slashes. `..` stays: it may go through a link.
pub(super) fn absolute(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().collect()
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
