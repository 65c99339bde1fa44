//! A YAML document as a tree that knows its places and can lose entries.

use std::cell::Cell;
use std::collections::HashMap;

use crate::place::{Place, Position, join_index, join_key};
use crate::problems::Problems;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) position: Position,
    /// Taken out: reading goes on as if it were not in the file.
    pub(super) pruned: Cell<bool>,
}

#[derive(Debug)]
pub(super) enum Value {
    /// With the text as it was typed (what is in the quotes, if there are any).
    Scalar(Scalar, String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_position: Position,
    pub(super) node: Node,
}

impl Entry {
    /// Where a problem with this entry is shown: at what is wrong if that is short, at the key if it is a block
    /// or nothing.
    fn shown_at(&self) -> Position {
        match &self.node.value {
            Value::Scalar(Scalar::Null, _) | Value::List(_) | Value::Map(_) => self.key_position,
            Value::Scalar(..) => self.node.position,
        }
    }
}

/// A step down from a node.
pub(super) enum Step<'t> {
    Entry(&'t Entry),
    Item(usize, &'t Node),
}

impl Node {
    pub(super) fn new(value: Value, position: Position) -> Self {
        Self {
            value,
            position,
            pruned: Cell::new(false),
        }
    }

    /// How many children there are, pruned or not: indexes stay as they are in the file.
    pub(super) fn child(&self, index: usize) -> Option<Step<'_>> {
        match &self.value {
            Value::Scalar(..) => None,
            Value::List(items) => items.get(index).map(|node| Step::Item(index, node)),
            Value::Map(entries) => entries.get(index).map(Step::Entry),
        }
    }

    /// Takes the node at `path` (child indexes from here) out. False if that is this node itself, or none.
    pub(super) fn prune(&self, path: &[usize]) -> bool {
        let mut node = self;
        for index in path {
            node = match node.child(*index) {
                Some(Step::Entry(entry)) => &entry.node,
                Some(Step::Item(_, item)) => item,
                None => return false,
            };
        }
        !path.is_empty() && !node.pruned.replace(true)
    }

    /// Where each key path stands.
    pub(super) fn positions(&self) -> HashMap<String, Position> {
        let mut found = HashMap::new();
        self.add_positions("", self.position, &mut found);
        found
    }

    fn add_positions(&self, path: &str, shown: Position, found: &mut HashMap<String, Position>) {
        found.entry(path.to_owned()).or_insert(shown);
        match &self.value {
            Value::Scalar(..) => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.add_positions(&join_index(path, index), item.position, found);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = join_key(path, &entry.key);
                    entry.node.add_positions(&path, entry.shown_at(), found);
                }
            }
        }
    }

    /// Notes keys that come twice and takes the later ones out.
    pub(super) fn report_duplicates(&self, at: &Place, problems: &mut Problems) {
        match &self.value {
            Value::Scalar(..) => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.report_duplicates(&at.index(index), problems);
                }
            }
            Value::Map(entries) => {
                let mut lines: HashMap<&str, u32> = HashMap::new();
                for entry in entries {
                    let here = entry.key_position;
                    if let Some(first) = lines.get(entry.key.as_str()) {
                        let place = at.key(&entry.key).moved_to(here);
                        let message = format!("the key is already given in line {first}");
                        problems.push(place, message, "keep one of the two");
                        entry.node.pruned.set(true);
                        continue;
                    }
                    lines.insert(&entry.key, here.line);
                    entry.node.report_duplicates(&at.key(&entry.key), problems);
                }
            }
        }
    }

    /// What is there, for "expected …, found …".
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(Scalar::Null, _) => "nothing".to_owned(),
            Value::Scalar(Scalar::Bool(_), text) => text.clone(),
            Value::Scalar(Scalar::Text, text) => format!("the text {}", quoted(text)),
            Value::Scalar(_, text) => format!("the number {text}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a block of keys".to_owned(),
        }
    }
}

/// `"text"`, shortened when it is long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}…")
}
