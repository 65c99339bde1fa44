//! One call of the application, from the request to the last block of its answer: PEP 3333's server side.
//!
//! Whatever the application raises ends this request and nothing else; `close()` is owed once, on the thread that
//! iterated, however it ended.
//! Not here: how bytes reach the client (`Sink`), framing (`worker::reply`).

use std::ptr;

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{ffi, intern};

use crate::config::settings::HeaderMap;
use crate::worker::body::Body;
use crate::worker::environ::{Around, EnvironError, fill};
use crate::worker::exchange::Exchange;
use crate::worker::gateway::{Records, Wire};
use crate::worker::reply::{self, Demand, Reply};
use crate::worker::trust::SchemeHeaders;

use super::answer::{Active, Sink};
use super::blocks::run;
use super::environ::{Filling, Names};
use super::errors::ErrorStream;
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::interpreter::Gil;
use super::load::App;
use super::outcome::{conclude, fail, refuse};
use super::request_hooks::{RequestHooks, Seen};
use super::server_name;
use super::start_response::Callables;

/// What is the same for all requests that come in by one listener.
#[derive(Debug, Clone)]
pub struct Site {
    /// SERVER_NAME and SERVER_PORT; a Unix socket has none and takes them from Host.
    pub server: Option<(String, String)>,
    pub script_name: String,
    pub multithread: bool,
    pub multiprocess: bool,
    pub scheme_headers: SchemeHeaders,
    pub header_map: HeaderMap,
    /// Connections are under TLS.
    pub secure: bool,
    pub forwarder_headers: Vec<String>,
    /// Real files are sent by the kernel.
    pub sendfile: bool,
    /// Where `wsgi.errors` writes, instead of standard error.
    pub error_log: Option<std::path::PathBuf>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// The connection may carry another request.
    pub keep: bool,
    pub status: u16,
    pub body_bytes: u64,
    /// The application has the connection now.
    pub let_go: bool,
    /// The application has used the connection itself, and given it back.
    pub had_socket: bool,
}

/// Everything one thread needs to call the application.
#[derive(Debug)]
pub struct Caller {
    app: Py<PyAny>,
    sites: Vec<(Site, Py<PyDict>)>,
    names: Names,
    callables: Callables,
    reply: Reply,
    scratch: Vec<u8>,
    hooks: Option<Box<RequestHooks>>,
    /// What the access log wants of `environ`, and the values of the last call.
    wanted: Vec<String>,
    logged: Vec<Option<Vec<u8>>>,
}

impl Caller {
    pub fn new(gil: Gil<'_>, app: &App, sites: &[Site]) -> PyResult<Self> {
        let py = gil.0;
        let mut caller = Self {
            app: app.0.clone_ref(py),
            sites: Vec::new(),
            names: Names::new(py),
            callables: Callables::new(py)?,
            reply: Reply::default(),
            scratch: Vec::new(),
            hooks: None,
            wanted: Vec::new(),
            logged: Vec::new(),
        };
        for site in sites {
            caller
                .sites
                .push((site.clone(), template(py, site)?.unbind()));
        }
        caller.hand_out(py)?;
        Ok(caller)
    }

    /// Has hooks called around each request; `None`: there are none.
    pub fn set_hooks(&mut self, hooks: Option<Box<RequestHooks>>) {
        self.hooks = hooks;
    }

    /// Has these values of `environ` looked up after each call.
    pub fn want(&mut self, names: &[String]) {
        self.wanted = names.to_vec();
    }

    /// What was wanted, as the last call left it.
    #[must_use]
    pub fn logged(&self) -> &[Option<Vec<u8>>] {
        &self.logged
    }

    /// Looks up what is wanted: by its name, else in any case, as gunicorn does.
    fn look_up(&mut self, environ: Option<&Bound<'_, PyDict>>) {
        self.logged.clear();
        let Some(environ) = environ else { return };
        for name in &self.wanted {
            let named = environ.get_item(name).ok().flatten();
            let value = named.or_else(|| {
                let mut items = environ.iter();
                let same = |key: &Bound<'_, PyAny>| {
                    key.extract::<String>()
                        .is_ok_and(|key| key.eq_ignore_ascii_case(name))
                };
                items.find(|(key, _)| same(key)).map(|(_, value)| value)
            });
            self.logged.push(value.and_then(|value| {
                let text = value.str().ok()?.to_string_lossy().into_owned();
                // The log reads latin-1; what is beyond it is replaced.
                Some(
                    text.chars()
                        .map(|letter| u8::try_from(letter).unwrap_or(b'?'))
                        .collect(),
                )
            }));
        }
    }

    /// Puts the callables that are part of `environ` into the templates.
    fn hand_out(&self, py: Python<'_>) -> PyResult<()> {
        let Callables {
            early_hints,
            socket,
            ..
        } = &self.callables;
        for (_, template) in &self.sites {
            let template = template.bind(py);
            template.set_item(intern!(py, "wsgi.early_hints"), early_hints)?;
            template.set_item(intern!(py, "gunicorn.socket"), socket)?;
        }
        Ok(())
    }

    /// The answer of the last call, for the access log.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Calls the application and sends its answer.
    pub fn call(
        &mut self,
        gil: Gil<'_>,
        exchange: &mut Exchange,
        keep_alive: bool,
        sink: &mut dyn Sink,
    ) -> Verdict {
        let wire = exchange.given.as_ref().map(|given| given.wire);
        let Some(Wire::FastCgi { id }) = wire else {
            return self.answer(gil, exchange, keep_alive, sink);
        };
        let mut records = Records::new(sink, id);
        let mut verdict = self.answer(gil, exchange, keep_alive, &mut records);
        let whole = self.reply.is_whole() || !self.reply.started();
        records.end(whole);
        // The end is told by a record, so that an error page too leaves the connection usable.
        verdict.keep = whole && keep_alive && exchange.keep_alive;
        verdict
    }

    fn answer(
        &mut self,
        gil: Gil<'_>,
        exchange: &mut Exchange,
        keep_alive: bool,
        sink: &mut dyn Sink,
    ) -> Verdict {
        let py = gil.0;
        let request = exchange.request();
        let may_keep = keep_alive && exchange.keep_alive;
        let demand = Demand {
            version: request.version(),
            head_only: request.method() == "HEAD",
            // Until the body has come, nobody knows where the next request begins.
            keep_alive: may_keep && exchange.awaited.is_none(),
            wire: exchange.given.as_ref().map(|given| given.wire),
        };
        self.reply.begin(demand);
        let environ = match self.environ(py, exchange) {
            Ok(Ok(environ)) => environ,
            Ok(Err(refused)) => return refuse(&mut self.reply, sink, demand, refused),
            Err(error) => return fail(py, &mut self.reply, sink, exchange, &error),
        };
        let seen = match self
            .hooks
            .as_ref()
            .map(|hooks| hooks.before(py, exchange, &environ))
        {
            None => None,
            Some(Ok(seen)) => Some(seen),
            Some(Err((seen, error))) => {
                let verdict = fail(py, &mut self.reply, sink, exchange, &error);
                self.after_request(py, seen, verdict.status);
                return verdict;
            }
        };
        let kept = (!self.wanted.is_empty()).then(|| environ.clone());
        let site = self.sites.get(exchange.listener);
        let sendfile = site.is_some_and(|(site, _)| site.sendfile);
        let mut active = Active {
            reply: &mut self.reply,
            sink,
            // SAFETY: the lock is held, so there is a thread state.
            thread: unsafe { ffi::PyThreadState_Get() },
            write: ptr::null_mut(),
            sendfile,
            may_keep,
            no_body: None,
            has_socket: false,
        };
        let active = &raw mut active;
        self.callables.bind(active);
        let result = run(py, &self.app, environ, &self.callables, active);
        let reusable = self.callables.release(py, self.sites.len());
        // SAFETY: the callables let go of it; it lives on this stack.
        let active = unsafe { &mut *active };
        let mut verdict = conclude(py, active, exchange, result);
        if active.has_socket {
            // Nobody knows what was read or written.
            (verdict.had_socket, verdict.keep) = (true, false);
        }
        self.after_request(py, seen, verdict.status);
        self.look_up(kept.as_ref());
        if !reusable && let Ok(fresh) = Callables::new(py) {
            self.callables = fresh;
            if let Err(error) = self.hand_out(py) {
                tracing::error!("cannot renew the callables: {error}");
            }
        }
        verdict
    }

    fn after_request(&self, py: Python<'_>, seen: Option<Seen>, status: u16) {
        if let (Some(hooks), Some(seen)) = (&self.hooks, seen) {
            hooks.after(py, seen, &self.reply, status);
        }
    }

    fn environ<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange,
    ) -> PyResult<Result<Bound<'py, PyDict>, EnvironError>> {
        let body = std::mem::take(&mut exchange.body);
        let Some((site, template)) = self.sites.get(exchange.listener) else {
            return Err(PyAssertionError::new_err(
                "a request from an unknown listener",
            ));
        };
        let mut filling = Filling::copy_of(template.bind(py), &mut self.names)?;
        let around = Around {
            script_name: site.script_name.as_bytes(),
            trusted: exchange.peer.trusted,
            scheme_headers: &site.scheme_headers,
            header_map: site.header_map,
            forwarder_headers: &site.forwarder_headers,
            secure: site.secure,
            name_from_host: site.server.is_none(),
            chunked_length: exchange.chunked_length,
            given: exchange.given.as_deref(),
        };
        if let Err(refused) = fill(
            &exchange.request(),
            &around,
            &mut self.scratch,
            &mut filling,
        ) {
            return Ok(Err(refused));
        }
        if !exchange.peer.addr.is_empty() && exchange.given.is_none() {
            use crate::worker::environ::{Environ as _, Key};
            filling.set(Key::RemoteAddr, exchange.peer.addr.as_bytes());
            filling.set(Key::RemotePort, exchange.peer.port.as_bytes());
        }
        if let Some(to) = exchange.peer.proxied_to {
            use crate::worker::environ::Environ as _;
            let family: &[u8] = if to.is_ipv4() { b"TCP4" } else { b"TCP6" };
            filling.variable(b"PROXY_PROTOCOL", family);
            filling.variable(b"PROXY_ADDR", to.ip().to_string().as_bytes());
            filling.variable(b"PROXY_PORT", to.port().to_string().as_bytes());
        }
        if exchange.awaited.is_some() || exchange.truncated || !matches!(body, Body::Empty) {
            let input = match exchange.awaited {
                Some(length) => Input::awaiting(self.callables.cell(py), length),
                None if exchange.truncated => Input::truncated(body, self.callables.cell(py)),
                None => Input::new(body),
            };
            let input = Bound::new(py, input)?;
            filling.set_object(intern!(py, "wsgi.input"), input.as_ptr());
        }
        filling.finish().map(Ok)
    }
}

/// The keys that are the same for every request of a listener.
fn template<'py>(py: Python<'py>, site: &Site) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let software = server_name::software(py);
    if let Some(name) = server_name::header(py) {
        reply::name_server(&name);
    }
    let (name, port) = site
        .server
        .clone()
        .unwrap_or_else(|| ("localhost".to_owned(), "80".to_owned()));
    let texts = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", ""),
        ("RAW_URI", "/"),
        ("QUERY_STRING", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", &name),
        ("SERVER_PORT", &port),
        ("SERVER_SOFTWARE", &software),
        ("REMOTE_ADDR", ""),
        ("wsgi.url_scheme", "http"),
    ];
    for (key, value) in texts {
        dict.set_item(PyString::intern(py, key), PyString::intern(py, value))?;
    }
    dict.set_item(PyString::intern(py, "wsgi.version"), (1, 0))?;
    let flags = [
        ("wsgi.multithread", site.multithread),
        ("wsgi.multiprocess", site.multiprocess),
        ("wsgi.run_once", false),
        ("wsgi.input_terminated", true),
    ];
    for (key, value) in flags {
        dict.set_item(PyString::intern(py, key), value)?;
    }
    dict.set_item(
        PyString::intern(py, "wsgi.errors"),
        Bound::new(py, ErrorStream::new(site.error_log.as_deref())?)?,
    )?;
    dict.set_item(
        PyString::intern(py, "wsgi.input"),
        Bound::new(py, Input::new(Body::Empty))?,
    )?;
    dict.set_item(
        PyString::intern(py, "wsgi.file_wrapper"),
        py.get_type::<FileWrapper>(),
    )?;
    Ok(dict)
}
