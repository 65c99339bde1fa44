//! supervisord's faults: their numbers, and texts of the form `NAME` or `NAME: detail`.
//! Not here: when they are due.

use trine_control::xmlrpc::Fault;

/// Status of a process in the result of a group call, when nothing is wrong.
pub(super) const SUCCESS: i32 = 80;

pub(super) const BAD_ARGUMENTS: (i32, &str) = (3, "BAD_ARGUMENTS");
pub(super) const BAD_NAME: (i32, &str) = (10, "BAD_NAME");
pub(super) const BAD_SIGNAL: (i32, &str) = (11, "BAD_SIGNAL");
pub(super) const NO_FILE: (i32, &str) = (20, "NO_FILE");
pub(super) const NOT_EXECUTABLE: (i32, &str) = (21, "NOT_EXECUTABLE");
pub(super) const FAILED: (i32, &str) = (30, "FAILED");
pub(super) const ABNORMAL_TERMINATION: (i32, &str) = (40, "ABNORMAL_TERMINATION");
pub(super) const SPAWN_ERROR: (i32, &str) = (50, "SPAWN_ERROR");
pub(super) const ALREADY_STARTED: (i32, &str) = (60, "ALREADY_STARTED");
pub(super) const NOT_RUNNING: (i32, &str) = (70, "NOT_RUNNING");
pub(super) const ALREADY_ADDED: (i32, &str) = (90, "ALREADY_ADDED");
pub(super) const STILL_RUNNING: (i32, &str) = (91, "STILL_RUNNING");
pub(super) const CANT_REREAD: (i32, &str) = (92, "CANT_REREAD");

/// With a detail behind its name.
pub(super) fn about((code, name): (i32, &str), detail: impl std::fmt::Display) -> Fault {
    Fault {
        code,
        text: format!("{name}: {detail}"),
    }
}

/// Its name alone.
pub(super) fn plain((code, name): (i32, &str)) -> Fault {
    Fault {
        code,
        text: name.to_owned(),
    }
}

pub(super) fn unknown_method() -> Fault {
    plain((1, "UNKNOWN_METHOD"))
}

pub(super) fn incorrect_parameters(which: Option<&str>) -> Fault {
    let kind = (2, "INCORRECT_PARAMETERS");
    which.map_or_else(|| plain(kind), |which| about(kind, which))
}

pub(super) fn signature_unsupported() -> Fault {
    plain((4, "SIGNATURE_UNSUPPORTED"))
}

pub(super) fn shutdown_state() -> Fault {
    plain((6, "SHUTDOWN_STATE"))
}
