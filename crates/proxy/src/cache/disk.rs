//! The files behind a cache: one for each answer, named by the hash of its key, so that no index has to be read at the start.
//!
//! A key that varies has a folder with all its variants beside the file of the last one. A file is written beside its place and then renamed, so that whoever is killed leaves a whole one or none. It is read
//! only if all its lengths add up. Not here: which answers are worth keeping (`look`).

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, FileTimes};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use sha1::{Digest as _, Sha1};
use trine_cache::Fields;
use trine_cache::store::vary_key;

use super::purge::Purge;
use super::zone::lock;
use super::{Entry, file};
use crate::config::Identity;

/// A folder is not looked through more often than this only because time passes.
const REST: Duration = Duration::from_secs(60);

/// How much a folder may hold, and for how long: the fields of [`Disk`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) most: u64,
    pub(crate) least_free: u64,
    pub(crate) inactive: Duration,
}

/// A folder with kept answers.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    /// How many characters of a name each level of folders takes, as in nginx's `levels=1:2`.
    pub(crate) levels: Vec<usize>,
    /// Bytes of all files together.
    pub(crate) most: u64,
    /// Bytes that stay free on the file system.
    pub(crate) least_free: u64,
    /// A file that was not read for this long goes.
    pub(crate) inactive: Duration,
    /// Bytes written since the folder was last looked through.
    written: AtomicU64,
    tidying: AtomicBool,
    tidied: Mutex<Option<Instant>>,
    /// Numbers files that are being written.
    next: AtomicU64,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, levels: Vec<usize>, bounds: Bounds) -> Self {
        let Bounds {
            most,
            least_free,
            inactive,
        } = bounds;
        Self {
            folder,
            levels,
            most,
            least_free,
            inactive,
            written: AtomicU64::new(u64::MAX / 2),
            tidying: AtomicBool::new(false),
            tidied: Mutex::new(Some(Instant::now())),
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

    fn path(&self, key: &[u8]) -> PathBuf {
        let name = hex(key);
        let levels: usize = self.levels.iter().map(|level| level + 1).sum();
        let length = self.folder.as_os_str().len() + levels + 1 + name.len();
        let mut path = PathBuf::with_capacity(length);
        path.push(&self.folder);
        let mut end = name.len();
        for level in &self.levels {
            let start = end.saturating_sub(*level);
            path.push(&name[start..end]);
            end = start;
        }
        path.push(name);
        path
    }

    /// What is kept for a request, if its file is whole and was used not too long ago.
    pub(super) fn load(&self, key: &[u8], request: Fields<'_>) -> Option<Entry> {
        let place = self.path(key);
        let entry = read(&place, key, self.inactive)?;
        let variant = vary_key(&entry.kept.vary, request);
        if variant == entry.vary_key {
            return Some(entry);
        }
        let other = read(&variant_path(&place, &variant), key, self.inactive)?;
        (other.vary_key == variant).then_some(other)
    }

    /// Notes that an answer is still asked for; memory tells it from time to time.
    pub(super) fn touch(&self, entry: &Entry) {
        let place = self.path(&entry.key);
        for path in [variant_path(&place, &entry.vary_key), place] {
            if let Ok(file) = fs::File::open(path) {
                note_use(&file);
            }
        }
    }

    /// Writes an answer, on another thread; it goes again if it is not `current` any more by then.
    pub(super) fn store(
        self: &Arc<Self>,
        entry: Arc<Entry>,
        current: impl FnOnce(&[u8]) -> bool + Send + 'static,
    ) {
        let disk = Arc::clone(self);
        // A pool thread that lasts as long as one file.
        drop(tokio::task::spawn_blocking(move || {
            match disk.write(&entry) {
                Ok(()) if !current(&entry.key) => _ = disk.forget(&entry.key),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(folder = %disk.folder.display(), "cannot keep an answer: {error}");
                }
            }
            disk.tidy();
        }));
    }

    pub(super) fn write(&self, entry: &Entry) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.path(&entry.key);
        let folder = place.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let beside = folder.join(format!("new.{}.{number}", std::process::id()));
        let written = (|| {
            let mut file = fs::File::create(&beside)?;
            file::write(entry, &mut file)?;
            if !entry.vary_key.is_empty() {
                let variant = variant_path(&place, &entry.vary_key);
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

    /// Removes the files of a key.
    pub(super) fn forget(&self, key: &[u8]) -> bool {
        forget_at(&self.path(key))
    }

    /// Removes what is meant, and adds its keys to `gone`. Reads the front of every file.
    pub(super) fn purge(&self, purge: &Purge, gone: &mut HashSet<Vec<u8>>) {
        let mut files = Vec::new();
        gather(&self.folder, 0, &mut files);
        for (_, _, path) in files {
            let Some(entry) = file::read_front(&path).filter(|entry| purge.means(entry)) else {
                continue;
            };
            if fs::remove_file(&path).is_ok() {
                gone.insert(entry.key);
            }
        }
    }

    /// Adds the keys that begin so. Reads the front of every file.
    pub(super) fn keys(&self, prefix: &[u8], all: &mut BTreeSet<Vec<u8>>) {
        let mut files = Vec::new();
        gather(&self.folder, 0, &mut files);
        let entries = files
            .iter()
            .filter_map(|(_, _, path)| file::read_front(path));
        all.extend(
            entries
                .map(|entry| entry.key)
                .filter(|key| key.starts_with(prefix)),
        );
    }

    /// Looks through the folder, once a twentieth of its bound was written or it was not looked through for long.
    fn tidy(&self) {
        let share = (self.most / 20).max(1 << 20);
        let tidied = || lock(&self.tidied).is_none_or(|at| at.elapsed() > self.inactive / 2 + REST);
        if (self.written.load(Ordering::Relaxed) < share && !tidied())
            || self.tidying.swap(true, Ordering::Acquire)
        {
            return;
        }
        self.written.store(0, Ordering::Relaxed);
        *lock(&self.tidied) = Some(Instant::now());
        let mut files = Vec::new();
        gather(&self.folder, 0, &mut files);
        // The ones that were not read for longest come first.
        files.sort_unstable_by_key(|(used, ..)| *used);
        let now = SystemTime::now();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        let mut lacking = self.lacking();
        for (used, size, path) in files {
            let old = now
                .duration_since(used)
                .is_ok_and(|since| since > self.inactive);
            if bytes <= self.most && lacking == 0 && !old {
                break;
            }
            if fs::remove_file(path).is_ok() {
                bytes = bytes.saturating_sub(size);
                lacking = lacking.saturating_sub(size);
            }
        }
        self.tidying.store(false, Ordering::Release);
    }

    /// How many bytes more should be free.
    fn lacking(&self) -> u64 {
        if self.least_free == 0 {
            return 0;
        }
        let free = nix::sys::statvfs::statvfs(&self.folder).map_or(u64::MAX, |about| {
            about.blocks_available() * about.fragment_size()
        });
        self.least_free.saturating_sub(free)
    }
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<(SystemTime, u64, PathBuf)>) {
    let Ok(names) = fs::read_dir(folder) else {
        return;
    };
    for name in names.flatten() {
        let Ok(about) = name.metadata() else { continue };
        if about.is_dir() {
            if depth < 4 {
                gather(&name.path(), depth + 1, files);
            }
            continue;
        }
        files.push((used(&about), about.len(), name.path()));
    }
}

/// A file that is whole, is for this key, and was used not longer ago than that. What is broken or too old is removed.
fn read(path: &Path, key: &[u8], inactive: Duration) -> Option<Entry> {
    let mut open = fs::File::open(path).ok()?;
    let about = open.metadata().ok()?;
    match used(&about).elapsed() {
        Ok(since) if since > inactive => {
            let _gone = fs::remove_file(path);
            return None;
        }
        Ok(since) if since > inactive / 4 => note_use(&open),
        _ => {}
    }
    let bytes = match whole(&mut open, about.len()) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(file = %path.display(), "cannot read a kept answer: {error}");
            return None;
        }
    };
    let entry = file::decode(bytes);
    if entry.is_none() {
        tracing::warn!(file = %path.display(), "a kept answer cannot be read and is removed");
        let _gone = fs::remove_file(path);
    }
    entry.filter(|entry| entry.key == key)
}

/// What is in a file of this size, and by one call that says so, because there would be room for another byte.
fn whole(file: &mut fs::File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0).saturating_add(1)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                if filled == bytes.len() - 1 {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn note_use(file: &fs::File) {
    let now = FileTimes::new().set_accessed(SystemTime::now());
    // A file system without times only forgets sooner.
    let _ = file.set_times(now);
}

/// When a file was last asked for. With relatime the kernel notes only one reading a day, so `touch` does.
fn used(about: &fs::Metadata) -> SystemTime {
    let times = [about.accessed().ok(), about.modified().ok()];
    times
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Where the variants of a key lie: in a folder beside its last one, so that all of them can be named.
fn variant_path(place: &Path, variant: &[u8]) -> PathBuf {
    place.with_extension("variants").join(hex(variant))
}

fn forget_at(place: &Path) -> bool {
    let variants = fs::remove_dir_all(place.with_extension("variants")).is_ok();
    fs::remove_file(place).is_ok() || variants
}

/// The hash of a key in hexadecimal. No formatting machinery: it is wanted for every request that memory does not answer.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    let hash = Sha1::digest(bytes);
    let mut name = String::with_capacity(2 * hash.len());
    for &byte in hash.iter() {
        name.push(digit(byte >> 4));
        name.push(digit(byte));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::sample;

    fn entry(key: &str, request: &[(&[u8], &[u8])], vary: &str) -> Entry {
        sample(key, request, vary, b"hello")
    }

    fn disk(folder: &Path) -> Disk {
        let bounds = Bounds {
            most: 1 << 30,
            least_free: 0,
            inactive: Duration::from_secs(600),
        };
        Disk::new(folder.to_owned(), vec![1, 2], bounds)
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
        let place = disk.path(b"k");
        for cut in [0, 5, 20, 60, 120] {
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
    fn what_was_not_used_for_long_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(dir.path());
        let sample = entry("k", &[], "");
        disk.write(&sample).unwrap();
        let place = disk.path(b"k");
        let age = |seconds| {
            let then = SystemTime::now() - Duration::from_secs(seconds);
            let times = FileTimes::new().set_accessed(then).set_modified(then);
            fs::File::open(&place).unwrap().set_times(times).unwrap();
        };
        age(590);
        assert!(disk.load(b"k", Fields(&[])).is_some());
        age(610);
        disk.touch(&sample);
        assert!(disk.load(b"k", Fields(&[])).is_some());
        age(610);
        assert!(disk.load(b"k", Fields(&[])).is_none());
        assert!(!place.exists());
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
