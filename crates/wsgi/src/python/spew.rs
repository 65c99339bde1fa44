//! `spew`: every line of Python that is run, printed as gunicorn prints it.
//!
//! Not here: when it is turned on (`worker::life`).

use pyo3::types::PyModule;

use super::interpreter::Gil;

const SPEW: &std::ffi::CStr = cr#"
import linecache, sys, threading

def trace(frame, event, arg):
    if event == "line":
        name = frame.f_globals.get("__name__", "[unknown]")
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        print("%s:%s: %s" % (name, frame.f_lineno, line.rstrip()), flush=True)
    return trace

threading.settrace(trace)
sys.settrace(trace)
"#;

/// From now on, in this thread and in those that Python starts.
pub fn spew(gil: Gil<'_>) {
    if let Err(error) = PyModule::from_code(gil.0, SPEW, c"trine_wsgi_spew.py", c"trine_wsgi_spew")
    {
        tracing::warn!("cannot trace: {error}");
    }
}
