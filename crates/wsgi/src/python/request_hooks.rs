//! What wants to see each request: the hooks `pre_request` and `post_request`, and a logger's `access`. Without them
//! there is nothing of this.
//!
//! Not here: calling the application (`call`).

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::worker::exchange::Exchange;
use crate::worker::reply::Reply;

use super::hooks::{Hook, Hooks, Worker, module};
use super::interpreter::Gil;
use super::logger::{relayed, tell_exception};

/// Fields that the server adds to what the application gave; gunicorn's `resp.headers` has none of them.
const OURS: [&[u8]; 3] = [b"server", b"date", b"connection"];

/// What one thread needs to call them.
#[derive(Debug)]
pub struct RequestHooks {
    before: Option<Py<PyAny>>,
    after: Option<(Py<PyAny>, usize)>,
    /// Writes the access log, if Python's loggers do.
    logger: Option<Py<PyAny>>,
    worker: Py<PyAny>,
    request: Py<PyAny>,
    response: Py<PyAny>,
    ended: Ended,
}

/// What is called when a hook has set `worker.alive` to false.
struct Ended(Box<dyn Fn() + Send>);

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ended")
    }
}

/// A request that hooks have seen, for the one after it.
#[derive(Debug)]
pub(super) struct Seen {
    request: Py<PyAny>,
    environ: Py<PyDict>,
    began: Instant,
}

impl RequestHooks {
    /// `None`: neither hook is set, and we write the access log ourselves. `ended` is called when one has set `worker.alive` to false.
    ///
    /// # Errors
    /// What Python says, if memory is short.
    pub fn new(
        gil: Gil<'_>,
        hooks: &Hooks,
        worker: &Worker,
        ended: impl Fn() + Send + 'static,
    ) -> PyResult<Option<Box<Self>>> {
        let py = gil.0;
        let copy = |hook| {
            hooks
                .get(py, hook)
                .map(|function| function.clone().unbind())
        };
        let (before, after) = (copy(Hook::PreRequest), copy(Hook::PostRequest));
        let logger = relayed(py);
        if before.is_none() && after.is_none() && logger.is_none() {
            return Ok(None);
        }
        let after = match after {
            Some(function) => {
                let signature = py
                    .import("inspect")?
                    .call_method1("signature", (&function,))?;
                let count = signature.getattr("parameters")?.len()?;
                Some((function, count))
            }
            None => None,
        };
        let module = module(py)?;
        Ok(Some(Box::new(Self {
            before,
            after,
            logger,
            worker: worker.0.clone_ref(py),
            request: module.getattr("Request")?.unbind(),
            response: module.getattr("Response")?.unbind(),
            ended: Ended(Box::new(ended)),
        })))
    }

    /// Calls `pre_request`. `Err`: it raised, and the request is answered 500, as gunicorn does.
    pub(super) fn before(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        environ: &Bound<'_, PyDict>,
    ) -> Result<Seen, (Option<Seen>, PyErr)> {
        let request = self
            .request_of(py, exchange, environ)
            .map_err(|error| (None, error))?;
        let seen = Seen {
            request: request.clone().unbind(),
            environ: environ.clone().unbind(),
            began: Instant::now(),
        };
        let called = match &self.before {
            Some(function) => function
                .call1(py, (&self.worker, &request))
                .and_then(|_| request.call_method1("_changed", (environ,)).map(drop)),
            None => Ok(()),
        };
        match called {
            Ok(()) => Ok(seen),
            Err(error) => Err((Some(seen), error)),
        }
    }

    /// Tells the logger, and calls `post_request`; what they raise is told in the log. `status` is what went out,
    /// where the application gave none.
    pub(super) fn after(&self, py: Python<'_>, seen: Seen, reply: &Reply, status: u16) {
        if let Some(logger) = &self.logger {
            let took = seen.began.elapsed();
            if let Err(error) = self.tell_access(py, logger, &seen, (reply, status), took) {
                tell_exception(py, "Exception in the logger", &error);
            }
        }
        if let Some((function, parameters)) = &self.after {
            self.call_after(py, function, *parameters, seen, (reply, status));
        }
        let alive = self.worker.bind(py).getattr("alive");
        if alive.is_ok_and(|alive| !alive.is_truthy().unwrap_or(true)) {
            (self.ended.0)();
        }
    }

    fn tell_access(
        &self,
        py: Python<'_>,
        logger: &Py<PyAny>,
        seen: &Seen,
        answer: (&Reply, u16),
        took: Duration,
    ) -> PyResult<()> {
        let response = self.response_of(py, &seen.request, answer)?;
        let args = (response, &seen.request, &seen.environ, took);
        logger.call_method1(py, "access", args).map(drop)
    }

    fn call_after(
        &self,
        py: Python<'_>,
        function: &Py<PyAny>,
        parameters: usize,
        seen: Seen,
        answer: (&Reply, u16),
    ) {
        let Seen {
            request, environ, ..
        } = seen;
        let call = || -> PyResult<()> {
            match parameters {
                2 => function.call1(py, (&self.worker, request))?,
                3 => function.call1(py, (&self.worker, request, environ))?,
                _ => {
                    let response = self.response_of(py, &request, answer)?;
                    function.call1(py, (&self.worker, request, environ, response))?
                }
            };
            Ok(())
        };
        if let Err(error) = call() {
            tell_exception(py, "Exception in post_request hook", &error);
        }
    }

    fn request_of<'py>(
        &self,
        py: Python<'py>,
        exchange: &Exchange,
        environ: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let head = exchange.request();
        let headers = PyList::empty(py);
        for (name, value) in head.headers() {
            headers.append((latin1(py, &name.to_ascii_uppercase()), latin1(py, value)))?;
        }
        let peer: Bound<'_, PyAny> = if exchange.peer.addr.is_empty() {
            PyBytes::new(py, b"").into_any()
        } else {
            let port: u16 = exchange.peer.port.parse().unwrap_or(0);
            (exchange.peer.addr.as_str(), port)
                .into_pyobject(py)?
                .into_any()
        };
        let version = if head.version().as_str().ends_with('0') {
            (1, 0)
        } else {
            (1, 1)
        };
        let uri = latin1(py, head.target());
        self.request
            .bind(py)
            .call1((head.method(), uri, version, headers, environ, peer))
    }

    fn response_of<'py>(
        &self,
        py: Python<'py>,
        request: &Py<PyAny>,
        (reply, code): (&Reply, u16),
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut lines = reply
            .head()
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii_end);
        let first = lines.next().unwrap_or_default();
        let status = first
            .split(|byte| *byte == b' ')
            .skip(1)
            .collect::<Vec<_>>()
            .join(&b' ');
        let headers = PyList::empty(py);
        let status = match code {
            // The page is ours: the application gave no head that went out.
            500 if !reply.started() => b"500 Internal Server Error".to_vec(),
            504 if !reply.started() => b"504 Gateway Timeout".to_vec(),
            _ => status,
        };
        for line in lines.filter(|line| !line.is_empty()) {
            let at = line
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(line.len());
            let (name, value) = line.split_at(at);
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                continue;
            }
            headers.append((latin1(py, name), latin1(py, value)))?;
        }
        let status: Bound<'_, PyString> = latin1(py, &status);
        self.response
            .bind(py)
            .call1((status, headers, reply.body_bytes(), request))
    }
}

fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(
        py,
        &bytes
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>(),
    )
}
