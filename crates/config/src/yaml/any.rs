//! Values of any shape, for keys whose meaning only a table knows: taken out of the tree before typed reading.
//!
//! Not here: typed reading (see the parent module).

use super::tree::{Node, Scalar, Value};
use crate::place::{Place, join_index, join_key};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Item {
    pub value: Any,
    pub place: Place,
}

/// What is there. Scalars have their text as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Any {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Item>),
    /// In the order of the file.
    Map(Vec<(String, Item)>),
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// An entry that was taken out.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The key path of the map it stood in: `servers[0].locations[1]`.
    pub parent: String,
    pub key: String,
    pub item: Item,
}

impl Any {
    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Bool(true) => Some("on"),
            Self::Bool(false) => Some("off"),
            Self::Number(text) | Self::Text(text) => Some(text),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// Takes the entries out that `wanted` names by the key path of their map and their key.
pub(super) fn take(
    node: &Node,
    path: &str,
    root: &Place,
    wanted: &dyn Fn(&str, &str) -> bool,
    out: &mut Vec<Taken>,
) {
    match &node.value {
        Value::Scalar(..) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                take(item, &join_index(path, index), root, wanted, out);
            }
        }
        Value::Map(entries) => {
            for entry in entries.iter().filter(|entry| !entry.node.pruned.get()) {
                let inner = join_key(path, &entry.key);
                if wanted(path, &entry.key) {
                    entry.node.pruned.set(true);
                    out.push(Taken {
                        parent: path.to_owned(),
                        key: entry.key.clone(),
                        item: item(&entry.node, &inner, root),
                    });
                } else {
                    take(&entry.node, &inner, root, wanted, out);
                }
            }
        }
    }
}

fn item(node: &Node, path: &str, root: &Place) -> Item {
    let value = match &node.value {
        Value::Scalar(Scalar::Null, _) => Any::Null,
        Value::Scalar(Scalar::Bool(on), _) => Any::Bool(*on),
        Value::Scalar(Scalar::Text, text) => Any::Text(text.clone()),
        Value::Scalar(_, text) => Any::Number(text.clone()),
        Value::List(items) => {
            let inner = items.iter().enumerate();
            Any::List(
                inner
                    .map(|(index, node)| item(node, &join_index(path, index), root))
                    .collect(),
            )
        }
        Value::Map(entries) => {
            let kept = entries.iter().filter(|entry| !entry.node.pruned.get());
            Any::Map(
                kept.map(|entry| {
                    let inner = join_key(path, &entry.key);
                    (entry.key.clone(), item(&entry.node, &inner, root))
                })
                .collect(),
            )
        }
    };
    Item {
        value,
        place: root.descendant(path),
    }
}
