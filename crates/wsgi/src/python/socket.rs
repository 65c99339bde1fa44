//! `gunicorn.socket`: the connection itself, for applications that take it over (WebSockets).
//!
//! Nearly no request asks for it, so it is a stand-in that becomes a real `socket.socket` with the first use of any of
//! its attributes.
//! Not here: what becomes of the connection afterwards (`call`).

use std::os::fd::IntoRawFd as _;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::start_response::active_in;

#[pyclass(frozen, module = "trine_wsgi")]
pub(super) struct ConnectionSocket {
    cell: Py<PyAny>,
    real: PyOnceLock<Py<PyAny>>,
}

impl ConnectionSocket {
    pub(super) fn new(cell: Py<PyAny>) -> Self {
        Self {
            cell,
            real: PyOnceLock::new(),
        }
    }

    /// The application has asked for the connection.
    pub(super) fn is_used(&self, py: Python<'_>) -> bool {
        self.real.get(py).is_some()
    }

    fn real<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let real = self.real.get_or_try_init(py, || self.make(py))?;
        Ok(real.bind(py))
    }

    fn make(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let active = active_in(self.cell.bind(py))?;
        // SAFETY: `active` lives in the frame of `Caller::call` below us on this thread, and no Python code runs while
        // it is borrowed.
        let active = unsafe { &mut *active };
        let socket = active.sink.socket().map_err(|error| {
            PyOSError::new_err(format!("the connection cannot be handed out: {error}"))
        })?;
        active.has_socket = true;
        // Nobody will know what was read or written.
        active.reply.set_keep_alive(false);
        active.may_keep = false;
        let kind = py.import("socket")?.getattr(intern!(py, "socket"))?;
        let options = pyo3::types::PyDict::new(py);
        options.set_item("fileno", socket.into_raw_fd())?;
        let real = kind.call((), Some(&options))?;
        // As an application expects it: reading waits.
        real.call_method1(intern!(py, "setblocking"), (true,))?;
        Ok(real.unbind())
    }
}

#[pymethods]
impl ConnectionSocket {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.real(py)?.getattr(name)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.real(py)?.call_method0(intern!(py, "close")).map(drop)
    }
}
