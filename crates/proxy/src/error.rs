//! What can keep the proxy from running, named after what failed.
//!
//! Not here: what goes wrong with a single request (`upstream::fault`).

use std::io;
use std::path::PathBuf;

use trine_config::Problems;
use trine_service::{Exit, ExitStatus};

/// Why the daemon ends, or does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file has problems.
    #[error("cannot use the configuration")]
    Config(#[source] Problems),
    /// `nginx.conf` has problems, which have all been told in nginx's words.
    #[error("cannot use the configuration")]
    Told,
    /// Another process has the address.
    #[error(
        "cannot listen on {addr}: another process does; stop it, or change `listen` ({source})"
    )]
    InUse {
        /// Where.
        addr: trine_config::ListenAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Listeners, signals, log or pid file.
    #[error(transparent)]
    Service(#[from] trine_service::Error),
    /// The control socket failed.
    #[error("cannot serve the control socket")]
    Control(#[source] io::Error),
    /// The access log cannot be opened.
    #[error("cannot open access log {}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The folder of a cache cannot be made, or not given to who serves.
    #[error("cannot set up the cache in {}", path.display())]
    CacheFolder {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A folder of scripts is not there.
    #[error("cannot find the folder of scripts {}", path.display())]
    Scripts {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A folder for temporary files cannot be made, or not given to who serves.
    #[error("cannot set up {} for temporary files", path.display())]
    SpoolFolder {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The CGI helper has nothing to listen on.
    #[error(
        "there is nothing to listen on; give --listen, or hand a socket down by LISTEN_FDS or as standard input"
    )]
    NoListener,
    /// Certificates or keys cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[source] crate::tls::TlsError),
    /// A name of a server has no address. The text is the name, a quote, and where it stands.
    #[error("host not found in upstream \"{at}")]
    Name {
        /// The name as it was written, and FILE:LINE.
        at: String,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process in the background could not be made.
    #[error("cannot go into the background")]
    Background(#[source] io::Error),
    /// The process in the background ended before it served, and has told why.
    #[error("the process in the background has ended")]
    Ended(Exit),
    /// A runtime or thread could not be made.
    #[error("cannot start core {number}")]
    Core {
        /// Which one, from 0.
        number: usize,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The control thread's runtime could not be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// A core ended by itself.
    #[error("a core has failed")]
    CoreFailed(#[source] io::Error),
}

impl Error {
    /// Tells an address in use from all else that can be wrong with listening.
    pub(crate) fn listen(error: trine_service::Error) -> Self {
        match error {
            trine_service::Error::Listen { addr, source }
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Self::InUse { addr, source }
            }
            other => Self::Service(other),
        }
    }
}

impl ExitStatus for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Tls(_) | Self::Scripts { .. } | Self::Name { .. } => {
                Exit::Config
            }
            Self::NoListener => Exit::Usage,
            Self::Service(error) => error.exit(),
            Self::AccessLog { source, .. }
            | Self::CacheFolder { source, .. }
            | Self::SpoolFolder { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Exit::Config,
                _ => Exit::TryAgain,
            },
            Self::InUse { .. } | Self::Control(_) | Self::Core { .. } | Self::Runtime(_) => {
                Exit::TryAgain
            }
            // nginx's code.
            Self::Told => Exit::Other(1),
            Self::Background(_) => Exit::TryAgain,
            Self::Ended(exit) => *exit,
            Self::CoreFailed(_) => Exit::Bug,
        }
    }
}
