//! Splitting the process with Python inside: the three calls CPython wants around fork, and nothing else.
//!
//! Not here: what parent and child do then.

use std::io;

use pyo3::ffi;
use trine_sys::process::{self, Fork, Pid};

use super::interpreter::Gil;

/// Which side this is.
#[derive(Debug, Clone, Copy)]
pub enum Forked {
    Parent(Pid),
    Child,
}

/// Forks. The caller is the only thread of ours; threads that the application started do not exist in the child, as
/// with `os.fork`.
pub fn fork(_gil: Gil<'_>) -> io::Result<Forked> {
    // SAFETY: called with the lock held, and always followed by one of the two AfterFork calls.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the arbiter has no threads of its own, and BeforeFork holds the interpreter's locks.
    let result = unsafe { process::fork() };
    match result {
        Ok(Fork::Child) => {
            // SAFETY: we are the child of the BeforeFork above.
            unsafe { ffi::PyOS_AfterFork_Child() };
            Ok(Forked::Child)
        }
        Ok(Fork::Parent(pid)) => {
            // SAFETY: we are the parent of the BeforeFork above.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            Ok(Forked::Parent(pid))
        }
        Err(error) => {
            // SAFETY: there is no child; the locks have to be released all the same.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            Err(error)
        }
    }
}
