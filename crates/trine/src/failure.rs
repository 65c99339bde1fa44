//! What went wrong, told in two lines: what it is, and what to do. Below them lies whatever explains it.
//!
//! Not here: finding out why a program failed (see `up::diagnosis`).

use std::fmt;
use std::io::Write as _;

use trine_service::exit::{Exit, chain};

/// An error that has a way out. Travels as the root of an `anyhow::Error`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) way_out: String,
    /// Shown before the two lines, so that these stay in sight: a traceback, the last lines of a log.
    pub(crate) evidence: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            way_out: way_out.into(),
            evidence: None,
        }
    }

    pub(crate) fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// Prints the error on standard error and picks the exit code.
pub(crate) fn tell(error: &anyhow::Error) -> Exit {
    let mut out = std::io::stderr().lock();
    // Nothing is left to be done when standard error is closed.
    match error.downcast_ref::<Failure>() {
        Some(failure) => {
            if let Some(evidence) = &failure.evidence {
                let _ = writeln!(out, "{}\n", evidence.trim_end());
            }
            let _ = writeln!(out, "trine: {}\n       {}", failure.what, failure.way_out);
            failure.exit
        }
        None => {
            let _ = writeln!(out, "trine: {}", chain(error.as_ref()));
            Exit::Bug
        }
    }
}
