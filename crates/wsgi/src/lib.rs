//! trine-wsgi: a prefork WSGI server with CPython inside.
//!
//! The arbiter reads the settings, holds the listeners and forks workers; a worker loads the application and serves.
//! Not here: anything that other daemons share (`trine-service`), HTTP parsing (`trine-http1`).

pub mod access_log;
pub mod arbiter;
mod cli;
pub mod config;
mod error;
pub mod notice;
pub mod python;
pub mod slots;
pub mod worker;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use clap::Parser as _;
use trine_config::ListenAddr;
use trine_service::exit::{ExitStatus as _, chain};
use trine_service::listeners::{BindOptions, Inherited, Listener, Origin, bind, inherited};
use trine_service::logging;
use trine_service::pidfile::PidFile;
use trine_sys::fdpass::set_nonblocking;
use trine_sys::net::local_addr;

pub use cli::Cli;
pub use error::Error;

use arbiter::{Arbiter, Start};
use config::Settings;
use python::{Gil, LoadError, Setup};

/// argparse's code for a command line that makes no sense.
const USAGE: u8 = 2;
/// gunicorn's default address.
const DEFAULT_BIND: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);

/// The whole program, from its command line (the name it was called by comes first) to its exit code. The binary and
/// the Python extension module are both this.
#[must_use]
pub fn program(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    match run(cli) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "trine-wsgi: {}", chain(&error));
            error.exit().code()
        }
    }
}

/// Does what the command line says, until the end.
pub fn run(cli: Cli) -> Result<(), Error> {
    if cli.version {
        println!("trine-wsgi (version {})", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let check_config = cli.check_config;
    let sources = cli.sources();
    let settings = sources.read()?;
    if let Some(path) = &settings.chdir {
        std::env::set_current_dir(path).map_err(|source| Error::Chdir {
            path: path.clone(),
            source,
        })?;
    }
    let setup = setup(&settings);
    if check_config {
        return python::start(&setup, |gil| check(gil, &settings.app))?;
    }
    let log = logging::init(&settings.log())?;
    let _pidfile = settings.pidfile.as_ref().map(PidFile::create).transpose()?;
    let listeners = listeners(&settings)?;
    python::start(&setup, |gil| {
        let preloaded = if settings.preload_app {
            Some(preload(gil, &settings.app)?)
        } else {
            None
        };
        Arbiter::new(Start {
            sources,
            settings,
            listeners,
            preloaded,
            log,
        })?
        .run(gil)
    })?
}

/// What Python is started with: `sys.path` begins with the current folder, as with gunicorn.
fn setup(settings: &Settings) -> Setup {
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned());
    let mut path = settings.pythonpath.clone();
    path.push(here);
    // A Python that imported us is in its virtualenv already, whatever the variable says.
    let venv =
        std::env::var_os("VIRTUAL_ENV").filter(|venv| !venv.is_empty() && !python::is_hosted());
    Setup {
        python: settings.python.clone().or_else(|| venv.map(Into::into)),
        argv: std::env::args().collect(),
        path,
        env: settings.raw_env.clone(),
    }
}

/// The sockets to accept on: those of the settings, each taken over if it was handed down. Sockets that were handed
/// down and fit none of the settings are used instead of them, as gunicorn does.
fn listeners(settings: &Settings) -> Result<Vec<Listener>, Error> {
    let mut handed = inherited()?;
    let mut addresses = settings.bind.clone();
    let mut found: Vec<Listener> = Vec::new();
    let before = handed.iter().count();
    let taken: Vec<Option<_>> = addresses.iter().map(|addr| handed.take(addr)).collect();
    let named = addresses
        .iter()
        .any(|addr| matches!(addr, ListenAddr::Fd(_) | ListenAddr::FdNumber(_)));
    if before > 0 && !named && taken.iter().all(Option::is_none) {
        return handed
            .take_all()
            .into_iter()
            .map(|one| inherited_listener(one.fd))
            .collect();
    }
    if addresses.is_empty() {
        addresses.push(ListenAddr::Tcp(DEFAULT_BIND.into()));
    }
    let options = BindOptions {
        backlog: settings.backlog,
        unix_mode: 0o777,
        reuse_port: false,
    };
    let mut taken = taken.into_iter();
    for addr in &addresses {
        found.push(match taken.next().flatten() {
            Some(fd) => inherited_listener(fd)?,
            None => bind(addr, &options, &mut Inherited::default())?,
        });
    }
    Ok(found)
}

fn inherited_listener(fd: std::os::fd::OwnedFd) -> Result<Listener, Error> {
    // systemd and others hand down blocking sockets; two workers wake for one connection, and one must come back.
    set_nonblocking(&fd, true).map_err(Error::Arbiter)?;
    let addr = local_addr(&fd).map_err(Error::Arbiter)?;
    Ok(Listener {
        fd,
        addr,
        origin: Origin::Inherited,
        file: None,
    })
}

fn preload(gil: Gil<'_>, spec: &str) -> Result<python::App, Error> {
    match python::load(gil, spec) {
        Ok(app) => {
            python::freeze(gil);
            Ok(app)
        }
        Err(error) => {
            let code = error.exit_code();
            match error {
                LoadError::Import { traceback, .. } => {
                    tracing::error!("Error while preloading the application\n{traceback}")
                }
                LoadError::Unusable { summary } => tracing::error!("{summary}"),
            }
            Err(Error::Boot { code })
        }
    }
}

/// `--check-config`: gunicorn's code is 1, whatever is wrong.
fn check(gil: Gil<'_>, spec: &str) -> Result<(), Error> {
    match python::load(gil, spec) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = match &error {
                LoadError::Import { traceback, .. } => traceback,
                LoadError::Unusable { summary } => summary,
            };
            eprintln!("\nError while loading the application:\n\n{text}");
            Err(Error::Check)
        }
    }
}
