//! Where the logs are that the HTTP servers follow. Not here: reading them.

use super::{info, logs, names};
use crate::brain::logs::tap::Tap;
use crate::brain::supervisor::Supervisor;
use crate::holder::wire::Channel;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tap that writes it, if its process has run, and its file, if it has one. `None`: there is no such process.
pub fn of_process(
    s: &Supervisor,
    name: &str,
    channel: Channel,
) -> Option<(Option<Arc<Tap>>, Option<PathBuf>)> {
    let process = names::process(s, name).ok()?;
    let path = info::log_path(process, channel).map(Path::to_owned);
    let is_file = path.as_ref().is_some_and(|path| !path.starts_with("/dev"));
    let tap = process.taps.get(&channel).cloned().filter(|_| is_file);
    Some((tap, path.filter(|_| is_file)))
}

pub fn main_log(s: &Supervisor) -> Option<PathBuf> {
    logs::main_log(s)
}
