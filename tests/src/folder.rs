//! Temporary folders: gone after a test that passed, kept and named after one that failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

/// A folder of one test. Its path is short, because Unix socket paths must be.
#[derive(Debug)]
pub struct Folder {
    dir: Option<TempDir>,
    path: PathBuf,
}

impl Folder {
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("te")
            .tempdir_in("/tmp")
            .unwrap();
        let path = dir.path().to_owned();
        Self {
            dir: Some(dir),
            path,
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, making the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        file
    }

    /// The text of a file; empty when there is none yet.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read(self.path.join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!(
                "the folder of the failed test is kept: {}",
                dir.keep().display()
            );
        }
    }
}
