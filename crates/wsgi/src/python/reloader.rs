//! `reload`: a Python thread that looks each second whether a file of the application has changed.
//!
//! It asks for the worker to be replaced, by the HUP that a worker takes for that: the old one serves until the new one
//! has imported the application, so code that cannot be imported does no harm. A syntax error is a page, as with
//! gunicorn, so that whoever made it sees it.
//! Not here: replacing workers (`arbiter`).

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyModule, PyTuple};

use super::interpreter::{Gil, describe};
use super::load::App;

const RELOADER: &std::ffi::CStr = cr#"
import glob, os, signal, sys, threading, time

def modules():
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            yield path[:-1] if path.endswith((".pyc", ".pyo")) else path

def stamps(paths):
    found = {}
    for path in paths:
        try:
            found[path] = os.stat(path).st_mtime_ns
        except OSError:
            pass
    return found

def extra(patterns):
    return stamps(path for pattern in patterns for path in glob.iglob(pattern, recursive=True))

def watch(patterns, imported, others, tell):
    while True:
        time.sleep(1)
        now = stamps(modules())
        # A module that was not there before is new, not changed; a file that fits a pattern may be new, too.
        changed = [path for path, stamp in now.items() if imported.get(path, stamp) != stamp]
        imported.update(now)
        now = extra(patterns)
        changed += [path for path, stamp in now.items() if others.get(path) != stamp]
        others = now
        if changed:
            tell(changed[0])
            os.kill(os.getpid(), signal.SIGHUP)

def start(patterns, tell):
    arguments = (patterns, stamps(modules()), extra(patterns), tell)
    threading.Thread(target=watch, args=arguments, name="reloader", daemon=True).start()
"#;

const FAILING: &std::ffi::CStr = cr#"
import re

def failing(traceback):
    body = traceback.encode("utf-8", "replace")

    def app(environ, start_response):
        length = str(len(body))
        start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", length)])
        return [body]

    return app, re.findall(r'File "([^"<>]+)"', traceback)
"#;

/// In place of an application with a syntax error: its traceback, as gunicorn shows it, and the files to watch.
///
/// # Errors
/// What Python says, if memory is short.
pub fn failing_app(gil: Gil<'_>, traceback: &str) -> Result<(App, Vec<String>), String> {
    let py = gil.0;
    let make = || -> PyResult<(App, Vec<String>)> {
        let module =
            PyModule::from_code(py, FAILING, c"trine_wsgi_failing.py", c"trine_wsgi_failing")?;
        let (app, files): (Py<PyAny>, Vec<String>) =
            module.getattr("failing")?.call1((traceback,))?.extract()?;
        Ok((App(app), files))
    };
    make().map_err(|error| describe(py, &error))
}

/// Begins to look, at the modules that are imported and at the files that fit `patterns`.
pub fn watch_files(gil: Gil<'_>, patterns: &[String]) {
    let py = gil.0;
    let start = || -> PyResult<()> {
        let tell = |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            let path: String = args.get_item(0)?.extract()?;
            tracing::info!("Worker reloading: {path} modified");
            Ok(())
        };
        let tell = PyCFunction::new_closure(py, None, None, tell)?;
        let reloader = PyModule::from_code(
            py,
            RELOADER,
            c"trine_wsgi_reloader.py",
            c"trine_wsgi_reloader",
        )?;
        reloader.getattr("start")?.call1((patterns, tell))?;
        Ok(())
    };
    if let Err(error) = start() {
        tracing::warn!("cannot watch files: {}", describe(py, &error));
    }
}
