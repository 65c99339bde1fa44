//! The way down: items of a list, entries of a block, and the value behind a choice. Each notes its index in an
//! error that comes up through it, and passes over what was taken out.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::de::Reader;
use super::error::Error;
use super::tree::{Entry, Node, Scalar, Value, quoted};

pub(super) struct Items<'de> {
    pub(super) items: &'de [Node],
    pub(super) next: usize,
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
                    .deserialize(Reader::new(node))
                    .map(Some)
                    .map_err(|err| err.under(index));
            }
        }
        Ok(None)
    }
}

pub(super) struct Entries<'de> {
    pub(super) entries: &'de [Entry],
    /// The entry whose key comes next; its value is that of the one before.
    pub(super) next: usize,
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
                    .map_err(|err| err.at_key(index));
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let index = self.next.saturating_sub(1);
        match self.entries.get(index) {
            Some(entry) => seed
                .deserialize(Reader::new(&entry.node))
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
                Err(_) => Err(Error::wrong(format!("expected a whole number as key, found {}", quoted(self.0)), "")),
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
pub(super) struct Choice<'de> {
    pub(super) index: usize,
    pub(super) entry: &'de Entry,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.entry.key.as_str().into_deserializer();
        match seed.deserialize(name) {
            Ok(variant) => Ok((variant, self)),
            Err(err) => Err(err.at_key(self.index).taking_all()),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.entry.node.value {
            Value::Scalar(Scalar::Null, _) => Ok(()),
            _ => Err(Error::wrong("takes no value", "write the bare name")
                .under(self.index)
                .taking_all()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let Self { index, entry } = self;
        seed.deserialize(Reader::new(&entry.node))
            .map_err(|err| err.under(index).taking_all())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let Self { index, entry } = self;
        Reader::new(&entry.node)
            .deserialize_seq(visitor)
            .map_err(|err| err.under(index).taking_all())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { index, entry } = self;
        Reader::new(&entry.node)
            .deserialize_struct("", fields, visitor)
            .map_err(|err| err.under(index).taking_all())
    }
}
