//! The command line. Not here: what any of it does.

use std::path::PathBuf;

use clap::Parser;

/// Reverse proxy and file server.
#[derive(Debug, Clone, Parser)]
#[command(name = "trine-proxy", version)]
pub struct Cli {
    /// The configuration file.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration, say all that is wrong with it, and end.
    #[arg(short = 't', long = "test")]
    pub test: bool,
    /// The Unix socket of the control API, instead of the one in the file.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// How log lines are written: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<trine_service::logging::LogFormat>,
    /// Leave out less important log lines: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", value_parser = trine_service::logging::parse_level)]
    pub log_level: Option<tracing::Level>,
}
