//! The command line, and which of the two processes this one is to be.
//! Not here: anything either of them does.

use crate::config::{self, Overrides};
use crate::error::Error;
use crate::{brain, holder};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use trine_service::exit::Exit;
use trine_service::logging::{self, LogFormat};

/// Keeps programs running, and their sockets, logs and exit codes safe, even while it is replaced itself.
#[derive(Debug, Parser)]
#[command(name = "trine-supervisor", version)]
pub struct Cli {
    /// The configuration file (YAML).
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        required_unless_present = "check"
    )]
    pub config: Option<PathBuf>,
    /// Check a configuration file, print every problem, and start nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub check: Option<PathBuf>,
    /// The control socket; instead of the file's `control`.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// `text` or `json`; instead of the file's `log.format`.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// `error`, `warn`, `info`, `debug` or `trace`; instead of the file's `log.level`.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<String>,
    /// Set by the holder when it starts the brain.
    #[arg(long, hide = true)]
    pub brain: bool,
}

fn level(text: &str) -> Result<String, String> {
    logging::parse_level(text).map(|level| level.to_string().to_lowercase())
}

/// Reads the command line and runs until the end.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = holder::upgrade::trial() {
        return ExitCode::from(code);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(err) => trine_service::report("trine-supervisor", &err),
    }
}

fn run(cli: Cli) -> Result<u8, Error> {
    let overrides = Overrides {
        control: cli.control,
        json: cli.log_format.map(|f| f == LogFormat::Json),
        level: cli.log_level,
    };
    if let Some(file) = cli.check {
        let loaded = config::load(&file, &overrides)?;
        for trap in loaded.traps.iter() {
            eprintln!("warning: {trap}");
        }
        println!(
            "{}: good, {} processes",
            file.display(),
            loaded.config.processes.len()
        );
        return Ok(0);
    }
    match cli.config {
        Some(file) if cli.brain => brain::run(&file, &overrides),
        _ => holder::main::run(),
    }
}
