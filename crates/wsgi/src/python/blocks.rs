//! Calling the application and walking through what it returns: lists, files, anything that can be iterated.
//!
//! Not here: what becomes of a failure (`call`).

use std::fs::File;
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{ffi, intern};

use super::answer::{Active, CallError, Pace};
use super::file_wrapper::FileWrapper;
use super::interpreter::describe;
use super::start_response::Callables;

/// Calls, iterates and closes.
pub(super) fn run(
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
        // SAFETY: as in `send_sequence`.
        Ok(wrapper) if unsafe { (*active).sendfile } => send_file(wrapper, active),
        Ok(wrapper) => send_iterable(py, wrapper.as_any(), active),
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
