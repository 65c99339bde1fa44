//! trine-wsgi: a prefork WSGI server with CPython inside.
//!
//! The arbiter reads the settings, holds the listeners and forks workers; a worker loads the application and serves.
//! Not here: anything that other daemons share (`trine-service`), HTTP parsing (`trine-http1`).

pub mod access_log;
pub mod arbiter;
pub mod cli;
pub mod config;
mod error;
pub mod generate;
mod listen;
pub mod notice;
pub mod python;
pub mod slots;
pub mod worker;

use std::ffi::OsString;
use std::io::Write as _;

use trine_service::exit::{ExitStatus as _, chain};
use trine_service::logging::{self, LogHandle};

pub use error::Error;

use arbiter::{Arbiter, Launch, Start};
use cli::{Program, Stop};
use config::{Settings, Sources};
use python::{Gil, LoadError, Logger, Setup};

/// The whole program, from its command line (the name it was called by comes first) to its exit code. The binary and
/// the Python extension module are both this.
#[must_use]
pub fn program(args: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<String> = args
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let program = Program::called(words.first().map(String::as_str));
    if let [_, flag, name] = words.as_slice()
        && flag == "--generate"
        && let Some(document) = generate::document(name)
    {
        print!("{document}");
        return 0;
    }
    let sources = match sources(&program, words.get(1..).unwrap_or_default()) {
        Ok(sources) => sources,
        Err(stop) => return stop.tell(&program),
    };
    serve_to_the_end(&sources, &words)
}

/// Serves as `sources` say, and returns the exit code.
pub(crate) fn serve_to_the_end(sources: &Sources, words: &[String]) -> u8 {
    match run(sources, words) {
        Ok(()) => 0,
        Err(error) => tell(&sources.program, &error),
    }
}

/// Says on standard error what went wrong, and returns the exit code.
pub(crate) fn tell(program: &Program, error: &Error) -> u8 {
    let told = error
        .in_gunicorns_words()
        .unwrap_or_else(|| format!("{}: {}\n", program.name, chain(error)));
    let _ = std::io::stderr().lock().write_all(told.as_bytes());
    error.exit().code()
}

/// The sources of settings that a command line makes, with what GUNICORN_CMD_ARGS adds.
pub(crate) fn sources(program: &Program, words: &[String]) -> Result<Sources, Stop> {
    let origin = config::origin::Origin::here();
    let line = cli::parse(program, words)?;
    let env_words = origin.arguments().map_err(Stop::Error)?;
    let env_line = cli::parse(program, &env_words)?;
    Ok(Sources::new(program.clone(), line, env_line, origin))
}

fn run(sources: &Sources, words: &[String]) -> Result<(), Error> {
    let launch = Launch::here(sources.folder().to_owned());
    let setup = Setup {
        python: sources.python(),
        argv: words.to_vec(),
        ..Setup::default()
    };
    python::start(&setup, |gil| {
        let read = sources.read(gil)?;
        let settings = read.settings;
        // A certificate that cannot be used ends the server now, not its workers later.
        settings.tls.as_ref().map(worker::tls::load).transpose()?;
        python::set_environment(gil, &settings.raw_env);
        // Each in front of the one before, as gunicorn does.
        for folder in &settings.pythonpath {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            python::put_on_path(gil, &folder);
        }
        if read.values.bool("print_config") {
            print!("{}", read.values.print());
        }
        if read.values.bool("print_config") || read.values.bool("check_config") {
            for warning in &settings.warnings {
                eprintln!("Warning: {warning}");
            }
            return check(gil, &settings);
        }
        // The second arbiter of an upgrade is in the background already.
        if settings.daemon && !launch.is_second() {
            arbiter::daemon::go_into_background(gil, settings.log.enable_stdio_inheritance)?;
        }
        let log = logging::init(&settings.log())?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        serve(gil, sources, settings, launch, log)
    })?
}

fn serve(
    gil: Gil<'_>,
    sources: &Sources,
    settings: Settings,
    launch: Launch,
    log: LogHandle,
) -> Result<(), Error> {
    python::tell_environment(gil);
    // Before anything is logged, and before an application is imported that copies its handlers.
    let logger = Logger::new(gil, settings.shown.as_ref(), &log).map_err(Error::Setting)?;
    let own = env!("CARGO_PKG_VERSION");
    if sources.program.is_gunicorn() {
        tracing::info!("Starting gunicorn {} (trine-wsgi {own})", cli::GUNICORN);
    } else {
        tracing::info!("Starting trine-wsgi {own}");
    }
    if settings.reload {
        tracing::warn!("Reloader is on. Use in development only!");
        if settings.preload_app {
            tracing::warn!("reload does not import a preloaded application again");
        }
    }
    let preloaded = if settings.preload_app {
        Some(preload(gil, &settings)?)
    } else {
        None
    };
    let start = Start {
        sources: sources.clone(),
        settings,
        launch,
        preloaded,
        log,
        logger,
    };
    Arbiter::new(gil, start)?.run(gil)
}

fn preload(gil: Gil<'_>, settings: &Settings) -> Result<python::App, Error> {
    match python::load(gil, &settings.app, settings.paste.as_ref()) {
        Ok(app) => {
            python::freeze(gil);
            Ok(app)
        }
        Err(error) => {
            match error {
                LoadError::Import { traceback, .. } => {
                    tracing::error!("Error while preloading the application\n{traceback}")
                }
                LoadError::Unusable { summary, .. } => tracing::error!("{summary}"),
            }
            Err(Error::Preload)
        }
    }
}

/// `--check-config`: gunicorn's code is 1, whatever is wrong.
fn check(gil: Gil<'_>, settings: &Settings) -> Result<(), Error> {
    match python::load(gil, &settings.app, settings.paste.as_ref()) {
        Ok(_) => Ok(()),
        Err(error) => {
            eprintln!(
                "\nError while loading the application:\n\n{}",
                error.traceback()
            );
            Err(Error::Check)
        }
    }
}
