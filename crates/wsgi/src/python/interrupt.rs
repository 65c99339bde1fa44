//! Ending a request that takes too long: its thread's stack goes to the log, and `RequestTimeout` is raised in it.
//!
//! On the main thread a signal does it, because that also ends waits in system calls and locks: Python's handler runs
//! on the stuck thread itself, so not even the interpreter lock is needed to begin with. Other threads hear of it at
//! their next instruction.
//! Not here: when a request takes too long (`worker::watch`).

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyType};
use pyo3::{create_exception, ffi};
use trine_sys::signals;

use crate::worker::watch::{Overdue, Seat, Watch};

use super::interpreter::{Gil, describe};

create_exception!(
    trine_wsgi,
    RequestTimeout,
    PyBaseException,
    "The request was with the application for longer than the server allows. Not an Exception, so that code which goes \
     on after any error does not swallow it."
);

/// The signal that interrupts the main thread: a real-time one, which nothing else uses.
fn signal_number() -> i32 {
    libc::SIGRTMAX() - 5
}

/// What interrupts a request.
pub type Interrupt = Box<dyn Fn(Overdue) + Send>;

/// For the worker whose main thread calls the application. Call it on that thread.
pub fn interrupt_main(gil: Gil<'_>, watch: Arc<Watch>) -> PyResult<Interrupt> {
    let pending: Arc<Mutex<Option<Overdue>>> = Arc::default();
    let take = Arc::clone(&pending);
    let handler = PyCFunction::new_closure(gil.0, Some(c"interrupt"), None, move |args, _| {
        let overdue = take.lock().ok().and_then(|mut pending| pending.take());
        let Some(overdue) = overdue.filter(|overdue| watch.seat(overdue.seat).tell(*overdue))
        else {
            return Ok(());
        };
        let _ = watch.seat(overdue.seat).take_due();
        let py = args.py();
        let stuck = thread_number(Gil(py)).ok();
        tell(py, &watch, &watch.about(overdue.seat), stuck);
        Err(RequestTimeout::new_err(message(&watch)))
    })?;
    let signal = gil.0.import("signal")?;
    signal.call_method1("signal", (signal_number(), handler))?;
    Ok(Box::new(move |overdue| {
        if let Ok(mut pending) = pending.lock() {
            *pending = Some(overdue);
        }
        if let Err(error) = signals::signal_main_thread(signal_number()) {
            tracing::error!("cannot interrupt a request: {error}");
        }
    }))
}

/// For workers whose other threads call the application; they have put their numbers into their seats.
#[must_use]
pub fn interrupt_threads(watch: Arc<Watch>) -> Interrupt {
    Box::new(move |overdue| {
        // `None`: the interpreter is ending, and the request with it.
        Python::try_attach(|py| {
            let seat = watch.seat(overdue.seat);
            if !seat.tell(overdue) {
                return;
            }
            let thread = seat.thread.load(Relaxed);
            tell(py, &watch, &watch.about(overdue.seat), Some(thread));
            set_async(py, thread, Some(py.get_type::<RequestTimeout>()));
        });
    })
}

/// Takes back what this thread would be interrupted with: its request has ended by itself.
pub fn call_off(gil: Gil<'_>, seat: &Seat) {
    set_async(gil.0, seat.thread.load(Relaxed), None);
}

/// The number of this thread in Python.
pub fn thread_number(gil: Gil<'_>) -> PyResult<u64> {
    gil.0
        .import("threading")?
        .call_method0("get_ident")?
        .extract()
}

fn set_async(_py: Python<'_>, thread: u64, kind: Option<Bound<'_, PyType>>) {
    let kind = kind.as_ref().map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the lock is held (`_py`); the type is alive, and a number that is no thread's changes nothing.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, kind) };
}

fn message(watch: &Watch) -> String {
    format!("the request took longer than {:?}", watch.limit())
}

fn tell(py: Python<'_>, watch: &Watch, about: &str, stuck: Option<u64>) {
    let stacks = stacks(py, stuck).unwrap_or_else(|error| describe(py, &error));
    tracing::error!(
        "REQUEST TIMEOUT: {about} takes longer than {:?}; RequestTimeout is raised in it\n{stacks}",
        watch.limit()
    );
}

/// The stacks of all Python threads, the stuck one first.
fn stacks(py: Python<'_>, stuck: Option<u64>) -> PyResult<String> {
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    let frames: BTreeMap<u64, Bound<'_, PyAny>> = frames.extract()?;
    let mut names = BTreeMap::new();
    for thread in py
        .import("threading")?
        .call_method0("enumerate")?
        .try_iter()?
    {
        let thread = thread?;
        let number: Option<u64> = thread.getattr("ident")?.extract()?;
        let name: String = thread.getattr("name")?.extract()?;
        names.extend(number.map(|number| (number, name)));
    }
    let traceback = py.import("traceback")?;
    let mut order: Vec<&u64> = frames.keys().collect();
    order.sort_by_key(|number| Some(**number) != stuck);
    let mut text = String::new();
    for number in order {
        let lines: Vec<String> = traceback
            .call_method1("format_stack", (&frames[number],))?
            .extract()?;
        let name = names.get(number).map_or("unnamed", String::as_str);
        let mark = if Some(*number) == stuck {
            ", at this request"
        } else {
            ""
        };
        text.push_str(&format!("Thread {name}{mark} (most recent call last):\n"));
        text.push_str(&lines.concat());
    }
    Ok(text.trim_end().to_owned())
}
