//! Going into the background, as gunicorn's `--daemon` does.
//!
//! Not here: the pid file, which names the process that is left.

use std::fs::OpenOptions;
use std::io;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use trine_sys::process;

use crate::error::Error;
use crate::python::{Forked, Gil, fork};

/// gunicorn's for a daemon.
const UMASK: u32 = 0o022;

/// Forks twice, so that the process has a session of its own without a terminal, and nobody waits for it. Only the
/// last child returns.
pub fn go_into_background(gil: Gil<'_>, keep_output: bool) -> Result<(), Error> {
    go(gil, keep_output).map_err(Error::Arbiter)
}

fn go(gil: Gil<'_>, keep_output: bool) -> io::Result<()> {
    leave_parent(gil)?;
    setsid()?;
    leave_parent(gil)?;
    umask(Mode::from_bits_truncate(UMASK));
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    if !keep_output {
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
    }
    Ok(())
}

fn leave_parent(gil: Gil<'_>) -> io::Result<()> {
    match fork(gil)? {
        Forked::Parent(_) => process::exit_now(0),
        Forked::Child => Ok(()),
    }
}
