//! `reload`: a Python thread that looks each second whether a file of the application has changed.
//!
//! It asks for the worker to be replaced, by the HUP that a worker takes for that: the old one serves until the new one
//! has imported the application, so code that cannot be imported does no harm.
//! Not here: replacing workers (`arbiter`).

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyModule, PyTuple};

use super::interpreter::{Gil, describe};

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
