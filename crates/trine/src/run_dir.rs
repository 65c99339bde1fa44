//! The run directory: which file of a deployment lies where.
//!
//! Not here: what is in the files (see `up::configs`), or whether anything runs (see `supervisor`).

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trine_service::exit::Exit;
use trine_sys::net::UNIX_PATH_MAX;

use crate::failure::Failure;

/// An absolute path, and the names below it. Nothing is created by making one.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

impl RunDir {
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)
            .with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `supervisor.yaml`, `proxy.yaml`, `wsgi.yaml`.
    pub(crate) fn config(&self, daemon: &str) -> PathBuf {
        self.path.join(format!("{daemon}.yaml"))
    }

    /// A control socket, `app` for the socket between proxy and application.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.path.join("run").join(format!("{name}.sock"))
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("run/supervisor.pid")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// What to add to a command for this run directory: nothing for the default one.
    pub(crate) fn flag(&self) -> String {
        let default = std::env::current_dir().map(|here| here.join(".trine"));
        if default.is_ok_and(|default| default == self.path) {
            return String::new();
        }
        format!(
            " --run-dir {}",
            shell_words::quote(&self.path.to_string_lossy())
        )
    }

    /// Refuses a directory whose sockets could not be bound.
    pub(crate) fn check_lengths(&self) -> Result<(), Failure> {
        let path = self.path.as_os_str().len();
        let longest = self.socket("supervisor").as_os_str().len();
        if longest <= UNIX_PATH_MAX {
            return Ok(());
        }
        let what = format!(
            "the run directory's path is too long for Unix sockets ({path} bytes, {} are possible): {}",
            UNIX_PATH_MAX + path - longest,
            self.path.display()
        );
        let shorter = format!("/tmp/trine-{}", nix::unistd::getuid());
        Err(Failure::new(
            Exit::Usage,
            what,
            format!("name a shorter one, for example: --run-dir {shorter}"),
        ))
    }

    /// Makes the directory, for its owner alone, with `run/` and `logs/`; existing ones are kept.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let refused = |path: &Path, error: io::Error| {
            let what = format!(
                "cannot create the run directory {}: {error}",
                path.display()
            );
            Failure::new(
                Exit::Config,
                what,
                "name one that can be written: --run-dir DIR",
            )
        };
        for path in [self.path.clone(), self.path.join("run"), self.logs()] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder
                .create(&path)
                .map_err(|error| refused(&path, error))?;
        }
        // As virtual environments do: a run directory inside a repository stays out of it.
        let ignore = self.path.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(|error| refused(&ignore, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let run_dir = RunDir::at(Path::new("/srv/./site")).unwrap();
        assert_eq!(run_dir.config("proxy"), Path::new("/srv/site/proxy.yaml"));
        assert_eq!(run_dir.socket("app"), Path::new("/srv/site/run/app.sock"));
        assert_eq!(run_dir.log("wsgi"), Path::new("/srv/site/logs/wsgi.log"));
        assert_eq!(run_dir.flag(), " --run-dir /srv/site");
    }

    #[test]
    fn long_paths_are_refused_with_a_way_out() {
        let fits = RunDir::at(Path::new(&format!("/{}", "d".repeat(86)))).unwrap();
        assert!(fits.check_lengths().is_ok(), "{:?}", fits.check_lengths());
        let long = RunDir::at(Path::new(&format!("/{}", "d".repeat(87)))).unwrap();
        let failure = long.check_lengths().unwrap_err();
        assert!(
            failure.what.contains("(88 bytes, 87 are possible)"),
            "{}",
            failure.what
        );
        assert!(
            failure.way_out.contains("--run-dir /tmp/trine-"),
            "{}",
            failure.way_out
        );
    }

    #[test]
    fn creation_is_private_and_repeatable() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(&folder.path().join("a/b")).unwrap();
        run_dir.create().unwrap();
        run_dir.create().unwrap();
        let mode = fs::metadata(run_dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(run_dir.logs().is_dir());
        assert_eq!(
            fs::read_to_string(run_dir.path().join(".gitignore")).unwrap(),
            "*\n"
        );
    }
}
