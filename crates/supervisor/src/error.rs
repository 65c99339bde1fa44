//! What can go wrong in the supervisor as a whole, and the exit code of each. One program's troubles are no errors
//! of ours: they are states (see `program`).

use crate::holder::channel::ChannelError;
use crate::holder::wire::{Failure, WireError};
use std::io;
use std::path::PathBuf;
use trine_service::exit::{Exit, ExitStatus};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the configuration is not usable")]
    Config(#[source] trine_config::Problems),
    #[error("{told}")]
    NoConfiguration { told: String },
    #[error("cannot be written as YAML")]
    Convert(#[source] trine_config::yaml::WriteError),
    #[error("{told}")]
    User { told: String },
    #[error(
        "{least} {what} are wanted by {key}, and the limit of this environment is {most}; raise the limit, or lower {key}"
    )]
    Limit {
        what: &'static str,
        key: &'static str,
        least: u64,
        most: u64,
    },
    #[error("{} is not UTF-8; such a path cannot be passed on to programs", path.display())]
    Path { path: PathBuf },
    #[error("cannot {doing}")]
    Holder {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the brain")]
    StartBrain(#[source] trine_sys::spawn::SpawnError),
    #[error("brain and holder do not understand each other")]
    Protocol(#[source] WireError),
    #[error("the holder is gone")]
    Link(#[source] ChannelError),
    #[error("{}", failure.text)]
    Refused { failure: Failure },
    #[error("{problems}")]
    Sockets {
        /// One a line.
        problems: String,
    },
    #[error("cannot make the folder {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {doing}")]
    Brain {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Service(trine_service::Error),
    #[error("what an earlier brain stored under {key} is not understood")]
    Stored {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

impl ExitStatus for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::NoConfiguration { .. } => Exit::Usage,
            Self::User { .. } | Self::Limit { .. } => Exit::Config,
            Self::Config(_) | Self::Path { .. } | Self::Folder { .. } => Exit::Config,
            Self::Refused { .. }
            | Self::Sockets { .. }
            | Self::Holder { .. }
            | Self::Brain { .. }
            | Self::StartBrain(_) => Exit::TryAgain,
            Self::Convert(_) | Self::Protocol(_) | Self::Link(_) | Self::Stored { .. } => Exit::Bug,
            Self::Service(err) => err.exit(),
        }
    }
}
