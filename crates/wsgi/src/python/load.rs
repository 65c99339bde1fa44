//! Finding the application object, with gunicorn's rules and words.
//!
//! Not here: when it is loaded (worker or arbiter).

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use crate::config::settings::Paste;

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
    Unusable { summary: String, traceback: String },
}

impl LoadError {
    /// The traceback, if it ends in a syntax error.
    #[must_use]
    pub fn syntax_error(&self) -> Option<&str> {
        let Self::Import { traceback, .. } = self else {
            return None;
        };
        let last = traceback.lines().last()?;
        let kinds = ["SyntaxError", "IndentationError", "TabError"];
        kinds
            .iter()
            .any(|kind| last.starts_with(kind))
            .then_some(traceback)
    }

    #[must_use]
    pub fn traceback(&self) -> &str {
        let (Self::Import { traceback, .. } | Self::Unusable { traceback, .. }) = self;
        traceback
    }

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Import { .. } => 3,
            Self::Unusable { .. } => 4,
        }
    }
}

const LOADER: &std::ffi::CStr = cr#"
import ast, importlib, os, traceback
from gunicorn.errors import AppImportError

def load(spec):
    module, _, obj = spec.partition(":")
    obj = obj or "application"
    try:
        mod = importlib.import_module(module)
    except ImportError:
        if module.endswith(".py") and os.path.exists(module):
            raise ImportError("Failed to find application, did you mean '%s:%s'?" % (module.rsplit(".", 1)[0], obj))
        raise
    try:
        expression = ast.parse(obj, mode="eval").body
    except SyntaxError:
        raise AppImportError("Failed to parse %r as an attribute name or function call." % obj)
    args, kwargs = None, None
    if isinstance(expression, ast.Name):
        name = expression.id
    elif isinstance(expression, ast.Call):
        if not isinstance(expression.func, ast.Name):
            raise AppImportError("Function reference must be a simple name: %r" % obj)
        name = expression.func.id
        try:
            args = [ast.literal_eval(arg) for arg in expression.args]
            kwargs = {kw.arg: ast.literal_eval(kw.value) for kw in expression.keywords}
        except ValueError:
            raise AppImportError("Failed to parse arguments as literal values: %r" % obj)
    else:
        raise AppImportError("Failed to parse %r as an attribute name or function call." % obj)
    try:
        app = getattr(mod, name)
    except AttributeError:
        raise AppImportError("Failed to find attribute %r in %r." % (name, module))
    if args is not None:
        try:
            app = app(*args, **kwargs)
        except TypeError as exc:
            if exc.__traceback__ is not None and exc.__traceback__.tb_next is not None:
                raise
            raise AppImportError("".join(traceback.format_exception_only(TypeError, exc)).strip())
    return check(app, obj)

def load_paste(uri, conf):
    from paste.deploy import loadapp
    if ":" not in uri:
        uri = "config:" + uri
    return check(loadapp(uri, relative_to=os.getcwd(), global_conf=conf), uri)

def check(app, named):
    if app is None:
        raise AppImportError("Failed to find application object: %r" % named)
    if not callable(app):
        raise AppImportError("Application object must be callable.")
    return app
"#;

/// Our loader as a module: `load`, and the error for what is no application.
pub(super) fn loader(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    PyModule::from_code(py, LOADER, c"trine_wsgi_loader.py", c"trine_wsgi_loader")
}

/// Imports `module:object` or `module:factory(literals)`; with `paste`, loads the application of that PasteDeploy file;
/// asks the application that started us, if one did.
pub fn load(gil: Gil<'_>, spec: &str, paste: Option<&Paste>) -> Result<App, LoadError> {
    let py = gil.0;
    if spec == Embedded::SPEC {
        return Embedded::load(gil).map_err(|error| LoadError::Import {
            summary: last_line(&error.to_string()),
            traceback: describe(py, &error),
        });
    }
    let attempt = || -> PyResult<Bound<'_, PyAny>> {
        let loader = loader(py)?;
        match paste {
            None => loader.getattr("load")?.call1((spec,)),
            Some(paste) => {
                let conf = PyDict::new(py);
                for (name, value) in &paste.global_conf {
                    conf.set_item(name, value)?;
                }
                loader.getattr("load_paste")?.call1((spec, conf))
            }
        }
    };
    attempt().map(|app| App(app.unbind())).map_err(|error| {
        let traceback = describe(py, &error);
        let unusable = py.import("gunicorn.errors").and_then(|errors| {
            error
                .value(py)
                .is_instance(&errors.getattr("AppImportError")?)
        });
        match unusable {
            Ok(true) => LoadError::Unusable {
                summary: error.value(py).to_string(),
                traceback,
            },
            _ => LoadError::Import {
                summary: last_line(&error.to_string()),
                traceback,
            },
        }
    })
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
