//! The names of a raw type's keys, for readers that have to know them before there is a value.

use serde::de::value::Error as Ignored;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

/// The fields of a struct as serde knows them, in their order; none if it is something else.
#[must_use]
pub fn field_names<'de, Raw: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // Always an error: it was only asked for what it has.
    drop(Raw::deserialize(Asking { names: &mut names }));
    names
}

struct Asking<'a> {
    names: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = Ignored;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Ignored> {
        Err(Ignored::custom("there is no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Ignored> {
        *self.names = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "only its names matter")]
    struct Raw {
        one: u32,
        two: Option<String>,
    }

    #[test]
    fn names() {
        assert_eq!(field_names::<Raw>(), ["one", "two"]);
        assert!(field_names::<u32>().is_empty());
    }
}
