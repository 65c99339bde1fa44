//! Starting the interpreter as the application's virtualenv would, and ending it.
//!
//! CPython does not look at VIRTUAL_ENV; told the path of the virtualenv's `python`, it finds everything else.
//! Not here: which virtualenv to take (`config`).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, ptr};

use pyo3::exceptions::{PyException, PySystemExit};
use pyo3::prelude::*;
use pyo3::{PyErr, ffi};

use super::hooks::exit_code;
use super::standin;

/// What the interpreter is started with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// A virtualenv's folder or a `python` in it; `None` takes the first `python3` in PATH.
    pub python: Option<PathBuf>,
    /// `sys.argv`.
    pub argv: Vec<String>,
    /// Put in front of `sys.path`.
    pub path: Vec<PathBuf>,
    /// Put into `os.environ`.
    pub env: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterpreterError {
    #[error("{} is not a virtualenv or a Python: there is no bin/python3 and no bin/python in it", .0.display())]
    NoPython(PathBuf),
    #[error(
        "{} belongs to Python {found}, this trine-wsgi was built for Python {wanted}; use a virtualenv of that version, \
         or a trine-wsgi built for {found}",
        .path.display()
    )]
    Version {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error(
        "this trine-wsgi is a package of {}, and cannot serve with {}; call the trine-wsgi of that virtualenv, \
         or leave the setting `python` out",
        .own.display(), .given.display()
    )]
    Other { own: PathBuf, given: PathBuf },
    #[error("Python cannot start: {0}")]
    Start(String),
    #[error("Python failed at start: {0}")]
    Python(String),
}

/// The proof that this thread holds the interpreter lock.
#[derive(Clone, Copy)]
pub struct Gil<'py>(pub(super) Python<'py>);

impl std::fmt::Debug for Gil<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gil")
    }
}

impl Gil<'_> {
    /// Runs `work` without the lock, so that other Python threads go on.
    pub fn detached<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        self.0.detach(work)
    }

    /// Has Python print the stacks of all threads when it is aborted or crashes.
    pub fn enable_faulthandler(self) {
        let enable = || -> PyResult<()> {
            let handler = self.0.import("faulthandler")?;
            if !handler.call_method0("is_enabled")?.extract::<bool>()? {
                handler.call_method1("enable", (2,))?;
            }
            Ok(())
        };
        if let Err(error) = enable() {
            tracing::debug!("no stacks of crashes: {error}");
        }
    }

    /// Lets Python's own signal handlers run, ours and those which the application may have set. `Some`: one wants
    /// the process to end with this code.
    #[must_use = "the process is to end"]
    pub fn run_signal_handlers(self) -> Option<u8> {
        let error = self.0.check_signals().err()?;
        if error.is_instance_of::<PySystemExit>(self.0) {
            return Some(exit_code(self.0, &error));
        }
        tracing::error!(
            "a signal handler of the application failed: {}",
            describe(self.0, &error)
        );
        None
    }

    /// Runs exit handlers and waits for the application's threads: the end of a worker that drained.
    pub fn finalize(self) {
        // SAFETY: this thread is the one that started the interpreter and holds its lock. Everything of ours that
        // could still want Python is gone or never comes back: the process ends right after this.
        unsafe { ffi::Py_FinalizeEx() };
    }
}

/// Whether this process is a Python that imported us, and not our own binary.
#[must_use]
pub fn is_hosted() -> bool {
    // SAFETY: may be called at any time, before initialization too. `start` has not run yet, or the answer is kept.
    *HOSTED.get_or_init(|| unsafe { ffi::Py_IsInitialized() } != 0)
}

static HOSTED: OnceLock<bool> = OnceLock::new();

/// Starts Python in this process and runs `work` with its lock held. Once per process, before any thread exists.
/// A Python that imported us is started already, with its own `sys.argv`, in its own virtualenv.
pub fn start<T>(setup: &Setup, work: impl FnOnce(Gil<'_>) -> T) -> Result<T, InterpreterError> {
    if !is_hosted() {
        let executable = setup.python.as_deref().map(executable).transpose()?;
        initialize(executable.as_deref())?;
    }
    Python::attach(|py| {
        let failed = |error| InterpreterError::Python(describe(py, &error));
        if let Some(given) = setup.python.as_deref().filter(|_| is_hosted()) {
            let own = prefix(py).map_err(failed)?;
            if !is_in(&executable(given)?, &own) {
                let given = given.to_owned();
                return Err(InterpreterError::Other { own, given });
            }
        }
        prepare_sys(py, setup).map_err(failed)?;
        Ok(work(Gil(py)))
    })
}

/// The folder of the virtualenv, or of the Python itself, that runs us.
fn prefix(py: Python<'_>) -> PyResult<PathBuf> {
    py.import("sys")?.getattr("prefix")?.extract()
}

/// Whether `program` is a file of the folder `home`, by whatever way it is reached.
fn is_in(program: &Path, home: &Path) -> bool {
    let folder = program.parent().and_then(Path::parent);
    match (folder.map(fs::canonicalize), fs::canonicalize(home)) {
        (Some(Ok(folder)), Ok(home)) => folder == home,
        _ => false,
    }
}

/// The `python` to claim to be, after making sure that its version is ours.
fn executable(given: &Path) -> Result<PathBuf, InterpreterError> {
    let (home, program) = if given.is_dir() {
        let found = ["bin/python3", "bin/python"].map(|name| given.join(name));
        let Some(program) = found.into_iter().find(|path| path.exists()) else {
            return Err(InterpreterError::NoPython(given.to_owned()));
        };
        (Some(given.to_owned()), program)
    } else if given.is_file() {
        let home = given.parent().and_then(Path::parent).map(Path::to_owned);
        (home, given.to_owned())
    } else {
        return Err(InterpreterError::NoPython(given.to_owned()));
    };
    let ours = own_version();
    if let Some(found) = home.as_deref().and_then(venv_version)
        && found != ours
    {
        return Err(InterpreterError::Version {
            path: given.to_owned(),
            found,
            wanted: ours,
        });
    }
    std::path::absolute(&program).map_err(|error| InterpreterError::Start(error.to_string()))
}

/// The `3.11` of a virtualenv, from its pyvenv.cfg or its folders.
fn venv_version(home: &Path) -> Option<String> {
    let config = fs::read_to_string(home.join("pyvenv.cfg")).ok()?;
    let version = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    })?;
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

/// The `3.11` of the linked interpreter.
fn own_version() -> String {
    // SAFETY: a static C string, there before initialization too.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let mut parts = version.split(['.', ' ']);
    format!(
        "{}.{}",
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default()
    )
}

fn initialize(executable: Option<&Path>) -> Result<(), InterpreterError> {
    let executable = executable
        .map(|path| CString::new(path.as_os_str().as_bytes()))
        .transpose()
        .map_err(|error| InterpreterError::Start(error.to_string()))?;
    // SAFETY: PyConfig is plain data that PyConfig_InitPythonConfig fills in before anything reads it.
    let mut config: ffi::PyConfig = unsafe { std::mem::zeroed() };
    let config = &raw mut config;
    // SAFETY: `config` lives on this stack until it is cleared; Python is not initialized yet, as these calls demand.
    let status = unsafe {
        ffi::PyConfig_InitPythonConfig(config);
        (*config).install_signal_handlers = 0;
        (*config).parse_argv = 0;
        let mut status = ffi::PyStatus_Ok();
        if let Some(path) = &executable {
            status =
                ffi::PyConfig_SetBytesString(config, &raw mut (*config).executable, path.as_ptr());
        }
        if ffi::PyStatus_Exception(status) == 0 {
            status = ffi::Py_InitializeFromConfig(config);
        }
        ffi::PyConfig_Clear(config);
        status
    };
    // SAFETY: the status was returned by the calls above; its message is a static C string or null.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        let message = if status.err_msg.is_null() {
            "unknown reason".to_owned()
        } else {
            std::ffi::CStr::from_ptr(status.err_msg)
                .to_string_lossy()
                .into_owned()
        };
        Err(InterpreterError::Start(message))
    }
}

fn prepare_sys(py: Python<'_>, setup: &Setup) -> PyResult<()> {
    let sys = py.import("sys")?;
    if is_hosted() {
        let_go_of_interrupts(py)?;
    } else {
        sys.setattr("argv", &setup.argv)?;
    }
    if !setup.env.is_empty() {
        let environ = py.import("os")?.getattr("environ")?;
        for (key, value) in &setup.env {
            environ.set_item(key, value)?;
        }
    }
    standin::install(py)?;
    let path = sys.getattr("path")?;
    for folder in setup.path.iter().rev() {
        path.call_method1("insert", (0, folder.as_os_str()))?;
    }
    Ok(())
}

/// A Python of its own turns INT into KeyboardInterrupt, wherever it is. Here INT is the server's.
fn let_go_of_interrupts(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("signal")?;
    let interrupt = signal.getattr("SIGINT")?;
    let current = signal.call_method1("getsignal", (&interrupt,))?;
    if current.is(&signal.getattr("default_int_handler")?) {
        signal.call_method1("signal", (interrupt, signal.getattr("SIG_DFL")?))?;
    }
    Ok(())
}

/// An exception with its traceback and causes, as Python prints it.
pub(super) fn describe(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.call_method1(
            "format_exception",
            (error.get_type(py), error.value(py), error.traceback(py)),
        )?;
        let lines: Vec<String> = lines.extract()?;
        Ok(lines.concat())
    };
    format().map_or_else(|_| error.to_string(), |text| text.trim_end().to_owned())
}

/// Takes the exception of this thread after a failed call of the C API.
pub(super) fn fetch(py: Python<'_>) -> PyErr {
    PyErr::take(py).unwrap_or_else(|| PyException::new_err("a call failed without an exception"))
}

/// Puts a plain exception up for the C API's caller.
pub(super) fn raise(kind: *mut ffi::PyObject, text: &str) -> *mut ffi::PyObject {
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: `kind` is one of the interpreter's exception types, `text` is copied; the caller holds the lock.
    unsafe { ffi::PyErr_SetString(kind, text.as_ptr()) };
    ptr::null_mut()
}
