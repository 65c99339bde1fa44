//! Strings with `$variables`: compiled once, written for each request.
//!
//! `named` has the names, `variables` the values, `scene` what they are taken from, `fields` looks things up in heads. Not here: where templates stand.

mod attempts;
mod fields;
pub(crate) mod geo;
mod link;
mod map;
mod named;
pub(crate) mod quote;
mod scene;
pub(crate) mod split;
mod variables;

pub(crate) use map::MapTable;
pub(crate) use named::is_fixed;
pub(crate) use scene::{Scene, rate};

use std::cell::Cell;
use std::collections::HashMap;

use named::Variable;

/// A string, some parts of which are known only with the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    parts: Vec<Part<Variable>>,
}

/// A piece of a string; `V` is what variables are, which differs between requests and sessions of TCP and UDP.
#[derive(Debug, Clone)]
pub(crate) enum Part<V> {
    Text(Vec<u8>),
    Variable(V),
}

/// Names that a configuration adds to the built-in ones.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Indices into [`Config::maps`](crate::config::Config::maps).
    pub(crate) maps: HashMap<String, usize>,
    /// Those of `set` and of named groups, with their numbers.
    pub(crate) set: HashMap<String, usize>,
    /// Named groups of regular expressions, with the same numbers: both give the one variable its value.
    pub(crate) groups: HashMap<String, usize>,
    /// Some string has `$request_body`.
    pub(crate) tells_body: Cell<bool>,
    /// Some string has `$slice_range`.
    pub(crate) tells_slice: Cell<bool>,
    /// Some string has a field of an answer, which logs are written from when it has gone out.
    pub(crate) tells_heads: Cell<bool>,
}

/// The number of `$args`, which is no variable of its own: it is given to the request.
pub(crate) const ARGS: usize = usize::MAX;

impl Names {
    /// The number of a variable that is given its value on the way.
    pub(crate) fn slot(&mut self, name: &str) -> usize {
        let name = name.to_ascii_lowercase();
        let next = if name == "args" { ARGS } else { self.set.len() };
        *self.set.entry(name).or_insert(next)
    }
}

/// A variable that a block of the configuration makes.
#[derive(Debug)]
pub(crate) enum Table {
    Map(MapTable),
    Geo(geo::GeoTable),
    Split(split::SplitTable),
}

impl Table {
    /// Appends the value that fits.
    fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        match self {
            Self::Map(map) => map.write(out, scene),
            Self::Geo(geo) => geo.write(out, scene),
            Self::Split(split) => split.write(out, scene),
        }
    }
}

/// What is wrong with a string; nginx's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("invalid variable name")]
    BadName,
    #[error("the closing bracket in \"{0}\" variable is missing")]
    OpenBracket(String),
    #[error("unknown \"{0}\" variable")]
    Unknown(String),
}

/// Takes a string apart; `find` knows the variables.
///
/// # Errors
/// A `$` that is no variable, or one that nobody knows.
pub(crate) fn compile<V>(
    text: &str,
    find: impl Fn(&str) -> Option<V>,
) -> Result<Vec<Part<V>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            parts.push(Part::Text(rest.as_bytes()[..at].to_vec()));
        }
        rest = &rest[at + 1..];
        let name = if let Some(inner) = rest.strip_prefix('{') {
            let Some(end) = inner.find('}') else {
                return Err(TemplateError::OpenBracket(inner.to_owned()));
            };
            rest = &inner[end + 1..];
            &inner[..end]
        } else {
            // A digit stands alone: `$10` is `$1` and a zero.
            let digit = rest.starts_with(|first: char| first.is_ascii_digit());
            let end = if digit {
                1
            } else {
                rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_')
                    .unwrap_or(rest.len())
            };
            let name = &rest[..end];
            rest = &rest[end..];
            name
        };
        let name = name.to_ascii_lowercase();
        if name.is_empty() {
            return Err(TemplateError::BadName);
        }
        let variable = find(&name).ok_or(TemplateError::Unknown(name))?;
        parts.push(Part::Variable(variable));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.as_bytes().to_vec()));
    }
    Ok(parts)
}

impl Template {
    /// A string without variables.
    pub(crate) fn literal(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        let parts = if text.is_empty() {
            Vec::new()
        } else {
            vec![Part::Text(text)]
        };
        Self { parts }
    }

    /// Compiles a string.
    ///
    /// # Errors
    /// A `$` that is no variable, or one that nobody knows.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Self, TemplateError> {
        let parts = compile(text, |name| Variable::find(name, names))?;
        Ok(Self { parts })
    }

    /// Whether it says which slice is asked for.
    pub(crate) fn tells_slice(&self) -> bool {
        let is = |part: &Part<Variable>| matches!(part, Part::Variable(Variable::SliceRange));
        self.parts.iter().any(is)
    }

    /// Whether a field of the request, in lower case, is a part of it.
    pub(crate) fn tells_field(&self, name: &str) -> bool {
        let is = |part: &Part<Variable>| matches!(part, Part::Variable(Variable::RequestField(field)) if field == name);
        self.parts.iter().any(is)
    }

    /// Its text, if it has no variables.
    pub(crate) fn as_literal(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends its value.
    pub(crate) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => _ = variable.write(out, scene),
            }
        }
    }

    /// Its value, with numbered groups as they have to be in a query where `quotes`.
    pub(crate) fn value_with_groups(&self, scene: &Scene<'_>, quotes: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(group @ Variable::Group(_)) if quotes => {
                    let mut value = Vec::new();
                    group.write(&mut value, scene);
                    quote::arguments(&mut out, &value);
                }
                Part::Variable(variable) => _ = variable.write(&mut out, scene),
            }
        }
        out
    }

    /// Appends its value, each variable's part made safe by `escape`; it gets `None` for one that has no value.
    pub(crate) fn write_escaped(
        &self,
        out: &mut Vec<u8>,
        scene: &Scene<'_>,
        escape: impl Fn(&mut Vec<u8>, Option<&[u8]>),
    ) {
        let mut value = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    value.clear();
                    let found = variable.write(&mut value, scene);
                    escape(out, found.then_some(&value));
                }
            }
        }
    }

    /// Its value.
    pub(crate) fn value(&self, scene: &Scene<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, scene);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let mut names = Names::default();
        names.maps.insert("mapped".to_owned(), 0);
        names.groups.insert("user".to_owned(), 4);
        let got = match Template::parse(text, &names) {
            Err(error) => error.to_string(),
            Ok(template) => {
                let parts = template.parts.iter().map(|part| match part {
                    Part::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Part::Variable(variable) => format!("<{variable:?}>"),
                });
                parts.collect::<Vec<_>>().join("")
            }
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn strings() {
        check("plain", "plain");
        check("", "");
        check("a$uri", "a<Uri>");
        check("${uri}b$ARGS", "<Uri>b<Args>");
        check("$10", "<Group(1)>0");
        check("$mapped-$user", "<Map(0)>-<NamedGroup(\"user\", 4)>");
        check("$http_x_y", "<RequestField(\"x-y\")>");
        check("$arg_A", "<Argument(\"a\")>");
        check("$nope", "unknown \"nope\" variable");
        check("a$", "invalid variable name");
        check(
            "${uri",
            "the closing bracket in \"uri\" variable is missing",
        );
    }
}
