//! The writing end of a program's standard input: what the brain orders to be written, kept until the program reads.
//! It lies in the holder, so that an order to write is carried out once and whole, whatever happens to brains.
//! Not here: what is written.

use super::slot::lasting;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use trine_sys::epoll::{Epoll, Interest};
use trine_sys::{fdpass, file};

/// What may wait for a program that does not read.
const MOST_WAITING: usize = 4 << 20;

#[derive(Debug)]
pub struct Stdin {
    write: OwnedFd,
    waiting: VecDeque<u8>,
}

impl Stdin {
    /// A fresh pipe; the reading end is for the program.
    pub fn open() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = file::pipe_cloexec()?;
        fdpass::set_nonblocking(&write, true)?;
        let stdin = Self {
            write: lasting(write),
            waiting: VecDeque::new(),
        };
        Ok((stdin, read))
    }

    /// What was taken apart for another holder; then [`Self::resume`].
    #[must_use]
    pub fn from_parts(write: OwnedFd, waiting: Vec<u8>) -> Self {
        Self {
            write,
            waiting: waiting.into(),
        }
    }

    #[must_use]
    pub fn waiting(&self) -> Vec<u8> {
        self.waiting.iter().copied().collect()
    }

    /// Goes on watching for room.
    pub fn resume(&mut self, writable: &Epoll) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        writable.add(&self.write, 0, Interest::EPOLLOUT)
    }

    /// Writes all of it, now or when there is room. `writable`: where to watch for room.
    pub fn feed(&mut self, bytes: &[u8], writable: &Epoll) -> io::Result<()> {
        if self.waiting.len() + bytes.len() > MOST_WAITING {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the program does not read its standard input",
            ));
        }
        let was_empty = self.waiting.is_empty();
        self.waiting.extend(bytes);
        if !was_empty {
            return Ok(());
        }
        self.write_some()?;
        if !self.waiting.is_empty() {
            writable.add(&self.write, 0, Interest::EPOLLOUT)?;
        }
        Ok(())
    }

    /// There may be room. What the program will never read is given up.
    pub fn flush(&mut self, writable: &Epoll) {
        if self.waiting.is_empty() {
            return;
        }
        if self.write_some().is_err() {
            self.waiting.clear();
        }
        if self.waiting.is_empty() {
            let _ = writable.delete(&self.write);
        }
    }

    fn write_some(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match nix::unistd::write(self.write.as_fd(), self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(nix::errno::Errno::EAGAIN) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => {
                    self.waiting.clear();
                    return Err(errno.into());
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read as _;

    #[test]
    fn what_does_not_fit_waits_for_room() {
        let writable = Epoll::new().unwrap();
        let (mut stdin, read) = Stdin::open().unwrap();
        let mut read = File::from(read);
        let text: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        stdin.feed(&text[..200_000], &writable).unwrap();
        stdin.feed(&text[200_000..], &writable).unwrap();
        assert!(!stdin.waiting.is_empty());
        let mut got = vec![0; 0];
        while got.len() < text.len() {
            let mut piece = [0; 4096];
            let count = read.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..count]);
            stdin.flush(&writable);
        }
        assert!(got == text);
        let err = stdin.feed(&vec![0; MOST_WAITING + 1], &writable);
        assert_eq!(err.unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop(read);
        let err = stdin.feed(b"x", &writable).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::BrokenPipe);
    }
}
