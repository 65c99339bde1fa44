//! Exit codes, and the one line that tells a person why a daemon ended.
//!
//! Not here: which error has which code; each daemon's error type says that by [`ExitStatus`].

use std::error::Error;

use std::io::Write as _;
use std::process::ExitCode;

/// The exit codes of every daemon and tool of the house (BSD's `sysexits.h`, as s6 and systemd read them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: asked to stop, and stopped.
    Ok,
    /// 64: the command line makes no sense; the same call will fail again.
    Usage,
    /// 70: a bug of ours.
    Bug,
    /// 75: something outside was in the way (an address in use, a resource used up); trying again may help.
    TryAgain,
    /// 78: the configuration is wrong; somebody has to edit it first.
    Config,
    /// A code taken over from an incumbent (`trine-wsgi`: 2 usage, 3 a worker failed to boot, 4 the
    /// application object is unusable).
    Other(u8),
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 64,
            Self::Bug => 70,
            Self::TryAgain => 75,
            Self::Config => 78,
            Self::Other(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that knows which exit code it ends the process with.
pub trait ExitStatus: Error {
    /// The exit code for this error.
    fn exit(&self) -> Exit;
}

/// Prints `program: error: its cause: …` on standard error and picks the exit code.
///
/// A cause whose text has several lines (the problems of a configuration file) goes on lines of its
/// own, so that `file:line` stands at the start of each. Nothing fails when standard error is closed.
#[must_use = "main returns this code"]
pub fn report<E: ExitStatus>(program: &str, error: &E) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "{program}: {}", chain(error));
    error.exit().into()
}

/// The error and its causes as one text: `cannot listen on 127.0.0.1:80: Permission denied (os error 13)`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        // Some foreign errors repeat their cause in their own text.
        if !text.ends_with(&more) {
            text.push_str(if more.contains('\n') { ":\n" } else { ": " });
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Level>>);
    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|e| e as _)
        }
    }

    #[track_caller]
    fn check(levels: &[&'static str], want: &str) {
        let error = levels
            .iter()
            .rev()
            .fold(None, |inner, text| Some(Box::new(Level(text, inner))));
        assert_eq!(chain(&*error.unwrap()), want);
    }

    #[test]
    fn chains() {
        check(&["cannot listen on :80"], "cannot listen on :80");
        check(
            &["cannot listen on :80", "permission denied"],
            "cannot listen on :80: permission denied",
        );
        check(
            &["cannot open x: denied", "denied"],
            "cannot open x: denied",
        );
        check(
            &["bad config", "a:1: x\na:2: y"],
            "bad config:\na:1: x\na:2: y",
        );
    }

    #[test]
    fn codes() {
        let all = [
            Exit::Ok,
            Exit::Usage,
            Exit::Bug,
            Exit::TryAgain,
            Exit::Config,
            Exit::Other(3),
        ];
        assert_eq!(all.map(Exit::code), [0, 64, 70, 75, 78, 3]);
    }
}
