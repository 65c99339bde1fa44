//! `wsgi.input` over a body that has arrived completely: reading never waits, and ends where the body ends. Only a client
//! that wants to be told before it sends its body is waited for, at the first read.
//!
//! Not here: receiving the body (`worker::body`).

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use trine_http1::BodyLength;

use crate::worker::body::Body;

use super::answer::{Gone, NoBody};
use super::start_response::active_in;

#[pyclass(module = "trine_wsgi")]
#[derive(Debug)]
pub(super) struct Input {
    source: Source,
    /// The body ended early; leads to the request.
    cut: Option<Py<PyAny>>,
}

#[derive(Debug)]
enum Source {
    /// Still with the client, who waits to be told to go on.
    Awaited {
        cell: Py<PyAny>,
        length: BodyLength,
    },
    /// It did not come.
    Failed(String),
    Memory {
        bytes: Vec<u8>,
        at: usize,
    },
    File(BufReader<File>),
}

impl Input {
    pub(super) fn new(body: Body) -> Self {
        let source = match body {
            Body::Empty => Source::Memory {
                bytes: Vec::new(),
                at: 0,
            },
            Body::Memory(bytes) => Source::Memory { bytes, at: 0 },
            Body::File { file, .. } => Source::File(BufReader::with_capacity(64 * 1024, file)),
        };
        Self { source, cut: None }
    }

    /// What came of a body whose client has closed its sending side: whoever reads beyond it is told.
    pub(super) fn truncated(body: Body, cell: Py<PyAny>) -> Self {
        Self {
            cut: Some(cell),
            ..Self::new(body)
        }
    }

    /// A body that the first read asks for; `cell` leads to the request.
    pub(super) fn awaiting(cell: Py<PyAny>, length: BodyLength) -> Self {
        Self {
            source: Source::Awaited { cell, length },
            cut: None,
        }
    }

    /// Tells that there is less than was announced. Should nobody catch it, the client has made the mistake, not the
    /// application.
    fn tell_cut(&self, py: Python<'_>) -> io::Error {
        if let Some(cell) = &self.cut
            && let Ok(active) = active_in(cell.bind(py))
        {
            // SAFETY: `active` lives in the frame of `Caller::call` below us on this thread. While it is borrowed only
            // this thread's own request could use it, and that is here.
            let active = unsafe { &mut *active };
            active.no_body = Some(400);
        }
        failed(ENDED_EARLY)
    }

    /// A line; that of a body that ends in the middle of it is none.
    fn whole_line<'py>(
        &mut self,
        py: Python<'py>,
        limit: Option<usize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let line = PyBytes::new(py, &self.take_line(limit)?);
        let bytes = line.as_bytes();
        if self.cut.is_some()
            && !bytes.ends_with(b"\n")
            && limit.is_none_or(|limit| bytes.len() < limit)
        {
            return Err(self.tell_cut(py).into());
        }
        Ok(line)
    }

    /// Has the whole body come, if it has not yet.
    fn arrive(&mut self, py: Python<'_>) -> PyResult<()> {
        let Source::Awaited { cell, length } = &self.source else {
            return Ok(());
        };
        let active = active_in(cell.bind(py))?;
        let length = *length;
        // SAFETY: `active` lives in the frame of `Caller::call` below us on this thread. While it is borrowed only this
        // thread's own request could use it, and that is here.
        let active = unsafe { &mut *active };
        if !active.reply.started() {
            active
                .sink
                .out()
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let asked = active.sink.push(b"", b"", false);
        let came = match asked {
            Ok(()) => active.sink.body(length),
            Err(Gone) => Err(NoBody {
                status: 400,
                text: "the client has closed the connection".to_owned(),
            }),
        };
        match came {
            Ok(body) => {
                active.reply.set_keep_alive(active.may_keep);
                self.source = Self::new(body).source;
            }
            Err(NoBody { status, text }) => {
                active.no_body = Some(status);
                self.source = Source::Failed(text);
            }
        }
        Ok(())
    }

    /// Up to `limit` bytes; everything without one.
    fn take(&mut self, limit: Option<usize>) -> io::Result<std::borrow::Cow<'_, [u8]>> {
        match &mut self.source {
            Source::Awaited { .. } => Err(io::ErrorKind::NotConnected.into()),
            Source::Failed(text) => Err(failed(text)),
            Source::Memory { bytes, at } => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let part = &rest[..limit.unwrap_or(rest.len()).min(rest.len())];
                *at += part.len();
                Ok(part.into())
            }
            Source::File(file) => {
                let mut part = Vec::new();
                match limit {
                    Some(limit) => file.take(limit as u64).read_to_end(&mut part)?,
                    None => file.read_to_end(&mut part)?,
                };
                Ok(part.into())
            }
        }
    }

    /// Up to and with the next newline, at most `limit` bytes.
    fn take_line(&mut self, limit: Option<usize>) -> io::Result<std::borrow::Cow<'_, [u8]>> {
        match &mut self.source {
            Source::Awaited { .. } => Err(io::ErrorKind::NotConnected.into()),
            Source::Failed(text) => Err(failed(text)),
            Source::Memory { bytes, at } => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let rest = &rest[..limit.unwrap_or(rest.len()).min(rest.len())];
                let line = &rest[..memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)];
                *at += line.len();
                Ok(line.into())
            }
            Source::File(file) => {
                let mut line = Vec::new();
                match limit {
                    Some(limit) => file.take(limit as u64).read_until(b'\n', &mut line)?,
                    None => file.read_until(b'\n', &mut line)?,
                };
                Ok(line.into())
            }
        }
    }
}

const ENDED_EARLY: &str = "the request body ended before its announced length";

/// ConnectionResetError in Python: frameworks know what to do with it.
fn failed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, text.to_owned())
}

/// Python's idea of a size: negative or None is everything.
fn limit(size: Option<isize>) -> Option<usize> {
    size.and_then(|size| usize::try_from(size).ok())
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&mut self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.arrive(py)?;
        let limit = limit(size);
        let part = PyBytes::new(py, &self.take(limit)?);
        if self.cut.is_some() && limit.is_none_or(|limit| part.as_bytes().len() < limit) {
            return Err(self.tell_cut(py).into());
        }
        Ok(part)
    }

    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(
        &mut self,
        py: Python<'py>,
        size: Option<isize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.arrive(py)?;
        self.whole_line(py, limit(size))
    }

    /// The rest as lines; with a hint, about that many bytes.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(
        &mut self,
        py: Python<'py>,
        hint: Option<isize>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.arrive(py)?;
        let hint = limit(hint).filter(|hint| *hint > 0);
        let lines = PyList::empty(py);
        let mut total = 0;
        while hint.is_none_or(|hint| total < hint) {
            let line = self.whole_line(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.arrive(py)?;
        let line = self.whole_line(py, None)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}
