//! The supervisor's own log: a file that is begun anew at a size, standard output beside it while in the foreground,
//! or syslog.
//! Not here: how a line looks (`trine_service::logging`), the logs of programs (`logs`).

use super::make_folder;
use super::syslog::Syslog;
use crate::config::{self, Config};
use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_service::logging::{self, LineSink, LogFormat, LogHandle, LogSettings, LogTarget};

/// Sets it up for this process. `in_front`: standard output is somebody's to read.
pub(super) fn set_up(config: &Config, in_front: bool) -> Result<LogHandle, Error> {
    let log = &config.log;
    let echo = in_front && !config.daemon.silent;
    let own = |place| Ok::<_, Error>(LogTarget::Own(Arc::new(MainLog::new(place, echo))));
    let target = match &log.target {
        config::LogTarget::Stderr => LogTarget::Stderr,
        config::LogTarget::Syslog => own(Place::Syslog(Syslog::default()))?,
        config::LogTarget::File(path) => {
            make_folder(path)?;
            own(Place::File(Rotated::open(
                path,
                log.max_bytes,
                log.backups,
            )?))?
        }
    };
    logging::init(&LogSettings {
        program: "supervisor".to_owned(),
        format: match log.format {
            config::LogFormat::Text => LogFormat::Text,
            config::LogFormat::Json => LogFormat::Json,
            config::LogFormat::Supervisord => LogFormat::Supervisord,
        },
        level: log.level.tracing(),
        target,
    })
    .map_err(Error::Service)
}

#[derive(Debug)]
struct MainLog {
    place: Mutex<Place>,
    /// Standard output hears it too.
    echo: bool,
}

#[derive(Debug)]
enum Place {
    File(Rotated),
    Syslog(Syslog),
}

impl MainLog {
    fn new(place: Place, echo: bool) -> Self {
        Self {
            place: Mutex::new(place),
            echo,
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineSink for MainLog {
    fn line(&self, line: &[u8]) {
        if self.echo {
            let _ = std::io::stdout().lock().write_all(line);
        }
        match &mut *self.place() {
            Place::File(file) => file.write(line),
            Place::Syslog(syslog) => syslog.send(line),
        }
    }

    fn reopen(&self) -> Result<(), trine_service::Error> {
        match &mut *self.place() {
            Place::File(file) => file.reopen(),
            Place::Syslog(_) => Ok(()),
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
