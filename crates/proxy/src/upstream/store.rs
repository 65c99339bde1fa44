//! Leaves an upstream's answer behind as a file: written aside, and moved to its place once all of it is there.
//!
//! Not here: which answers a location wants stored (`config::model::Store`), or the cache, which is another thing.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::exchange::Exchange;
use super::forward::Job;
use crate::config::{BodyFile, Room, Store};
use crate::conn::record::Record;
use crate::files;
use crate::spool::Spool;

/// An answer on its way into a file.
#[derive(Debug)]
pub(crate) struct Storing {
    spool: Spool,
    target: PathBuf,
    rules: Arc<Store>,
    /// When the upstream says that it was changed.
    modified: Option<SystemTime>,
}

impl Job<'_> {
    /// Begins to store the answer whose head is there, if it is one for that: 200, with a body, and read as fast as it comes.
    pub(super) fn storing(
        &self,
        exchange: &Exchange<'_>,
        record: &Record,
        reads_ahead: bool,
    ) -> Option<Storing> {
        let rules = self.pass.store.as_ref()?;
        let request = exchange.bench.head.on(exchange.bench.input.all());
        let answer = exchange.head();
        if answer.status() != 200 || request.method() == "HEAD" || !reads_ahead {
            return None;
        }
        let scene = self.scene(&request, record);
        let target = match (&rules.path, &self.rules.fallback_files) {
            (Some(path), _) => PathBuf::from(OsString::from_vec(path.value(&scene))),
            (None, Some(files)) => {
                let (folder, rest) = files::place(&files.folder, &scene);
                folder.join(OsString::from_vec(rest))
            }
            (None, None) => return None,
        };
        if !is_file_name(&target) {
            tracing::error!(path = %target.display(), "an answer is not stored: this is no path of a file");
            return None;
        }
        let modified = answer
            .get("last-modified")
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|text| httpdate::parse_http_date(text).ok());
        let room = Room {
            memory: 0,
            file: u64::MAX,
            folder: Arc::clone(&self.pass.buffers.room.folder),
        };
        let quota = &self.generation.config.servers[record.visit.server].quota;
        Some(Storing {
            spool: Spool::new(room, quota.clone(), BodyFile::Clean),
            target,
            rules: Arc::clone(rules),
            modified,
        })
    }
}

impl Exchange<'_> {
    /// Takes down a piece of the answer for whoever keeps it.
    pub(super) fn take_down(&mut self, piece: Range<usize>, is_last: bool) {
        let bytes = &self.bench.answer.all()[piece];
        if let Some(fetch) = &mut self.fetch {
            fetch.take_down(bytes);
            if is_last {
                // Before the client has the end of it: whoever asks after that finds it.
                fetch.complete();
            }
        }
        let Some(storing) = &mut self.storing else {
            return;
        };
        if let Err(full) = storing.spool.append(bytes) {
            let why = trine_service::exit::chain(&full);
            tracing::error!(path = %storing.target.display(), "an answer is not stored: {why}");
            self.storing = None;
        } else if is_last && let Some(storing) = self.storing.take() {
            storing.complete();
        }
    }
}

impl Storing {
    /// All of it is there: it goes to its place.
    fn complete(self) {
        let Self {
            mut spool,
            target,
            rules,
            modified,
        } = self;
        let done = spool.open_named().map_err(io::Error::other);
        let done = done.and_then(|()| {
            spool.hand_over(|file, path| {
                file.set_permissions(fs::Permissions::from_mode(rules.mode))?;
                if let Some(modified) = modified {
                    file.set_times(FileTimes::new().set_modified(modified))?;
                }
                put(path, &target, rules.folder_mode)
            })
        });
        match done {
            Ok(()) => tracing::debug!(path = %target.display(), "an answer was stored"),
            Err(error) => {
                tracing::error!(path = %target.display(), "an answer cannot be stored: {error}");
            }
        }
    }
}

/// Moves a file to its place, which may want folders, and may be on another disk.
fn put(from: &Path, to: &Path, folder_mode: u32) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = to.parent().unwrap_or(Path::new("/"));
            DirBuilder::new()
                .recursive(true)
                .mode(folder_mode)
                .create(folder)?;
            put_there(from, to)
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, to),
        done => done,
    }
}

fn put_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, to),
        done => done,
    }
}

/// Nobody may see half of it: it is copied beside its place first.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let name = from.file_name().unwrap_or_default();
    let mut beside = to.as_os_str().to_owned();
    beside.push(".");
    beside.push(name);
    let beside = PathBuf::from(beside);
    let copied = copy_whole(from, &beside).and_then(|()| fs::rename(&beside, to));
    if copied.is_err() {
        // It is not there if it could not be made.
        let _ = fs::remove_file(&beside);
    }
    copied?;
    fs::remove_file(from)
}

/// With its permissions and its time.
fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let modified = fs::metadata(from)?.modified()?;
    let file = File::options().write(true).open(to)?;
    file.set_times(FileTimes::new().set_modified(modified))
}

/// Whether it can be a file's: it does not end in a folder or climb out of one.
fn is_file_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute()
        && !bytes.ends_with(b"/")
        && !bytes.contains(&0)
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files() {
        for path in ["/a", "/a/b.txt", "/a//b", "/a/./b"] {
            assert!(is_file_name(Path::new(path)), "{path}");
        }
        for path in ["", "a", "/", "/a/", "/a/../b", "/a/..", "/a\0"] {
            assert!(!is_file_name(Path::new(path)), "{path}");
        }
    }

    /// A move over disks is a copy: the same in the end.
    #[test]
    fn a_copy_is_like_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("0000000001"), folder.path().join("to"));
        fs::write(&from, "content").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        let file = File::options().write(true).open(&from).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        copy(&from, &to).unwrap();
        let meta = fs::metadata(&to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        assert_eq!(meta.permissions().mode() & 0o777, 0o640);
        assert_eq!(meta.modified().unwrap(), time);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(copy(&from, &to).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
