//! One call of the application, from the request to the last block of its answer: PEP 3333's server side.
//!
//! Whatever the application raises ends this request and nothing else; `close()` is owed once, on the thread that
//! iterated, however it ended.
//! Not here: how bytes reach the client (`Sink`), framing (`worker::reply`).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::ptr;

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{ffi, intern};
use trine_http1::Version;

use crate::worker::body::Body;
use crate::worker::environ::{Around, EnvironError, fill};
use crate::worker::exchange::Exchange;
use crate::worker::reply::{Demand, Reply, error_page};
use crate::worker::trust::SchemeHeaders;

use super::environ::{Filling, Names};
use super::errors::ErrorStream;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::interpreter::{Gil, describe};
use super::load::App;
use super::start_response::Callables;

/// The client has closed the connection, or took too long to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Where an answer goes.
pub trait Sink {
    /// Bytes that go out with the next push, or when the call is over.
    fn out(&mut self) -> &mut Vec<u8>;
    /// Sends `out`, then `data`, then `tail`. With `wait`, everything is on its way when this returns, so that the
    /// application may go on; otherwise what the client does not take at once is kept.
    fn push(&mut self, data: &[u8], tail: &'static [u8], wait: bool) -> Result<(), Gone>;
    /// Sends `out`, then a part of a file; nothing may follow.
    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) -> Result<(), Gone>;
    fn date(&mut self) -> [u8; 29];
    /// Whether an answer that is complete should go out before the application cleans up.
    fn eager(&self) -> bool;
}

/// What is the same for all requests that come in by one listener.
#[derive(Debug, Clone)]
pub struct Site {
    /// SERVER_NAME and SERVER_PORT; a Unix socket has none and takes them from Host.
    pub server: Option<(String, String)>,
    pub script_name: String,
    pub multithread: bool,
    pub multiprocess: bool,
    pub scheme_headers: SchemeHeaders,
    /// Where `wsgi.errors` writes, instead of standard error.
    pub error_log: Option<std::path::PathBuf>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// The connection may carry another request.
    pub keep: bool,
    pub status: u16,
    pub body_bytes: u64,
}

/// What ended an answer early.
#[derive(Debug)]
pub(super) enum CallError {
    Gone,
    /// A block came before `start_response` was called.
    NoHead,
    Raised(PyErr),
}

impl From<PyErr> for CallError {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Gone> for CallError {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Blocks up to this size are gathered into one send; larger ones are sent from where they lie.
const GATHER_BYTES: usize = 16 * 1024;
/// What is left of a larger block is not copied; the application waits for the client instead.
const KEEP_BYTES: usize = 16 * 1024 * 1024;

/// What may follow a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The application goes on at once: `write()`.
    Now,
    /// The next block is asked for: an iterator. Small blocks are flushed by the caller.
    Next,
    /// Nothing of the application: all blocks are there already.
    Whole,
}

/// The request being answered, as the callables see it.
pub(super) struct Active<'a> {
    pub(super) reply: &'a mut Reply,
    sink: &'a mut dyn Sink,
    /// The thread that may answer it.
    pub(super) thread: *mut ffi::PyThreadState,
    pub(super) write: *mut ffi::PyObject,
}

impl Active<'_> {
    /// Sends one block, after the head if that is not out yet. `total` is the body's length when it is known.
    pub(super) fn send_block(
        &mut self,
        data: &[u8],
        total: Option<u64>,
        pace: Pace,
    ) -> Result<(), CallError> {
        if data.is_empty() {
            return Ok(());
        }
        self.start(total)?;
        let allowed = self.reply.block(self.sink.out(), data.len());
        let data = data.get(..allowed).unwrap_or_default();
        let tail = if allowed > 0 {
            self.reply.block_end()
        } else {
            b""
        };
        if data.len() > GATHER_BYTES {
            let wait = match pace {
                Pace::Now => true,
                Pace::Next => !self.reply.is_complete(),
                Pace::Whole => data.len() > KEEP_BYTES,
            };
            return Ok(self.sink.push(data, tail, wait)?);
        }
        let out = self.sink.out();
        out.extend_from_slice(data);
        out.extend_from_slice(tail);
        if pace == Pace::Now || out.len() > 4 * GATHER_BYTES {
            self.sink.push(b"", b"", pace != Pace::Whole)?;
        }
        Ok(())
    }

    fn start(&mut self, total: Option<u64>) -> Result<(), CallError> {
        if self.reply.started() {
            return Ok(());
        }
        if !self.reply.has_head() {
            return Err(CallError::NoHead);
        }
        let date = self.sink.date();
        self.reply.start(self.sink.out(), total, &date);
        Ok(())
    }

    pub(super) fn send_hints(&mut self, fields: &[u8]) -> Result<(), Gone> {
        if self.reply.started() || self.reply.demand().version != Version::Http11 {
            return Ok(());
        }
        let out = self.sink.out();
        out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        out.extend_from_slice(fields);
        out.extend_from_slice(b"\r\n");
        self.sink.push(b"", b"", true)
    }
}

/// Everything one thread needs to call the application.
#[derive(Debug)]
pub struct Caller {
    app: Py<PyAny>,
    sites: Vec<(Site, Py<PyDict>)>,
    names: Names,
    callables: Callables,
    reply: Reply,
    scratch: Vec<u8>,
}

impl Caller {
    pub fn new(gil: Gil<'_>, app: &App, sites: &[Site]) -> PyResult<Self> {
        let py = gil.0;
        let mut caller = Self {
            app: app.0.clone_ref(py),
            sites: Vec::new(),
            names: Names::new(py),
            callables: Callables::new(py)?,
            reply: Reply::default(),
            scratch: Vec::new(),
        };
        for site in sites {
            caller
                .sites
                .push((site.clone(), template(py, site)?.unbind()));
        }
        caller.hand_out_hints(py)?;
        Ok(caller)
    }

    fn hand_out_hints(&self, py: Python<'_>) -> PyResult<()> {
        for (_, template) in &self.sites {
            template
                .bind(py)
                .set_item(intern!(py, "wsgi.early_hints"), &self.callables.early_hints)?;
        }
        Ok(())
    }

    /// The answer of the last call, for the access log.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Calls the application and sends its answer.
    pub fn call(
        &mut self,
        gil: Gil<'_>,
        exchange: &mut Exchange,
        keep_alive: bool,
        sink: &mut dyn Sink,
    ) -> Verdict {
        let py = gil.0;
        let request = exchange.request();
        let demand = Demand {
            version: request.version(),
            head_only: request.method() == "HEAD",
            keep_alive: keep_alive && exchange.keep_alive,
        };
        self.reply.begin(demand);
        let environ = match self.environ(py, exchange) {
            Ok(Ok(environ)) => environ,
            Ok(Err(refused)) => return refuse(&mut self.reply, sink, demand, refused),
            Err(error) => return fail(py, &mut self.reply, sink, exchange, &error),
        };
        let mut active = Active {
            reply: &mut self.reply,
            sink,
            // SAFETY: the lock is held, so there is a thread state.
            thread: unsafe { ffi::PyThreadState_Get() },
            write: ptr::null_mut(),
        };
        let active = &raw mut active;
        self.callables.bind(active);
        let result = run(py, &self.app, environ, &self.callables, active);
        let reusable = self.callables.release();
        // SAFETY: the callables let go of it; it lives on this stack.
        let active = unsafe { &mut *active };
        let verdict = conclude(py, active, exchange, result);
        if !reusable && let Ok(fresh) = Callables::new(py) {
            self.callables = fresh;
            if let Err(error) = self.hand_out_hints(py) {
                tracing::error!("cannot renew the callables: {error}");
            }
        }
        verdict
    }

    fn environ<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange,
    ) -> PyResult<Result<Bound<'py, PyDict>, EnvironError>> {
        let body = std::mem::take(&mut exchange.body);
        let Some((site, template)) = self.sites.get(exchange.listener) else {
            return Err(PyAssertionError::new_err(
                "a request from an unknown listener",
            ));
        };
        let mut filling = Filling::copy_of(template.bind(py), &mut self.names)?;
        let around = Around {
            script_name: site.script_name.as_bytes(),
            trusted: exchange.peer.trusted,
            scheme_headers: &site.scheme_headers,
            name_from_host: site.server.is_none(),
            chunked_length: exchange.chunked_length,
        };
        if let Err(refused) = fill(
            &exchange.request(),
            &around,
            &mut self.scratch,
            &mut filling,
        ) {
            return Ok(Err(refused));
        }
        if !exchange.peer.addr.is_empty() {
            use crate::worker::environ::{Environ as _, Key};
            filling.set(Key::RemoteAddr, exchange.peer.addr.as_bytes());
            filling.set(Key::RemotePort, exchange.peer.port.as_bytes());
        }
        if !matches!(body, Body::Empty) {
            let input = Bound::new(py, Input::new(body))?;
            filling.set_object(intern!(py, "wsgi.input"), input.as_ptr());
        }
        filling.finish().map(Ok)
    }
}

/// The keys that are the same for every request of a listener.
fn template<'py>(py: Python<'py>, site: &Site) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let software = concat!("trine-wsgi/", env!("CARGO_PKG_VERSION"));
    let (name, port) = site
        .server
        .clone()
        .unwrap_or_else(|| ("localhost".to_owned(), "80".to_owned()));
    let texts = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", ""),
        ("RAW_URI", "/"),
        ("QUERY_STRING", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", &name),
        ("SERVER_PORT", &port),
        ("SERVER_SOFTWARE", software),
        ("REMOTE_ADDR", ""),
        ("wsgi.url_scheme", "http"),
    ];
    for (key, value) in texts {
        dict.set_item(PyString::intern(py, key), PyString::intern(py, value))?;
    }
    dict.set_item(PyString::intern(py, "wsgi.version"), (1, 0))?;
    let flags = [
        ("wsgi.multithread", site.multithread),
        ("wsgi.multiprocess", site.multiprocess),
        ("wsgi.run_once", false),
        ("wsgi.input_terminated", true),
    ];
    for (key, value) in flags {
        dict.set_item(PyString::intern(py, key), value)?;
    }
    dict.set_item(
        PyString::intern(py, "wsgi.errors"),
        Bound::new(py, ErrorStream::new(site.error_log.as_deref())?)?,
    )?;
    dict.set_item(
        PyString::intern(py, "wsgi.input"),
        Bound::new(py, Input::new(Body::Empty))?,
    )?;
    dict.set_item(
        PyString::intern(py, "wsgi.file_wrapper"),
        py.get_type::<FileWrapper>(),
    )?;
    Ok(dict)
}

/// Calls, iterates and closes.
fn run(
    py: Python<'_>,
    app: &Py<PyAny>,
    environ: Bound<'_, PyDict>,
    callables: &Callables,
    active: *mut Active<'_>,
) -> Result<(), CallError> {
    let mut args = [
        ptr::null_mut(),
        environ.as_ptr(),
        callables.start_response.as_ptr(),
    ];
    // SAFETY: the lock is held; the arguments are alive during the call, and the slot in front of them is ours, as
    // PY_VECTORCALL_ARGUMENTS_OFFSET promises.
    let iterable = unsafe {
        let count = 2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result = ffi::PyObject_Vectorcall(
            app.as_ptr(),
            args.as_mut_ptr().add(1),
            count,
            ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, result)?
    };
    // SAFETY: the lock is held; exact type checks of a live object.
    let plain = unsafe {
        ffi::PyList_CheckExact(iterable.as_ptr()) != 0
            || ffi::PyTuple_CheckExact(iterable.as_ptr()) != 0
    };
    if plain {
        return send_sequence(py, &iterable, active);
    }
    let sent = match iterable.cast_exact::<FileWrapper>() {
        Ok(wrapper) => send_file(wrapper, active),
        Err(_) => send_iterable(py, &iterable, active),
    };
    let closed = close(py, &iterable);
    drop(iterable);
    match (sent, closed) {
        // The first failure is the one to tell; the other is only logged.
        (Err(first), Err(second)) => {
            tracing::error!("close() failed as well: {}", describe(py, &second));
            Err(first)
        }
        (sent, closed) => sent.and(closed.map_err(CallError::Raised)),
    }
}

/// A list or tuple: its length is known before anything is sent, and it has no `close()`.
fn send_sequence(
    py: Python<'_>,
    items: &Bound<'_, PyAny>,
    active: *mut Active<'_>,
) -> Result<(), CallError> {
    // SAFETY: `active` lives in the frame of `Caller::call`; no Python code runs while the borrow is used.
    let active = unsafe { &mut *active };
    let mut total = 0_u64;
    // SAFETY: the lock is held and `items` is a list or tuple that we hold.
    let count = unsafe { ffi::PySequence_Fast_GET_SIZE(items.as_ptr()) };
    for index in 0..count {
        // SAFETY: as above; `index` is within it, and nothing shrinks it in between.
        total += unsafe { bytes_of(py, ffi::PySequence_Fast_GET_ITEM(items.as_ptr(), index))? }
            .len() as u64;
    }
    if !active.reply.started() {
        active.start(Some(total))?;
    }
    for index in 0..count {
        // SAFETY: `push` may let the lock go, so the item is held by `items`, which nobody else can see but the
        // application; the list is looked at anew in each round.
        unsafe {
            if index >= ffi::PySequence_Fast_GET_SIZE(items.as_ptr()) {
                break;
            }
            let item =
                Bound::from_borrowed_ptr(py, ffi::PySequence_Fast_GET_ITEM(items.as_ptr(), index));
            active.send_block(bytes_of(py, item.as_ptr())?, None, Pace::Whole)?;
        }
    }
    end(active);
    Ok(())
}

/// Anything that can be iterated: each block is on its way before the next is asked for.
fn send_iterable(
    py: Python<'_>,
    iterable: &Bound<'_, PyAny>,
    active: *mut Active<'_>,
) -> Result<(), CallError> {
    let single = len_is_one(iterable);
    let iterator = iterable.try_iter()?;
    loop {
        // SAFETY: the lock is held; `iterator` is an iterator.
        let item = unsafe { ffi::PyIter_Next(iterator.as_ptr()) };
        if item.is_null() {
            if let Some(error) = PyErr::take(py) {
                return Err(error.into());
            }
            break;
        }
        // SAFETY: a new reference.
        let item = unsafe { Bound::from_owned_ptr(py, item) };
        // SAFETY: `item` is held during the send.
        let data = unsafe { bytes_of(py, item.as_ptr())? };
        if data.is_empty() {
            continue;
        }
        // SAFETY: `active` lives in the frame of `Caller::call`; the borrow ends before Python code runs again.
        let active = unsafe { &mut *active };
        active.send_block(data, single.then_some(data.len() as u64), Pace::Next)?;
        if active.reply.overran() {
            tracing::warn!(
                "the application produced more than its Content-Length; the rest is not sent"
            );
            break;
        }
        if active.reply.is_bodyless() {
            break;
        }
        // A complete answer may wait for others of the same batch; the application only cleans up now.
        if !active.reply.is_complete() || active.sink.eager() {
            active.sink.push(b"", b"", true)?;
        }
    }
    // SAFETY: as above.
    let active = unsafe { &mut *active };
    active.start(Some(0))?;
    end(active);
    Ok(())
}

fn end(active: &mut Active<'_>) {
    let tail = active.reply.end();
    active.sink.out().extend_from_slice(tail);
}

/// A file by the kernel's own means, where there is a real one; else block by block.
fn send_file(wrapper: &Bound<'_, FileWrapper>, active: *mut Active<'_>) -> Result<(), CallError> {
    let py = wrapper.py();
    let Some((file, offset, left)) = FileWrapper::span(wrapper) else {
        return send_iterable(py, wrapper.as_any(), active);
    };
    // SAFETY: `active` lives in the frame of `Caller::call`; no Python code runs while the borrow is used.
    let active = unsafe { &mut *active };
    active.start(Some(left))?;
    let len = active.reply.room().map_or(left, |room| room.min(left));
    if len > 0 {
        let allowed = active.reply.block(
            active.sink.out(),
            usize::try_from(len).unwrap_or(usize::MAX),
        );
        let file: File = file;
        active.sink.file(file.into(), offset, allowed as u64)?;
    }
    let tail = active.reply.end();
    debug_assert!(tail.is_empty() || len == 0, "a file always has a length");
    if len == 0 {
        active.sink.out().extend_from_slice(tail);
    }
    Ok(())
}

/// The bytes of a block.
///
/// # Safety
/// The lock is held, and `item` is kept alive as long as the result is used.
unsafe fn bytes_of<'a>(py: Python<'_>, item: *mut ffi::PyObject) -> PyResult<&'a [u8]> {
    // SAFETY: passed on to our caller; the buffer of a bytes object never moves.
    unsafe {
        if ffi::PyBytes_Check(item) == 0 {
            let kind = Bound::from_borrowed_ptr(py, item)
                .get_type()
                .name()?
                .to_string();
            return Err(PyTypeError::new_err(format!(
                "the application must yield bytes, not {kind}"
            )));
        }
        let len = ffi::PyBytes_Size(item) as usize;
        Ok(std::slice::from_raw_parts(
            ffi::PyBytes_AsString(item).cast::<u8>(),
            len,
        ))
    }
}

/// Whether `len()` says 1, without raising where there is none.
fn len_is_one(iterable: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the lock is held; slots are looked up on the type of a live object.
    let has_len = unsafe {
        let kind = ffi::Py_TYPE(iterable.as_ptr());
        !ffi::PyType_GetSlot(kind, ffi::Py_sq_length).is_null()
            || !ffi::PyType_GetSlot(kind, ffi::Py_mp_length).is_null()
    };
    has_len && iterable.len().is_ok_and(|len| len == 1)
}

fn close(py: Python<'_>, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    match iterable.getattr_opt(intern!(py, "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// Turns how it went into what becomes of the connection; tells what went wrong.
fn conclude(
    py: Python<'_>,
    active: &mut Active<'_>,
    exchange: &Exchange,
    result: Result<(), CallError>,
) -> Verdict {
    match result {
        Ok(()) => {
            if !active.reply.is_whole() {
                let line = line_of(exchange);
                tracing::warn!(
                    "the answer to {line} is shorter than its Content-Length; closing the connection"
                );
            }
            verdict(active.reply, active.reply.keep_alive())
        }
        Err(CallError::Gone) => verdict(active.reply, false),
        Err(CallError::NoHead) => {
            let error = PyAssertionError::new_err("the application did not call start_response()");
            fail(py, active.reply, active.sink, exchange, &error)
        }
        Err(CallError::Raised(error)) => fail(py, active.reply, active.sink, exchange, &error),
    }
}

fn verdict(reply: &Reply, keep: bool) -> Verdict {
    Verdict {
        keep,
        status: reply.status(),
        body_bytes: reply.body_bytes(),
    }
}

fn line_of(exchange: &Exchange) -> String {
    let request = exchange.request();
    format!("{} {}", request.method(), request.target().escape_ascii())
}

/// The application raised: 500 if nothing is out, else the connection is cut, so that the client sees it.
fn fail(
    py: Python<'_>,
    reply: &mut Reply,
    sink: &mut dyn Sink,
    exchange: &Exchange,
    error: &PyErr,
) -> Verdict {
    tracing::error!(
        "Error handling request {}\n{}",
        line_of(exchange),
        describe(py, error)
    );
    if reply.started() {
        let keep = reply.is_whole() && reply.keep_alive();
        return verdict(reply, keep);
    }
    let demand = reply.demand();
    let page = error_page(
        demand.version,
        500,
        "Internal Server Error",
        "",
        demand.head_only,
    );
    sink.out().extend_from_slice(&page);
    Verdict {
        keep: false,
        status: 500,
        body_bytes: 0,
    }
}

fn refuse(
    reply: &mut Reply,
    sink: &mut dyn Sink,
    demand: Demand,
    refused: EnvironError,
) -> Verdict {
    tracing::warn!("Invalid request: {refused}");
    reply.forget();
    let status = refused.status();
    let reason = trine_http1::default_reason(status);
    let page = error_page(
        demand.version,
        status,
        reason,
        &refused.to_string(),
        demand.head_only,
    );
    sink.out().extend_from_slice(&page);
    Verdict {
        keep: false,
        status,
        body_bytes: 0,
    }
}
