//! What a configuration holds that only Python understands: hooks, classes, mappings of anything.
//!
//! Not here: which settings take what (`config`), calling the hooks.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::config::table::Check;
use crate::config::value::{Dict, Value};

use super::interpreter::Gil;

/// A Python object, with what is said about it when the interpreter is not at hand.
#[derive(Clone)]
pub struct Object {
    object: Arc<Py<PyAny>>,
    text: String,
    shown: String,
    repr: String,
    /// `module.qualname`, if it is a class.
    class: Option<String>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repr)
    }
}

impl Object {
    pub(super) fn new(object: &Bound<'_, PyAny>) -> Self {
        let or = |text: PyResult<Bound<'_, PyString>>| {
            text.map_or_else(|_| "?".to_owned(), |text| text.to_string())
        };
        let name = |attribute| {
            object
                .getattr(attribute)
                .and_then(|name| name.extract::<String>())
                .ok()
        };
        let class = object.cast::<pyo3::types::PyType>().is_ok();
        let text = or(object.str());
        Self {
            shown: match name("__qualname__") {
                Some(name) if object.is_callable() => format!("<{name}()>"),
                _ => text.clone(),
            },
            text,
            repr: or(object.repr()),
            class: class.then(|| {
                format!(
                    "{}.{}",
                    name("__module__").unwrap_or_default(),
                    name("__qualname__").unwrap_or_default()
                )
            }),
            object: Arc::new(object.clone().unbind()),
        }
    }

    /// As `--print-config` shows it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Python's `str()`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn repr(&self) -> &str {
        &self.repr
    }

    /// `module.Name`, if it is a class.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    pub(super) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }
}

/// A Python value as a setting's value.
pub(super) fn to_value(object: &Bound<'_, PyAny>) -> Value {
    if object.is_none() {
        Value::Nothing
    } else if object.cast::<PyBool>().is_ok() {
        Value::Bool(object.is_truthy().unwrap_or(false))
    } else if let Some(number) = object
        .cast::<PyInt>()
        .ok()
        .and_then(|number| number.extract().ok())
    {
        Value::Int(number)
    } else if object.cast::<PyFloat>().is_ok() {
        object.extract().map_or(Value::Nothing, Value::Float)
    } else if let Ok(text) = object.cast::<PyString>() {
        Value::Text(text.to_string_lossy().into_owned())
    } else if let Ok(list) = object.cast::<PyList>() {
        Value::List(list.iter().map(|item| to_value(&item)).collect())
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        Value::Tuple(tuple.iter().map(|item| to_value(&item)).collect())
    } else if let Ok(dict) = object.cast::<PyDict>() {
        Value::Dict(Dict {
            pairs: dict
                .iter()
                .map(|(key, value)| (to_value(&key), to_value(&value)))
                .collect(),
            object: Some(Object::new(object)),
        })
    } else {
        Value::Object(Object::new(object))
    }
}

/// A setting's value as a Python object, for Python code that reads settings.
pub(super) fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Nothing | Value::Builtin(_) => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Float(number) => number.into_pyobject(py)?.into_any(),
        Value::Time(time) => time.as_secs_f64().into_pyobject(py)?.into_any(),
        Value::Text(text) => text.into_pyobject(py)?.into_any(),
        Value::List(items) => {
            let items: PyResult<Vec<_>> = items.iter().map(|item| from_value(py, item)).collect();
            PyList::new(py, items?)?.into_any()
        }
        Value::Tuple(items) => {
            let items: PyResult<Vec<_>> = items.iter().map(|item| from_value(py, item)).collect();
            PyTuple::new(py, items?)?.into_any()
        }
        Value::Dict(Dict {
            object: Some(object),
            ..
        })
        | Value::Object(object) => object.bind(py).clone(),
        Value::Dict(Dict {
            pairs,
            object: None,
        }) => {
            let dict = PyDict::new(py);
            for (key, value) in pairs {
                dict.set_item(from_value(py, key)?, from_value(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// What only Python can check: imports a hook that was named, counts its parameters, asks a function for its class.
/// Values of other settings come back as they are.
///
/// # Errors
/// gunicorn's sentence about the value.
pub fn prepare(gil: Gil<'_>, check: Check, value: Value) -> Result<Value, String> {
    let py = gil.0;
    let said = |error: PyErr| error.value(py).to_string();
    match (check, &value) {
        (Check::Hook(_) | Check::PostRequest, Value::Builtin(_)) => Ok(value),
        (Check::Hook(arity), _) => {
            let hook = callable(py, &value)?;
            if count_parameters(&hook).map_err(said)? != arity {
                return Err(format!("Value must have an arity of: {arity}"));
            }
            Ok(Value::Object(Object::new(&hook)))
        }
        (Check::PostRequest, _) => {
            let hook = callable(py, &value)?;
            if !(2..=4).contains(&count_parameters(&hook).map_err(said)?) {
                return Err("Value must have an arity of: 4".to_owned());
            }
            Ok(Value::Object(Object::new(&hook)))
        }
        (Check::Class, Value::Object(object)) => {
            let object = object.bind(py).clone();
            let is_function = py
                .import("inspect")
                .and_then(|inspect| {
                    Ok(inspect
                        .call_method1("isfunction", (&object,))?
                        .is_truthy()?
                        || inspect.call_method1("ismethod", (&object,))?.is_truthy()?)
                })
                .map_err(said)?;
            Ok(to_value(&if is_function {
                object.call0().map_err(said)?
            } else {
                object
            }))
        }
        (Check::Dict, Value::Dict(dict)) if dict.object.is_none() => {
            let object = from_value(py, &value).map_err(said)?;
            Ok(Value::Dict(Dict {
                pairs: dict.pairs.clone(),
                object: Some(Object::new(&object)),
            }))
        }
        _ => Ok(value),
    }
}

/// How many parameters a hook has; two, three and four are allowed for `post_request`.
pub(super) fn count_parameters(callable: &Bound<'_, PyAny>) -> PyResult<usize> {
    let inspect = callable.py().import("inspect")?;
    let kinds = inspect.getattr("Parameter")?;
    let positional = (
        kinds.getattr("POSITIONAL_ONLY")?,
        kinds.getattr("POSITIONAL_OR_KEYWORD")?,
    );
    let parameters = inspect
        .call_method1("signature", (callable,))?
        .getattr("parameters")?;
    let mut count = 0;
    for parameter in parameters.call_method0("values")?.try_iter()? {
        let kind = parameter?.getattr("kind")?;
        count += usize::from(kind.eq(&positional.0)? || kind.eq(&positional.1)?);
    }
    Ok(count)
}

/// The callable itself, or the one that a dotted name stands for.
fn callable<'py>(py: Python<'py>, value: &Value) -> Result<Bound<'py, PyAny>, String> {
    let object = match value {
        Value::Text(path) => {
            let Some((module, name)) = path.rsplit_once('.') else {
                return Err(format!(
                    "Value '{path}' is not import string. Format: module[.submodules...].object"
                ));
            };
            let module = py
                .import(module)
                .map_err(|error| error.value(py).to_string())?;
            let named = module.getattr(name);
            named.map_err(|_| {
                format!(
                    "Can not load '{name}' from '{}'",
                    path[..path.len() - name.len() - 1].to_owned()
                )
            })?
        }
        Value::Object(object) => object.bind(py).clone(),
        other => return Err(format!("Value is not callable: {other}")),
    };
    if object.is_callable() {
        Ok(object)
    } else {
        Err(format!(
            "Value is not callable: {}",
            object
                .str()
                .map(|text| text.to_string())
                .unwrap_or_default()
        ))
    }
}
