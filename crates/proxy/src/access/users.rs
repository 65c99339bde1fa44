//! User files as `htpasswd` writes them: `name:hash[:comment]`, read again when they change.
//!
//! Not here: checking a password (`password`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Files that are kept in mind; their names may come from variables.
const MOST_FILES: usize = 64;
/// A larger file is no user file.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Stored passwords by user.
pub(crate) type Users = HashMap<Vec<u8>, Vec<u8>>;

/// The user files of one core.
#[derive(Debug, Default)]
pub(crate) struct Book {
    files: RefCell<HashMap<PathBuf, (Version, Rc<Users>)>>,
}

/// What changes when the file does.
type Version = (u64, u64, u64, i64, i64, i64, i64);

impl Book {
    /// The users in the file as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Rc<Users>> {
        let meta = std::fs::metadata(path)?;
        let version = (
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        );
        if let Some((known, users)) = self.files.borrow().get(path)
            && *known == version
        {
            return Ok(Rc::clone(users));
        }
        if meta.size() > MOST_BYTES {
            return Err(io::Error::other("the file is too large"));
        }
        let users = Rc::new(parse(&std::fs::read(path)?));
        let mut files = self.files.borrow_mut();
        if files.len() >= MOST_FILES {
            files.clear();
        }
        files.insert(path.to_owned(), (version, Rc::clone(&users)));
        Ok(users)
    }
}

/// The first line of a user counts, as in nginx.
fn parse(text: &[u8]) -> Users {
    let mut users = Users::new();
    for line in text.split(|&byte| byte == b'\n' || byte == b'\r') {
        if line.starts_with(b"#") {
            continue;
        }
        let mut parts = line.splitn(3, |&byte| byte == b':');
        if let (Some(name), Some(stored)) = (parts.next(), parts.next()) {
            users
                .entry(name.to_vec())
                .or_insert_with(|| stored.to_vec());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let users =
            parse(b"# all\nanna:hash:a comment\r\nbert:x\nanna:other\nnothing\n:empty\ncarl:");
        let of = |name: &str| {
            let found = users.get(name.as_bytes());
            found.map(|stored| String::from_utf8_lossy(stored).into_owned())
        };
        assert_eq!(of("anna").as_deref(), Some("hash"));
        assert_eq!(of("bert").as_deref(), Some("x"));
        assert_eq!(of("carl").as_deref(), Some(""));
        assert_eq!(of("nothing"), None);
        assert_eq!(of("# all"), None);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let book = Book::default();
        assert!(book.read(&path).is_err());
        std::fs::write(&path, "anna:1\n").unwrap();
        assert_eq!(book.read(&path).unwrap()[&b"anna"[..]], b"1");
        std::fs::write(&path, "anna:22\n").unwrap();
        assert_eq!(book.read(&path).unwrap()[&b"anna"[..]], b"22");
    }
}
