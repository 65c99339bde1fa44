//! Where output goes: a log file, or something that only takes bytes.
//! Not here: whose output it is (see `pump`), or reading it back (see `tail`).

use super::file::{LogWriter, Moved, Peek};
use super::lines::Speaker;
use crate::config::extras::LineFormat;
use crate::config::{LogFile, Sink};
use nix::fcntl::SpliceFFlags;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use trine_sys::file as sys;

/// What every step needs beside the pipe.
#[derive(Debug)]
pub(super) struct Scratch<'a> {
    pub(super) peek: &'a mut Peek,
    pub(super) null: &'a File,
    pub(super) speaker: &'a Speaker,
    /// Write a line that has no end, too.
    pub(super) flush: bool,
}

#[derive(Debug)]
pub(super) enum Outlet {
    File(LogWriter),
    /// A log file that could not be opened yet.
    Unopened(LogFile),
    /// Something without an end to ask for.
    Plain(File),
}

impl Outlet {
    pub(super) fn open(sink: &Sink) -> io::Result<Self> {
        match sink {
            Sink::Discard => Ok(Self::Plain(File::options().write(true).open("/dev/null")?)),
            Sink::Stdout => Ok(Self::Plain(File::from(trine_sys::fdpass::duplicate(
                io::stdout(),
                10,
            )?))),
            Sink::File(settings) => Ok(Self::File(LogWriter::open(settings.clone())?)),
        }
    }

    pub(super) fn line_format(&self) -> LineFormat {
        match self {
            Self::File(log) => log.line_format(),
            Self::Unopened(settings) => settings.lines.format,
            Self::Plain(_) => LineFormat::Raw,
        }
    }

    /// Adds bytes that came another way; says how often the file was full.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if let Self::Unopened(settings) = self {
            *self = Self::File(LogWriter::open(settings.clone())?);
        }
        match self {
            Self::Unopened(_) => Ok(0),
            Self::File(log) => log.append(bytes),
            Self::Plain(out) => out.write_all(bytes).map(|()| 0),
        }
    }

    /// Moves some of what waits in the pipe.
    pub(super) fn step(
        &mut self,
        pipe: BorrowedFd<'_>,
        capacity: usize,
        scratch: &mut Scratch<'_>,
    ) -> io::Result<Moved> {
        let Scratch {
            peek,
            null,
            speaker,
            flush,
        } = scratch;
        if let Self::Unopened(settings) = self {
            *self = Self::File(LogWriter::open(settings.clone())?);
        }
        match self {
            Self::Unopened(_) => Ok(Moved::Nothing),
            Self::File(log) if log.line_format() != LineFormat::Raw => {
                log.step_lines(pipe, peek, null, speaker, *flush)
            }
            Self::File(log) => log.step(pipe, capacity, peek),
            Self::Plain(out) => copy(pipe, out, peek, null),
        }
    }
}

/// For outlets the kernel cannot splice into: a copy is written out, then the original is thrown away. A brain
/// killed in between says the same thing twice.
fn copy(pipe: BorrowedFd<'_>, out: &mut File, peek: &mut Peek, null: &File) -> io::Result<Moved> {
    let seen = peek.look(pipe, 64 << 10)?;
    if seen.is_empty() {
        return Ok(Moved::Nothing);
    }
    let count = seen.len();
    out.write_all(seen)?;
    discard(pipe, count, null)?;
    Ok(Moved::Bytes(count))
}

/// Takes `count` bytes that are known to wait out of a pipe.
pub(in crate::brain) fn discard(pipe: impl AsFd, count: usize, null: &File) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        left -= sys::splice(&pipe, null, None, left, SpliceFFlags::empty())?.min(left);
    }
    Ok(())
}
