//! The `environ` dict: a copy of a template, then the request's own keys through interned strings.
//!
//! Not here: which keys there are and what they hold (`worker::environ`, which is pure).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::ptr;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{Bound, ffi};

use crate::worker::environ::{Environ, Key};

use super::text::latin1;

/// Header names that are remembered; a power of two.
const REMEMBERED: usize = 256;
/// Longer names are made anew each time.
const LONGEST: usize = 64;
/// Methods that are remembered.
const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// The strings that every request needs, made once per thread.
#[derive(Debug)]
pub(super) struct Names {
    keys: Vec<Py<PyString>>,
    methods: Vec<Py<PyString>>,
    slash: Py<PyString>,
    headers: Vec<Option<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    name: Box<[u8]>,
    key: Py<PyString>,
}

impl Names {
    pub(super) fn new(py: Python<'_>) -> Self {
        let intern = |text: &str| PyString::intern(py, text).unbind();
        Self {
            keys: Key::ALL.iter().map(|key| intern(key.name())).collect(),
            methods: METHODS.iter().map(|method| intern(method)).collect(),
            slash: intern("/"),
            headers: (0..REMEMBERED).map(|_| None).collect(),
        }
    }

    /// `Accept-Language` as the string `HTTP_ACCEPT_LANGUAGE`. Borrowed from the table, or new.
    fn header(&mut self, py: Python<'_>, name: &[u8]) -> Py<PyString> {
        let slot = (quick_hash(name) as usize) & (REMEMBERED - 1);
        if let Some(Some(found)) = self.headers.get(slot)
            && &*found.name == name
        {
            return found.key.clone_ref(py);
        }
        let mut key = String::with_capacity(5 + name.len());
        key.push_str("HTTP_");
        // Names are tokens: ASCII.
        key.extend(name.iter().map(|&byte| match byte {
            b'-' => '_',
            byte => char::from(byte.to_ascii_uppercase()),
        }));
        if name.len() > LONGEST {
            return PyString::new(py, &key).unbind();
        }
        let key = PyString::intern(py, &key).unbind();
        if let Some(place) = self.headers.get_mut(slot) {
            *place = Some(Remembered {
                name: name.into(),
                key: key.clone_ref(py),
            });
        }
        key
    }
}

fn quick_hash(name: &[u8]) -> u64 {
    // A few bytes tell the usual names apart; whatever collides is only made anew.
    if name.len() >= 4 {
        let edge = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
        let len = name.len();
        return (edge(0) ^ edge(len / 2) << 3 ^ edge(len - 1) << 5 ^ edge(2) << 1)
            .wrapping_add(len as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 40;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// A fresh `environ` being filled.
pub(super) struct Filling<'py, 'a> {
    dict: Bound<'py, PyDict>,
    names: &'a mut Names,
    failed: bool,
}

impl<'py, 'a> Filling<'py, 'a> {
    pub(super) fn copy_of(template: &Bound<'py, PyDict>, names: &'a mut Names) -> PyResult<Self> {
        Ok(Self {
            dict: template.copy()?,
            names,
            failed: false,
        })
    }

    /// The dict. `Err`: memory ran out on the way.
    pub(super) fn finish(self) -> PyResult<Bound<'py, PyDict>> {
        if self.failed {
            return Err(super::interpreter::fetch(self.dict.py()));
        }
        Ok(self.dict)
    }

    pub(super) fn set_object(&mut self, key: &Bound<'py, PyString>, value: *mut ffi::PyObject) {
        // SAFETY: the lock is held (`dict` proves it); key and value are alive during the call, which takes its own
        // references.
        let result = unsafe { ffi::PyDict_SetItem(self.dict.as_ptr(), key.as_ptr(), value) };
        self.failed |= result < 0;
    }

    fn set_new(&mut self, key: *mut ffi::PyObject, value: *mut ffi::PyObject) {
        if value.is_null() {
            self.failed = true;
            return;
        }
        // SAFETY: the lock is held; `value` is a new reference, which is given back after the dict took its own.
        unsafe {
            self.failed |= ffi::PyDict_SetItem(self.dict.as_ptr(), key, value) < 0;
            ffi::Py_DECREF(value);
        }
    }

    /// A remembered string for values that come again and again.
    fn known_value(&self, key: Key, value: &[u8]) -> *mut ffi::PyObject {
        let found = match key {
            Key::RequestMethod => METHODS
                .iter()
                .position(|method| method.as_bytes() == value)
                .and_then(|index| self.names.methods.get(index)),
            Key::PathInfo | Key::RawUri if value == b"/" => Some(&self.names.slash),
            _ => None,
        };
        found.map_or(ptr::null_mut(), Py::as_ptr)
    }
}

impl Environ for Filling<'_, '_> {
    fn set(&mut self, key: Key, value: &[u8]) {
        let Some(name) = self.names.keys.get(key as usize).map(Py::as_ptr) else {
            return;
        };
        let known = self.known_value(key, value);
        if !known.is_null() {
            // SAFETY: as in `set_object`; `known` is kept alive by `names`.
            self.failed |= unsafe { ffi::PyDict_SetItem(self.dict.as_ptr(), name, known) } < 0;
            return;
        }
        // SAFETY: the lock is held.
        let value = unsafe { latin1(value) };
        self.set_new(name, value);
    }

    fn variable(&mut self, name: &[u8], value: &[u8]) {
        // SAFETY: the lock is held.
        let (key, value) = unsafe { (latin1(name), latin1(value)) };
        if key.is_null() {
            self.failed = true;
            return;
        }
        // SAFETY: the lock is held; a new reference.
        let key = unsafe { Bound::from_owned_ptr(self.dict.py(), key) };
        self.set_new(key.as_ptr(), value);
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let key = self.names.header(self.dict.py(), name);
        // SAFETY: the lock is held.
        let value = unsafe { latin1(value) };
        self.set_new(key.as_ptr(), value);
        drop_ref(self.dict.py(), key);
    }
}

/// Gives a reference back at once, without pyo3's look at whether the lock is held.
fn drop_ref(py: Python<'_>, object: Py<PyString>) {
    drop(object.into_bound(py));
}
