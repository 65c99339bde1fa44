//! The access log: gunicorn's format, compiled once, or JSON; written in whole lines.
//!
//! Not here: Python loggers.

mod format;
mod json;
mod record;
mod slow;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use format::Format;
pub use record::Record;
pub use slow::SlowLog;

/// Lines are gathered up to this size.
const BUFFER: usize = 16 * 1024;

#[derive(Debug)]
enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

/// An open access log.
#[derive(Debug)]
pub struct AccessLog {
    target: Target,
    /// `None`: JSON.
    format: Option<Format>,
    lines: Vec<u8>,
    clock: format::Clock,
}

impl AccessLog {
    /// Opens `path` for appending; `-` is standard output.
    pub fn open(path: &Path, format: Option<Format>) -> io::Result<Self> {
        let target = if path == Path::new("-") {
            Target::Stdout
        } else {
            Target::File {
                path: path.to_owned(),
                file: append_to(path)?,
            }
        };
        Ok(Self {
            target,
            format,
            lines: Vec::new(),
            clock: format::Clock::default(),
        })
    }

    /// Adds one line; it is written with the next [`Self::flush`].
    pub fn log(&mut self, record: &Record<'_>) {
        match &self.format {
            Some(format) => format.write(record, &mut self.clock, &mut self.lines),
            None => json::write(record, &mut self.lines),
        }
        self.lines.push(b'\n');
        if self.lines.len() > BUFFER {
            self.flush();
        }
    }

    /// Writes what is there, in whole lines, so that processes sharing the file do not mix theirs.
    pub fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        // Nobody can be told of a log that cannot be written.
        let _ = match &mut self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&self.lines).and_then(|()| out.flush())
            }
            Target::File { file, .. } => file.write_all(&self.lines),
        };
        self.lines.clear();
    }

    /// Opens the file again by its name, after logrotate moved it away.
    pub fn reopen(&mut self) {
        self.flush();
        if let Target::File { path, file } = &mut self.target {
            match append_to(path) {
                Ok(fresh) => *file = fresh,
                Err(error) => tracing::error!("cannot reopen {}: {error}", path.display()),
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
