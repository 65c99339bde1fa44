//! Values that may be written in more than one way: a word or a list, true or a word, a text or a block.
//! Not here: what they mean (see `yaml`).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A text, or a list of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextOrList<T> {
    Text(String),
    List(Vec<T>),
}

/// A text (numbers and booleans as they were typed), or a block of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextOrBlock<T> {
    Text(String),
    Block(T),
}

struct Either<T, Out> {
    expected: &'static str,
    text: fn(String) -> Out,
    list: Option<fn(Vec<T>) -> Out>,
    block: Option<fn(T) -> Out>,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, Out> Visitor<'de> for Either<T, Out> {
    type Value = Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Out, E> {
        Ok((self.text)(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Out, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Out, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Out, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Out, A::Error> {
        match self.list {
            Some(list) => Vec::deserialize(SeqAccessDeserializer::new(seq)).map(list),
            None => Err(Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Out, A::Error> {
        match self.block {
            Some(block) => T::deserialize(MapAccessDeserializer::new(map)).map(block),
            None => Err(Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOrList<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a text or a list";
        from.deserialize_any(Either {
            expected,
            text: Self::Text,
            list: Some(Self::List),
            block: None,
            of: PhantomData,
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOrBlock<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a text or a block of keys";
        from.deserialize_any(Either {
            expected,
            text: Self::Text,
            list: None,
            block: Some(Self::Block),
            of: PhantomData,
        })
    }
}

/// A value of the environment or an argument: text, or a number or boolean as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let either: Either<(), Self> = Either {
            expected: "a text",
            text: Word,
            list: None,
            block: None,
            of: PhantomData,
        };
        from.deserialize_any(either)
    }
}

/// What editors and the reference are told: the shapes it may have.
impl<T: JsonSchema> JsonSchema for TextOrList<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOrList_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": item }] })
    }
}

impl<T: JsonSchema> JsonSchema for TextOrBlock<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOrBlock_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, block] })
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}
