//! Why a type could not read the tree, where, and what the person is told about it.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::tree::{Node, Step, quoted};
use crate::place::Place;
use crate::problems::Problems;
use crate::suggest;

/// Why a type could not read the tree.
#[derive(Debug)]
pub(super) struct Error {
    what: What,
    /// Child indexes to the node, the last step first.
    path: Vec<usize>,
    /// It is the key of the node at `path` that is wrong.
    at_key: bool,
    /// How many of the last steps are of no use without each other: they are taken out as one.
    together: usize,
}

#[derive(Debug)]
enum What {
    UnknownKey { expected: &'static [&'static str] },
    Missing { key: &'static str },
    Wrong { message: String, help: String },
}

impl Error {
    pub(super) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::from(What::Wrong {
            message: message.into(),
            help: help.into(),
        })
    }

    pub(super) fn expected(what: impl Display, node: &Node) -> Self {
        Self::wrong(format!("expected {what}, found {}", node.describe()), "")
    }

    /// Adds a way out where none is known yet, if the error is about this very node.
    pub(super) fn or_help(mut self, way_out: impl FnOnce() -> String) -> Self {
        if let (true, What::Wrong { help, .. }) = (self.path.is_empty(), &mut self.what)
            && help.is_empty()
        {
            *help = way_out();
        }
        self
    }

    /// Called on the way out of the child number `index`.
    pub(super) fn under(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }

    /// Called when the key of child number `index` is refused.
    pub(super) fn at_key(mut self, index: usize) -> Self {
        self.at_key = true;
        self.under(index)
    }

    /// Called on the way out of a node that makes no sense without what was wrong in it.
    pub(super) fn taking_all(mut self) -> Self {
        self.together = self.path.len();
        self
    }

    /// Notes the problem and returns the path of the entry to take out.
    pub(super) fn report(self, tree: &Node, root: &Place, problems: &mut Problems) -> Vec<usize> {
        let mut path: Vec<usize> = self.path.into_iter().rev().collect();
        let (mut node, mut place, mut parent) = (tree, root.clone(), root.clone());
        let mut key = None;
        for index in &path {
            parent.clone_from(&place);
            match node.child(*index) {
                Some(Step::Entry(entry)) => {
                    place = place.key(&entry.key);
                    (node, key) = (&entry.node, Some(entry));
                }
                Some(Step::Item(index, item)) => {
                    place = place.index(index);
                    (node, key) = (item, None);
                }
                None => break,
            }
        }
        if let (true, Some(entry)) = (self.at_key, key) {
            place = place.moved_to(entry.key_position);
        }
        match self.what {
            What::UnknownKey { expected } => {
                let name = key.map_or("", |entry| &entry.key);
                if let Some(meant) = suggest::nearest(name, expected.iter().copied()) {
                    problems.note_mistyped(parent.key(meant));
                }
                problems.push(
                    place,
                    "unknown key",
                    suggest::way_out("keys", name, expected),
                );
            }
            What::Missing { key } => problems.missing(place.key(key), ""),
            What::Wrong { message, help } => problems.push(place, plain(message, node), help),
        }
        path.truncate(path.len().saturating_sub(self.together));
        path
    }
}

/// What serde and hand-written types say, with what was found added where they could not know it.
fn plain(message: String, node: &Node) -> String {
    if message.starts_with("data did not match any variant") {
        format!("{} does not fit here", node.describe())
    } else if message.starts_with("expected ") && !message.contains("found ") {
        format!("{message}, found {}", node.describe())
    } else {
        message
    }
}

impl From<What> for Error {
    fn from(what: What) -> Self {
        Self {
            what,
            path: Vec::new(),
            at_key: false,
            together: 0,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::UnknownKey { .. } => f.write_str("unknown key"),
            What::Missing { key } => write!(f, "{key} is missing"),
            What::Wrong { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::wrong(message.to_string(), "")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            Unexpected::Str(text) => format!("the text {}", quoted(text)),
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map | Unexpected::StructVariant | Unexpected::NewtypeStruct => {
                "a block of keys".to_owned()
            }
            other => other.to_string(),
        };
        Self::wrong(format!("expected {expected}, found {found}"), "")
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {expected}, found {length} items"), "")
    }

    fn unknown_variant(name: &str, expected: &'static [&'static str]) -> Self {
        Self::wrong(
            format!("{} is not known here", quoted(name)),
            suggest::way_out("values", name, expected),
        )
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        What::UnknownKey { expected }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        What::Missing { key }.into()
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::wrong(format!("{key} is given twice"), "keep one of the two")
    }
}
