//! The values of XML-RPC. Not here: their XML.

use std::fmt;

/// A value of a call or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<int>`, of 32 bits on the wire.
    Int(i32),
    /// `<boolean>`
    Bool(bool),
    /// `<string>`
    Str(String),
    /// `<double>`
    Double(f64),
    /// `<dateTime.iso8601>`, as it is written.
    DateTime(String),
    /// `<base64>`, decoded.
    Base64(Vec<u8>),
    /// `<array>`
    Array(Vec<Self>),
    /// `<struct>`; the members in the order in which they are written.
    Struct(Vec<(String, Self)>),
    /// What an [`super::ArrayWriter`] has written; never read from a message.
    Written(Written),
}

/// The XML of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// With the beginning of an answer in front of it.
    pub(super) text: String,
    /// Where the value begins.
    pub(super) from: usize,
}

impl Value {
    /// A struct of these members.
    #[must_use]
    pub fn members<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Struct(
            members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// The member of that name; the last one, if there are several, as in Python.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an `<int>`.
    #[must_use]
    pub fn as_int(&self) -> Option<i32> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

/// What answers a call that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// supervisord's number of the kind.
    pub code: i32,
    /// Its name, and what it is about.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Fault {}: '{}'>", self.code, self.text)
    }
}

/// A method with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCall {
    /// As it was sent: `namespace.method`.
    pub method: String,
    /// In order.
    pub params: Vec<Value>,
}
