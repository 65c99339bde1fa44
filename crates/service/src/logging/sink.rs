//! Where log lines go: standard error, or a file that can be opened again by its name.
//!
//! Not here: what a line looks like.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::{LineSink, LogTarget};
use crate::Error;

/// Several targets, each with the level that it wants.
type Sinks = Vec<(Level, Sink)>;

/// Clones are the same target: reopening one reopens all.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    Stderr,
    File {
        path: PathBuf,
        file: Arc<Mutex<Arc<File>>>,
    },
    Own(Arc<dyn LineSink>),
    Several(Arc<Mutex<Arc<Sinks>>>),
}

impl Sink {
    /// Takes other targets; false if there is one only, which stays.
    pub(super) fn retarget(&self, targets: &[(Level, LogTarget)]) -> Result<bool, Error> {
        let Self::Several(list) = self else {
            return Ok(false);
        };
        let fresh = Arc::new(open_all(targets)?);
        *list.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    pub(super) fn open(target: &LogTarget) -> Result<Self, Error> {
        match target {
            LogTarget::Stderr => Ok(Self::Stderr),
            LogTarget::Own(sink) => Ok(Self::Own(Arc::clone(sink))),
            LogTarget::Several(targets) => {
                let list = Arc::new(Mutex::new(Arc::new(open_all(targets)?)));
                Ok(Self::Several(list))
            }
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
            Self::Several(list) => {
                let list = Arc::clone(&list.lock().unwrap_or_else(PoisonError::into_inner));
                for (_, sink) in list.iter() {
                    sink.reopen()?;
                }
            }
            Self::File { path, file } => {
                let fresh = Arc::new(append_to(path)?);
                *file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
        }
        Ok(())
    }
}

fn open_all(targets: &[(Level, LogTarget)]) -> Result<Sinks, Error> {
    let open = |(level, target): &(Level, LogTarget)| Ok((*level, Sink::open(target)?));
    targets.iter().map(open).collect()
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
    Several(Level, Arc<Sinks>),
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
            Self::Several(level, list) => {
                for (_, sink) in list.iter().filter(|(least, _)| *level <= *least) {
                    match sink {
                        Sink::Own(sink) => sink.line_at(*level, line),
                        // What cannot be written is dropped.
                        other => _ = other.make_writer().write_all(line),
                    }
                }
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
            Self::Several(list) => LineWriter::Several(
                Level::ERROR,
                Arc::clone(&list.lock().unwrap_or_else(PoisonError::into_inner)),
            ),
        }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> LineWriter {
        match self.make_writer() {
            LineWriter::Several(_, list) => LineWriter::Several(*meta.level(), list),
            other => other,
        }
    }
}
