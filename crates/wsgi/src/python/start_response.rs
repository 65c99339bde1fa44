//! The callables an application is given: `start_response`, the `write` it returns, and `wsgi.early_hints`.
//!
//! They are made once per thread and used for every request, as long as nobody kept them from the last one. What they
//! act on is found through a cell, which is empty between requests: a callable that is kept and called later raises.
//! Not here: framing (`worker::reply`), iteration (`call`).

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::answer::{Active, CallError, Pace};
use super::interpreter::{fetch, raise};
use super::socket::ConnectionSocket;
use super::text::latin1_bytes;

/// Where the callables find the request of now. Owned by a capsule, which every callable holds.
#[derive(Debug)]
struct Cell {
    active: *mut Active<'static>,
}

/// The callables of one thread.
#[derive(Debug)]
pub(super) struct Callables {
    cell: *mut Cell,
    capsule: Py<PyAny>,
    pub(super) start_response: Py<PyAny>,
    pub(super) early_hints: Py<PyAny>,
    pub(super) socket: Py<ConnectionSocket>,
    write: Py<PyAny>,
}

// SAFETY: only used with the interpreter lock held; the cell lives as long as the capsule, which is held here.
unsafe impl Send for Callables {}

impl Callables {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let cell = Box::into_raw(Box::new(Cell {
            active: ptr::null_mut(),
        }));
        // SAFETY: the capsule becomes the owner of the box, and frees it in `free_cell`.
        let capsule = unsafe { ffi::PyCapsule_New(cell.cast(), ptr::null(), Some(free_cell)) };
        // SAFETY: a new reference or null with an exception set.
        let capsule = unsafe { Bound::from_owned_ptr_or_err(py, capsule)? };
        debug_assert!(capsule.is_instance_of::<PyCapsule>());
        let function = |method: &'static Method| -> PyResult<Py<PyAny>> {
            // SAFETY: the definition is static; the function takes its own reference to the capsule.
            let function = unsafe {
                ffi::PyCFunction_NewEx(
                    (&raw const method.0).cast_mut(),
                    capsule.as_ptr(),
                    ptr::null_mut(),
                )
            };
            // SAFETY: a new reference or null with an exception set.
            unsafe { Bound::from_owned_ptr_or_err(py, function) }.map(Bound::unbind)
        };
        Ok(Self {
            cell,
            start_response: function(&START_RESPONSE)?,
            write: function(&WRITE)?,
            early_hints: function(&EARLY_HINTS)?,
            socket: Py::new(py, ConnectionSocket::new(capsule.clone().unbind()))?,
            capsule: capsule.unbind(),
        })
    }

    /// Points the callables at a request. It has to be [`Self::release`]d before `active` goes.
    pub(super) fn bind(&mut self, active: *mut Active<'_>) {
        // SAFETY: the cell is alive (see `cell`), and only touched with the lock held.
        unsafe {
            (*active).write = self.write.as_ptr();
            (*self.cell).active = active.cast();
        }
    }

    /// Where others find the request of now.
    pub(super) fn cell(&self, py: Python<'_>) -> Py<PyAny> {
        self.capsule.clone_ref(py)
    }

    /// Unties the callables. `false`: somebody kept one of them, or has used the socket, so the next request needs new
    /// ones. Each of `templates` holds those that are part of `environ`.
    pub(super) fn release(&mut self, py: Python<'_>, templates: usize) -> bool {
        let shared = 1 + templates as ffi::Py_ssize_t;
        // SAFETY: as in `bind`; the objects are alive, being held here.
        unsafe {
            (*self.cell).active = ptr::null_mut();
            ffi::Py_REFCNT(self.start_response.as_ptr()) == 1
                && ffi::Py_REFCNT(self.write.as_ptr()) == 1
                && ffi::Py_REFCNT(self.early_hints.as_ptr()) <= shared
                && ffi::Py_REFCNT(self.socket.as_ptr()) <= shared
                && !self.socket.get().is_used(py)
        }
    }
}

unsafe extern "C" fn free_cell(capsule: *mut ffi::PyObject) {
    // SAFETY: made by `Callables::new` from a box, and this runs once, when nobody holds the capsule any more.
    unsafe {
        let cell = ffi::PyCapsule_GetPointer(capsule, ptr::null());
        if !cell.is_null() {
            drop(Box::from_raw(cell.cast::<Cell>()));
        }
    }
}

/// A method definition; CPython never writes to it.
struct Method(ffi::PyMethodDef);

// SAFETY: immutable, and its pointers are to static data.
unsafe impl Sync for Method {}

static START_RESPONSE: Method = Method(ffi::PyMethodDef {
    ml_name: c"start_response".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: start_response,
    },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: c"start_response(status, headers, exc_info=None) -> write(bytes)".as_ptr(),
});

static WRITE: Method = Method(ffi::PyMethodDef {
    ml_name: c"write".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: write },
    ml_flags: ffi::METH_O,
    ml_doc: c"write(data): sends a part of the body".as_ptr(),
});

static EARLY_HINTS: Method = Method(ffi::PyMethodDef {
    ml_name: c"early_hints".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunction: early_hints,
    },
    ml_flags: ffi::METH_O,
    ml_doc: c"early_hints(headers): sends 103 Early Hints".as_ptr(),
});

/// The request behind a cell's capsule, for as long as its call lasts.
pub(super) fn active_in(capsule: &Bound<'_, PyAny>) -> PyResult<*mut Active<'static>> {
    // SAFETY: the lock is held, and only capsules of `Callables` are given here.
    let active = unsafe { active_of(capsule.as_ptr()) };
    if active.is_null() {
        return Err(fetch(capsule.py()));
    }
    Ok(active)
}

/// The request behind a callable, or null with an exception set.
unsafe fn active_of(slf: *mut ffi::PyObject) -> *mut Active<'static> {
    // SAFETY: `slf` is the capsule that the function was made with.
    let cell = unsafe { ffi::PyCapsule_GetPointer(slf, ptr::null()) }.cast::<Cell>();
    if cell.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the capsule keeps the cell alive; `active` is null or points to the frame of `Caller::call` below us.
    unsafe {
        let active = (*cell).active;
        // SAFETY: the lock is held, so there is a thread state.
        if active.is_null() {
            raise(ffi::PyExc_RuntimeError, "this request has ended");
        } else if (*active).thread != ffi::PyThreadState_Get() {
            raise(
                ffi::PyExc_RuntimeError,
                "this belongs to a request on another thread",
            );
            return ptr::null_mut();
        }
        active
    }
}

unsafe extern "C" fn start_response(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the lock held and `count` (plus keywords') live arguments.
    unsafe {
        let active = active_of(slf);
        if active.is_null() {
            return ptr::null_mut();
        }
        let Some([status, headers, exc_info]) = arguments(args, count, names) else {
            return raise(
                ffi::PyExc_TypeError,
                "start_response takes status, headers and exc_info",
            );
        };
        let given = |object: *mut ffi::PyObject| !object.is_null() && object != ffi::Py_None();
        if given(exc_info) {
            if (*active).reply.started() {
                return reraise(exc_info);
            }
        } else if (*active).reply.has_head() {
            return raise(ffi::PyExc_AssertionError, "Response headers already set!");
        }
        if !take_head(&mut *active, status, headers) {
            (*active).reply.forget();
            return ptr::null_mut();
        }
        let write = (*active).write;
        ffi::Py_INCREF(write);
        write
    }
}

/// Positional and named arguments in their places.
unsafe fn arguments(
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> Option<[*mut ffi::PyObject; 3]> {
    let count = count as usize;
    let mut found = [ptr::null_mut(); 3];
    if count > 3 {
        return None;
    }
    for (index, place) in found.iter_mut().enumerate().take(count) {
        // SAFETY: there are `count` positional arguments.
        *place = unsafe { *args.add(index) };
    }
    if !names.is_null() {
        // SAFETY: `names` is a tuple of strings, one for each argument after the positional ones.
        unsafe {
            for index in 0..ffi::PyTuple_GET_SIZE(names) {
                let name = latin1_bytes(ffi::PyTuple_GET_ITEM(names, index))?;
                let known: [&[u8]; 3] = [b"status", b"headers", b"exc_info"];
                let at = known.iter().position(|known| *known == name)?;
                let place = found.get_mut(at).filter(|place| place.is_null())?;
                *place = *args.add(count + index as usize);
            }
        }
    }
    (!found[0].is_null() && !found[1].is_null()).then_some(found)
}

/// Raises what `exc_info` holds: the head is out, so the answer cannot be replaced any more.
unsafe fn reraise(exc_info: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the lock is held and `exc_info` is alive; what is restored is given as new references.
    unsafe {
        if ffi::PyTuple_Check(exc_info) == 0 || ffi::PyTuple_GET_SIZE(exc_info) != 3 {
            return raise(
                ffi::PyExc_TypeError,
                "exc_info must be the tuple of sys.exc_info()",
            );
        }
        let [kind, value, trace] = [0, 1, 2].map(|index| ffi::PyTuple_GET_ITEM(exc_info, index));
        let none_as_null = |object| {
            if object == ffi::Py_None() {
                ptr::null_mut()
            } else {
                object
            }
        };
        let (value, trace) = (none_as_null(value), none_as_null(trace));
        ffi::Py_XINCREF(kind);
        ffi::Py_XINCREF(value);
        ffi::Py_XINCREF(trace);
        #[allow(deprecated, reason = "PyErr_SetRaisedException is new in 3.12")]
        ffi::PyErr_Restore(kind, value, trace);
        ptr::null_mut()
    }
}

/// Puts status and headers into the reply. `false`: an exception is set.
unsafe fn take_head(
    active: &mut Active<'_>,
    status: *mut ffi::PyObject,
    headers: *mut ffi::PyObject,
) -> bool {
    // SAFETY: the lock is held; `status` is alive during the call.
    let Some(text) = (unsafe { latin1_bytes(status) }) else {
        // SAFETY: an exception type of the interpreter.
        raise(
            unsafe { ffi::PyExc_TypeError },
            "the status must be a str of latin-1 characters",
        );
        return false;
    };
    if let Err(error) = active.reply.set_status(text) {
        // SAFETY: an exception type of the interpreter.
        raise(
            unsafe { ffi::PyExc_ValueError },
            &format!("{error}: {:?}", text.escape_ascii().to_string()),
        );
        return false;
    }
    // SAFETY: `headers` is alive.
    unsafe { each_header(headers, |name, value| active.reply.add_header(name, value)) }
}

/// Gives each pair of a list of headers to `take`. `false`: an exception is set.
unsafe fn each_header<E: std::fmt::Display>(
    headers: *mut ffi::PyObject,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> bool {
    // SAFETY: the lock is held. The list or tuple is kept alive by `sequence` while its items are looked at; nothing
    // in between runs Python code.
    unsafe {
        let sequence = ffi::PySequence_Fast(headers, c"headers must be a list".as_ptr());
        if sequence.is_null() {
            return false;
        }
        let mut good = true;
        for index in 0..ffi::PySequence_Fast_GET_SIZE(sequence) {
            let pair = ffi::PySequence_Fast_GET_ITEM(sequence, index);
            // PEP 3333 wants tuples; gunicorn takes lists as well.
            let is_pair = (ffi::PyTuple_Check(pair) != 0 || ffi::PyList_Check(pair) != 0)
                && ffi::PySequence_Fast_GET_SIZE(pair) == 2;
            let parts = is_pair.then(|| {
                latin1_bytes(ffi::PySequence_Fast_GET_ITEM(pair, 0))
                    .zip(latin1_bytes(ffi::PySequence_Fast_GET_ITEM(pair, 1)))
            });
            let Some(Some((name, value))) = parts else {
                raise(
                    ffi::PyExc_TypeError,
                    "a header must be a tuple of two str of latin-1 characters",
                );
                good = false;
                break;
            };
            if let Err(error) = take(name, value) {
                raise(
                    ffi::PyExc_ValueError,
                    &format!("{error}: {}", name.escape_ascii()),
                );
                good = false;
                break;
            }
        }
        ffi::Py_DECREF(sequence);
        good
    }
}

unsafe extern "C" fn write(
    slf: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the lock held and a live argument.
    unsafe {
        let active = active_of(slf);
        if active.is_null() {
            return ptr::null_mut();
        }
        if ffi::PyBytes_Check(data) == 0 {
            return raise(ffi::PyExc_TypeError, "write() takes bytes");
        }
        let bytes = std::slice::from_raw_parts(
            ffi::PyBytes_AsString(data).cast::<u8>(),
            ffi::PyBytes_Size(data) as usize,
        );
        match (*active).send_block(bytes, None, Pace::Now) {
            Ok(()) => {
                ffi::Py_INCREF(ffi::Py_None());
                ffi::Py_None()
            }
            Err(CallError::Gone) => raise(
                ffi::PyExc_BrokenPipeError,
                "the client has closed the connection",
            ),
            Err(_) => raise(ffi::PyExc_AssertionError, "write() before start_response()"),
        }
    }
}

unsafe extern "C" fn early_hints(
    slf: *mut ffi::PyObject,
    headers: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with the lock held and a live argument.
    unsafe {
        let active = active_of(slf);
        if active.is_null() {
            return ptr::null_mut();
        }
        let mut hints = Vec::new();
        let taken = each_header(headers, |name, value| {
            trine_http1::check_header_name(name)?;
            let value = trine_http1::trim_ows(value);
            trine_http1::check_header_value(value)?;
            trine_http1::write_header(&mut hints, name, value);
            Ok::<(), trine_http1::EncodeError>(())
        });
        if !taken {
            return ptr::null_mut();
        }
        if (*active).send_hints(&hints).is_err() {
            return raise(
                ffi::PyExc_BrokenPipeError,
                "the client has closed the connection",
            );
        }
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}
