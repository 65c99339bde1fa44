//! `wsgi.file_wrapper`: a file-like object as a body, sent by the kernel when it is a real file.
//!
//! Not here: sending (`worker::outbox`).

use std::fs::File;
use std::os::fd::BorrowedFd;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

#[pyclass(frozen, module = "trine_wsgi")]
#[derive(Debug)]
pub(super) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = 8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        Self { filelike, blksize }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self
            .filelike
            .bind(py)
            .call_method1(intern!(py, "read"), (self.blksize,))?;
        let ended = block
            .cast::<PyBytes>()
            .is_ok_and(|bytes| bytes.as_bytes().is_empty());
        Ok((!ended).then_some(block))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

impl FileWrapper {
    /// A real file behind it, where it stands, and how much is left.
    pub(super) fn span(wrapper: &Bound<'_, Self>) -> Option<(File, u64, u64)> {
        let py = wrapper.py();
        let filelike = wrapper.get().filelike.bind(py);
        let number: i32 = filelike
            .call_method0(intern!(py, "fileno"))
            .ok()?
            .extract()
            .ok()?;
        if number < 0 {
            return None;
        }
        let offset: u64 = filelike
            .call_method0(intern!(py, "tell"))
            .ok()?
            .extract()
            .ok()?;
        // SAFETY: the application says that this descriptor is open, and it is only borrowed to be duplicated; a
        // wrong number makes the duplication fail.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let file = File::from(borrowed.try_clone_to_owned().ok()?);
        let about = file.metadata().ok()?;
        about
            .is_file()
            .then(|| (file, offset, about.len().saturating_sub(offset)))
    }
}
