//! trine-proxy: serves files and forwards requests; one process, one runtime per core.
//!
//! Entry points: [`run`] starts the daemon, `conn::Conn::run` is a client's connection, `conn::serve` decides who
//! answers a request, `files::serve` and `upstream::forward` do it. Pure rooms: `route`, `headers`, `range`,
//! `conditional`, `config`. Not here: HTTP/1.1's grammar (`trine_http1`), the control API's messages
//! (`trine_control`), system calls (`trine_sys`).

mod access;
mod access_log;
mod cache;
mod cgi_helper;
mod cli;
mod compress;
mod conditional;
mod config;
mod conn;
mod control;
mod cores;
mod daemon;
mod deadline;
#[cfg(test)]
mod dice;
mod drain;
mod engine;
mod error;
mod files;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod generate;
mod headers;
mod http2;
mod invoke;
mod launch;
mod layer4;
mod limit;
mod lint;
mod listen;
mod parity;
mod pattern;
mod preamble;
mod range;
mod reload;
mod route;
mod spool;
mod stream;
mod tally;
mod template;
mod time;
mod times;
mod tls;
mod turn;
mod upgrade;
mod upstream;
mod workbench;

use trine_service::logging::{self, LogFormat, LogSettings};

use launch::Launch;

pub use cli::{Cli, usage_of_nginx};
pub use error::Error;
pub use tls::TlsError;

/// The nginx whose behaviour and defaults a `nginx.conf` gets.
pub(crate) const NGINX_VERSION: &str = "1.31.5";

/// Checks the configuration, and unless that was all, serves until told to stop.
///
/// # Errors
/// What keeps the daemon from starting, or makes it end other than by being asked to.
pub fn run(cli: &Cli) -> Result<(), Error> {
    let launch = Launch::here();
    if let Some(done) = invoke::without_serving(cli) {
        return done;
    }
    let config = invoke::load(cli)?;
    if cli.dump {
        invoke::dump(cli);
    }
    if let Some(name) = &cli.signal {
        return invoke::send_signal(name, &config);
    }
    if cli.test || cli.dump {
        tls::check(&config).map_err(Error::Tls)?;
        upstream::names::start::check(&config)?;
        if cli.reading().is_yaml() && !cli.quiet {
            println!("{}: the configuration is good", cli.path().display());
        }
        return Ok(());
    }
    if config.background && !launch.is_in_background() && launch.predecessor().is_none() {
        return launch.go_into_background();
    }
    let log = logging::init(&log_settings(cli, &config.log))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(daemon::run(cli, config, log, launch))
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
    let of_nginx = (!file.targets.is_empty()).then_some(LogFormat::Nginx);
    let format = cli.log_format.or(format).or(of_nginx);
    settings.format = format.unwrap_or(settings.format);
    let level = file
        .level
        .as_deref()
        .and_then(|level| logging::parse_level(level).ok());
    settings.level = cli.log_level.or(level).unwrap_or(settings.level);
    if of_nginx.is_some() {
        settings.level = logging::most_verbose(&cli::log_targets(file));
    }
    settings.target = cli.log_target(file);
    settings
}
