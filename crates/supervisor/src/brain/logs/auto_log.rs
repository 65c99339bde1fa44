//! Logs that nobody gave a name: made under a new one in a folder for such, and cleared away with the next start.
//! Not here: which processes have them.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const END: &str = ".log";
const TRIES: usize = 100;

/// Makes an empty file, readable for us alone, whose name begins with `start` and is nobody else's.
pub(in crate::brain) fn make(folder: &Path, start: &str) -> io::Result<PathBuf> {
    let mut last = io::ErrorKind::AlreadyExists.into();
    for try_number in 0..TRIES {
        let random = RandomState::new().hash_one(try_number);
        let path = folder.join(format!("{start}{:08x}{END}", random & 0xffff_ffff));
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(_) => return Ok(path),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => last = err,
            Err(err) => {
                let said = format!("cannot make {}: {err}", path.display());
                return Err(io::Error::new(err.kind(), said));
            }
        }
    }
    Err(last)
}

/// Whether a file is one of a supervisor of this identifier, or an older part of one.
fn is_ours(name: &OsStr, identifier: &str) -> bool {
    let Some((_, rest)) = name
        .to_str()
        .and_then(|name| name.split_once(&format!("---{identifier}-")))
    else {
        return false;
    };
    let Some((random, number)) = rest.split_once(END) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    !random.is_empty()
        && random
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && (number.is_empty() || number.strip_prefix('.').is_some_and(is_number))
}

/// Removes those of earlier runs. What cannot be removed stays, and is counted.
pub(in crate::brain) fn clear(folder: &Path, identifier: &str) -> io::Result<usize> {
    let mut left = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_ours(&entry.file_name(), identifier) {
            left += usize::from(fs::remove_file(entry.path()).is_err());
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_under_new_names_and_cleared_with_their_older_parts() {
        let folder = tempfile::tempdir().unwrap();
        let one = make(folder.path(), "web-stdout---me-").unwrap();
        let other = make(folder.path(), "web-stdout---me-").unwrap();
        assert_ne!(one, other);
        fs::write(format!("{}.1", one.display()), "old").unwrap();
        let foreign = [
            "web-stdout---you-ab.log",
            "notes.log",
            "a---me-b.log.gz",
            "x---me-.log",
        ];
        for name in foreign {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(clear(folder.path(), "me").unwrap(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), foreign.len());
        assert!(make(&folder.path().join("none"), "a").is_err());
    }
}
