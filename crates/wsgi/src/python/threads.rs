//! Python threads that call the application: real `threading.Thread`s, so that the application sees them as such.
//!
//! Not here: what they take their work from (`worker::threads`).

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use super::interpreter::Gil;

/// A thread that was started.
#[derive(Debug)]
pub struct CallerThread(Py<PyAny>);

/// Starts a daemon thread named `name` that runs `work` with the interpreter lock.
pub fn spawn_thread(
    gil: Gil<'_>,
    name: &str,
    work: impl FnOnce(Gil<'_>) + Send + 'static,
) -> PyResult<CallerThread> {
    let py = gil.0;
    let work = Mutex::new(Some(work));
    let target = PyCFunction::new_closure(py, Some(c"serve"), None, move |args, _| {
        let work = work.lock().ok().and_then(|mut work| work.take());
        if let Some(work) = work {
            work(Gil(args.py()));
        }
    })?;
    let options = PyDict::new(py);
    options.set_item("target", target)?;
    options.set_item("name", name)?;
    options.set_item("daemon", true)?;
    let thread = py
        .import("threading")?
        .call_method("Thread", (), Some(&options))?;
    thread.call_method0("start")?;
    Ok(CallerThread(thread.unbind()))
}

impl CallerThread {
    /// Waits for its end, at most `seconds`. `false`: it still runs.
    pub fn join(&self, gil: Gil<'_>, seconds: f64) -> bool {
        let thread = self.0.bind(gil.0);
        let joined = thread.call_method1("join", (seconds,));
        joined
            .and_then(|_| thread.call_method0("is_alive")?.extract::<bool>())
            .is_ok_and(|alive| !alive)
    }
}
