//! Between Python's strings and bytes on the wire: latin-1, without copies where there need be none.
//!
//! Not here: what the text means.

use pyo3::ffi;

/// A string of this many bytes, each byte one character.
///
/// # Safety
/// The caller holds the interpreter lock. The result is a new reference, or null with an exception set.
pub(super) unsafe fn latin1(bytes: &[u8]) -> *mut ffi::PyObject {
    // SAFETY: pointer and length are of one live slice, which is copied; the lock is the caller's duty.
    unsafe {
        ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast(),
            bytes.len() as ffi::Py_ssize_t,
            std::ptr::null(),
        )
    }
}

/// The characters of an exact or derived `str` as bytes. `None`: it is no `str`, or has a character beyond latin-1.
///
/// # Safety
/// The caller holds the interpreter lock and a reference to `object` for as long as it uses the result.
pub(super) unsafe fn latin1_bytes<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: `object` is alive, by the caller's word.
    if unsafe { ffi::PyUnicode_Check(object) } == 0 {
        return None;
    }
    // SAFETY: it is a string. Before 3.12 it may still have to be put into its compact form.
    #[cfg(not(Py_3_12))]
    if unsafe { ffi::PyUnicode_READY(object) } < 0 {
        // SAFETY: the lock is held.
        unsafe { ffi::PyErr_Clear() };
        return None;
    }
    // SAFETY: it is a ready string; the data of kind 1 is one byte per character and lives as long as the object.
    unsafe {
        if ffi::PyUnicode_KIND(object) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        let len = ffi::PyUnicode_GET_LENGTH(object) as usize;
        Some(std::slice::from_raw_parts(
            ffi::PyUnicode_1BYTE_DATA(object),
            len,
        ))
    }
}
