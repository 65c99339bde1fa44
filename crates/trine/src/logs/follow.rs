//! A log file as it grows: what is added, over rotation. Not here: what was there before (see `history`).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a followed file is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(100);
const BLOCK_BYTES: usize = 64 * 1024;
/// Between two looks.
const MOST_ROTATIONS: u32 = 100;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    inode: u64,
    /// How far it was read.
    at: u64,
}

impl Log {
    /// From its present end on.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            inode: about.ino(),
            at: about.len(),
        })
    }

    /// The file, and how far it was read.
    pub(super) fn reached(&self) -> io::Result<(File, u64)> {
        Ok((self.file.try_clone()?, self.at))
    }

    /// Gives what was added to `take`; `false` as soon as that says so.
    pub(super) fn copy(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        if !self.rest(&mut take)? {
            return Ok(false);
        }
        match fs::metadata(&self.path) {
            // Renamed away: what came in between, and then the new ones.
            Ok(now) if now.ino() != self.inode => {
                if !self.rest(&mut take)? {
                    return Ok(false);
                }
                for file in self.newer()? {
                    (self.inode, self.file, self.at) = (file.metadata()?.ino(), file, 0);
                    if !self.rest(&mut take)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Ok(now) if now.len() < self.at => {
                self.at = 0; // emptied
                self.rest(&mut take)
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true), // between two renames
            Err(error) => Err(error),
        }
    }

    /// The files that have begun since ours, the oldest first: more than one, if it was full again before we looked.
    fn newer(&self) -> io::Result<Vec<File>> {
        let mut files = vec![File::open(&self.path)?];
        for number in 1..MOST_ROTATIONS {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            let Ok(file) = File::open(name) else { break };
            let inode = file.metadata()?.ino();
            if inode == self.inode {
                files.reverse();
                return Ok(files);
            }
            // Another rotation while we look makes us meet a file twice.
            let met = |known: &File| known.metadata().is_ok_and(|data| data.ino() == inode);
            if !files.iter().any(met) {
                files.push(file);
            }
        }
        // Ours has been compressed or removed by now: there is nothing to count from.
        files.truncate(1);
        Ok(files)
    }

    fn rest(&mut self, take: &mut impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let mut block = vec![0; BLOCK_BYTES];
        self.file.seek(SeekFrom::Start(self.at))?;
        loop {
            let count = self.file.read(&mut block)?;
            if count == 0 {
                return Ok(true);
            }
            self.at += count as u64;
            if !take(&block[..count]) {
                return Ok(false);
            }
        }
    }
}
