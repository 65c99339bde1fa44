//! The extension module `trine_wsgi._native`: how a Python that runs already becomes the server.
//!
//! Not here: the Python side of the package (`packaging/python`).

use std::ffi::OsString;

use pyo3::prelude::*;

/// The server inside the interpreter that imports this.
#[pymodule(gil_used = true)]
pub(super) mod _native {
    #[pymodule_export]
    use super::super::embedding::{
        check_setting, import_app, read_command_line, run_application, settings,
    };
    #[pymodule_export]
    use super::run;

    #[pymodule_export]
    #[expect(
        non_upper_case_globals,
        reason = "the name that Python modules have it under"
    )]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

/// Serves as `argv` says, and returns the exit code.
#[pyfunction]
fn run(argv: Vec<OsString>) -> u8 {
    crate::program(argv)
}
