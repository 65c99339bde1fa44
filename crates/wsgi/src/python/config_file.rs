//! A configuration that is Python: a file, run as the module `__config__`, or a module that is imported.
//!
//! Not here: what the names mean (`config`).

use pyo3::exceptions::PySystemExit;
use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use crate::config::value::Value;

use super::interpreter::{Gil, describe};
use super::objects::to_value;

/// Everything that a configuration says.
#[derive(Debug, Default)]
pub struct Names {
    /// The values of the names that are settings, in the order they stand in.
    pub known: Vec<(String, Value)>,
    /// Other names that were given a value there; not modules, private names, or what was imported from elsewhere.
    pub unknown: Vec<String>,
}

/// Why a configuration could not be run.
#[derive(Debug)]
pub enum ConfigError {
    /// It raised; the traceback.
    Raised(String),
    /// It called `sys.exit`.
    Exit(u8),
    /// A module that cannot be imported.
    Import(String),
}

const READER: &std::ffi::CStr = cr#"
import importlib.machinery, importlib.util, sys, types

def run(path, foreign):
    # A name other than .py or .pyc has no loader of its own.
    loader = importlib.machinery.SourceFileLoader("__config__", path) if foreign else None
    spec = importlib.util.spec_from_file_location("__config__", path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["__config__"] = module
    spec.loader.exec_module(module)
    return vars(module)

def is_own(value, module):
    if isinstance(value, types.ModuleType):
        return False
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return getattr(value, "__module__", None) == module
    return True
"#;

/// Runs the file at `path`.
///
/// # Errors
/// See [`ConfigError`].
pub fn run_file(
    gil: Gil<'_>,
    path: &str,
    is_setting: impl Fn(&str) -> bool,
) -> Result<Names, ConfigError> {
    let py = gil.0;
    let foreign = ![".py", ".pyc"].iter().any(|end| path.ends_with(end));
    let run = || {
        let reader = reader(py)?;
        let names = reader.getattr("run")?.call1((path, foreign))?;
        sort(&reader, &names, "__config__", is_setting)
    };
    run().map_err(|error: PyErr| match exit_code(py, &error) {
        Some(code) => ConfigError::Exit(code),
        None => ConfigError::Raised(describe(py, &error)),
    })
}

/// Imports the module `name`.
///
/// # Errors
/// See [`ConfigError`].
pub fn import_module(
    gil: Gil<'_>,
    name: &str,
    is_setting: impl Fn(&str) -> bool,
) -> Result<Names, ConfigError> {
    let py = gil.0;
    let import = || {
        let module = py.import(name)?;
        sort(&reader(py)?, module.dict().as_any(), name, is_setting)
    };
    import().map_err(|error: PyErr| match exit_code(py, &error) {
        Some(code) => ConfigError::Exit(code),
        None => ConfigError::Import(error.value(py).to_string()),
    })
}

fn reader(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::from_code(py, READER, c"trine_wsgi_config.py", c"trine_wsgi_config")
}

pub(super) fn exit_code(py: Python<'_>, error: &PyErr) -> Option<u8> {
    error.is_instance_of::<PySystemExit>(py).then(|| {
        let code = error.value(py).getattr("code").ok();
        match code {
            Some(code) if code.is_none() => 0,
            Some(code) => code.extract::<i64>().map_or(1, |code| code as u8),
            None => 1,
        }
    })
}

fn sort(
    reader: &Bound<'_, PyModule>,
    names: &Bound<'_, PyAny>,
    module: &str,
    is_setting: impl Fn(&str) -> bool,
) -> PyResult<Names> {
    let is_own = reader.getattr("is_own")?;
    let mut found = Names::default();
    for (name, value) in names.cast::<PyDict>()?.iter() {
        let Ok(name) = name.extract::<String>() else {
            continue;
        };
        if is_setting(&name) {
            found.known.push((name, to_value(&value)));
        } else if !name.starts_with('_') && is_own.call1((&value, module))?.is_truthy()? {
            found.unknown.push(name);
        }
    }
    Ok(found)
}

/// Goes to a folder as gunicorn does: it is on `sys.path`, in front unless it is there already.
///
/// # Errors
/// The system's error.
pub fn change_folder(gil: Gil<'_>, folder: &std::path::Path) -> std::io::Result<()> {
    std::env::set_current_dir(folder)?;
    put_on_path(gil, folder);
    Ok(())
}

/// In front of `sys.path`, unless it is there already.
pub fn put_on_path(gil: Gil<'_>, folder: &std::path::Path) {
    let put = || -> PyResult<()> {
        let path = gil.0.import("sys")?.getattr("path")?;
        if !path.contains(folder.as_os_str())? {
            path.call_method1("insert", (0, folder.as_os_str()))?;
        }
        Ok(())
    };
    if let Err(error) = put() {
        tracing::warn!("cannot put {} on sys.path: {error}", folder.display());
    }
}

/// `os.environ`: each variable as it was; `None` is that there was none.
pub fn reset_environment(gil: Gil<'_>, before: &BTreeMap<String, Option<String>>) {
    let reset = || -> PyResult<()> {
        let environ = gil.0.import("os")?.getattr("environ")?;
        for (name, value) in before {
            match value {
                Some(value) => environ.set_item(name, value)?,
                None => drop(environ.call_method1("pop", (name, gil.0.None()))?),
            }
        }
        Ok(())
    };
    if let Err(error) = reset() {
        tracing::warn!("cannot reset the environment: {error}");
    }
}

/// `os.environ`, which the application will see.
pub fn set_environment(gil: Gil<'_>, pairs: &[(String, String)]) {
    let set = || -> PyResult<()> {
        let environ = gil.0.import("os")?.getattr("environ")?;
        for (name, value) in pairs {
            environ.set_item(name, value)?;
        }
        Ok(())
    };
    if let Err(error) = set() {
        tracing::warn!("cannot set the environment: {error}");
    }
}
