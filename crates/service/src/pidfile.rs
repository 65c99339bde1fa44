//! Pid files, as init scripts and `kill -HUP $(cat file)` use them.
//!
//! Not here: locking. A pid file is a note for people; the listening sockets decide who runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpid};

use crate::Error;

/// A file that holds our pid in decimal and a newline. Dropping the value removes the file, if it still
/// names us: a forked child that drops its copy removes nothing.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    owner: Pid,
}

impl PidFile {
    /// Writes our pid to `path` (mode 0644), replacing a file whose process is dead. The file appears
    /// complete or not at all.
    ///
    /// # Errors
    /// [`Error::Running`] when it names another living process, [`Error::PidFile`] when it cannot be written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let owner = getpid();
        if let Some(pid) = read(&path).filter(|pid| *pid != owner && is_alive(*pid)) {
            return Err(Error::Running {
                path,
                pid: pid.as_raw(),
            });
        }
        match write(&path, owner) {
            Ok(()) => Ok(Self { path, owner }),
            Err(source) => Err(Error::PidFile { path, source }),
        }
    }

    /// Gives the file another name, such as `nginx.pid.oldbin` during an upgrade.
    ///
    /// # Errors
    /// [`Error::PidFile`] when it cannot be renamed; it keeps its name then.
    pub fn rename(&mut self, to: impl Into<PathBuf>) -> Result<(), Error> {
        let path = to.into();
        match fs::rename(&self.path, &path) {
            Ok(()) => {
                self.path = path;
                Ok(())
            }
            Err(source) => Err(Error::PidFile { path, source }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if getpid() == self.owner && read(&self.path) == Some(self.owner) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn write(path: &Path, owner: Pid) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{owner}"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&fresh)?;
    let written = writeln!(file, "{owner}").and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn read(path: &Path) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (pid > 0).then(|| Pid::from_raw(pid))
}

fn is_alive(pid: Pid) -> bool {
    // Signal 0 only asks (`kill(2)`); EPERM means alive and somebody else's.
    matches!(kill(pid, None), Ok(()) | Err(Errno::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trine.pid");
        let file = PidFile::create(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no left-over");
    }

    #[test]
    fn refuses_a_living_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trine.pid");
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        fs::write(&path, format!("{}\n", child.id())).unwrap();
        let error = PidFile::create(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Running { pid, .. } if *pid as u32 == child.id()),
            "{error}"
        );

        child.kill().unwrap();
        child.wait().unwrap();
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists(), "it names somebody else by now");
        fs::write(&path, "not a pid").unwrap();
        drop(PidFile::create(&path).unwrap());
    }

    #[test]
    fn unwritable() {
        let error = PidFile::create("/nonexistent/trine.pid").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write pid file /nonexistent/trine.pid"
        );
    }
}
