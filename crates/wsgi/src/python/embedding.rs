//! What Python code may ask of the server: the table of settings, checks of values, and to serve an application that
//! brings its own settings (`gunicorn.app.base.BaseApplication`).
//!
//! Not here: the Python classes over it (`packaging/python`), where settings come from otherwise (`config`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::{PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

use crate::cli::Program;
use crate::config::origin::Origin;
use crate::config::value::Value;
use crate::config::{Sources, table, values};

use super::config_file::{ConfigError, exit_code};
use super::interpreter::{Gil, describe};
use super::load::{App, loader};
use super::objects::{Object, from_value, to_value};

/// An application with its own settings: an object with `cfg`, `reload()` and `wsgi()`.
#[derive(Debug, Clone)]
pub struct Embedded {
    application: Object,
    /// Its settings were read once: from now on it is asked to load them anew.
    read: Arc<AtomicBool>,
}

/// There is one per process: whoever calls `run()` serves until the end.
static APPLICATION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

impl Embedded {
    /// Stands for the application where others have `MODULE:NAME`.
    pub const SPEC: &'static str = "<embedded>";

    fn new(application: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = application.py();
        let kept = APPLICATION.get_or_init(py, || application.clone().unbind());
        if !kept.is(application) {
            return Err(PyValueError::new_err(
                "this process serves another application already",
            ));
        }
        Ok(Self {
            application: Object::new(application),
            read: Arc::default(),
        })
    }

    /// The settings that it was given, by name.
    pub(crate) fn read(&self, gil: Gil<'_>) -> Result<Vec<(String, Value)>, ConfigError> {
        let py = gil.0;
        let application = self.application.bind(py);
        let read = || -> PyResult<Vec<(String, Value)>> {
            if self.read.swap(true, Relaxed) {
                application.call_method0("reload")?;
            }
            let settings = application.getattr("cfg")?.getattr("settings")?;
            let mut found = Vec::new();
            for (name, setting) in settings.cast::<PyDict>()?.iter() {
                if setting.getattr("given")?.is_truthy()? {
                    found.push((name.extract()?, to_value(&setting.getattr("value")?)));
                }
            }
            Ok(found)
        };
        read().map_err(|error| match exit_code(py, &error) {
            Some(code) => ConfigError::Exit(code),
            None => ConfigError::Raised(describe(py, &error)),
        })
    }

    /// Asks the application for the WSGI callable.
    pub(super) fn load(gil: Gil<'_>) -> PyResult<App> {
        let py = gil.0;
        let application = APPLICATION
            .get(py)
            .ok_or_else(|| PyValueError::new_err("no application called run()"))?;
        Ok(App(application.call_method0(py, "wsgi")?))
    }
}

/// Rows of name, section, flags, default and meaning.
#[pyfunction]
pub(super) fn settings(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let rows = PyList::empty(py);
    let origin = Origin::here();
    let defaults = values::Values::defaults(Gil(py), &origin).map_err(PyValueError::new_err)?;
    for setting in table::all() {
        let default = from_value(py, defaults.get(setting.name))?;
        let section = setting.section.title();
        let flags = setting.flags.to_vec();
        rows.append((setting.name, section, flags, default, setting.meaning))?;
    }
    Ok(rows)
}

/// The value as the server keeps it; ValueError tells why it cannot be.
#[pyfunction]
pub(super) fn check_setting<'py>(
    py: Python<'py>,
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let place = table::find(name)
        .ok_or_else(|| PyValueError::new_err(format!("there is no setting {name}")))?;
    let checked = values::check(Gil(py), place, to_value(value), &Origin::here());
    from_value(py, &checked.map_err(PyValueError::new_err)?)
}

/// The application that `MODULE:NAME` means.
#[pyfunction]
pub(super) fn import_app<'py>(py: Python<'py>, spec: &str) -> PyResult<Bound<'py, PyAny>> {
    loader(py)?.getattr("load")?.call1((spec,))
}

/// What a command line, with the files and variables it means, gives: values by name, and the plain words. Ends the
/// process as the command would when something is wrong with it.
#[pyfunction]
pub(super) fn read_command_line(
    py: Python<'_>,
    argv: Vec<String>,
) -> PyResult<(Bound<'_, PyDict>, Vec<String>)> {
    let program = Program::called(argv.first().map(String::as_str));
    let exit = |code: u8| PySystemExit::new_err((code,));
    let sources = crate::sources(&program, argv.get(1..).unwrap_or_default())
        .map_err(|stop| exit(stop.tell(&program)))?;
    let values = sources
        .values(Gil(py), &mut Vec::new())
        .map_err(|error| exit(crate::tell(&program, &error)))?;
    let given = PyDict::new(py);
    for setting in table::all() {
        if values.is_given(setting.name) {
            given.set_item(setting.name, from_value(py, values.get(setting.name))?)?;
        }
    }
    Ok((given, sources.args().to_vec()))
}

/// Serves an application that brings its own settings, and returns the exit code.
#[pyfunction]
pub(super) fn run_application(application: &Bound<'_, PyAny>) -> PyResult<u8> {
    let argv: Vec<String> = application.py().import("sys")?.getattr("argv")?.extract()?;
    let embedded = Embedded::new(application)?;
    // Whoever imports gunicorn's names expects gunicorn's ways.
    let program = Program::called(Some("gunicorn"));
    let sources = Sources::embedded(program, embedded, Origin::here());
    Ok(crate::serve_to_the_end(&sources, &argv))
}
