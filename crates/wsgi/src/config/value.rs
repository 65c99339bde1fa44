//! A setting's value as gunicorn's configuration knows it: what Python, YAML and the command line can all say.
//!
//! It prints as Python prints it, because messages and `--print-config` show values so.
//! Not here: which values a setting takes (`validate`).

use std::fmt;
use std::time::Duration;

use crate::python::Object;

#[derive(Debug, Clone)]
pub enum Value {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Dict),
    /// A span of time that was given with a unit; whole seconds are [`Value::Int`].
    Time(Duration),
    /// A hook that does nothing, by the name gunicorn shows for it.
    Builtin(&'static str),
    /// Anything else that a Python file can hold.
    Object(Object),
}

/// A mapping, and the Python object it came from.
#[derive(Debug, Clone, Default)]
pub struct Dict {
    pub pairs: Vec<(Value, Value)>,
    pub object: Option<Object>,
}

impl Value {
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    #[must_use]
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// What Python's `bool()` says.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.is_empty(),
            Self::Dict(dict) => !dict.pairs.is_empty(),
            Self::Time(_) | Self::Builtin(_) | Self::Object(_) => true,
        }
    }

    /// Python's `repr()`.
    fn repr(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => repr_text(text, f),
            Self::Object(object) => f.write_str(object.repr()),
            other => fmt::Display::fmt(other, f),
        }
    }
}

/// Python's `repr()` of a string.
#[must_use]
pub fn quoted(text: &str) -> String {
    struct Quoted<'a>(&'a str);
    impl fmt::Display for Quoted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            repr_text(self.0, f)
        }
    }
    Quoted(text).to_string()
}

fn repr_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    write!(f, "{quote}")?;
    for letter in text.chars() {
        match letter {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            letter if letter == quote => write!(f, "\\{letter}")?,
            letter if (letter as u32) < 0x20 || letter == '\x7f' => {
                write!(f, "\\x{:02x}", letter as u32)?;
            }
            letter => write!(f, "{letter}")?,
        }
    }
    write!(f, "{quote}")
}

/// Python's `str()`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                item.repr(f)?;
            }
            Ok(())
        };
        match self {
            Self::Nothing => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                f.write_str("[")?;
                items(f, list)?;
                f.write_str("]")
            }
            Self::Tuple(list) => {
                f.write_str("(")?;
                items(f, list)?;
                f.write_str(if list.len() == 1 { ",)" } else { ")" })
            }
            Self::Dict(dict) => {
                f.write_str("{")?;
                for (index, (key, value)) in dict.pairs.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    key.repr(f)?;
                    f.write_str(": ")?;
                    value.repr(f)?;
                }
                f.write_str("}")
            }
            Self::Time(time) => trine_config::Duration(*time).fmt(f),
            Self::Builtin(name) => write!(f, "<{name}()>"),
            Self::Object(object) => f.write_str(object.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, want: &str) {
        assert_eq!(value.to_string(), want);
    }

    #[test]
    fn values_print_as_python_prints_them() {
        check(&Value::Nothing, "None");
        check(&Value::Bool(true), "True");
        check(&Value::Float(0.5), "0.5");
        check(&Value::Float(2.0), "2.0");
        check(&Value::text("a'b"), "a'b");
        check(
            &Value::texts(["a", "it's", "\"it's\"", "\\\n"]),
            r#"['a', "it's", '"it\'s"', '\\\n']"#,
        );
        check(&Value::Tuple(vec![Value::Int(1)]), "(1,)");
        let pairs = vec![
            (Value::text("A"), Value::text("b")),
            (Value::Int(1), Value::Nothing),
        ];
        check(
            &Value::Dict(Dict {
                pairs,
                object: None,
            }),
            "{'A': 'b', 1: None}",
        );
        check(&Value::Builtin("OnExit.on_exit"), "<OnExit.on_exit()>");
    }
}
