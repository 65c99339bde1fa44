//! What a derived type asks of one node, and what it is told when the node is something else.

use serde::de::{Deserializer, IntoDeserializer, Visitor};

use super::access::{Choice, Entries, Items};
use super::error::Error;
use super::tree::{Node, Scalar, Value};
use crate::{many, suggest};

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
        let range = match (highest < i128::from(u32::MAX), number < lowest) {
            (true, _) => format!("from {lowest} to {highest}"),
            (false, true) => format!("of {lowest} or more"),
            (false, false) => format!("of {highest} or less"),
        };
        Err(Error::expected(
            format_args!("a whole number {range}"),
            self.node,
        ))
    }

    fn no_number(self, what: &str) -> Error {
        let error = Error::expected(what, self.node);
        match &self.node.value {
            Value::Scalar(Scalar::Text, text) if text.parse::<f64>().is_ok() => {
                error.or_help(|| "take the quotes away".to_owned())
            }
            _ => error,
        }
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
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(_) if name == many::MARK => self.deserialize_seq(visitor),
            Value::Scalar(Scalar::Null, _) if name == many::MARK => self.deserialize_seq(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
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
        let no_block = matches!(self.node.value, Value::Scalar(..) | Value::List(_));
        self.deserialize_map(visitor).map_err(|error| {
            if no_block {
                error.or_help(|| suggest::list("keys", fields))
            } else {
                error
            }
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
