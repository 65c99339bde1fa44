//! Where something stands: file, line, column, and the path of keys that leads there.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a configuration, to say where a problem is. Cheap to make and to go down from.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    key: String,
    line: u32,
    column: u32,
}

/// A file and where its keys stand.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) positions: HashMap<String, Position>,
    /// Keys that stand in another file than `file`.
    pub(crate) elsewhere: HashMap<String, PathBuf>,
}

/// Line and column from 1; 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    /// For readers of other formats. Unknown numbers are 0; `key` may be empty.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, line: u32, column: u32, key: impl Into<String>) -> Self {
        let source = Source {
            file: file.into(),
            ..Source::default()
        };
        Self {
            source: Arc::new(source),
            key: key.into(),
            line,
            column,
        }
    }

    /// A place with keys below it, each with the place of its own that it was found at.
    #[must_use]
    pub fn with_keys<'a>(self, keys: impl Iterator<Item = (&'a str, &'a Self)>) -> Self {
        let mut source = Source {
            file: self.file().to_owned(),
            ..Source::default()
        };
        for (name, at) in keys {
            let path = join_key(&self.key, name);
            if at.file() != self.file() {
                source.elsewhere.insert(path.clone(), at.file().to_owned());
            }
            let (line, column) = (at.line, at.column);
            source.positions.insert(path, Position { line, column });
        }
        Self {
            source: Arc::new(source),
            ..self
        }
    }

    /// The file as a whole.
    #[must_use]
    pub fn file_only(file: impl Into<PathBuf>) -> Self {
        Self::new(file, 0, 0, "")
    }

    pub(crate) fn root(source: Arc<Source>) -> Self {
        let at = source.positions.get("").copied().unwrap_or_default();
        Self {
            source,
            key: String::new(),
            line: at.line,
            column: at.column,
        }
    }

    /// The key `name` below this one; if it is not in the file, the position stays this one's.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.go(join_key(&self.key, name))
    }

    /// The list item number `index` (from 0) below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.go(join_index(&self.key, index))
    }

    /// The place of a whole key path below this one; its nearest parent's position if it is not in the file.
    pub(crate) fn descendant(&self, path: &str) -> Self {
        let mut known = path;
        loop {
            if let Some(at) = self.source.positions.get(known) {
                return Self {
                    key: path.to_owned(),
                    ..self.moved_to(*at)
                };
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None => {
                    return Self {
                        key: path.to_owned(),
                        ..self.clone()
                    };
                }
            }
        }
    }

    pub(crate) fn moved_to(&self, at: Position) -> Self {
        Self {
            line: at.line,
            column: at.column,
            ..self.clone()
        }
    }

    fn go(&self, key: String) -> Self {
        let known = self.source.positions.get(&key).copied();
        let at = known.unwrap_or(Position {
            line: self.line,
            column: self.column,
        });
        Self {
            source: Arc::clone(&self.source),
            key,
            line: at.line,
            column: at.column,
        }
    }

    #[must_use]
    pub fn file(&self) -> &Path {
        self.source
            .elsewhere
            .get(&self.key)
            .unwrap_or(&self.source.file)
    }

    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }

    /// `servers[0].listen`; empty for the file as a whole.
    #[must_use]
    pub fn key_path(&self) -> &str {
        &self.key
    }

    /// Whether this place, or one below it, is `other`.
    #[must_use]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.file() == other.file()
            && other.key.strip_prefix(&self.key).is_some_and(|rest| {
                self.key.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
    }
}

pub(crate) fn join_key(path: &str, name: &str) -> String {
    let mut joined = String::with_capacity(path.len() + 1 + name.len());
    joined.push_str(path);
    if !path.is_empty() {
        joined.push('.');
    }
    if name.is_empty()
        || name.contains(['.', '[', ']', '"', ' ', ':'])
        || name.contains(char::is_control)
    {
        let _ = write!(joined, "{name:?}");
    } else {
        joined.push_str(name);
    }
    joined
}

pub(crate) fn join_index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file().display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        (self.file(), self.line, self.column, &self.key)
            == (other.file(), other.line, other.column, &other.key)
    }
}

impl Eq for Place {}
