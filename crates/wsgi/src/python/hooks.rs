//! Server hooks: the table of callables, the live `server` and `worker`, and calling the ones with the others.
//!
//! What they are made of is Python (`hooks.py`), so that configurations may set attributes of their own on them.
//! Not here: where hooks come from (`config`), when they are called (`arbiter`, `worker::life`), and those around
//! requests (`request_hooks`).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyTuple};

use crate::config::{Values, table};

use super::interpreter::{Gil, describe};
use super::load::App;
use super::logger::Logger;
use super::objects::{Object, from_value};

/// gunicorn's hooks of the WSGI side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    OnStarting,
    WhenReady,
    OnReload,
    PreFork,
    PostFork,
    PostWorkerInit,
    WorkerInt,
    WorkerAbort,
    PreRequest,
    PostRequest,
    ChildExit,
    WorkerExit,
    NworkersChanged,
    PreExec,
    OnExit,
    SslContext,
}

impl Hook {
    pub const ALL: [Self; 16] = [
        Self::OnStarting,
        Self::WhenReady,
        Self::OnReload,
        Self::PreFork,
        Self::PostFork,
        Self::PostWorkerInit,
        Self::WorkerInt,
        Self::WorkerAbort,
        Self::PreRequest,
        Self::PostRequest,
        Self::ChildExit,
        Self::WorkerExit,
        Self::NworkersChanged,
        Self::PreExec,
        Self::OnExit,
        Self::SslContext,
    ];

    /// The setting's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnStarting => "on_starting",
            Self::WhenReady => "when_ready",
            Self::OnReload => "on_reload",
            Self::PreFork => "pre_fork",
            Self::PostFork => "post_fork",
            Self::PostWorkerInit => "post_worker_init",
            Self::WorkerInt => "worker_int",
            Self::WorkerAbort => "worker_abort",
            Self::PreRequest => "pre_request",
            Self::PostRequest => "post_request",
            Self::ChildExit => "child_exit",
            Self::WorkerExit => "worker_exit",
            Self::NworkersChanged => "nworkers_changed",
            Self::PreExec => "pre_exec",
            Self::OnExit => "on_exit",
            Self::SslContext => "ssl_context",
        }
    }
}

/// The hooks that a configuration sets. Clones are the same table.
#[derive(Debug, Clone, Default)]
pub struct Hooks(Arc<BTreeMap<Hook, Object>>);

impl Hooks {
    /// A table of callables whose parameters were counted before.
    #[must_use]
    pub fn new(set: BTreeMap<Hook, Object>) -> Self {
        Self(Arc::new(set))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get<'py>(&self, py: Python<'py>, hook: Hook) -> Option<&Bound<'py, PyAny>> {
        Some(self.0.get(&hook)?.bind(py))
    }

    /// Calls a hook, if it is set.
    ///
    /// # Errors
    /// What it raised.
    pub fn call(&self, gil: Gil<'_>, hook: Hook, args: &[Arg<'_>]) -> Result<(), HookError> {
        let py = gil.0;
        let Some(function) = self.get(py, hook) else {
            return Ok(());
        };
        let objects = args.iter().map(|arg| arg.object(py));
        let called =
            PyTuple::new(py, objects.collect::<Vec<_>>()).and_then(|args| function.call1(args));
        called
            .map(drop)
            .map_err(|error| HookError::new(py, hook, &error))
    }
}

/// What a hook is called with.
#[derive(Debug, Clone, Copy)]
pub enum Arg<'a> {
    Server(&'a Server),
    Worker(&'a Worker),
    Number(Option<usize>),
}

impl Arg<'_> {
    fn object(self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Server(server) => server.0.clone_ref(py),
            Self::Worker(worker) => worker.0.clone_ref(py),
            Self::Number(None) => py.None(),
            Self::Number(Some(number)) => {
                let Ok(number) = number.into_pyobject(py);
                number.into_any().unbind()
            }
        }
    }
}

/// A hook raised.
#[derive(Debug, thiserror::Error)]
#[error("the hook {} failed: {traceback}", hook.name())]
pub struct HookError {
    pub hook: Hook,
    pub traceback: String,
    /// It was SystemExit: the code.
    pub exit: Option<u8>,
}

impl HookError {
    fn new(py: Python<'_>, hook: Hook, error: &PyErr) -> Self {
        let exit = error
            .is_instance_of::<PySystemExit>(py)
            .then(|| exit_code(py, error));
        Self {
            hook,
            traceback: describe(py, error),
            exit,
        }
    }
}

/// The code of a SystemExit, as Python itself ends with: nothing is 0, a text is 1.
pub(super) fn exit_code(py: Python<'_>, error: &PyErr) -> u8 {
    let code = error.value(py).getattr("code").ok();
    match code {
        None => 0,
        Some(code) if code.is_none() => 0,
        Some(code) => code.extract::<i64>().map_or(1, |code| code as u8),
    }
}

/// A listening socket, for `server.LISTENERS` and `worker.sockets`.
#[derive(Debug, Clone)]
pub struct ListenerFacts {
    pub fd: i32,
    /// The address in words; a path is a Unix socket's.
    pub text: String,
    pub host_port: Option<(String, u16)>,
    pub path: Option<String>,
}

/// A value for an attribute.
#[derive(Debug, Clone)]
pub enum Fact {
    Number(i64),
    Real(f64),
    Text(String),
    Flag(bool),
    Listeners(Vec<ListenerFacts>),
    /// Addresses as configured.
    Addresses(Vec<ListenerFacts>),
    /// The configuration, as an object with an attribute for each setting.
    Config(Config),
    Log(Logger),
}

/// The settings as a Python object.
#[derive(Debug, Clone)]
pub struct Config(pub(super) Arc<Py<PyAny>>);

impl Config {
    /// `None`, which is told in the log: Python cannot.
    #[must_use]
    pub fn new(gil: Gil<'_>, values: &Values) -> Option<Self> {
        let py = gil.0;
        let make = || -> PyResult<Self> {
            let (all, mut given) = (PyDict::new(py), Vec::new());
            for setting in table::all() {
                all.set_item(setting.name, from_value(py, values.get(setting.name))?)?;
                given.extend(values.is_given(setting.name).then_some(setting.name));
            }
            let config = py
                .import("trine_wsgi.config")?
                .call_method1("_of_server", (all, given))?;
            Ok(Self(Arc::new(config.unbind())))
        };
        make()
            .inspect_err(|error| tracing::error!("{}", describe(py, error)))
            .ok()
    }
}

/// gunicorn's `server`: the arbiter as hooks see it.
#[derive(Debug)]
pub struct Server(Py<PyAny>);

/// gunicorn's `worker`.
#[derive(Debug)]
pub struct Worker(pub(super) Py<PyAny>);

const SOURCE: &str = include_str!("hooks.py");

pub(super) fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || {
        let source = CString::new(SOURCE)?;
        let module = PyModule::from_code(py, &source, c"trine_wsgi/hooks.py", c"trine_wsgi_hooks")?;
        module.setattr("_mark_aborted", wrap_pyfunction!(mark_aborted, &module)?)?;
        PyResult::Ok(module.unbind())
    })?;
    Ok(module.bind(py))
}

fn dict_of<'py>(py: Python<'py>, facts: &[(&str, Fact)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, fact) in facts {
        dict.set_item(name, fact.object(py)?)?;
    }
    Ok(dict)
}

impl Fact {
    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::Number(number) => number.into_pyobject(py)?.into_any(),
            Self::Real(number) => number.into_pyobject(py)?.into_any(),
            Self::Text(text) => text.into_pyobject(py)?.into_any(),
            Self::Flag(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
            Self::Config(config) => config.0.bind(py).clone(),
            Self::Log(logger) => logger.0.bind(py).clone(),
            Self::Addresses(listeners) => {
                let all: Vec<_> = listeners
                    .iter()
                    .map(|one| one.address(py))
                    .collect::<PyResult<_>>()?;
                all.into_pyobject(py)?
            }
            Self::Listeners(listeners) => {
                let class = module(py)?.getattr("Listener")?;
                let make = |one: &ListenerFacts| class.call1((one.fd, one.address(py)?, &one.text));
                let all: Vec<_> = listeners.iter().map(make).collect::<PyResult<_>>()?;
                all.into_pyobject(py)?
            }
        })
    }
}

impl ListenerFacts {
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match (&self.host_port, &self.path) {
            (Some(pair), _) => pair.into_pyobject(py)?.into_any(),
            (None, Some(path)) => path.into_pyobject(py)?.into_any(),
            (None, None) => self.text.as_str().into_pyobject(py)?.into_any(),
        })
    }
}

/// Sets Python's handlers of INT, QUIT and ABRT, which call the hooks in a worker. In the arbiter, before its own.
///
/// # Errors
/// When this is not Python's main thread.
pub fn catch_signals(gil: Gil<'_>) -> Result<(), String> {
    let caught = module(gil.0).and_then(|module| module.call_method0("catch_signals"));
    caught.map(drop).map_err(|error| describe(gil.0, &error))
}

impl Server {
    /// # Errors
    /// What Python says, if memory is short.
    pub fn new(gil: Gil<'_>, facts: &[(&str, Fact)]) -> Result<Self, String> {
        let py = gil.0;
        let make = || -> PyResult<Py<PyAny>> {
            let module = module(py)?;
            let server = module.getattr("Server")?.call1((dict_of(py, facts)?,))?;
            Ok(server.unbind())
        };
        make().map(Self).map_err(|error| describe(py, &error))
    }

    /// Brings attributes up to date.
    pub fn set(&self, gil: Gil<'_>, facts: &[(&str, Fact)]) {
        set(gil, &self.0, facts);
    }

    /// A worker of this server's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn worker(&self, gil: Gil<'_>, facts: &[(&str, Fact)]) -> Result<Worker, String> {
        let py = gil.0;
        let make = || -> PyResult<Py<PyAny>> {
            let facts = dict_of(py, facts)?;
            facts.set_item("log", self.0.bind(py).getattr("log")?)?;
            Ok(module(py)?.getattr("Worker")?.call1((facts,))?.unbind())
        };
        make().map(Worker).map_err(|error| describe(py, &error))
    }

    /// Puts a worker into WORKERS.
    pub fn adopt(&self, gil: Gil<'_>, pid: i32, worker: &Worker) {
        worker.set(gil, &[("pid", Fact::Number(pid.into()))]);
        self.workers(gil, |workers| workers.set_item(pid, &worker.0));
    }

    /// Takes it out again.
    pub fn forget(&self, gil: Gil<'_>, pid: i32) {
        self.workers(gil, |workers| {
            workers.call_method1("pop", (pid, gil.0.None())).map(drop)
        });
    }

    fn workers(&self, gil: Gil<'_>, change: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<()>) {
        // A configuration may have put anything in its place.
        let _ = self
            .0
            .bind(gil.0)
            .getattr("WORKERS")
            .and_then(|workers| change(&workers));
    }

    /// Another handle on the same object.
    #[must_use]
    pub fn share(&self, gil: Gil<'_>) -> Self {
        Self(self.0.clone_ref(gil.0))
    }
}

impl Worker {
    /// Brings attributes up to date.
    pub fn set(&self, gil: Gil<'_>, facts: &[(&str, Fact)]) {
        set(gil, &self.0, facts);
    }

    /// Another handle on the same object.
    #[must_use]
    pub fn share(&self, gil: Gil<'_>) -> Self {
        Self(self.0.clone_ref(gil.0))
    }

    /// This process is that worker from now on: `nr` counts by `count`, signals call its hooks.
    pub fn become_this_process(
        &self,
        gil: Gil<'_>,
        hooks: &Hooks,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let py = gil.0;
        let become_it = || -> PyResult<()> {
            let count = pyo3::types::PyCFunction::new_closure(py, None, None, move |_, _| count())?;
            self.0.bind(py).setattr("_count", count)?;
            let table = PyDict::new(py);
            for hook in [Hook::WorkerInt, Hook::WorkerAbort] {
                if let Some(function) = hooks.get(py, hook) {
                    table.set_item(hook.name(), function)?;
                }
            }
            module(py)?
                .call_method1("become", (&self.0, table))
                .map(drop)
        };
        if let Err(error) = become_it() {
            tracing::error!("signals will not call hooks: {}", describe(py, &error));
        }
    }

    /// It has its application.
    pub fn has_app(&self, gil: Gil<'_>, app: &App) {
        let worker = self.0.bind(gil.0);
        let _ = worker.setattr("wsgi", &app.0);
        let _ = worker.setattr("booted", true);
    }
}

/// Set by Python's handler of ABRT, so that a turn of the loop need not ask Python.
static ABORTED: AtomicBool = AtomicBool::new(false);

#[pyfunction]
fn mark_aborted() {
    ABORTED.store(true, Relaxed);
}

/// ABRT came to this worker.
#[must_use]
pub fn is_aborted() -> bool {
    ABORTED.load(Relaxed)
}

fn set(gil: Gil<'_>, object: &Py<PyAny>, facts: &[(&str, Fact)]) {
    let object = object.bind(gil.0);
    for (name, fact) in facts {
        if let Err(error) = fact
            .object(gil.0)
            .and_then(|value| object.setattr(*name, value))
        {
            tracing::error!("cannot set {name} for hooks: {}", describe(gil.0, &error));
        }
    }
}
