//! A copy of the command in a folder of its own, called in that folder; what it says of the folder's
//! path reads `HERE`.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Held while an executable is written, and while a process is made: otherwise the new process could have
/// the file open for writing for a moment, and it could not be executed (ETXTBSY).
static MAKING: Mutex<()> = Mutex::new(());

fn making() -> MutexGuard<'static, ()> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Installed {
    folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Installed {
    /// With three daemons beside it that do nothing.
    pub(crate) fn new() -> Self {
        let alone = Self::alone();
        for daemon in ["trine-supervisor", "trine-proxy", "trine-wsgi"] {
            alone.write(&format!("bin/{daemon}"), "#!/bin/sh\nexit 70\n");
        }
        alone
    }

    /// Without any daemon.
    pub(crate) fn alone() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("trine")
            .tempdir_in("/tmp")
            .unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let _making = making();
        fs::copy(env!("CARGO_BIN_EXE_trine"), folder.path().join("bin/trine")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Files in `bin/` can be executed.
    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _making = making();
        fs::write(&path, text).unwrap();
        let mode = if Path::new(below).starts_with("bin") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Told {
        let mut command = Command::new(self.path("bin/trine"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/nonexistent");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = {
            let _making = making();
            command.spawn().unwrap()
        };
        let output = child.wait_with_output().unwrap();
        let here = self.folder.path().to_str().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(here, "HERE");
        Told {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}
