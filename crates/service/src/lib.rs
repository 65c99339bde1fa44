//! What every daemon does alike: exit codes, phases, listeners, readiness, signals, drain, logs, pid files.
//!
//! Not here: any daemon's configuration keys, what a signal means to a daemon, or the choice of an
//! async runtime (the parts that need tokio's types are behind the feature `tokio`).

#[cfg(feature = "tokio")]
pub mod drain;
mod error;
pub mod exit;
pub mod listeners;
pub mod logging;
pub mod phase;
pub mod pidfile;
pub mod readiness;
pub mod signals;

#[cfg(feature = "tokio")]
pub use drain::{Drained, drain};
pub use error::Error;
pub use exit::{Exit, ExitStatus, report};
pub use listeners::{BindOptions, Inherited, Listener};
pub use phase::{Phase, PhaseCell};
