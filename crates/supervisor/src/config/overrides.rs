//! What the command line says instead of the file. It counts again with every reload.
//! Not here: the command line itself (`cli`).

use super::{Config, Level, LogFormat, LogTarget};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `None` and `false`: as the file says. Paths are absolute.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub control: Option<PathBuf>,
    pub json: Option<bool>,
    pub level: Option<Level>,
    pub nodaemon: bool,
    pub silent: bool,
    pub user: Option<String>,
    pub umask: Option<u32>,
    pub directory: Option<PathBuf>,
    /// A path, or `syslog`.
    pub log_file: Option<String>,
    pub log_max_bytes: Option<u64>,
    pub log_backups: Option<u32>,
    pub pidfile: Option<PathBuf>,
    pub identifier: Option<String>,
    pub child_log_folder: Option<PathBuf>,
    pub keep_child_logs: bool,
    pub min_descriptors: Option<u64>,
    pub min_processes: Option<u64>,
    pub strip_ansi: bool,
    /// How many processes programs were scaled to at run time.
    pub numprocs: BTreeMap<String, u32>,
}

impl Overrides {
    pub(super) fn apply(&self, config: &mut Config) {
        let daemon = &mut config.daemon;
        daemon.daemonize &= !self.nodaemon;
        daemon.silent |= self.silent;
        replace_some(&mut daemon.user, &self.user);
        replace_some(&mut daemon.umask, &self.umask);
        replace_some(&mut daemon.directory, &self.directory);
        replace(&mut daemon.min_descriptors, &self.min_descriptors);
        replace(&mut daemon.min_processes, &self.min_processes);
        replace_some(&mut config.control, &self.control);
        replace_some(&mut config.pidfile, &self.pidfile);
        replace(&mut config.identifier, &self.identifier);
        let logs = &mut config.child_logs;
        replace_some(&mut logs.folder, &self.child_log_folder);
        logs.keep |= self.keep_child_logs;
        logs.strip_ansi |= self.strip_ansi;
        let log = &mut config.log;
        replace(&mut log.level, &self.level);
        replace(&mut log.max_bytes, &self.log_max_bytes);
        replace(&mut log.backups, &self.log_backups);
        if let Some(json) = self.json {
            log.format = if json {
                LogFormat::Json
            } else {
                LogFormat::Text
            };
        }
        match self.log_file.as_deref() {
            None => {}
            Some("syslog") => log.target = LogTarget::Syslog,
            Some(path) => log.target = LogTarget::File(Path::new(path).to_owned()),
        }
    }
}

fn replace<T: Clone>(place: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        place.clone_from(given);
    }
}

fn replace_some<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        place.clone_from(given);
    }
}
