//! Becoming the daemon: limits, user, umask, the background; then the holder.
//! Not here: reading the command line (`cli`), binding or starting anything.

use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::holder;
use crate::holder::main::Start;
use crate::holder::wire::FIRST_KEY;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use trine_sys::limits::{self, Resource};
use trine_sys::spawn::Spawn;
use trine_sys::{fdpass, privileges, process};

/// Where the process in the background finds the pipe on which it says that it has started.
const STARTED_FD: i32 = 3;
const IN_BACKGROUND: &str = "--in-background";
/// What a daemon's files are made with when nobody says.
const UMASK: u32 = 0o022;

/// What the first brain begins with, as it was read by the process that was started.
#[derive(Debug, Serialize, Deserialize)]
pub struct First {
    pub config: Config,
    pub said: Said,
}

/// What there is to say about a configuration, for the log, once there is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Said {
    pub traps: Vec<String>,
    pub infos: Vec<String>,
}

/// Runs until the end, or until the process in the background has started.
pub fn start(loaded: Loaded, in_background: bool) -> Result<u8, Error> {
    let daemon = &loaded.config.daemon;
    if daemon.daemonize && !in_background {
        return go_into_background();
    }
    let started = if in_background {
        Some(fdpass::adopt(STARTED_FD).map_err(failed("find who started us"))?)
    } else {
        None
    };
    raise(
        Resource::RLIMIT_NOFILE,
        daemon.min_descriptors,
        "file descriptors",
        "minfds",
    )?;
    raise(
        Resource::RLIMIT_NPROC,
        daemon.min_processes,
        "processes",
        "minprocs",
    )?;
    if let Some(user) = &daemon.user {
        become_user(user)?;
    }
    if let Some(bits) = daemon.umask.or(daemon.daemonize.then_some(UMASK)) {
        umask(Mode::from_bits_truncate(bits));
    }
    // The holder lives long and has no use for a configuration: here it goes.
    let first = first(loaded)?;
    holder::main::run(Start {
        stored: Some((FIRST_KEY.to_owned(), first)),
        started,
    })
}

fn first(loaded: Loaded) -> Result<String, Error> {
    let first = First {
        said: Said {
            traps: loaded.traps.iter().map(ToString::to_string).collect(),
            infos: loaded.infos,
        },
        config: loaded.config,
    };
    serde_json::to_string(&first).map_err(|source| Error::Stored {
        key: FIRST_KEY.to_owned(),
        source,
    })
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Holder { doing, source }
}

/// Raises a soft limit to what is asked for, and the hard one if root asks.
fn raise(
    resource: Resource,
    least: u64,
    what: &'static str,
    key: &'static str,
) -> Result<(), Error> {
    let reached = limits::raise(resource, least).map_err(failed("raise a limit"))?;
    if reached < least {
        return Err(Error::Limit {
            what,
            key,
            least,
            most: reached,
        });
    }
    Ok(())
}

/// For good. Whoever is that user already stays so.
fn become_user(name: &str) -> Result<(), Error> {
    let identity = crate::brain::start::identity(name).map_err(|told| Error::User { told })?;
    match privileges::effective_uid() {
        own if own == identity.uid => Ok(()),
        0 => privileges::drop_to(identity.uid, identity.gid, &identity.groups)
            .map_err(failed("become the user that the configuration names")),
        _ => Err(Error::User {
            told: format!(
                "Can't drop privilege as nonroot user: only root can run as '{name}'; start it as root, or leave user out"
            ),
        }),
    }
}

/// Starts ourselves again in a session of our own, and waits until that one has started or failed.
fn go_into_background() -> Result<u8, Error> {
    let (reader, writer) = io::pipe().map_err(failed("make a pipe"))?;
    let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
    let child = {
        let writer = OwnedFd::from(writer);
        let mut plan = Spawn::new(c"/proc/self/exe".into());
        let mut args = std::env::args_os();
        plan.argv = vec![
            text(args.next().unwrap_or_default())?,
            text(IN_BACKGROUND.into())?,
        ];
        plan.argv
            .extend(args.map(text).collect::<Result<Vec<_>, _>>()?);
        plan.env = std::env::vars_os()
            .map(|(name, value)| text([name, value].join(&OsString::from("="))))
            .collect::<Result<_, _>>()?;
        plan.setsid = true;
        plan.fds.push((null.as_fd(), 0));
        plan.fds.push((writer.as_fd(), STARTED_FD));
        plan.spawn().map_err(Error::StartBrain)?
    };
    let mut said = Vec::new();
    let _ = File::from(OwnedFd::from(reader)).read_to_end(&mut said);
    if !said.is_empty() {
        return Ok(0);
    }
    // It ended without a word; what it had to say is on standard error.
    let status =
        process::wait(child.pid).map_err(failed("wait for the process in the background"))?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
        .max(1))
}

/// Standard input, output and error lead nowhere from now on.
pub fn leave_terminal() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn text(text: OsString) -> Result<CString, Error> {
    CString::new(text.into_vec()).map_err(|err| Error::Holder {
        doing: "pass arguments on",
        source: err.into(),
    })
}
