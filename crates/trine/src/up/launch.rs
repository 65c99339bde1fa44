//! Starts `trine-supervisor` and holds on to it: a session of its own, so that Ctrl-C in this terminal
//! reaches `trine` alone, which then stops everything in order.

use std::env;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::ExitStatus;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use trine_sys::process::{pidfd_signal, wait_pidfd};
use trine_sys::spawn::Spawn;

use super::plan::Plan;
use crate::ending::Ending;

/// A supervisor that was started here. Dropping it leaves it running.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    ending: Ending,
    ended: Option<ExitStatus>,
}

/// Standard output and error of the supervisor go to its log, where failures can be read.
pub(crate) fn launch(plan: &Plan) -> anyhow::Result<Launched> {
    let program = &plan.programs.supervisor;
    let config = plan.run_dir.config("supervisor");
    let log_path = plan.run_dir.log("supervisor");
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path);
    let log = log.with_context(|| format!("cannot open {}", log_path.display()))?;
    let null = fs::File::open("/dev/null").context("cannot open /dev/null")?;

    let mut spawn = Spawn::new(c_string(program.as_os_str())?);
    spawn.argv = vec![
        c_string(program.as_os_str())?,
        c"-c".to_owned(),
        c_string(config.as_os_str())?,
    ];
    spawn.env = environment()?;
    spawn.cwd = Some(c_string(plan.folder.as_os_str())?);
    spawn.setsid = true;
    spawn.fds = vec![(null.as_fd(), 0), (log.as_fd(), 1), (log.as_fd(), 2)];
    let child = spawn
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let ending = Ending::of(child.pidfd).context("cannot watch the supervisor")?;
    Ok(Launched {
        pid: child.pid.as_raw(),
        ending,
        ended: None,
    })
}

impl Launched {
    /// Resolves once the supervisor has ended. Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        self.ending.wait().await?;
        let (_, status) = wait_pidfd(self.ending.pidfd())?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Does nothing when it has ended already.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_signal(self.ending.pidfd(), signal);
    }
}

/// Ours, without what was meant for `trine` itself: inherited sockets, and whom to tell of readiness.
fn environment() -> anyhow::Result<Vec<CString>> {
    let ours = env::vars_os().filter(|(name, _)| {
        !matches!(
            name.to_str(),
            Some(
                "LISTEN_FDS"
                    | "LISTEN_PID"
                    | "LISTEN_FDNAMES"
                    | "NOTIFY_SOCKET"
                    | "WATCHDOG_USEC"
                    | "WATCHDOG_PID"
            )
        )
    });
    let pairs = ours.map(|(name, value)| {
        let mut pair = name.into_vec();
        pair.push(b'=');
        pair.extend_from_slice(value.as_bytes());
        CString::new(pair).context("a variable of the environment holds a zero byte")
    });
    pairs.collect()
}

fn c_string(text: &OsStr) -> anyhow::Result<CString> {
    CString::new(text.as_bytes())
        .with_context(|| format!("{} holds a zero byte", text.to_string_lossy()))
}
