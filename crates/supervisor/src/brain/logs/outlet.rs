//! Where output goes: a log file, or something that only takes bytes.
//! Not here: whose output it is (see `pump`), or reading it back (see `tail`).

use super::file::{LogWriter, Moved, Peek};
use super::staging::Place;
use crate::config::extras::LineFormat;
use crate::config::{LogFile, Sink};
use nix::fcntl::SpliceFFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use trine_sys::file as sys;

/// Moved in one step where there is no file to fill.
const AT_ONCE: usize = 64 << 10;

/// What every step needs beside the pipe.
#[derive(Debug)]
pub(super) struct Scratch<'a> {
    pub(super) peek: &'a mut Peek,
    pub(super) null: &'a File,
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

    /// [`LogWriter::append`], where it is a log file.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        note: &mut dyn FnMut(usize, Place) -> io::Result<()>,
    ) -> io::Result<Moved> {
        match self.opened()? {
            Self::File(log) => log.append(bytes, note),
            Self::Plain(out) => {
                note(bytes.len(), Place::default())?;
                out.write_all(bytes)?;
                Ok(Moved::Bytes(bytes.len()))
            }
            Self::Unopened(_) => Ok(Moved::Nothing),
        }
    }

    pub(super) fn rotate(&mut self) -> io::Result<()> {
        match self {
            Self::File(log) => log.rotate(),
            Self::Unopened(_) | Self::Plain(_) => Ok(()),
        }
    }

    /// Moves some of what waits in the pipe, as it is.
    pub(super) fn step(
        &mut self,
        pipe: BorrowedFd<'_>,
        capacity: usize,
        scratch: &mut Scratch<'_>,
    ) -> io::Result<Moved> {
        match self.opened()? {
            Self::File(log) => log.step(pipe, capacity, scratch.peek),
            Self::Plain(out) => hand_on(pipe, out, scratch),
            Self::Unopened(_) => Ok(Moved::Nothing),
        }
    }

    fn opened(&mut self) -> io::Result<&mut Self> {
        if let Self::Unopened(settings) = self {
            *self = Self::File(LogWriter::open(settings.clone())?);
        }
        Ok(self)
    }
}

/// In one step of the kernel, where the outlet takes that.
fn hand_on(pipe: BorrowedFd<'_>, out: &mut File, scratch: &mut Scratch<'_>) -> io::Result<Moved> {
    loop {
        match sys::splice(pipe, &*out, None, AT_ONCE, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(0) => return Ok(Moved::Nothing),
            Ok(count) => return Ok(Moved::Bytes(count)),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                if sys::readable_bytes(pipe)? == 0 {
                    return Ok(Moved::Nothing);
                }
                // It is the outlet that has no room now, as a terminal that somebody has stopped: wait as a write does.
                poll(
                    &mut [PollFd::new(out.as_fd(), PollFlags::POLLOUT)],
                    PollTimeout::NONE,
                )?;
            }
            // Files that are open for appending, and odder things.
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => {
                return copy(pipe, out, scratch.peek, scratch.null);
            }
            Err(err) => return Err(err),
        }
    }
}

/// For outlets the kernel cannot splice into: a copy is written out, then the original is thrown away. A brain
/// killed in between says the same thing twice.
fn copy(pipe: BorrowedFd<'_>, out: &mut File, peek: &mut Peek, null: &File) -> io::Result<Moved> {
    let seen = peek.look(pipe, AT_ONCE)?;
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
