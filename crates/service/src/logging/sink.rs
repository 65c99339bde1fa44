//! Where log lines go: standard error, or a file that can be opened again by its name.
//!
//! Not here: what a line looks like.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::{LineSink, LogTarget};
use crate::Error;

/// Clones are the same target: reopening one reopens all.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    Stderr,
    File {
        path: PathBuf,
        file: Arc<Mutex<Arc<File>>>,
    },
    Own(Arc<dyn LineSink>),
}

impl Sink {
    pub(super) fn open(target: &LogTarget) -> Result<Self, Error> {
        match target {
            LogTarget::Stderr => Ok(Self::Stderr),
            LogTarget::Own(sink) => Ok(Self::Own(Arc::clone(sink))),
            LogTarget::File(path) => {
                let file = Arc::new(Mutex::new(Arc::new(append_to(path)?)));
                Ok(Self::File {
                    path: path.clone(),
                    file,
                })
            }
        }
    }

    pub(super) fn reopen(&self) -> Result<(), Error> {
        match self {
            Self::Stderr => {}
            Self::Own(sink) => sink.reopen()?,
            Self::File { path, file } => {
                let fresh = Arc::new(append_to(path)?);
                *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    opened.map_err(|source| Error::LogFile {
        path: path.to_owned(),
        source,
    })
}

/// Writes one line; tracing-subscriber makes one of these for each event.
#[derive(Debug)]
pub(super) enum LineWriter {
    Stderr,
    File(Arc<File>),
    Own(Arc<dyn LineSink>),
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().lock().write(line),
            Self::File(file) => (&**file).write(line),
            Self::Own(sink) => {
                sink.line(line);
                Ok(line.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // nothing is held back
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        match self {
            Self::Stderr => LineWriter::Stderr,
            Self::Own(sink) => LineWriter::Own(Arc::clone(sink)),
            Self::File { file, .. } => LineWriter::File(Arc::clone(
                &file.lock().unwrap_or_else(PoisonError::into_inner),
            )),
        }
    }
}
