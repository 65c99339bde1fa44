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
    #[error("Error: {0}")]
    Usage(String),
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
    #[error("Error while loading the application")]
    Check,
}

impl ExitStatus for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Chdir { .. } | Self::AccessLog { .. } => Exit::Config,
            Self::Usage(_) => Exit::Other(2),
            Self::Service(error) => error.exit(),
            Self::Interpreter(_) => Exit::Config,
            Self::Arbiter(_) => Exit::TryAgain,
            Self::Boot { code } => Exit::Other(*code),
            Self::Check => Exit::Other(1),
        }
    }
}
