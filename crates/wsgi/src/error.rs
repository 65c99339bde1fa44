//! What can end the server, named after the operation that failed.
//!
//! Not here: a failing request, which ends nothing (`python::call`).

use std::io;
use std::path::PathBuf;

use trine_config::Problems;
use trine_service::exit::{Exit, ExitStatus};

use crate::python::InterpreterError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the configuration is wrong")]
    Config(#[source] Problems),
    /// A setting that cannot be, in gunicorn's words.
    #[error("{0}")]
    Setting(String),
    #[error("Invalid value for {name}: {value}: {why}")]
    InvalidValue {
        name: String,
        value: String,
        why: String,
    },
    /// The configuration raised.
    #[error("Failed to read config file: {path}\n{traceback}")]
    ConfigFile { path: String, traceback: String },
    /// The configuration called `sys.exit`.
    #[error("the configuration file ended the program with code {code}")]
    Exit { code: u8 },
    #[error("can't chdir to {}", path.display())]
    Chdir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Service(#[from] trine_service::Error),
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    #[error("cannot set up the arbiter")]
    Arbiter(#[source] io::Error),
    #[error("cannot open access log {}", path.display())]
    AccessLog {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// gunicorn's reason for stopping at once.
    #[error("{}", if *code == 4 { "App failed to load." } else { "Worker failed to boot." })]
    Boot { code: u8 },
    /// An address cannot be had; the log says which and why.
    #[error("cannot listen")]
    Bind,
    #[error("the application cannot be preloaded")]
    Preload,
    /// A hook failed while the server started.
    #[error("{text}")]
    Hook { text: String, code: u8 },
    #[error("Error while loading the application")]
    Check,
}

/// gunicorn's code for anything wrong with its configuration, or in the way of it. YAML, which gunicorn does not have,
/// keeps the house's.
const CONFIG_ERROR: Exit = Exit::Other(1);

impl Error {
    /// What gunicorn prints, where it has words of its own for this.
    #[must_use]
    pub fn in_gunicorns_words(&self) -> Option<String> {
        match self {
            Self::Setting(_) | Self::Chdir { .. } => Some(format!("\nError: {self}\n")),
            Self::InvalidValue { name, value, why } => Some(format!(
                "Invalid value for {name}: {value}\n\n\nError: {why}\n"
            )),
            Self::ConfigFile { .. } => Some(format!("{self}\n")),
            // The first says nothing, the others have been told.
            Self::Exit { .. } | Self::Bind | Self::Preload | Self::Check | Self::Boot { .. } => {
                Some(String::new())
            }
            _ => None,
        }
    }
}

impl ExitStatus for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Setting(_) | Self::InvalidValue { .. } | Self::ConfigFile { .. } => CONFIG_ERROR,
            Self::Chdir { .. } | Self::AccessLog { .. } | Self::Service(_) => CONFIG_ERROR,
            Self::Exit { code } => Exit::Other(*code),
            Self::Interpreter(_) => Exit::Config,
            Self::Arbiter(_) => Exit::TryAgain,
            Self::Bind | Self::Preload | Self::Check => Exit::Other(1),
            Self::Boot { code } | Self::Hook { code, .. } => Exit::Other(*code),
        }
    }
}
