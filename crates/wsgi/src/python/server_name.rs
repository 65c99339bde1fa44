//! What the server calls itself: our name, or what a configuration wrote into `gunicorn.SERVER` (the header) and
//! `gunicorn.SERVER_SOFTWARE` (`environ`), as is done to hide the version.
//!
//! Not here: writing the header (`worker::reply`).

use pyo3::prelude::*;

use super::interpreter::Gil;

/// `SERVER_SOFTWARE` of `environ`.
pub(super) fn software(py: Python<'_>) -> String {
    let ours = concat!("trine-wsgi/", env!("CARGO_PKG_VERSION"));
    let version = gunicorns(py, "__version__").unwrap_or_default();
    gunicorns(py, "SERVER_SOFTWARE")
        .filter(|name| *name != format!("gunicorn/{version}"))
        .unwrap_or_else(|| ours.to_owned())
}

/// The same for programs that the application starts, as gunicorn has it.
pub fn tell_environment(gil: Gil<'_>) {
    let name = software(gil.0);
    super::set_environment(gil, &[("SERVER_SOFTWARE".to_owned(), name)]);
}

/// The value of the `Server` header, if a configuration changed it.
pub(super) fn header(py: Python<'_>) -> Option<String> {
    gunicorns(py, "SERVER").filter(|name| name != "gunicorn")
}

/// A text of the package `gunicorn`, ours or the real one, if somebody imported it.
fn gunicorns(py: Python<'_>, name: &str) -> Option<String> {
    let modules = py.import("sys").ok()?.getattr("modules").ok()?;
    let package = modules.get_item("gunicorn").ok()?;
    let text: String = package.getattr(name).ok()?.extract().ok()?;
    Some(text)
}
