//! A body that waits: in memory first, then in a file without a name.
//!
//! Bytes go in at the end and are read from any place, so that a request can be sent again. They are written to the
//! page cache from the core's own thread, a piece at a time (docs/adr/0015). Not here: how much room a location gives
//! (`config::model`), and who fills and empties it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use trine_sys::file::OFlag;

use crate::config::{BodyFile, Identity, Quota, Room, SpoolFolder};

/// Numbers files that get a name, over all cores.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The bytes of one body.
#[derive(Debug)]
pub(crate) struct Spool {
    room: Room,
    quota: Option<Arc<Quota>>,
    /// What happens with the file's name, if it gets one.
    named: BodyFile,
    memory: Vec<u8>,
    file: Option<Backing>,
    in_file: u64,
    /// What found no room any more; nothing is taken after that.
    tail: Vec<u8>,
    full: bool,
}

#[derive(Debug)]
struct Backing {
    file: File,
    path: Option<PathBuf>,
}

/// Why no more fits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Full {
    #[error("it may keep no more of one body")]
    Room,
    #[error("the server's temporary files hold {0} bytes, which is as many as they may")]
    Quota(u64),
    #[error("cannot write a temporary file in {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Spool {
    pub(crate) fn new(room: Room, quota: Option<Arc<Quota>>, named: BodyFile) -> Self {
        let memory = if named == BodyFile::Never {
            room.memory
        } else {
            0
        };
        Self {
            room: Room { memory, ..room },
            quota,
            named,
            memory: Vec::new(),
            file: None,
            in_file: 0,
            tail: Vec::new(),
            full: false,
        }
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> u64 {
        self.memory.len() as u64 + self.in_file + self.tail.len() as u64
    }

    /// Whether there is room for another piece, in a file too if it `spills`.
    pub(crate) fn has_room(&self, spills: bool) -> bool {
        let in_memory = self.in_file == 0 && self.memory.len() < self.room.memory;
        !self.full && (in_memory || (spills && self.in_file < self.room.file))
    }

    /// Takes a piece into memory, even if that is a little more than there is room for. For as long as nothing else is done
    /// with pieces.
    pub(crate) fn append_to_memory(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
    }

    /// Takes a piece, all of it in any case.
    ///
    /// # Errors
    /// It did not fit where it belongs: nothing more may be put in behind it.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let room = match self.in_file {
            0 => self.room.memory.saturating_sub(self.memory.len()),
            _ => 0,
        };
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        self.memory.extend_from_slice(now);
        if later.is_empty() {
            return Ok(());
        }
        self.spill(later).map_err(|(written, full)| {
            self.tail.extend_from_slice(&later[written..]);
            self.full = true;
            full
        })
    }

    /// Appends to the file. With an error comes how much was written before.
    fn spill(&mut self, bytes: &[u8]) -> Result<(), (usize, Full)> {
        let length = bytes.len() as u64;
        if self.in_file + length > self.room.file {
            return Err((0, Full::Room));
        }
        if let Some(quota) = &self.quota
            && !quota.take(length)
        {
            return Err((0, Full::Quota(quota.most)));
        }
        let mut written = 0;
        let done = self.open().and_then(|()| {
            let Some(backing) = &self.file else {
                return Ok(());
            };
            while written < bytes.len() {
                let at = self.in_file + written as u64;
                match backing.file.write_at(&bytes[written..], at) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        self.in_file += written as u64;
        done.map_err(|source| {
            if let Some(quota) = &self.quota {
                quota.give_back((bytes.len() - written) as u64);
            }
            let path = self.room.folder.path.clone();
            (written, Full::Disk { path, source })
        })
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(match self.named {
                BodyFile::Never => Backing {
                    file: unnamed(&self.room.folder.path)?,
                    path: None,
                },
                BodyFile::Clean | BodyFile::Keep => named(&self.room.folder)?,
            });
        }
        Ok(())
    }

    /// Makes the file although nothing is in it, if it is one with a name.
    pub(crate) fn open_named(&mut self) -> Result<(), Full> {
        if self.named == BodyFile::Never {
            return Ok(());
        }
        self.open().map_err(|source| Full::Disk {
            path: self.room.folder.path.clone(),
            source,
        })
    }

    /// Gives the file with its name away: `take` moves it elsewhere, and it is nobody's temporary file after that.
    pub(crate) fn hand_over(
        &mut self,
        take: impl FnOnce(&File, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(Backing {
            file,
            path: Some(path),
        }) = &self.file
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        take(file, path)?;
        self.named = BodyFile::Keep;
        Ok(())
    }

    /// Reads what there is from `at` on; 0 at the end.
    pub(crate) fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let first = self.memory.len() as u64;
        if at < first {
            return Ok(copy(&self.memory, at, out));
        }
        let at = at - first;
        let Some(backing) = self.file.as_ref().filter(|_| at < self.in_file) else {
            return Ok(copy(&self.tail, at - self.in_file.min(at), out));
        };
        let left = usize::try_from(self.in_file - at).unwrap_or(usize::MAX);
        let most = left.min(out.len());
        loop {
            match backing.file.read_at(&mut out[..most], at) {
                Ok(0) if most > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// All of it, if it is in memory.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        (self.in_file == 0 && self.tail.is_empty()).then_some(&self.memory)
    }

    /// The name of its file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref()?.path.as_deref()
    }

    /// Everything in it was used: all the room is there again.
    pub(crate) fn reset(&mut self) {
        self.memory.clear();
        self.tail.clear();
        self.full = false;
        if self.in_file == 0 {
            return;
        }
        // If this fails the bytes are written over, or go with the file.
        let _ = self.file.as_ref().map(|backing| backing.file.set_len(0));
        if let Some(quota) = &self.quota {
            quota.give_back(self.in_file);
        }
        self.in_file = 0;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(quota) = &self.quota {
            quota.give_back(self.in_file);
        }
        if self.named == BodyFile::Clean
            && let Some(path) = self.path()
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(path = %path.display(), "cannot remove a temporary file: {error}");
        }
    }
}

/// Makes the folder, for whoever will serve.
pub(crate) fn prepare(folder: &SpoolFolder, user: Option<&Identity>) -> io::Result<()> {
    if folder.path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder.path)?;
    match user {
        Some(user) => std::os::unix::fs::chown(&folder.path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

fn copy(from: &[u8], at: u64, out: &mut [u8]) -> usize {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let rest = from.get(at..).unwrap_or_default();
    let count = rest.len().min(out.len());
    out[..count].copy_from_slice(&rest[..count]);
    count
}

/// A file that nobody else can find and that goes with its last descriptor.
fn unnamed(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options
        .clone()
        .custom_flags(OFlag::O_TMPFILE.bits())
        .open(folder)
    {
        // Not every file system can do it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory
            ) =>
        {
            let (file, path) = create(|| Ok(folder.join(format!(".trine-{}", next()))))?;
            fs::remove_file(path)?;
            Ok(file)
        }
        done => done,
    }
}

/// A file as nginx names it: ten digits, the last of which name the folders that it is in.
fn named(folder: &SpoolFolder) -> io::Result<Backing> {
    let (file, path) = create(|| {
        let name = format!("{:010}", next());
        let mut path = folder.path.clone();
        let mut end = name.len();
        for level in &folder.levels {
            let start = end.saturating_sub(*level);
            path.push(&name[start..end]);
            end = start;
        }
        if !folder.levels.is_empty() {
            fs::create_dir_all(&path)?;
        }
        path.push(name);
        Ok(path)
    })?;
    Ok(Backing {
        file,
        path: Some(path),
    })
}

fn next() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes a file by the first of these names that is free.
fn create(mut name: impl FnMut() -> io::Result<PathBuf>) -> io::Result<(File, PathBuf)> {
    loop {
        let path = name()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|file| (file, path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(path: &Path, memory: usize, file: u64) -> Room {
        Room {
            memory,
            file,
            folder: Arc::new(SpoolFolder {
                path: path.to_owned(),
                levels: vec![1, 2],
            }),
        }
    }

    fn all(spool: &Spool) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match spool.read_at(bytes.len() as u64, &mut buffer).unwrap() {
                0 => return bytes,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn memory_file_and_what_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(room(folder.path(), 10, 20), None, BodyFile::Never);
        spool.append(b"0123456").unwrap();
        assert_eq!(spool.in_memory(), Some(&b"0123456"[..]));
        assert!(spool.has_room(true));
        spool.append(b"789abcdef").unwrap();
        assert_eq!(spool.in_memory(), None);
        assert_eq!(all(&spool), b"0123456789abcdef");
        let full = spool.append(b"ghijklmnopqrstuvwxyz").unwrap_err();
        assert!(matches!(full, Full::Room), "{full}");
        assert_eq!(all(&spool), b"0123456789abcdefghijklmnopqrstuvwxyz");
        assert_eq!(spool.len(), 36);
        assert!(!spool.has_room(true));
        spool.reset();
        assert_eq!((spool.len(), all(&spool)), (0, vec![]));
        assert!(spool.has_room(true));
        spool.append(&[b'x'; 25]).unwrap();
        assert_eq!(all(&spool), [b'x'; 25]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_quota_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let quota = Arc::new(Quota::new(100));
        let new = || {
            Spool::new(
                room(folder.path(), 0, 1000),
                Some(Arc::clone(&quota)),
                BodyFile::Never,
            )
        };
        let (mut one, mut two) = (new(), new());
        one.append(&[1; 60]).unwrap();
        let full = two.append(&[2; 60]).unwrap_err();
        assert!(matches!(full, Full::Quota(100)), "{full}");
        assert_eq!(all(&two), [2; 60]);
        drop(one);
        two.reset();
        two.append(&[2; 100]).unwrap();
        drop(two);
        assert!(quota.take(100) && !quota.take(1));
    }

    #[test]
    fn a_folder_that_is_not_there() {
        let mut spool = Spool::new(room(Path::new("/nowhere"), 1, 9), None, BodyFile::Never);
        let full = spool.append(b"ab").unwrap_err();
        assert_eq!(
            full.to_string(),
            "cannot write a temporary file in /nowhere"
        );
        assert_eq!(all(&spool), b"ab");
    }

    #[test]
    fn names() {
        let folder = tempfile::tempdir().unwrap();
        let new = |named| Spool::new(room(folder.path(), 9, 9), None, named);
        let (mut clean, mut kept) = (new(BodyFile::Clean), new(BodyFile::Keep));
        clean.append(b"ab").unwrap();
        kept.open_named().unwrap();
        let path = |spool: &Spool| spool.path().unwrap().to_owned();
        let (gone, left) = (path(&clean), path(&kept));
        assert_eq!(fs::read(&gone).unwrap(), b"ab");
        let name = gone.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            gone,
            folder.path().join(&name[9..]).join(&name[7..9]).join(name)
        );
        drop((clean, kept));
        assert!(!gone.exists() && left.exists());
    }
}
