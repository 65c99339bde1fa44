//! `wsgi.errors`: text to the error log, unbuffered, from any thread, never raising because of what is written.
//!
//! Not here: our own log lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use pyo3::prelude::*;
use pyo3::types::PyString;

#[pyclass(frozen, module = "trine_wsgi")]
#[derive(Debug)]
pub(super) struct ErrorStream {
    /// `None`: standard error.
    file: Option<File>,
}

impl ErrorStream {
    pub(super) fn new(path: Option<&Path>) -> io::Result<Self> {
        let file = path
            .map(|path| OpenOptions::new().append(true).create(true).open(path))
            .transpose()?;
        Ok(Self { file })
    }

    fn put(&self, text: &str) {
        // There is nobody left to tell about a log that cannot be written.
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(text.as_bytes()),
            None => io::stderr().lock().write_all(text.as_bytes()),
        };
    }
}

#[pymethods]
impl ErrorStream {
    fn write(&self, text: &Bound<'_, PyString>) -> usize {
        self.put(&text.to_string_lossy());
        text.len().unwrap_or(0)
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.put(&line?.cast::<PyString>()?.to_string_lossy());
        }
        Ok(())
    }

    /// There is no buffer.
    fn flush(&self) {}
}
