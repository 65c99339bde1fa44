//! One value per setting, filled from the lowest source to the highest.
//!
//! Not here: where the sources are (`sources`), what the values mean together (`settings`).

use std::fmt::Write as _;

use crate::python::{Gil, Object, prepare};

use super::origin::Origin;
use super::table::{self, Check};
use super::validate::validate;
use super::value::Value;

/// The values of all settings.
#[derive(Debug, Clone)]
pub struct Values {
    values: Vec<Value>,
    /// Whether somebody said so, rather than the default.
    given: Vec<bool>,
    /// The defaults as they print.
    defaults: Vec<String>,
}

impl Values {
    /// The defaults.
    ///
    /// # Errors
    /// When a variable of the environment holds a default that is none.
    pub fn defaults(gil: Gil<'_>, origin: &Origin) -> Result<Self, String> {
        let count = table::all().len();
        let mut values = Self {
            values: vec![Value::Nothing; count],
            given: vec![false; count],
            defaults: vec![],
        };
        for (place, setting) in table::all().iter().enumerate() {
            let checked = check(gil, place, setting.default(origin), origin);
            values.values[place] = checked.map_err(|why| match setting.env {
                Some(variable) => format!("{variable}: {why}"),
                None => why,
            })?;
            let text = values.values[place].to_string();
            values.defaults.push(text);
        }
        Ok(values)
    }

    #[must_use]
    pub fn differs_from_default(&self, name: &str) -> bool {
        let place = place(name);
        self.values[place].to_string() != self.defaults[place]
    }

    /// Sets a value, after checking it.
    ///
    /// # Errors
    /// gunicorn's sentence about the value.
    pub fn set(
        &mut self,
        gil: Gil<'_>,
        place: usize,
        value: Value,
        origin: &Origin,
    ) -> Result<(), String> {
        self.values[place] = check(gil, place, value, origin)?;
        self.given[place] = true;
        Ok(())
    }

    /// Sets what does not count as given, such as gunicorn's `default_proc_name`.
    pub fn put(&mut self, name: &str, value: Value) {
        self.values[place(name)] = value;
    }

    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        &self.values[place(name)]
    }

    /// Whether any source named it.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.given[place(name)]
    }

    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        self.get(name).is_truthy()
    }

    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Value::Int(number) => *number,
            Value::Bool(value) => i64::from(*value),
            _ => 0,
        }
    }

    /// A text; `None` for Python's None and for an empty one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str().filter(|text| !text.is_empty())
    }

    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Value::List(items) | Value::Tuple(items) => {
                items.iter().filter_map(Value::as_str).collect()
            }
            Value::Text(text) => vec![text],
            _ => vec![],
        }
    }

    /// A hook or class that somebody gave.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<&Object> {
        match self.get(name) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// What `--print-config` prints: gunicorn's settings by name. Ours follow if they were given.
    #[must_use]
    pub fn print(&self) -> String {
        let mut names: Vec<&str> = table::of_gunicorn()
            .iter()
            .map(|setting| setting.name)
            .collect();
        let width = names
            .iter()
            .map(|name| name.len())
            .max()
            .unwrap_or_default();
        names.sort_unstable();
        let mut own: Vec<&str> = table::all()
            .iter()
            .filter(|setting| setting.is_own())
            .map(|setting| setting.name)
            .collect();
        own.sort_unstable();
        names.extend(own.into_iter().filter(|name| self.is_given(name)));
        let mut text = String::new();
        for name in names {
            let _ = writeln!(text, "{name:width$} = {}", shown(self.get(name)));
        }
        text
    }
}

/// gunicorn shows callables by their names.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(object) => object.shown().to_owned(),
        other => other.to_string(),
    }
}

/// The value as it is kept, if the setting at `place` takes it.
///
/// # Errors
/// gunicorn's sentence about the value.
pub(crate) fn check(
    gil: Gil<'_>,
    place: usize,
    value: Value,
    origin: &Origin,
) -> Result<Value, String> {
    let setting = table::all()[place];
    let value = prepare(gil, setting.check, value)?;
    match (setting.check, value) {
        (Check::Class, value @ Value::Object(_)) => Ok(value),
        (check, value) => validate(setting.name, check, value, origin),
    }
}

/// The code only asks for names that are in the table; a test looks for all of them.
fn place(name: &str) -> usize {
    table::find(name).unwrap_or_else(|| unreachable!("{name} is not in the table of settings"))
}
