//! Finding the application object, with gunicorn's rules and words.
//!
//! Not here: when it is loaded (worker or arbiter).

use pyo3::prelude::*;
use pyo3::types::PyModule;

use super::embedding::Embedded;
use super::interpreter::{Gil, describe};

/// The application object.
#[derive(Debug)]
pub struct App(pub(super) Py<PyAny>);

impl App {
    /// Another handle on the same object.
    #[must_use]
    pub fn share(&self, gil: Gil<'_>) -> Self {
        Self(self.0.clone_ref(gil.0))
    }
}

/// Why there is no application, with the traceback that tells.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Importing failed: gunicorn's exit code 3.
    #[error("the application cannot be imported: {summary}")]
    Import { summary: String, traceback: String },
    /// There is something, but it is no application: gunicorn's exit code 4.
    #[error("{summary}")]
    Unusable { summary: String },
}

impl LoadError {
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Import { .. } => 3,
            Self::Unusable { .. } => 4,
        }
    }
}

const LOADER: &std::ffi::CStr = cr#"
import ast, importlib, os, sys

class AppImportError(Exception):
    pass

def load(spec):
    module, _, obj = spec.partition(":")
    obj = obj or "application"
    try:
        mod = importlib.import_module(module)
    except ImportError as exc:
        if module.endswith(".py") and os.path.exists(module):
            raise ImportError("Failed to find application, did you mean '%s:%s'?" % (module.rsplit(".", 1)[0], obj)) from exc
        raise
    try:
        expression = ast.parse(obj, mode="eval").body
    except SyntaxError:
        raise AppImportError("Failed to parse %r as an attribute name or function call." % obj) from None
    args, kwargs = None, None
    if isinstance(expression, ast.Name):
        name = expression.id
    elif isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        name = expression.func.id
        try:
            args = [ast.literal_eval(arg) for arg in expression.args]
            kwargs = {kw.arg: ast.literal_eval(kw.value) for kw in expression.keywords}
        except ValueError:
            raise AppImportError("Failed to parse arguments as literal values: %r" % obj) from None
    else:
        raise AppImportError("Failed to parse %r as an attribute name or function call." % obj)
    try:
        app = getattr(mod, name)
    except AttributeError:
        raise AppImportError("Failed to find attribute %r in %r." % (name, module)) from None
    if args is not None:
        try:
            app = app(*args, **kwargs)
        except TypeError as exc:
            if exc.__traceback__ is not None and exc.__traceback__.tb_next is not None:
                raise
            raise AppImportError("".join(map(str, exc.args))) from exc
    if app is None:
        raise AppImportError("Failed to find application object: %r" % obj)
    if not callable(app):
        raise AppImportError("Application object must be callable.")
    return app
"#;

/// Our loader as a module: `load`, and the error for what is no application.
pub(super) fn loader(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::from_code(py, LOADER, c"trine_wsgi_loader.py", c"trine_wsgi_loader")
}

/// Imports `module:object` or `module:factory(literals)`; asks the application that started us, if one did.
pub fn load(gil: Gil<'_>, spec: &str) -> Result<App, LoadError> {
    let py = gil.0;
    if spec == Embedded::SPEC {
        return Embedded::load(gil).map_err(|error| LoadError::Import {
            summary: last_line(&error.to_string()),
            traceback: describe(py, &error),
        });
    }
    let attempt = || -> PyResult<Result<App, PyErr>> {
        let loader = loader(py)?;
        match loader.getattr("load")?.call1((spec,)) {
            Ok(app) => Ok(Ok(App(app.unbind()))),
            Err(error) => {
                let unusable = error.is_instance(py, &loader.getattr("AppImportError")?);
                if unusable { Err(error) } else { Ok(Err(error)) }
            }
        }
    };
    match attempt() {
        Ok(Ok(app)) => Ok(app),
        Ok(Err(error)) => Err(LoadError::Import {
            summary: last_line(&error.to_string()),
            traceback: describe(py, &error),
        }),
        Err(error) => Err(LoadError::Unusable {
            summary: error.value(py).to_string(),
        }),
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}

/// After preloading: what lives now is never looked at by the collector again, so its pages stay shared after fork.
pub fn freeze(gil: Gil<'_>) {
    let run = || -> PyResult<()> {
        let gc = gil.0.import("gc")?;
        gc.call_method0("collect")?;
        gc.call_method0("freeze")?;
        Ok(())
    };
    if let Err(error) = run() {
        tracing::warn!("cannot freeze the preloaded objects: {error}");
    }
}
