//! Another program in the holder's place: same process, same children, same descriptors, newer code.
//! Not here: what goes along (see `kept`), or what to do when the newcomer cannot work (see `main`).

use super::kept::{Keeper, Kept};
use super::wire::Failure;
use nix::unistd::execve;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trine_sys::fdpass;
use trine_sys::process::{self, Signal};
use trine_sys::signals;
use trine_sys::spawn::Spawn;

/// Names the descriptor of the table; only ever set between two holders.
pub(super) const TABLE: &str = "TRINE_HOLDER_TABLE";
/// The same for a program that is only asked whether it understands it.
pub(super) const TRIAL: &str = "TRINE_HOLDER_TRIAL";
const TABLE_FD: i32 = 3;
/// How long a program may take to say that it understands the table.
const TRIAL_TIME: Duration = Duration::from_secs(10);

/// Our own program's path as it is now: an update puts a new file there.
pub(super) fn own_path() -> io::Result<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe")?
        .into_os_string()
        .into_vec();
    let path = link.strip_suffix(b" (deleted)").unwrap_or(&link);
    Ok(PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// The program we are, even when its file is gone: to go back to.
pub(super) fn own_program() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/self/exe")?.into())
}

/// Puts the table into a sealed memory file.
pub(super) fn seal(kept: &Kept) -> io::Result<OwnedFd> {
    let fd = fdpass::memfd(c"trine-holder")?;
    let mut file = File::from(fd);
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.rewind()?;
    let fd = OwnedFd::from(file);
    fdpass::seal(&fd)?;
    Ok(fd)
}

/// Whether the program says that it can take this table over. It is run for that, and harms nothing.
pub(super) fn try_out(program: &CString, table: &OwnedFd, null: &File) -> Result<(), Failure> {
    let failed = |step: &str, text: String| Failure {
        step: step.into(),
        errno: None,
        text,
    };
    let name = program.to_string_lossy();
    let mut plan = Spawn::new(program.clone());
    plan.env = environment(TRIAL, TABLE_FD).map_err(|err| Failure::of("upgrade", &err))?;
    plan.process_group = Some(0);
    plan.fds.extend((0..3).map(|number| (null.as_fd(), number)));
    plan.fds.push((table.as_fd(), TABLE_FD));
    let child = plan
        .spawn()
        .map_err(|err| failed("upgrade", format!("{name}: {err}: {}", err.source)))?;
    let deadline = Instant::now() + TRIAL_TIME;
    let status = loop {
        match process::reap_pidfd(&child.pidfd) {
            Ok(Some((_, status))) => break status,
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(None) | Err(_) => {
                let _ = process::pidfd_signal(&child.pidfd, Signal::SIGKILL);
                let _ = process::wait_pidfd(&child.pidfd);
                return Err(failed("upgrade", format!("{name} does not answer")));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = format!("{name} cannot take over ({status}); is it a trine-supervisor?");
    Err(failed("upgrade", text))
}

/// Executes the program in our place. Signals stay blocked until it can handle them.
pub(super) fn exec(program: &CString, table: &OwnedFd, keeper: &Keeper) -> io::Result<Infallible> {
    let args = std::env::args_os().map(|arg| CString::new(arg.into_vec()));
    let args = args.collect::<Result<Vec<_>, _>>()?;
    let env = environment(TABLE, table.as_raw_fd())?;
    let mask = signals::block_all()?;
    let result = keeper
        .open_door()
        .and_then(|()| fdpass::set_cloexec(table, false))
        .and_then(|()| Ok(execve(program, &args, &env)?));
    let _ = signals::restore(&mask);
    result
}

fn environment(variable: &str, fd: i32) -> io::Result<Vec<CString>> {
    let known = std::env::vars_os().filter(|(name, _)| name != TABLE && name != TRIAL);
    let ours = (OsString::from(variable), OsString::from(fd.to_string()));
    known
        .chain([ours])
        .map(|(name, value)| {
            let entry = [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
            Ok(CString::new(entry)?)
        })
        .collect()
}

/// The table that an earlier holder left us. `Ok(None)`: we are the first.
pub(super) fn inherit() -> io::Result<Option<Kept>> {
    let Some(number) = number(TABLE)? else {
        return Ok(None);
    };
    read(fdpass::adopt(number)?).map(Some)
}

/// Whether this process goes on with what an earlier holder held.
#[must_use]
pub fn takes_over() -> bool {
    std::env::var_os(TABLE).is_some()
}

fn number(variable: &str) -> io::Result<Option<i32>> {
    match std::env::var(variable) {
        Err(_) => Ok(None),
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|_| io::Error::other(format!("{variable}={text} is no descriptor"))),
    }
}

fn read(fd: OwnedFd) -> io::Result<Kept> {
    let mut text = Vec::new();
    let mut file = File::from(fd);
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Whether this process is a trial; its exit code says whether we understand the table.
#[must_use]
pub fn trial() -> Option<u8> {
    let number = number(TRIAL).transpose()?;
    let kept = number.and_then(fdpass::adopt).and_then(read);
    Some(u8::from(kept.is_err()))
}
