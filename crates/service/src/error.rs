//! The one error type of this crate, named after what failed.
//!
//! Not here: text for other crates' failures.

use std::io;
use std::path::PathBuf;

use trine_config::ListenAddr;

use crate::exit::{Exit, ExitStatus};

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A variable of the socket hand-over protocol makes no sense.
    #[error("{variable}={value:?} makes no sense; it is set by whoever hands down the sockets")]
    InheritedVariable {
        /// LISTEN_FDS or LISTEN_PID.
        variable: &'static str,
        /// What it was set to.
        value: String,
    },
    /// A descriptor that LISTEN_FDS promises is not there.
    #[error("descriptor {number}, promised by LISTEN_FDS, cannot be taken over")]
    InheritedDescriptor {
        /// The descriptor's number.
        number: i32,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The configuration asks for an inherited socket that nobody handed down.
    #[error("no inherited socket matches {addr}; handed down: {offered}")]
    NotInherited {
        /// What was asked for.
        addr: ListenAddr,
        /// What there was, for a person.
        offered: String,
    },
    /// A listening socket could not be made.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: ListenAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A message to, or the socket of, the service manager failed.
    #[error("cannot use notification socket {address}")]
    Notify {
        /// The address, as in NOTIFY_SOCKET.
        address: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The signal handlers could not be set.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// The log file could not be opened.
    #[error("cannot open log file {}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Logging was set up twice.
    #[error("logging is set up already")]
    LogTwice,
    /// The pid file could not be written.
    #[error("cannot write pid file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The pid file names another process that is alive.
    #[error("already running as pid {pid} (says {})", path.display())]
    Running {
        /// The file.
        path: PathBuf,
        /// The process it names.
        pid: i32,
    },
}

impl ExitStatus for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::NotInherited { .. } => Exit::Config,
            Self::LogTwice => Exit::Bug,
            Self::Listen { source, .. }
            | Self::LogFile { source, .. }
            | Self::PidFile { source, .. } => exit_for(source),
            Self::InheritedVariable { .. }
            | Self::InheritedDescriptor { .. }
            | Self::Notify { .. }
            | Self::Signals(_)
            | Self::Running { .. } => Exit::TryAgain,
        }
    }
}

/// A path that cannot exist or may not be used is for the administrator to correct (78); all else may pass (75).
fn exit_for(source: &io::Error) -> Exit {
    match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::AddrNotAvailable => Exit::Config,
        _ => Exit::TryAgain,
    }
}
