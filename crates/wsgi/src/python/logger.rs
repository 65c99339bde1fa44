//! Python's loggers `gunicorn.error` and `gunicorn.access`, and the object with gunicorn's methods over them.
//!
//! They are always there, because applications copy their handlers. As long as nothing asks for more (`logger_class`,
//! `logconfig*`, syslog, statsd), the server writes its lines itself, in the same form to the same places; otherwise
//! every line goes through them: the log is relayed.
//! Not here: the classes (`packaging/python`), the lines themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use trine_service::logging::{Level, Line, LogHandle};

use super::hooks::Config;
use super::interpreter::{Gil, describe};

/// Python's numbers for levels.
const CRITICAL: u8 = 50;
const ERROR: u8 = 40;
const WARNING: u8 = 30;
const INFO: u8 = 20;
const DEBUG: u8 = 10;

/// The one logger of this process; a reload sets it up anew.
static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// Lines go to it.
static RELAYED: AtomicBool = AtomicBool::new(false);

/// gunicorn's `log` object.
#[derive(Debug, Clone)]
pub struct Logger(pub(super) Arc<Py<PyAny>>);

const NO_CONFIG: &str = "the settings cannot be shown to the logger";

impl Logger {
    /// Makes the logger that `config` asks for, with its handlers, and has `log` hand its lines on if need be.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn new(gil: Gil<'_>, config: Option<&Config>, log: &LogHandle) -> Result<Self, String> {
        let py = gil.0;
        let config = config.ok_or(NO_CONFIG)?;
        let make = || -> PyResult<Self> {
            let made = CURRENT.get_or_try_init(py, || {
                let config = config.0.bind(py);
                let class = config.getattr("logger_class")?;
                PyResult::Ok(class.call1((config,))?.unbind())
            })?;
            let logger = Self(Arc::new(made.clone_ref(py)));
            logger.steer(py, config, log)?;
            Ok(logger)
        };
        make().map_err(|error| reason(py, &error))
    }

    /// Sets it up for other settings.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn set_up(
        &self,
        gil: Gil<'_>,
        config: Option<&Config>,
        log: &LogHandle,
    ) -> Result<(), String> {
        let py = gil.0;
        let config = config.ok_or(NO_CONFIG)?;
        let set_up = || -> PyResult<()> {
            self.0.call_method1(py, "setup", (config.0.bind(py),))?;
            self.steer(py, config, log)
        };
        set_up().map_err(|error| reason(py, &error))
    }

    /// Decides who writes the lines.
    fn steer(&self, py: Python<'_>, config: &Config, log: &LogHandle) -> PyResult<()> {
        let module = module(py)?;
        let native = module.call_method1("is_native", (config.0.bind(py),))?;
        if native.is_truthy()? {
            RELAYED.store(false, Relaxed);
            log.relay(None);
            return Ok(());
        }
        // A configuration of logging may let more through than loglevel says.
        let level: u8 = module
            .call_method1("level", (self.0.bind(py),))?
            .extract()?;
        log.set_level(match level {
            ERROR.. => Level::ERROR,
            WARNING.. => Level::WARN,
            INFO.. => Level::INFO,
            _ => Level::DEBUG,
        });
        let relay = module.getattr("relay")?.unbind();
        let logger = self.0.clone_ref(py);
        RELAYED.store(true, Relaxed);
        log.relay(Some(Arc::new(move |line: &Line<'_>| {
            let said = Python::try_attach(|py| {
                let args = (&logger, python_level(line), line.message);
                relay.call1(py, args).is_ok()
            });
            said.unwrap_or(false)
        })));
        Ok(())
    }

    /// Opens its files again, after logrotate moved them away.
    pub fn reopen(&self, gil: Gil<'_>) {
        self.tell(gil, |log| log.call_method0("reopen_files"));
    }

    /// The number of workers, which statsd is told.
    pub fn tell_workers(&self, gil: Gil<'_>, count: usize) {
        if is_log_relayed() {
            self.tell(gil, |log| {
                module(log.py())?.call_method1("workers", (log, count))
            });
        }
    }

    /// How many connections wait for the TCP listeners with these descriptors, which statsd is told.
    pub fn tell_backlog(&self, gil: Gil<'_>, listeners: &[i32]) {
        self.tell(gil, |log| {
            module(log.py())?.call_method1("backlog", (log, listeners))
        });
    }

    fn tell<'py>(
        &self,
        gil: Gil<'py>,
        call: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) {
        if let Err(error) = call(self.0.bind(gil.0)) {
            tracing::error!("the logger failed\n{}", describe(gil.0, &error));
        }
    }
}

/// The logger, if it is told of requests.
pub(super) fn relayed(py: Python<'_>) -> Option<Py<PyAny>> {
    let logger = CURRENT.get(py).filter(|_| RELAYED.load(Relaxed))?;
    Some(logger.clone_ref(py))
}

/// Whether Python's loggers write both logs, and not we.
#[must_use]
pub fn is_log_relayed() -> bool {
    RELAYED.load(Relaxed)
}

/// Tells of an exception: with the exception itself, if Python's loggers get the lines.
pub(super) fn tell_exception(py: Python<'_>, said: &str, error: &PyErr) {
    let relay = || -> PyResult<()> {
        let details = PyDict::new(py);
        let whole = (error.get_type(py), error.value(py), error.traceback(py));
        details.set_item("exc_info", whole)?;
        let logger = CURRENT
            .get(py)
            .ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("there is no logger"))?;
        // What is said has no arguments: a % in a path stays one.
        logger.call_method(py, "exception", ("%s", said), Some(&details))?;
        Ok(())
    };
    if !RELAYED.load(Relaxed) || relay().is_err() {
        tracing::error!("{said}\n{}", describe(py, error));
    }
}

fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("trine_wsgi.logger")
}

fn python_level(line: &Line<'_>) -> u8 {
    match line.level {
        _ if line.critical => CRITICAL,
        Level::ERROR => ERROR,
        Level::WARN => WARNING,
        Level::INFO => INFO,
        _ => DEBUG,
    }
}

/// The words of an exception that was raised to say them; any other with its traceback.
fn reason(py: Python<'_>, error: &PyErr) -> String {
    if error.is_instance_of::<pyo3::exceptions::PyRuntimeError>(py) {
        error.value(py).to_string()
    } else {
        describe(py, error)
    }
}
