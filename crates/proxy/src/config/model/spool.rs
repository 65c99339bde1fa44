//! Where bytes wait that one side sends faster than the other takes them, and how many may.
//!
//! Not here: keeping them (`spool`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::template::Template;

/// Room for one body.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// Bytes in memory.
    pub(crate) memory: usize,
    /// Bytes in a file once the memory is full; 0: there is no file.
    pub(crate) file: u64,
    pub(crate) folder: Arc<SpoolFolder>,
}

/// Where temporary files are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolFolder {
    pub(crate) path: PathBuf,
    /// How many characters of a file's name each level of folders takes. Only files with a name need them.
    pub(crate) levels: Vec<usize>,
}

/// What becomes of the bodies of requests.
#[derive(Debug)]
pub(crate) struct BodyRules {
    pub(crate) room: Room,
    pub(crate) file: BodyFile,
}

/// Whether a body gets a file with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFile {
    Never,
    /// For as long as the request lasts.
    Clean,
    /// It is left behind.
    Keep,
}

/// What waits between clients and upstreams.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    /// Requests are read whole before an upstream is asked.
    pub(crate) requests: bool,
    /// Answers are read on although their client does not take them.
    pub(crate) answers: bool,
    pub(crate) room: Room,
    /// Bytes in a second that are read of an answer; nothing and zero are no limit.
    pub(crate) rate: Option<Template>,
}

/// How many bytes the temporary files of one server may hold together, over all cores.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) most: u64,
    used: AtomicU64,
}

impl BodyRules {
    /// For rules that nobody wrote.
    pub(crate) fn in_memory() -> Self {
        Self {
            room: Room {
                memory: 16 * 1024,
                file: 0,
                folder: Arc::new(SpoolFolder::usual()),
            },
            file: BodyFile::Never,
        }
    }
}

impl Quota {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            most,
            used: AtomicU64::new(0),
        }
    }

    /// Takes so many bytes of it, if there are so many.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl SpoolFolder {
    /// Where nobody says otherwise: `TMPDIR`, else `/var/tmp`, which unlike `/tmp` is on a disk everywhere.
    pub(crate) fn usual() -> Self {
        let path = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
        Self {
            path: path.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from),
            levels: Vec::new(),
        }
    }
}
