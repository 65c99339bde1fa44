//! The supervisor's own log: a file that is begun anew at a size, standard output beside it while in the foreground,
//! or syslog. Where it goes may change with the configuration.
//! Not here: how a line looks (`trine_service::logging`), the logs of programs (`logs`).

use super::presence::make_folder;
use super::syslog::Syslog;
use crate::config::{self, Config};
use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_service::logging::{self, LineSink, LogFormat, LogHandle, LogSettings, LogTarget};

/// The log of this process.
#[derive(Debug)]
pub struct MainLog {
    handle: LogHandle,
    goal: Arc<Goal>,
}

/// What a configuration says of the log, opened, so that nothing can fail any more.
#[derive(Debug)]
pub(super) struct Opened {
    place: Place,
    /// Standard output hears it too.
    echo: bool,
    format: LogFormat,
    level: logging::Level,
}

impl Opened {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let log = &config.log;
        let place = match &log.target {
            config::LogTarget::Stderr => Place::Stderr,
            config::LogTarget::Syslog => Place::Syslog(Syslog::default()),
            config::LogTarget::File(path) => {
                make_folder(path)?;
                Place::File(Rotated::open(path, log.max_bytes, log.backups)?)
            }
        };
        let in_front = !config.daemon.daemonize;
        Ok(Self {
            echo: in_front && !config.daemon.silent && !matches!(place, Place::Stderr),
            place,
            format: match log.format {
                config::LogFormat::Text => LogFormat::Text,
                config::LogFormat::Json => LogFormat::Json,
                config::LogFormat::Supervisord => LogFormat::Supervisord,
            },
            level: log.level.tracing(),
        })
    }
}

impl MainLog {
    /// Makes it the log of this process.
    pub(super) fn set_up(config: &Config) -> Result<Self, Error> {
        let opened = Opened::new(config)?;
        let (format, level) = (opened.format, opened.level);
        let goal = Arc::new(Goal(Mutex::new((opened.place, opened.echo))));
        let handle = logging::init(&LogSettings {
            program: "supervisor".to_owned(),
            format,
            level,
            target: LogTarget::Own(goal.clone()),
        });
        let handle = handle.map_err(Error::Service)?;
        Ok(Self { handle, goal })
    }

    /// The lines go there from now on.
    pub(super) fn go_on_in(&self, opened: Opened) {
        self.handle.set_format(opened.format);
        self.handle.set_level(opened.level);
        *self.goal.lock() = (opened.place, opened.echo);
    }

    /// Opens the file again by its name.
    pub fn reopen(&self) -> Result<(), trine_service::Error> {
        self.handle.reopen()
    }
}

/// Where lines go, and whether standard output hears them too.
#[derive(Debug)]
struct Goal(Mutex<(Place, bool)>);

#[derive(Debug)]
enum Place {
    Stderr,
    File(Rotated),
    Syslog(Syslog),
}

impl Goal {
    fn lock(&self) -> MutexGuard<'_, (Place, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineSink for Goal {
    fn line(&self, line: &[u8]) {
        let (place, echo) = &mut *self.lock();
        if *echo {
            let _ = std::io::stdout().lock().write_all(line);
        }
        match place {
            Place::Stderr => drop(std::io::stderr().lock().write_all(line)),
            Place::File(file) => file.write(line),
            Place::Syslog(syslog) => syslog.send(line),
        }
    }

    fn reopen(&self) -> Result<(), trine_service::Error> {
        match &mut self.lock().0 {
            Place::File(file) => file.reopen(),
            Place::Stderr | Place::Syslog(_) => Ok(()),
        }
    }
}

/// A file that is moved to `.1`, `.2` and so on before a line would make it larger than it may be.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    backups: u32,
}

impl Rotated {
    fn open(path: &Path, max_bytes: u64, backups: u32) -> Result<Self, Error> {
        let (file, size) = append_to(path).map_err(Error::Service)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            max_bytes,
            backups,
        })
    }

    fn write(&mut self, line: &[u8]) {
        let len = line.len() as u64;
        // A device (/dev/stdout) has no size to speak of, and must not be moved.
        if self.max_bytes > 0 && self.size > 0 && self.size + len > self.max_bytes {
            self.rotate();
        }
        if self.file.write_all(line).is_ok() {
            self.size += len;
        }
    }

    fn rotate(&mut self) {
        if !self.file.metadata().is_ok_and(|about| about.is_file()) {
            self.size = 0;
            return;
        }
        if self.backups == 0 {
            let _ = self.file.set_len(0);
        } else {
            for number in (1..self.backups).rev() {
                let _ = std::fs::rename(self.backup(number), self.backup(number + 1));
            }
            let _ = std::fs::rename(&self.path, self.backup(1));
        }
        let _ = self.reopen();
    }

    fn backup(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    fn reopen(&mut self) -> Result<(), trine_service::Error> {
        (self.file, self.size) = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> Result<(File, u64), trine_service::Error> {
    let failed = |source| trine_service::Error::LogFile {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o644);
    let file = options.open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_moves_and_no_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.log");
        let mut log = Rotated::open(&path, 20, 2).unwrap();
        for number in 0..7 {
            log.write(format!("line {number}\n").as_bytes());
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("m.log").as_deref(), Some("line 6\n"));
        assert_eq!(read("m.log.1").as_deref(), Some("line 4\nline 5\n"));
        assert_eq!(read("m.log.2").as_deref(), Some("line 2\nline 3\n"));
        assert_eq!(read("m.log.3"), None);
        let mut log = Rotated::open(&path, 10, 0).unwrap();
        log.write(b"the only one\n");
        log.write(b"x\n");
        assert_eq!(read("m.log").as_deref(), Some("x\n"));
        let mut log = Rotated::open(Path::new("/dev/null"), 1, 1).unwrap();
        (0..3).for_each(|_| log.write(b"nothing moves\n"));
    }
}
