//! The slow-request log: one line for each request that took longer than a limit.
//!
//! Not here: requests that are interrupted (`worker::watch`).

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::append_to;
use super::record::Record;

#[derive(Debug)]
pub struct SlowLog {
    limit: Duration,
    /// `None`: the error log.
    file: Option<(PathBuf, Mutex<File>)>,
}

impl SlowLog {
    /// Tells of requests that take `limit` or longer, in the file at `path` or the error log.
    pub fn open(limit: Duration, path: Option<&Path>) -> io::Result<Self> {
        let file = path
            .map(|path| Ok::<_, io::Error>((path.to_owned(), Mutex::new(append_to(path)?))))
            .transpose()?;
        Ok(Self { limit, file })
    }

    /// Whether a request that took so long is to be told of.
    #[must_use]
    pub fn wants(&self, took: Duration) -> bool {
        took >= self.limit
    }

    pub fn tell(&self, record: &Record<'_>) {
        let line = format!(
            "slow request: {} {} answered {} in {:.6} s, waited {:.6} s, in worker {}",
            record.request.method(),
            record.request.target().escape_ascii(),
            record.status,
            record.took.as_secs_f64(),
            record.queued.as_secs_f64(),
            std::process::id(),
        );
        let Some((_, file)) = &self.file else {
            tracing::warn!("{line}");
            return;
        };
        let now = jiff::Zoned::now().strftime("[%Y-%m-%d %H:%M:%S %z]");
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can be told of a log that cannot be written.
        let _ = file.write_all(format!("{now} {line}\n").as_bytes());
    }

    /// Opens the file again by its name.
    pub fn reopen(&self) {
        let Some((path, file)) = &self.file else {
            return;
        };
        match append_to(path) {
            Ok(fresh) => *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(error) => tracing::error!("cannot reopen {}: {error}", path.display()),
        }
    }
}
