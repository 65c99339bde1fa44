//! trine-proxy: serves files and forwards requests; one process, one runtime per core.
//!
//! Entry points: [`run`] starts the daemon, `conn::Conn::run` is a client's connection, `conn::serve` decides who
//! answers a request, `files::serve` and `upstream::forward` do it. Pure rooms: `route`, `headers`, `range`,
//! `conditional`, `config`. Not here: HTTP/1.1's grammar (`trine_http1`), the control API's messages
//! (`trine_control`), system calls (`trine_sys`).

mod access_log;
mod cli;
mod conditional;
pub mod config;
mod conn;
mod control;
mod cores;
mod daemon;
mod deadline;
mod drain;
mod engine;
mod error;
mod files;
mod headers;
mod listen;
mod range;
mod reload;
mod route;
mod stream;
mod time;
mod upstream;
mod workbench;

use trine_service::logging::{self, LogFormat, LogSettings, LogTarget};

pub use cli::Cli;
pub use error::Error;

/// Checks the configuration, and unless that was all, serves until told to stop.
///
/// # Errors
/// What keeps the daemon from starting, or makes it end other than by being asked to.
pub fn run(cli: &Cli) -> Result<(), Error> {
    let config = config::load(&cli.config).map_err(Error::Config)?;
    if cli.test {
        println!("{}: the configuration is good", cli.config.display());
        return Ok(());
    }
    let log = logging::init(&log_settings(cli, &config.log))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(daemon::run(cli, config, log))
}

/// The command line's word counts more than the file's.
fn log_settings(cli: &Cli, file: &config::Log) -> LogSettings {
    let mut settings = LogSettings::new("proxy");
    let format = file.json.map(|json| {
        if json {
            LogFormat::Json
        } else {
            LogFormat::Text
        }
    });
    settings.format = cli.log_format.or(format).unwrap_or(settings.format);
    let level = file
        .level
        .as_deref()
        .and_then(|level| logging::parse_level(level).ok());
    settings.level = cli.log_level.or(level).unwrap_or(settings.level);
    if let Some(path) = &file.file {
        settings.target = LogTarget::File(path.clone());
    }
    settings
}
