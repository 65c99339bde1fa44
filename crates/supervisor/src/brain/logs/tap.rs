//! What the pump shares with readers of a log: how often it was rotated, how much was written, and a wake-up.
//! Not here: moving or reading bytes.

use super::file::{Moved, backup};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// One per log; the pump writes, followers read.
#[derive(Debug)]
pub struct Tap {
    path: PathBuf,
    /// Counts rotations. Held while files are renamed, so that a reader never looks in between.
    generation: Mutex<u64>,
    written: AtomicU64,
    dropped: AtomicU64,
    closed: AtomicBool,
    changed: watch::Sender<()>,
}

impl Tap {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            generation: Mutex::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changed: watch::Sender::new(()),
        }
    }

    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    fn generation(&self) -> MutexGuard<'_, u64> {
        // A number cannot be left half changed by a panic.
        self.generation
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs a step that may rotate.
    pub fn rotate_if(&self, step: impl FnOnce() -> io::Result<Moved>) -> io::Result<Moved> {
        let mut generation = self.generation();
        let moved = step()?;
        if moved == Moved::Rotated {
            *generation += 1;
            drop(generation);
            self.changed.send_replace(());
        }
        Ok(moved)
    }

    /// Runs something that replaces the file; it says whether the old one became the first backup.
    pub fn rotate(&self, replace: impl FnOnce() -> io::Result<bool>) -> io::Result<()> {
        let mut generation = self.generation();
        if replace()? {
            *generation += 1;
        }
        Ok(())
    }

    pub fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    pub fn lost(&self, bytes: u64) {
        self.dropped.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes moved since this brain began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Nothing more will be written here.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.send_replace(());
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes when there is more to read.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Opens the file of a generation, wherever rotation has moved it by now; `None`: the newest. Says which it is.
    pub fn open(&self, wanted: Option<u64>) -> io::Result<(File, u64)> {
        let newest = self.generation();
        let wanted = wanted.unwrap_or(*newest).min(*newest);
        let back = u32::try_from(*newest - wanted).unwrap_or(u32::MAX);
        let name = if back == 0 {
            self.path.clone()
        } else {
            backup(&self.path, back)
        };
        match File::open(&name) {
            // Rotated away beyond the last backup: go on with what there is.
            Err(err) if err.kind() == io::ErrorKind::NotFound && back > 0 => {
                Ok((File::open(&self.path)?, *newest))
            }
            opened => Ok((opened?, wanted)),
        }
    }

    #[must_use]
    pub fn newest(&self) -> u64 {
        *self.generation()
    }
}
