//! Compressing old log files on a thread of its own, so that no output waits for it.
//! Not here: rotation (see `file`).
//!
//! A file is found by looking, not by being told: what a killed brain left half done is done after the next rotation.

use super::file::{backup, compressed};
use super::tap::Tap;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// No log keeps more old files than this many that are looked at.
const MOST: u32 = 10_000;
/// This thread comes after all others.
const NICE: i32 = 19;

/// The handle on the thread, which is started when there is something to do and ends with the handle.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    jobs: Option<Sender<Arc<Tap>>>,
}

impl Compressor {
    /// A file of this log was rotated.
    pub(super) fn look_after(&mut self, tap: &Arc<Tap>) {
        if tap.compresses().is_none() {
            return;
        }
        let jobs = self.jobs.get_or_insert_with(|| {
            let (jobs, inbox) = channel::<Arc<Tap>>();
            let started = std::thread::Builder::new()
                .name("log-gzip".into())
                .spawn(move || {
                    let _ = trine_sys::process::set_own_niceness(NICE);
                    for tap in inbox {
                        work(&tap);
                    }
                });
            if let Err(err) = started {
                tracing::error!("old logs are not compressed: {err}");
            }
            jobs
        });
        let _ = jobs.send(tap.clone());
    }
}

fn work(tap: &Tap) {
    let Some(path) = tap.compresses() else { return };
    // Until nothing is left: meanwhile there may have been another rotation.
    while let Some(old) = first_plain(&path) {
        if let Err(err) = compress(&old, &path, tap) {
            tracing::error!("cannot compress {}: {err}", old.display());
            return;
        }
    }
}

/// The first old file that is not compressed.
fn first_plain(path: &Path) -> Option<PathBuf> {
    (1..MOST)
        .take_while(|number| backup(path, *number).exists() || compressed(path, *number).exists())
        .map(|number| backup(path, number))
        .find(|name| name.exists())
}

fn compress(old: &Path, path: &Path, tap: &Tap) -> io::Result<()> {
    let mut from = File::open(old)?;
    let (dev, ino) = from.metadata().map(|data| (data.dev(), data.ino()))?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".gz.new");
    let fresh = PathBuf::from(fresh);
    let mut to = GzEncoder::new(File::create(&fresh)?, Compression::default());
    io::copy(&mut from, &mut to)?;
    to.finish()?;
    // By now it may have another number, or be gone.
    tap.holding_still(|| {
        let is_it = |name: &PathBuf| {
            fs::metadata(name).is_ok_and(|data| (data.dev(), data.ino()) == (dev, ino))
        };
        match (1..MOST).find(|number| is_it(&backup(path, *number))) {
            Some(number) => {
                fs::rename(&fresh, compressed(path, number))?;
                fs::remove_file(backup(path, number))
            }
            None => fs::remove_file(&fresh),
        }
    })
}
