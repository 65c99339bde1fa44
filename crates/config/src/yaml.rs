//! YAML into raw types, with every unknown key and wrong type reported at once, by file, line and column.
//!
//! The text becomes a tree that knows its places ([`tree`]); derived `Deserialize` types read from that tree
//! ([`de`]). Serde stops at the first error, so the offending entry is noted, taken out of the tree, and reading
//! starts again, until nothing is left to complain about. Not here: what the keys mean, expansion of `~` or of
//! variables.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::place::{Place, Source};
use crate::problems::Problems;

mod access;
mod any;
mod de;
mod error;
mod syntax;
mod tree;

#[cfg(test)]
mod tests;

pub use any::{Any, Item, Taken};

/// After so many problems a person mends what is known before reading on.
const MAX_PROBLEMS: usize = 50;

/// What was read, and where its keys stand.
#[derive(Debug)]
pub struct Document<Raw> {
    pub raw: Raw,
    root: Place,
}

impl<Raw> Document<Raw> {
    /// The file as a whole: where checks begin, going down by [`Place::key`] and [`Place::index`].
    #[must_use]
    pub fn root(&self) -> &Place {
        &self.root
    }

    /// The place of a key path such as `programs.web.command`; its nearest parent's if it is not in the file.
    #[must_use]
    pub fn at(&self, path: &str) -> Place {
        self.root.descendant(path)
    }

    #[must_use]
    pub fn file(&self) -> &Path {
        self.root.file()
    }
}

/// Reads a file; an empty one is all defaults.
///
/// # Errors
/// All problems. To add those of later checks to them, use [`load`].
pub fn read<Raw: DeserializeOwned>(path: &Path) -> Result<Document<Raw>, Problems> {
    let mut problems = Problems::new();
    let document = load(path, &mut problems);
    problems.finish(document)
}

/// Reads a file and notes what is wrong. A document comes back even then, if anything is usable: without the
/// entries that were wrong, for the later checks to say what they have to say.
pub fn load<Raw: DeserializeOwned>(path: &Path, problems: &mut Problems) -> Option<Document<Raw>> {
    parse(&text_of(path, problems)?, path, problems)
}

/// Reads a file as text and notes why it cannot be read.
pub fn text_of(path: &Path, problems: &mut Problems) -> Option<String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(err) => {
            let help = match err.kind() {
                std::io::ErrorKind::NotFound => "give the path of a file that exists",
                std::io::ErrorKind::PermissionDenied => "let this user read it",
                _ => "",
            };
            problems.push(
                Place::file_only(path),
                format!("cannot be read: {err}"),
                help,
            );
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(err) => {
            let before = &err.as_bytes()[..err.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            let place = Place::new(path, line, 0, "");
            problems.push(place, "is not UTF-8 text", "save the file as UTF-8");
            None
        }
    }
}

/// Like [`load`], from text that was read already; `path` only names it.
pub fn parse<Raw: DeserializeOwned>(
    text: &str,
    path: &Path,
    problems: &mut Problems,
) -> Option<Document<Raw>> {
    parse_and_take(text, path, problems, &|_, _| false).map(|(document, _)| document)
}

/// Like [`parse`], but entries that `wanted` names (by the key path of their map, and their key) are not typed: they are
/// taken out first and come back as they are, in the order of the file.
pub fn parse_and_take<Raw: DeserializeOwned>(
    text: &str,
    path: &Path,
    problems: &mut Problems,
    wanted: &dyn Fn(&str, &str) -> bool,
) -> Option<(Document<Raw>, Vec<Taken>)> {
    let tree = syntax::read(text, path, problems)?;
    let source = Arc::new(Source {
        file: path.to_owned(),
        positions: tree.positions(),
        ..Source::default()
    });
    let root = Place::root(source);
    tree.report_duplicates(&root, problems);
    let mut taken = Vec::new();
    any::take(&tree, "", &root, wanted, &mut taken);
    // Every round takes one entry out of a finite tree, so this ends even without the limit.
    for _ in 0..MAX_PROBLEMS {
        let error = match Raw::deserialize(de::Reader::new(&tree)) {
            Ok(raw) => return Some((Document { raw, root }, taken)),
            Err(error) => error,
        };
        let path = error.report(&tree, &root, problems);
        if !tree.prune(&path) {
            return None;
        }
    }
    let message = format!("has more problems than these {MAX_PROBLEMS}");
    problems.push(Place::file_only(path), message, "mend them and check again");
    None
}

/// Writes a value as YAML.
///
/// # Errors
/// What can not be YAML: a map whose keys are lists, for instance.
pub fn write(value: &impl Serialize) -> Result<String, WriteError> {
    serde_yaml::to_string(value).map_err(|err| WriteError(Box::new(err)))
}

/// A value that can not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write YAML")]
pub struct WriteError(#[source] Box<dyn std::error::Error + Send + Sync>);
