//! Serde's view of the tree: derived types read from it, and an error knows the path it happened at.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::tree::{Entry, Node, Scalar, Step, Value, quoted};
use crate::place::Place;
use crate::problems::Problems;
use crate::suggest;

/// Why a type could not read the tree.
#[derive(Debug)]
pub(super) struct Error {
    what: What,
    /// Child indexes to the node, the last step first.
    path: Vec<usize>,
}

#[derive(Debug)]
enum What {
    UnknownKey { expected: &'static [&'static str] },
    Missing { key: &'static str },
    Wrong { message: String, help: String },
}

impl Error {
    fn wrong(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::from(What::Wrong {
            message: message.into(),
            help: help.into(),
        })
    }

    fn expected(what: impl Display, node: &Node) -> Self {
        Self::wrong(format!("expected {what}, found {}", node.describe()), "")
    }

    /// Called on the way out of the child number `index`.
    fn under(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }

    /// Notes the problem and returns the path of the entry to take out.
    pub(super) fn report(self, tree: &Node, root: &Place, problems: &mut Problems) -> Vec<usize> {
        let path: Vec<usize> = self.path.into_iter().rev().collect();
        let (mut node, mut place) = (tree, root.clone());
        let mut key = None;
        for index in &path {
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
        match self.what {
            What::UnknownKey { expected } => {
                let place = key.map_or(place.clone(), |entry| place.moved_to(entry.key_position));
                let name = key.map_or("", |entry| &entry.key);
                problems.push(
                    place,
                    "unknown key",
                    suggest::way_out("keys", name, expected),
                );
            }
            What::Missing { key } => problems.missing(place.key(key), ""),
            What::Wrong { message, help } => problems.push(place, message, help),
        }
        path
    }
}

impl From<What> for Error {
    fn from(what: What) -> Self {
        Self {
            what,
            path: Vec::new(),
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

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'de> {
    node: &'de Node,
}

impl<'de> Reader<'de> {
    pub(super) fn new(node: &'de Node) -> Self {
        Self { node }
    }

    fn whole(self, lowest: i128, highest: i128) -> Result<i128, Error> {
        let number = match &self.node.value {
            Value::Scalar(Scalar::Unsigned(number), _) => i128::from(*number),
            Value::Scalar(Scalar::Signed(number), _) => i128::from(*number),
            _ => return Err(self.no_number("a whole number")),
        };
        if (lowest..=highest).contains(&number) {
            return Ok(number);
        }
        let range = if highest > i128::from(u32::MAX) {
            format!("{lowest} or more")
        } else {
            format!("from {lowest} to {highest}")
        };
        Err(Error::expected(
            format_args!("a whole number {range}"),
            self.node,
        ))
    }

    fn no_number(self, what: &str) -> Error {
        let mut error = Error::expected(what, self.node);
        if let (Value::Scalar(Scalar::Text, text), What::Wrong { help, .. }) =
            (&self.node.value, &mut error.what)
            && text.parse::<f64>().is_ok()
        {
            "take the quotes away".clone_into(help);
        }
        error
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.whole(i128::from(<$type>::MIN), i128::from(<$type>::MAX))?;
            match <$type>::try_from(number) {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Error::expected("a whole number", self.node)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(scalar, text) => match scalar {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(*value),
                Scalar::Unsigned(number) => visitor.visit_u64(*number),
                Scalar::Signed(number) => visitor.visit_i64(*number),
                Scalar::Float(number) => visitor.visit_f64(*number),
                Scalar::Text => visitor.visit_borrowed_str(text),
            },
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = match &self.node.value {
            Value::Scalar(Scalar::Bool(value), _) => Some(*value),
            Value::Scalar(Scalar::Text, text) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" => Some(true),
                "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match value {
            Some(value) => visitor.visit_bool(value),
            None => Err(Error::expected("true or false", self.node)),
        }
    }

    whole_numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    );

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(Scalar::Float(number), _) => visitor.visit_f64(*number),
            Value::Scalar(Scalar::Unsigned(number), _) => visitor.visit_u64(*number),
            Value::Scalar(Scalar::Signed(number), _) => visitor.visit_i64(*number),
            _ => Err(self.no_number("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(Scalar::Null, _) | Value::List(_) | Value::Map(_) => {
                Err(Error::expected("a text", self.node))
            }
            Value::Scalar(_, text) => visitor.visit_borrowed_str(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Scalar(Scalar::Null, _) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Scalar(Scalar::Null, _) => visitor.visit_unit(),
            _ => Err(Error::expected("nothing", self.node)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A key without a value is an empty list: what is left when all items are commented out.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Scalar(Scalar::Null, _) => visitor.visit_seq(Items {
                items: &[],
                next: 0,
            }),
            _ => Err(Error::expected("a list", self.node)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    /// A key without a value is an empty block, for the same reason.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            Value::Scalar(Scalar::Null, _) => visitor.visit_map(Entries {
                entries: &[],
                next: 0,
            }),
            _ => Err(Error::expected(
                "a block of \"key: value\" lines",
                self.node,
            )),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor).map_err(|mut error| {
            if let (true, What::Wrong { help, .. }) = (error.path.is_empty(), &mut error.what)
                && help.is_empty()
                && matches!(self.node.value, Value::Scalar(..) | Value::List(_))
            {
                *help = suggest::list("keys", fields);
            }
            error
        })
    }

    /// A bare name, or one entry whose key is the name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let help = || suggest::list("values", variants);
        match &self.node.value {
            Value::Scalar(Scalar::Null, _) => {
                Err(Error::wrong("expected a value, found nothing", help()))
            }
            Value::Scalar(_, text) => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(text.as_str()))
            }
            Value::List(_) => Err(Error::wrong("expected one value, found a list", help())),
            Value::Map(entries) => {
                let mut live = entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| !entry.node.pruned.get());
                match (live.next(), live.next()) {
                    (Some((index, entry)), None) => visitor.visit_enum(Choice { index, entry }),
                    (None, _) => Err(Error::wrong("expected one key, found none", help())),
                    (Some(_), Some(_)) => {
                        Err(Error::wrong("expected one key, found several", help()))
                    }
                }
            }
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit_struct }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        while let Some(node) = self.items.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !node.pruned.get() {
                return seed
                    .deserialize(Reader { node })
                    .map(Some)
                    .map_err(|err| err.under(index));
            }
        }
        Ok(None)
    }
}

struct Entries<'de> {
    entries: &'de [Entry],
    /// The entry whose key comes next; its value is that of the one before.
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some(entry) = self.entries.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !entry.node.pruned.get() {
                return seed
                    .deserialize(KeyReader(&entry.key))
                    .map(Some)
                    .map_err(|err| err.under(index));
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let index = self.next.saturating_sub(1);
        match self.entries.get(index) {
            Some(entry) => seed
                .deserialize(Reader { node: &entry.node })
                .map_err(|err| err.under(index)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// A key: always a text here, but a map may want numbers for keys.
struct KeyReader<'de>(&'de str);

macro_rules! number_keys {
    ($($method:ident $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Error::wrong("expected a whole number as key", "")),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyReader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(self.0))
    }

    number_keys!(
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32,
        deserialize_u64 visit_u64, deserialize_i8 visit_i8, deserialize_i16 visit_i16,
        deserialize_i32 visit_i32, deserialize_i64 visit_i64
    );

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

/// `name: value` as the choice `name`.
struct Choice<'de> {
    index: usize,
    entry: &'de Entry,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.entry.key.as_str().into_deserializer();
        match seed.deserialize(name) {
            Ok(variant) => Ok((variant, self)),
            Err(err) => Err(err.under(self.index)),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.entry.node.value {
            Value::Scalar(Scalar::Null, _) => Ok(()),
            _ => Err(Error::wrong("takes no value", "write the bare name").under(self.index)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let Self { index, entry } = self;
        seed.deserialize(Reader::new(&entry.node))
            .map_err(|err| err.under(index))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let Self { index, entry } = self;
        Reader::new(&entry.node)
            .deserialize_seq(visitor)
            .map_err(|err| err.under(index))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { index, entry } = self;
        Reader::new(&entry.node)
            .deserialize_struct("", fields, visitor)
            .map_err(|err| err.under(index))
    }
}
