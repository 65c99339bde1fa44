//! One log file: opening, moving bytes from a pipe into it in single kernel steps, rotation.
//! Not here: when to do it (see `pump`), or reading the file back (see `tail`).
//!
//! The brain may be killed between any two lines of this file. What keeps every byte in exactly one place: `splice`
//! takes bytes out of the pipe and puts them into the file in one step; the place to write at is the file's end,
//! asked for each time; and each step of a rotation can be found half done and carried on.

use super::cut::{Cut, OVERRUN, cut};
use super::staging::Place;
use crate::config::LogFile;
use crate::config::extras::LineFormat;
use nix::fcntl::SpliceFFlags;
use nix::unistd::{Whence, lseek};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use trine_sys::file as sys;

/// Not more than this in one step, so that no stream keeps the others waiting.
const BUDGET: usize = 1 << 20;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The pipe is empty.
    Nothing,
    Bytes(usize),
    /// So many bytes, and then the file was full: a new one has begun.
    Rotated {
        count: usize,
    },
}

impl Moved {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Rotated { count } | Self::Bytes(count) => count,
        }
    }
}

#[derive(Debug)]
pub(super) struct LogWriter {
    file: File,
    settings: LogFile,
    /// A regular file: has a size and an end. Others (`/dev/stdout`, a fifo) just take bytes.
    regular: bool,
    /// When a new file is to begin whatever its size.
    until: Option<SystemTime>,
}

impl LogWriter {
    /// Opens the file at its end; makes it, and the folders above it, if they are missing.
    pub(super) fn open(settings: LogFile) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = open(&settings.path)?;
        let regular = file.metadata()?.is_file();
        let until = until(&file, &settings);
        Ok(Self {
            file,
            settings,
            regular,
            until,
        })
    }

    /// Follows the path again: somebody else may have moved the file away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(self.settings.clone())?;
        Ok(())
    }

    /// Throws away what is in it; older parts stay.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if self.regular {
            self.file.set_len(0)?;
        }
        Ok(())
    }

    /// Moves what waits in `pipe` (of `capacity` bytes) into the file, up to a budget or the file's size.
    pub(super) fn step(
        &mut self,
        pipe: impl AsFd,
        capacity: usize,
        peek: &mut Peek,
    ) -> io::Result<Moved> {
        if !self.regular {
            return self.splice(pipe, BUDGET);
        }
        let size = self.end()?;
        if size > 0 && self.until.is_some_and(|until| SystemTime::now() >= until) {
            self.rotate()?;
            return Ok(Moved::Rotated { count: 0 });
        }
        let limit = match self.settings.max_bytes {
            0 => return self.splice(pipe, BUDGET),
            limit => limit,
        };
        let room = usize::try_from(limit.saturating_sub(size)).unwrap_or(usize::MAX);
        if room >= capacity {
            return self.splice(pipe, BUDGET.min(capacity));
        }
        let waiting = sys::readable_bytes(&pipe)?;
        if waiting == 0 {
            return Ok(Moved::Nothing);
        }
        if waiting <= room {
            return self.splice(pipe, waiting);
        }
        let overrun =
            usize::try_from((limit + OVERRUN as u64).saturating_sub(size.max(limit))).unwrap_or(0);
        let seen = peek.look(&pipe, room.saturating_add(overrun))?;
        let cut = cut(seen, room, overrun, self.ends_with_newline(size)?);
        let mut left = cut.take;
        while left > 0 {
            match self.splice(&pipe, left)? {
                Moved::Bytes(count) => left -= count,
                Moved::Nothing | Moved::Rotated { .. } => break,
            }
            self.end()?;
        }
        if cut.rotate {
            self.rotate()?;
            return Ok(Moved::Rotated { count: cut.take });
        }
        Ok(Moved::Bytes(cut.take))
    }

    /// Adds the first of some bytes that came another way: all that fit, or none if it is time for a new file first. What
    /// is [`Moved::Rotated`] by this is so only after [`Self::rotate`]. `note` is told, before they are written, how many
    /// they are and where they begin.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        note: &mut dyn FnMut(usize, Place) -> io::Result<()>,
    ) -> io::Result<Moved> {
        if !self.regular {
            note(bytes.len(), Place::default())?;
            self.file.write_all(bytes)?;
            return Ok(Moved::Bytes(bytes.len()));
        }
        let size = self.end()?;
        if size > 0 && self.until.is_some_and(|until| SystemTime::now() >= until) {
            return Ok(Moved::Rotated { count: 0 });
        }
        let cut = match self.settings.max_bytes {
            0 => Cut {
                take: bytes.len(),
                rotate: false,
            },
            limit => {
                let number = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
                let overrun = (limit + OVERRUN as u64).saturating_sub(size.max(limit));
                let (room, overrun) = (number(limit.saturating_sub(size)), number(overrun));
                cut(bytes, room, overrun, self.ends_with_newline(size)?)
            }
        };
        if cut.take > 0 {
            let data = self.file.metadata()?;
            let (device, inode) = (data.dev(), data.ino());
            note(
                cut.take,
                Place {
                    device,
                    inode,
                    size,
                },
            )?;
            if let Err(err) = self.file.write_all(&bytes[..cut.take]) {
                let _ = self.file.set_len(size); // what fitted of it would be said twice
                return Err(err);
            }
        }
        Ok(match cut {
            Cut { take, rotate: true } => Moved::Rotated { count: take },
            Cut { take, .. } => Moved::Bytes(take),
        })
    }

    /// Lines that are changed on their way cannot be moved by the kernel alone.
    pub(super) fn line_format(&self) -> LineFormat {
        self.settings.lines.format
    }

    /// The path, if old files are to be compressed.
    pub(super) fn compresses(&self) -> Option<&Path> {
        Some(self.settings.path.as_path()).filter(|_| self.settings.lines.compress)
    }

    fn splice(&self, pipe: impl AsFd, count: usize) -> io::Result<Moved> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match sys::splice(pipe, &self.file, None, count, flags) {
            Ok(0) => Ok(Moved::Nothing),
            Ok(count) => Ok(Moved::Bytes(count)),
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock) => Ok(Moved::Nothing),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(Moved::Bytes(0)),
            Err(err) => Err(err),
        }
    }

    /// Goes to the end of the file, wherever others may have put it, and says how large it is.
    fn end(&self) -> io::Result<u64> {
        Ok(lseek(&self.file, 0, Whence::SeekEnd)?.unsigned_abs())
    }

    fn ends_with_newline(&self, size: u64) -> io::Result<bool> {
        let mut last = [0];
        Ok(size > 0 && self.file.read_at(&mut last, size - 1)? == 1 && last == *b"\n")
    }

    /// Begins a new file.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.settings.backups == 0 {
            self.file.set_len(0)?;
            self.until = until(&self.file, &self.settings);
            return Ok(());
        }
        make_way(&self.settings.path, self.settings.backups)?;
        fs::rename(&self.settings.path, backup(&self.settings.path, 1))?;
        self.file = open(&self.settings.path)?;
        self.until = until(&self.file, &self.settings);
        Ok(())
    }
}

/// When a file has to make way for a new one. Counted from its birth where the file system tells it, so that it outlives
/// brains; else from now.
fn until(file: &File, settings: &LogFile) -> Option<SystemTime> {
    let interval = settings.lines.interval?;
    let born = file.metadata().and_then(|data| data.created());
    let is_empty = file.metadata().is_ok_and(|data| data.len() == 0);
    let from = born
        .ok()
        .filter(|_| !is_empty)
        .unwrap_or_else(SystemTime::now);
    Some(from + interval)
}

fn open(path: &Path) -> io::Result<File> {
    // Not O_APPEND: the kernel does not splice into such files. Readable for its own last byte.
    let both = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path);
    match both {
        Ok(file) => Ok(file),
        Err(_) => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path),
    }
}

/// `web.log.3` of `web.log`.
#[must_use]
pub(super) fn backup(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Frees the name `.1`. A rotation that was cut off left a gap in the row; then only the files before the gap move,
/// so none is pushed out too early.
fn make_way(path: &Path, backups: u32) -> io::Result<()> {
    let gap = (1..=backups)
        .find(|number| existing(path, *number).is_none())
        .unwrap_or(backups);
    if let Some(oldest) = existing(path, gap) {
        fs::remove_file(oldest)?; // its successor may be compressed, and would not replace it
    }
    for number in (1..gap).rev() {
        match existing(path, number) {
            Some(old) if old == compressed(path, number) => {
                fs::rename(old, compressed(path, number + 1))?;
            }
            Some(old) => fs::rename(old, backup(path, number + 1))?,
            None => {}
        }
    }
    Ok(())
}

/// `web.log.3.gz` of `web.log`.
#[must_use]
pub(super) fn compressed(path: &Path, number: u32) -> PathBuf {
    let mut name = backup(path, number).into_os_string();
    name.push(".gz");
    name.into()
}

/// An old file, compressed or not.
fn existing(path: &Path, number: u32) -> Option<PathBuf> {
    let both = [backup(path, number), compressed(path, number)];
    both.into_iter().find(|name| name.exists())
}

/// Looks at the first bytes in a pipe and leaves them there.
#[derive(Debug)]
pub(in crate::brain) struct Peek {
    read: OwnedFd,
    write: OwnedFd,
    bytes: Vec<u8>,
}

impl Peek {
    pub(in crate::brain) fn new() -> io::Result<Self> {
        let (read, write) = sys::pipe_cloexec_nonblock()?;
        let _ = sys::set_pipe_size(&write, 1 << 20); // a smaller one sees less at a time, that is all
        Ok(Self {
            read,
            write,
            bytes: Vec::new(),
        })
    }

    /// Up to `most` of the bytes that wait; fewer if the scratch pipe has no more places.
    pub(in crate::brain) fn look(&mut self, pipe: impl AsFd, most: usize) -> io::Result<&[u8]> {
        let count = match sys::tee(pipe, &self.write, most, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(count) => count,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => 0,
            Err(err) => return Err(err),
        };
        self.bytes.resize(count, 0);
        let mut filled = 0;
        while filled < count {
            match sys::read(&self.read, &mut self.bytes[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        self.bytes.truncate(filled);
        Ok(&self.bytes)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
