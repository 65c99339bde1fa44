//! Who a worker is: its user, its groups, its environment.
//!
//! The arbiter keeps its own identity; log files are given to the workers' user, so that they can open them again.
//! Not here: what limits a process beyond that.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::Path;

use trine_sys::privileges::{drop_to, effective_gid, effective_uid, find_user, groups_of};

use crate::config::Settings;

/// Becomes the user and the group of the settings, for good.
///
/// # Errors
/// What the kernel says; only root can.
pub fn assume(settings: &Settings) -> io::Result<()> {
    let (user, group) = (settings.user, settings.group);
    if (user, group) == (effective_uid(), effective_gid()) && !settings.initgroups {
        return Ok(());
    }
    let groups = match find_user(&user.to_string())? {
        Some(found) if settings.initgroups => groups_of(&found, group)?,
        // Those that we were given stay, as with gunicorn, but root's own do not.
        _ => {
            let ours = nix::unistd::getgroups()?
                .into_iter()
                .map(nix::unistd::Gid::as_raw);
            ours.filter(|other| *other != 0 || group == 0).collect()
        }
    };
    drop_to(user, group, &groups)
}

/// Makes the log files and gives them to the workers' user. Does nothing unless that is another one than ours.
pub fn give_logs(settings: &Settings) {
    let (user, group) = (settings.user, settings.group);
    if (user, group) == (effective_uid(), effective_gid()) {
        return;
    }
    let logs = [
        &settings.log.errorlog,
        &settings.log.accesslog,
        &settings.log.slow_request_log,
    ];
    for path in logs
        .into_iter()
        .flatten()
        .filter(|path| *path != Path::new("-"))
    {
        let made = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path);
        if let Err(error) = made.and_then(|_| chown(path, Some(user), Some(group))) {
            tracing::warn!("cannot give {} to user {user}: {error}", path.display());
        }
    }
}
