//! Where the output of one channel lies while it is changed on its way into a log: a memory file that the holder keeps,
//! so that a brain that is killed leaves everything to the next one. Bytes come in from the pipe in single kernel steps;
//! they are given up in the same step in which what became of them is noted; and before that is written to the log, the
//! place is noted at which it begins, so that a piece that was only half written can be taken back.
//! Not here: what becomes of the bytes (see `changes`), log files (see `file`).

use nix::fcntl::{FallocateFlags, SpliceFFlags, fallocate};
use nix::unistd::{Whence, lseek};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use trine_sys::file as sys;

/// The head, what is to be written, and what came in, which is at the end so that the file's length tells how much that
/// is. Parts of the file that were never written take no memory.
const OUT_AT: u64 = 4096;
const IN_AT: u64 = OUT_AT + MOST_OUTPUT as u64;
/// What may lie ready at a time.
pub(super) const MOST_OUTPUT: usize = 32 << 20;
/// Memory of what is done with is given back in pieces of this size.
const HOLE: u64 = 1 << 20;

/// Written in one step of a few bytes within a page, which no signal cuts in two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// So many bytes of what came in are done with.
    taken: u64,
    /// Sifting goes on from here (`filter::Resume`).
    resume: u64,
    /// So many bytes are to be written, and so many of them are.
    out: u64,
    written: u64,
    /// The end of the piece that is being written; 0: none is.
    piece: u64,
    /// The log file, and its size before the piece.
    place: Place,
}

/// Where a piece begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
}

const WORDS: usize = 8;

impl Head {
    fn bytes(self) -> [u8; WORDS * 8] {
        let Place {
            device,
            inode,
            size,
        } = self.place;
        let words: [u64; WORDS] = [
            self.taken,
            self.resume,
            self.out,
            self.written,
            self.piece,
            device,
            inode,
            size,
        ];
        let mut bytes = [0; WORDS * 8];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn of(bytes: &[u8; WORDS * 8]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let mut next = || words.next().unwrap_or_default();
        Self {
            taken: next(),
            resume: next(),
            out: next(),
            written: next(),
            piece: next(),
            place: Place {
                device: next(),
                inode: next(),
                size: next(),
            },
        }
    }
}

#[derive(Debug)]
pub(super) struct Staging {
    file: File,
    head: Head,
    /// Up to here memory was given back.
    hole: u64,
    /// In tests: after so many more steps the brain dies.
    #[cfg(test)]
    pub(super) fuse: Option<u32>,
}

impl Staging {
    /// What an earlier brain may have left there.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let mut bytes = [0; WORDS * 8];
        // A new one is empty.
        if file.metadata()?.len() >= bytes.len() as u64 {
            file.read_exact_at(&mut bytes, 0)?;
        }
        let mut staging = Self {
            file,
            head: Head::of(&bytes),
            hole: 0,
            #[cfg(test)]
            fuse: None,
        };
        if staging.head.taken > staging.came()? {
            staging.head.taken = 0; // all of it was done with and is gone; only the note of that is missing
        }
        Ok(staging)
    }

    /// One that nobody keeps: what is in it dies with this brain.
    pub(super) fn of_our_own() -> io::Result<Self> {
        Self::new(trine_sys::fdpass::memfd(c"trine-staging")?)
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests die here"
    )]
    fn live_on(&mut self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn live_on(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the brain is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note(&mut self, head: Head) -> io::Result<()> {
        self.live_on()?;
        self.file.write_all_at(&head.bytes(), 0)?;
        self.head = head;
        Ok(())
    }

    fn came(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(IN_AT))
    }

    /// Nothing came in that is not done with, and nothing is to be written.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(!self.has_output() && self.came()? == self.head.taken)
    }

    /// Moves up to `most` bytes that wait in a pipe to the end of what came in.
    pub(super) fn take_in(&mut self, pipe: impl AsFd, most: usize) -> io::Result<usize> {
        self.live_on()?;
        let end = IN_AT + self.came()?;
        lseek(
            &self.file,
            i64::try_from(end).map_err(io::Error::other)?,
            Whence::SeekSet,
        )?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match sys::splice(pipe, &self.file, None, most, flags) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(0),
            moved => moved,
        }
    }

    /// What came in and is not done with.
    pub(super) fn input(&self) -> io::Result<Vec<u8>> {
        self.read(IN_AT + self.head.taken, self.came()? - self.head.taken)
    }

    pub(super) fn resume(&self) -> u64 {
        self.head.resume
    }

    /// `taken` more bytes of what came in are done with: `out` is to be written for them. Nothing may be left from before.
    pub(super) fn commit(&mut self, taken: usize, resume: u64, out: &[u8]) -> io::Result<()> {
        if out.len() > MOST_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.live_on()?;
        self.file.write_all_at(out, OUT_AT)?;
        let mut head = Head {
            taken: self.head.taken + taken as u64,
            resume,
            out: out.len() as u64,
            ..Head::default()
        };
        self.note(head)?;
        if head.taken == self.came()? {
            self.live_on()?;
            self.file.set_len(IN_AT)?;
            head.taken = 0;
            self.hole = 0;
            return self.note(head);
        }
        if head.taken - self.hole >= HOLE {
            self.give_back(IN_AT + self.hole, head.taken - self.hole)?;
            self.hole = head.taken;
        }
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        self.head.written < self.head.out
    }

    /// What is to be written and is not yet.
    pub(super) fn output(&self) -> io::Result<Vec<u8>> {
        self.read(
            OUT_AT + self.head.written,
            self.head.out - self.head.written,
        )
    }

    /// The next `count` bytes of the output are about to be written.
    pub(super) fn begin(&mut self, count: usize, place: Place) -> io::Result<()> {
        self.note(Head {
            piece: self.head.written + count as u64,
            place,
            ..self.head
        })
    }

    /// They are written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let was = self.head;
        self.note(Head {
            written: was.piece,
            piece: 0,
            ..was
        })?;
        if was.piece == was.out && was.out >= HOLE {
            self.give_back(OUT_AT, was.out)?;
        }
        Ok(())
    }

    fn read(&self, at: u64, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    fn give_back(&self, from: u64, count: u64) -> io::Result<()> {
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let number = |n: u64| i64::try_from(n).map_err(io::Error::other);
        Ok(fallocate(&self.file, hole, number(from)?, number(count)?)?)
    }
}

/// Takes back what an earlier brain had only half written to the log at `path`, so that it is written once. To be done for
/// all channels before anything is written to any log.
pub(in crate::brain) fn take_back(staging: impl AsFd, path: &Path) -> io::Result<()> {
    let mut staging = Staging::new(staging.as_fd().try_clone_to_owned()?)?;
    if staging.head.piece == 0 {
        return Ok(());
    }
    let place = staging.head.place;
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let data = file.metadata()?;
        let is_same = (data.dev(), data.ino()) == (place.device, place.inode);
        if data.is_file() && is_same && data.len() > place.size {
            file.set_len(place.size)?;
        }
    }
    staging.note(Head {
        piece: 0,
        ..staging.head
    })
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
