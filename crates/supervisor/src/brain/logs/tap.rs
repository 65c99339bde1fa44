//! One log: the outlet that the pump writes to, and what its readers need to know: how often it was rotated, how
//! much was written, and a wake-up. Processes of one program may share one.
//! Not here: pipes (see `pump`), or reading lines (see `tail`).

use super::file::{Moved, backup};
use super::filter::Wanted;
use super::outlet::{Outlet, Scratch};
use super::staging::Staging;
use crate::config::Sink;
use crate::config::extras::LineFormat;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub struct Tap {
    path: PathBuf,
    /// Of the path; see [`mark`].
    mark: u64,
    /// Locked while bytes are moved and files are renamed, so that a reader never looks in between.
    outlet: Mutex<Outlet>,
    /// Counts rotations; changed under the lock only.
    generation: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    closed: AtomicBool,
    changed: watch::Sender<()>,
}

/// A number that differs for almost all different paths, so that one of many is found without comparing all names.
#[must_use]
pub fn mark(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

impl Tap {
    pub fn open(sink: &Sink) -> io::Result<Self> {
        Ok(Self::new(sink, Outlet::open(sink)?))
    }

    /// For a program that runs already: a log file that cannot be opened is tried again and again, like one on a
    /// full disk.
    pub fn open_or_retry(sink: &Sink) -> io::Result<Self> {
        match (Outlet::open(sink), sink) {
            (Err(_), Sink::File(settings)) => {
                Ok(Self::new(sink, Outlet::Unopened(settings.clone())))
            }
            (outlet, _) => Ok(Self::new(sink, outlet?)),
        }
    }

    fn new(sink: &Sink, outlet: Outlet) -> Self {
        Self {
            path: sink.path().to_owned(),
            mark: mark(sink.path()),
            outlet: Mutex::new(outlet),
            generation: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changed: watch::Sender::new(()),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has this path, whose mark is `mark`.
    #[must_use]
    pub fn is_at(&self, path: &Path, mark: u64) -> bool {
        self.mark == mark && self.path == path
    }

    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves some of what waits in a pipe to where it belongs.
    pub(super) fn step(
        &self,
        pipe: BorrowedFd<'_>,
        capacity: usize,
        scratch: &mut Scratch<'_>,
    ) -> io::Result<Moved> {
        let mut outlet = self.outlet();
        let moved = outlet.step(pipe, capacity, scratch)?;
        match moved {
            Moved::Nothing => return Ok(moved),
            Moved::Bytes(count) => drop(self.written.fetch_add(count as u64, Ordering::Relaxed)),
            Moved::Rotated { count } => {
                self.written.fetch_add(count as u64, Ordering::Relaxed);
                self.generation.fetch_add(1, Ordering::Release);
            }
        }
        drop(outlet);
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
        Ok(moved)
    }

    /// How lines are to be written here.
    pub(super) fn line_format(&self) -> LineFormat {
        self.outlet().line_format()
    }

    /// Whether output of which this is wanted is changed on its way here.
    pub fn changes(&self, wanted: Wanted) -> bool {
        !wanted.nothing() || self.line_format() != LineFormat::Raw
    }

    /// Opens the file again with these settings: they, or what lies at the path, may have changed.
    pub fn reopen(&self, sink: &Sink) -> io::Result<()> {
        let outlet = Outlet::open(sink)?;
        *self.outlet() = outlet;
        Ok(())
    }

    /// Writes the next piece of what lies ready there.
    pub(super) fn put(&self, staging: &mut Staging) -> io::Result<Moved> {
        let bytes = staging.output()?;
        let mut outlet = self.outlet();
        let moved = outlet.append(&bytes, &mut |count, place| staging.begin(count, place))?;
        if moved.count() > 0 {
            staging.end()?;
        }
        self.added(outlet, moved)?;
        Ok(moved)
    }

    /// Writes bytes that came another way than straight from a pipe. What cannot be written is counted as lost.
    pub fn append(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut outlet = self.outlet();
            let moved = outlet.append(bytes, &mut |_, _| Ok(()));
            let moved = moved.and_then(|moved| self.added(outlet, moved).map(|()| moved));
            match moved {
                Ok(moved) => bytes = &bytes[moved.count()..],
                Err(_) => return self.lost(bytes.len() as u64),
            }
        }
    }

    /// What follows when something was appended.
    fn added(&self, mut outlet: MutexGuard<'_, Outlet>, moved: Moved) -> io::Result<()> {
        self.written
            .fetch_add(moved.count() as u64, Ordering::Relaxed);
        if let Moved::Rotated { .. } = moved {
            outlet.rotate()?;
            self.generation.fetch_add(1, Ordering::Release);
        }
        drop(outlet);
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
        Ok(())
    }

    /// Empties the log file; what is not one has nothing to empty.
    pub fn clear(&self) -> io::Result<()> {
        match &mut *self.outlet() {
            Outlet::File(log) => log.clear(),
            Outlet::Unopened(_) | Outlet::Plain(_) => Ok(()),
        }
    }

    /// Opens the file again by its path: somebody may have moved it away.
    pub(super) fn reopen_path(&self) -> io::Result<()> {
        match &mut *self.outlet() {
            Outlet::File(log) => log.reopen(),
            Outlet::Unopened(_) | Outlet::Plain(_) => Ok(()),
        }
    }

    /// The path, if old files of it are to be compressed.
    pub(super) fn compresses(&self) -> Option<PathBuf> {
        match &*self.outlet() {
            Outlet::File(log) => log.compresses().map(Path::to_owned),
            Outlet::Unopened(_) | Outlet::Plain(_) => None,
        }
    }

    /// Does something while no file is renamed.
    pub(super) fn holding_still<T>(&self, deed: impl FnOnce() -> T) -> T {
        let _nothing_moves = self.outlet();
        deed()
    }

    pub(super) fn lost(&self, bytes: u64) {
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

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Opens the file of a generation, wherever rotation has moved it by now; `None`: the newest. Says which it is.
    pub fn open_to_read(&self, wanted: Option<u64>) -> io::Result<(File, u64)> {
        let _nothing_moves = self.outlet();
        let newest = self.generation();
        let wanted = wanted.unwrap_or(newest).min(newest);
        let back = u32::try_from(newest - wanted).unwrap_or(u32::MAX);
        let name = if back == 0 {
            self.path.clone()
        } else {
            backup(&self.path, back)
        };
        match File::open(&name) {
            // Rotated away beyond the last backup: go on with what there is.
            Err(err) if err.kind() == io::ErrorKind::NotFound && back > 0 => {
                Ok((File::open(&self.path)?, newest))
            }
            opened => Ok((opened?, wanted)),
        }
    }
}
