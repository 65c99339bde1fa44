//! Our Python sources inside the server: `import gunicorn` finds `packaging/python/trine_wsgi/standin`, unless the real
//! one is there.
//!
//! The sources are in the binary, so that it needs no files beside it; tracebacks show their lines all the same.
//! Not here: environments outside the server (`packaging/gunicorn`).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use super::interpreter::is_hosted;

/// A module's file below `packaging/python/trine_wsgi`, and what is in it.
type Source = (&'static str, &'static str);

macro_rules! sources {
    ($($file:literal,)*) => {
        [$((
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/python/trine_wsgi/", $file)),
        ),)*]
    };
}

const SOURCES: [Source; 27] = sources![
    "__init__.py",
    "__main__.py",
    "app.py",
    "config.py",
    "glogging.py",
    "logger.py",
    "standin/gunicorn/__init__.py",
    "standin/gunicorn/__main__.py",
    "standin/gunicorn/app/__init__.py",
    "standin/gunicorn/app/base.py",
    "standin/gunicorn/app/wsgiapp.py",
    "standin/gunicorn/arbiter.py",
    "standin/gunicorn/config.py",
    "standin/gunicorn/errors.py",
    "standin/gunicorn/glogging.py",
    "standin/gunicorn/http/__init__.py",
    "standin/gunicorn/http/errors.py",
    "standin/gunicorn/http/message.py",
    "standin/gunicorn/http/wsgi.py",
    "standin/gunicorn/instrument/__init__.py",
    "standin/gunicorn/instrument/statsd.py",
    "standin/gunicorn/util.py",
    "standin/gunicorn/workers/__init__.py",
    "standin/gunicorn/workers/base.py",
    "standin/gunicorn/workers/gthread.py",
    "standin/gunicorn/workers/sync.py",
    "statsd.py",
];

const FINDER: &std::ffi::CStr = cr#"
import sys
from importlib.machinery import ModuleSpec, PathFinder

class StandIn:
    """Finds and loads the names of gunicorn that trine-wsgi brings."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        source = self.sources.get(name)
        if source is None:
            return None
        if name == "gunicorn":
            found = PathFinder.find_spec(name)
            # A folder or a file of this name in the application is not the package.
            if found is not None and found.origin and found.submodule_search_locations:
                return None
        elif name.startswith("gunicorn.") and sys.modules["gunicorn"].__loader__ is not self:
            return None
        return ModuleSpec(name, self, origin=self.get_filename(name), is_package=source[0])

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        module.__file__ = self.get_filename(name)
        exec(compile(self.get_source(name), self.get_filename(name), "exec"), module.__dict__)

    def get_filename(self, name):
        return "<trine-wsgi>/" + name.replace(".", "/") + ("/__init__.py" if self.sources[name][0] else ".py")

    def get_source(self, name):
        return self.sources[name][1]

    def get_code(self, name):
        return compile(self.get_source(name), self.get_filename(name), "exec")

def install(sources):
    sys.meta_path.insert(0, StandIn(sources))
"#;

/// Has `import gunicorn` find our names from now on; in our own binary, `import trine_wsgi` too.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Relaxed) {
        return Ok(());
    }
    let sources = PyDict::new(py);
    for (file, source) in SOURCES {
        let (name, is_package) = module(file);
        if !is_hosted() || name.starts_with("gunicorn") {
            sources.set_item(name, (is_package, source))?;
        }
    }
    if !is_hosted() {
        let native = pyo3::wrap_pymodule!(super::extension::_native)(py);
        let modules = py.import("sys")?.getattr("modules")?;
        modules.set_item("trine_wsgi._native", native)?;
    }
    let finder = PyModule::from_code(py, FINDER, c"trine_wsgi_standin.py", c"trine_wsgi_standin")?;
    finder.getattr("install")?.call1((sources,))?;
    Ok(())
}

/// The name to import a file by, and whether it is a package.
fn module(file: &str) -> (String, bool) {
    let path = file.trim_end_matches(".py");
    let (path, is_package) = match path.strip_suffix("__init__") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = path.trim_end_matches('/');
    let name = match path.strip_prefix("standin/") {
        Some(path) => path.to_owned(),
        None if path.is_empty() => "trine_wsgi".to_owned(),
        None => format!("trine_wsgi/{path}"),
    };
    (name.replace('/', "."), is_package)
}

#[cfg(test)]
mod tests {
    use super::{SOURCES, module};
    use std::path::Path;

    #[track_caller]
    fn check(file: &str, name: &str, is_package: bool) {
        assert_eq!(module(file), (name.to_owned(), is_package), "{file}");
    }

    #[test]
    fn names() {
        check("__init__.py", "trine_wsgi", true);
        check("glogging.py", "trine_wsgi.glogging", false);
        check("standin/gunicorn/__init__.py", "gunicorn", true);
        check("standin/gunicorn/http/wsgi.py", "gunicorn.http.wsgi", false);
    }

    /// A file that is not in the table would be missing in the binary only.
    #[test]
    fn every_file_is_in_the_table() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/python/trine_wsgi");
        let mut folders = vec![top.clone()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kind == "py") {
                    found.push(
                        path.strip_prefix(&top)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        found.sort();
        assert_eq!(found, SOURCES.map(|(file, _)| file.to_owned()));
    }
}
