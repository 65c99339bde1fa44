//! The files behind a cache: one for each answer, named by the hash of its key, so that no index has to be read at the start.
//!
//! A file is written beside its place and then renamed, so that whoever is killed leaves a whole one or none. It is read
//! only if all its lengths add up. Not here: which answers are worth keeping (`look`).

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use trine_cache::store::vary_key;
use trine_cache::{Fields, Kept};

use super::Entry;
use crate::config::Identity;

/// The first line of a file; another form of it gets another number.
const MAGIC: &[u8] = b"trine cache 1\n";

/// A folder with kept answers.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    /// How many characters of a name each level of folders takes, as in nginx's `levels=1:2`.
    pub(crate) levels: Vec<usize>,
    /// Bytes of all files together.
    pub(crate) most: u64,
    /// A file that was not read for this long goes.
    pub(crate) inactive: Duration,
    /// Bytes written since the folder was last looked through.
    written: AtomicU64,
    tidying: AtomicBool,
    /// Numbers files that are being written.
    next: AtomicU64,
}

/// What stands before the bytes.
#[derive(Serialize, Deserialize)]
struct Card {
    kept: Kept,
    key: usize,
    vary_key: usize,
    head: usize,
    body: usize,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, levels: Vec<usize>, most: u64, inactive: Duration) -> Self {
        Self {
            folder,
            levels,
            most,
            inactive,
            written: AtomicU64::new(u64::MAX / 2),
            tidying: AtomicBool::new(false),
            next: AtomicU64::new(0),
        }
    }

    /// Makes the folder, for whoever will serve.
    pub(crate) fn prepare(&self, user: Option<&Identity>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        match user {
            Some(user) => std::os::unix::fs::chown(&self.folder, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    fn path(&self, key: &[u8], variant: &[u8]) -> PathBuf {
        let mut hash = Sha1::new();
        hash.update(key);
        if !variant.is_empty() {
            hash.update([0]);
            hash.update(variant);
        }
        let name: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut path = self.folder.clone();
        let mut end = name.len();
        for level in &self.levels {
            let start = end.saturating_sub(*level);
            path.push(&name[start..end]);
            end = start;
        }
        path.push(name);
        path
    }

    /// What is kept for a request, if its file is whole.
    pub(super) fn load(&self, key: &[u8], request: Fields<'_>) -> Option<Entry> {
        let entry = read(&self.path(key, b""), key)?;
        let variant = vary_key(&entry.kept.vary, request);
        if variant == entry.vary_key {
            return Some(entry);
        }
        let other = read(&self.path(key, &variant), key)?;
        (other.vary_key == variant).then_some(other)
    }

    /// Writes an answer, on another thread.
    pub(super) fn store(self: &Arc<Self>, entry: Arc<Entry>) {
        let disk = Arc::clone(self);
        // A pool thread that lasts as long as one file.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = disk.write(&entry) {
                tracing::error!(folder = %disk.folder.display(), "cannot keep an answer: {error}");
            }
            disk.tidy();
        }));
    }

    fn write(&self, entry: &Entry) -> io::Result<()> {
        let card = serde_json::to_vec(&Card {
            kept: entry.kept.clone(),
            key: entry.key.len(),
            vary_key: entry.vary_key.len(),
            head: entry.head.len(),
            body: entry.body.len(),
        })?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.path(&entry.key, b"");
        let folder = place.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let beside = folder.join(format!("new.{}.{number}", std::process::id()));
        let written = (|| {
            let mut file = fs::File::create(&beside)?;
            let mut front = MAGIC.to_vec();
            front.extend_from_slice(&card);
            front.push(b'\n');
            for part in [
                &front[..],
                &entry.key,
                &entry.vary_key,
                &entry.head,
                &entry.body,
            ] {
                file.write_all(part)?;
            }
            if !entry.vary_key.is_empty() {
                let variant = self.path(&entry.key, &entry.vary_key);
                fs::create_dir_all(variant.parent().unwrap_or(&self.folder))?;
                let second = beside.with_extension(format!("{number}.variant"));
                fs::hard_link(&beside, &second)?;
                fs::rename(&second, variant)?;
            }
            fs::rename(&beside, &place)
        })();
        if written.is_err() {
            let _gone = fs::remove_file(&beside);
        }
        self.written
            .fetch_add(entry.cost() as u64, Ordering::Relaxed);
        written
    }

    /// Removes the files of a key that can be named; variants that only other request fields lead to go unused.
    pub(super) fn forget(&self, key: &[u8]) -> bool {
        let place = self.path(key, b"");
        if let Some(entry) = read(&place, key)
            && !entry.vary_key.is_empty()
        {
            let _gone = fs::remove_file(self.path(key, &entry.vary_key));
        }
        fs::remove_file(place).is_ok()
    }

    /// Looks through the folder, once a twentieth of its bound was written.
    fn tidy(&self) {
        let share = (self.most / 20).max(1 << 20);
        if self.written.load(Ordering::Relaxed) < share
            || self.tidying.swap(true, Ordering::Acquire)
        {
            return;
        }
        self.written.store(0, Ordering::Relaxed);
        let mut files = Vec::new();
        gather(&self.folder, 0, &mut files);
        // The ones that were read last come first.
        files.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let oldest = SystemTime::now() - self.inactive;
        let mut bytes = 0;
        for (used, size, path) in files {
            bytes += size;
            if bytes > self.most || used < oldest {
                let _gone = fs::remove_file(path);
            }
        }
        self.tidying.store(false, Ordering::Release);
    }
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<(SystemTime, u64, PathBuf)>) {
    let Ok(names) = fs::read_dir(folder) else {
        return;
    };
    for name in names.flatten() {
        let Ok(about) = name.metadata() else { continue };
        if about.is_dir() {
            if depth < 3 {
                gather(&name.path(), depth + 1, files);
            }
            continue;
        }
        // With relatime a file that is read has an access time of at most a day ago.
        let used = about
            .accessed()
            .ok()
            .max(about.modified().ok())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        files.push((used, about.len(), name.path()));
    }
}

fn read(path: &Path, key: &[u8]) -> Option<Entry> {
    let bytes = fs::read(path).ok()?;
    let entry = decode(&bytes);
    if entry.is_none() {
        tracing::warn!(file = %path.display(), "a kept answer cannot be read and is removed");
        let _gone = fs::remove_file(path);
    }
    entry.filter(|entry| entry.key == key)
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = memchr::memchr(b'\n', rest)?;
    let (card, rest) = rest.split_at(end);
    let card: Card = serde_json::from_slice(card).ok()?;
    let mut rest = rest.get(1..)?;
    let mut take = |length: usize| {
        let part = rest.get(..length)?.to_vec();
        rest = rest.get(length..)?;
        Some(part)
    };
    let entry = Entry {
        key: take(card.key)?,
        vary_key: take(card.vary_key)?,
        head: take(card.head)?,
        body: take(card.body)?.into(),
        kept: card.kept,
    };
    rest.is_empty().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::sample;

    fn entry(key: &str, request: &[(&[u8], &[u8])], vary: &str) -> Entry {
        sample(key, request, vary, b"hello")
    }

    fn disk(folder: &Path) -> Disk {
        Disk::new(
            folder.to_owned(),
            vec![1, 2],
            1 << 30,
            Duration::from_secs(600),
        )
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        let a: [(&[u8], &[u8]); 1] = [(b"accept", b"a")];
        let b: [(&[u8], &[u8]); 1] = [(b"accept", b"b")];
        disk.write(&entry("k", &a, "Accept")).unwrap();
        disk.write(&entry("k", &b, "Accept")).unwrap();
        for request in [&a, &b] {
            let found = disk.load(b"k", Fields(&request[..])).unwrap();
            assert_eq!(found.body, &b"hello"[..]);
            assert_eq!(found.field("a"), Some(&b"b"[..]));
        }
        assert!(disk.load(b"k", Fields(&[])).is_none());
        assert!(disk.load(b"other", Fields(&[])).is_none());
        assert!(disk.forget(b"k"));
        assert!(disk.load(b"k", Fields(&b)).is_none());
    }

    #[test]
    fn a_torn_file_is_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        let place = disk.path(b"k", b"");
        for cut in [0, 5, 20, 100, 200] {
            disk.write(&entry("k", &[], "")).unwrap();
            let whole = fs::read(&place).unwrap();
            assert!(cut < whole.len(), "{}", whole.len());
            fs::write(&place, &whole[..cut]).unwrap();
            assert!(disk.load(b"k", Fields(&[])).is_none(), "{cut}");
            assert!(!place.exists());
        }
        disk.write(&entry("k", &[], "")).unwrap();
        let mut longer = fs::read(&place).unwrap();
        longer.push(b'x');
        fs::write(&place, longer).unwrap();
        assert!(disk.load(b"k", Fields(&[])).is_none());
    }

    #[test]
    fn the_folder_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = disk(dir.path());
        disk.most = 2000;
        for number in 0..50 {
            disk.write(&entry(&format!("k{number}"), &[], "")).unwrap();
        }
        disk.tidy();
        let mut files = Vec::new();
        gather(dir.path(), 0, &mut files);
        let bytes: u64 = files.iter().map(|file| file.1).sum();
        assert!(bytes <= 2000 && bytes > 1000, "{bytes}");
    }
}
