//! Text to tree, by serde-saphyr: its `Spanned` gives every value and key its place.
//! Limits keep a file that refers to itself over and over from filling the memory.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Location, Options, Spanned};

use super::tree::{Entry, Node, Scalar, Value};
use crate::place::{Place, Position};
use crate::problems::Problems;

/// No daemon's keys go deeper than a few.
const MAX_DEPTH: usize = 32;
/// Values in one file, those repeated by `*alias` counted each time.
const MAX_NODES: usize = 100_000;

/// Notes why the text is no YAML, or returns what it says.
pub(super) fn read(text: &str, path: &Path, problems: &mut Problems) -> Option<Node> {
    let error = match serde_yaml::from_str_with_options::<Marked>(text, options()) {
        Ok(Marked(mut node)) => {
            restore_typed_text(&mut node, text);
            return Some(node.into_node());
        }
        Err(error) => error,
    };
    let at = error.location().map(position).unwrap_or_default();
    let plain = error.without_snippet().to_string();
    // The place is told before the message, so it need not be told again in it.
    let message = plain.split(" at line ").next().unwrap_or(&plain);
    let (message, help) = in_plain_words(message);
    problems.push(Place::new(path, at.line, at.column, ""), message, help);
    None
}

fn options() -> Options {
    let budget = serde_yaml::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_documents: 2,
    };
    serde_yaml::options! {
        budget: budget,
        // Ours reports all of them, with the line of the first.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `off` and `0660` stay the texts they look like; whoever wants a switch or a mode reads them as such.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}

/// What the parser says and an operator can not know the meaning of.
fn in_plain_words(message: &str) -> (&str, &'static str) {
    const TOO_LARGE: &str = "the file is too large or too deeply nested";
    const LESS: &str = "split it up, or repeat less by aliases";
    const WORDS: [(&str, &str, &str); 10] = [
        (
            "mapping values are not allowed",
            "a second \": \" in one line, or a key indented differently from the line above",
            "put the value in quotes, or line the keys up",
        ),
        (
            "tabs disallowed",
            "the line is indented by a tab",
            "indent with spaces",
        ),
        (
            "multiple YAML documents",
            "a second document begins here",
            "keep one document in the file",
        ),
        (
            "did not find expected <document start>",
            "the indentation does not fit the lines above",
            "line the keys up",
        ),
        (
            "did not find expected key",
            "a list item or a text stands where a key must be",
            "write \"key: value\" here, or line it up with what it belongs to",
        ),
        (
            "expected string scalar",
            "a key must be a plain text",
            "use a list or a block only as a value",
        ),
        (
            "alias references unknown anchor",
            "",
            "define it above by \"&name\"",
        ),
        (
            "recursive references",
            "the value contains itself",
            "take the alias out",
        ),
        ("budget breached", TOO_LARGE, LESS),
        ("recursion limit exceeded", TOO_LARGE, LESS),
    ];
    for (said, plain, help) in WORDS {
        if message.contains(said) {
            return (if plain.is_empty() { message } else { plain }, help);
        }
    }
    let help = if message.starts_with("unexpected character") {
        "put the value in quotes"
    } else {
        ""
    };
    (message, help)
}

/// A node still with its extent in the text.
struct Extent {
    value: Shape,
    at: Location,
}

enum Shape {
    Scalar(Scalar, String),
    List(Vec<Marked>),
    Map(Vec<(Spanned<Key>, Marked)>),
}

impl Extent {
    fn into_node(self) -> Node {
        let value = match self.value {
            Shape::Scalar(scalar, text) => Value::Scalar(scalar, text),
            Shape::List(items) => Value::List(
                items
                    .into_iter()
                    .map(|Marked(item)| item.into_node())
                    .collect(),
            ),
            Shape::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, Marked(node))| Entry {
                        key_position: position(key.defined),
                        key: key.value.0,
                        node: node.into_node(),
                    })
                    .collect(),
            ),
        };
        Node::new(value, position(self.at))
    }
}

fn position(at: Location) -> Position {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(at.line()),
        column: number(at.column()),
    }
}

/// Numbers and the like get the text that was typed: `1.10` is a version, too, and `True` a variable's value.
fn restore_typed_text(node: &mut Extent, source: &str) {
    match &mut node.value {
        Shape::Scalar(Scalar::Text, _) => {}
        Shape::Scalar(_, text) => {
            let span = node.at.span();
            let typed = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(start, len)| {
                    let start = usize::try_from(start).ok()?;
                    source.get(start..start.checked_add(usize::try_from(len).ok()?)?)
                });
            if let Some(typed) = typed.map(str::trim).filter(|typed| !typed.is_empty()) {
                typed.clone_into(text);
            }
        }
        Shape::List(items) => {
            items
                .iter_mut()
                .for_each(|Marked(item)| restore_typed_text(item, source));
        }
        Shape::Map(entries) => {
            entries
                .iter_mut()
                .for_each(|(_, Marked(node))| restore_typed_text(node, source));
        }
    }
}

struct Marked(Extent);

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Shape>::deserialize(from)?;
        Ok(Self(Extent { value, at: defined }))
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Null, String::new()))
    }

    fn visit_none<E: Error>(self) -> Result<Shape, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Shape, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Bool(value), value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Unsigned(value), value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Signed(value), value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Float(value), value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar(Scalar::Text, value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }
}

/// A key: a text, or a number's or boolean's text.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}
