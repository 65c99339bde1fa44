//! The configuration: read, checked, and complete.
//!
//! `model` is what can run, `yaml` reads our own language into it (the reader of `nginx.conf` will stand beside it).
//! Not here: putting a configuration into effect.

mod model;
mod values;
mod yaml;

use std::path::{Path, PathBuf};

pub use model::{
    AccessLog, Action, Config, Files, HostPattern, Listen, Location, Log, LogFormat, Network,
    PathMatch, PeerAddr, Server, Timeouts, Trusted, Upstream,
};
use trine_config::Problems;

/// Reads and checks a file, with all that is wrong in it.
///
/// # Errors
/// All problems, each with its place.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let mut problems = Problems::new();
    let path = absolute(path);
    let config = yaml::load(&path, &mut problems);
    problems.finish(config)
}

/// Relative paths in the file start at its folder, wherever the daemon was started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The configuration in `text`, which has to be good.
    #[track_caller]
    pub(crate) fn config(text: &str) -> Config {
        let mut problems = Problems::new();
        let config = yaml::parse(text, Path::new("/etc/proxy.yaml"), &mut problems, false);
        problems
            .finish(config)
            .unwrap_or_else(|problems| panic!("{problems}"))
    }
}

#[cfg(test)]
mod tests;
