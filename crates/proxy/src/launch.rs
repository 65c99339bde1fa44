//! Starting this program once more: in the background, or as its own successor.
//!
//! The other process is told by variables of the environment what it is. Not here: when either happens (`daemon`,
//! `upgrade`), and what an ordinary start does.

use std::env;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use trine_service::Exit;
use trine_sys::spawn::{Child, Spawn, find_program};
use trine_sys::{fdpass, process};

use crate::error::Error;

/// The descriptor on which a process in the background says that it serves.
const STARTED: &str = "TRINE_PROXY_STARTED";
/// The process whose successor this one is.
const PREDECESSOR: &str = "TRINE_PROXY_PREDECESSOR";
const HANDED: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];
/// The first descriptor of LISTEN_FDS.
const FIRST: i32 = 3;

/// How this process was started, to be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// By name, so that a link that has moved on meanwhile leads to the new release.
    folder: PathBuf,
    predecessor: Option<i32>,
    started: Option<i32>,
}

impl Launch {
    /// As it is now: to be called first of all.
    pub(crate) fn here() -> Self {
        let number = |name: &str| {
            env::var(name)
                .ok()
                .and_then(|text| text.parse::<i32>().ok())
        };
        let ours = |name: &OsString| *name != *STARTED && *name != *PREDECESSOR;
        Self {
            argv: env::args_os().collect(),
            env: env::vars_os().filter(|(name, _)| ours(name)).collect(),
            folder: env::current_dir().unwrap_or_else(|_| "/".into()),
            predecessor: number(PREDECESSOR).filter(|pid| *pid == process::getppid().as_raw()),
            started: number(STARTED),
        }
    }

    /// The process that handed its sockets down to us, and is our parent.
    pub(crate) fn predecessor(&self) -> Option<i32> {
        self.predecessor
    }

    /// This is the process in the background.
    pub(crate) fn is_in_background(&self) -> bool {
        self.started.is_some()
    }

    /// Whom to tell that we serve.
    pub(crate) fn waiting_parent(&self) -> io::Result<Option<OwnedFd>> {
        self.started.map(fdpass::adopt).transpose()
    }

    fn plan(&self, program: CString, more: &[(&str, String)]) -> io::Result<Spawn<'static>> {
        let mut plan = Spawn::new(program);
        let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
        plan.argv = self
            .argv
            .iter()
            .cloned()
            .map(text)
            .collect::<Result<_, _>>()?;
        let kept = self
            .env
            .iter()
            .filter(|(name, _)| !more.iter().any(|(new, _)| *name == **new));
        let pair = |name: OsString, value: OsString| text([name, value].join(&OsString::from("=")));
        plan.env = kept
            .map(|(name, value)| pair(name.clone(), value.clone()))
            .collect::<Result<_, _>>()?;
        for (name, value) in more {
            plan.env.push(pair((*name).into(), value.into())?);
        }
        plan.cwd = Some(text(self.folder.clone().into())?);
        Ok(plan)
    }

    /// Starts ourselves again in a session of our own, and waits until that one serves or has failed.
    ///
    /// # Errors
    /// When no process can be made, or the other one has failed, of which it has told itself.
    pub(crate) fn go_into_background(&self) -> Result<(), Error> {
        let failed = Error::Background;
        let (reader, writer) = io::pipe().map_err(failed)?;
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(failed)?;
        let inherited = trine_service::listeners::inherited()?.take_all();
        let number = FIRST + i32::try_from(inherited.len()).unwrap_or(0);
        let child = {
            let writer = OwnedFd::from(writer);
            let mut plan = self
                .plan(c"/proc/self/exe".into(), &[(STARTED, number.to_string())])
                .map_err(failed)?;
            plan.setsid = true;
            plan.fds = vec![
                (null.as_fd(), 0),
                (null.as_fd(), 1),
                (writer.as_fd(), number),
            ];
            for (one, number) in inherited.iter().zip(FIRST..) {
                plan.fds.push((one.fd.as_fd(), number));
            }
            plan.listen_pid = !inherited.is_empty();
            plan.spawn()
                .map_err(|error| Error::Background(error.source))?
        };
        let mut said = Vec::new();
        // What cannot be read was not said.
        let _ = File::from(OwnedFd::from(reader)).read_to_end(&mut said);
        if !said.is_empty() {
            return Ok(());
        }
        // It ended without a word; what it had to say is on standard error.
        let status = process::wait(child.pid).map_err(failed)?;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Err(Error::Ended(Exit::Other(code.max(1))))
    }

    /// Starts the program again under its name, with these sockets, while we go on.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn start_successor<'fd>(
        &self,
        sockets: impl Iterator<Item = (String, &'fd OwnedFd)>,
    ) -> io::Result<Child> {
        let (names, sockets): (Vec<_>, Vec<_>) = sockets.unzip();
        let more = [
            (PREDECESSOR, process::getpid().to_string()),
            (HANDED[0], sockets.len().to_string()),
            (HANDED[1], names.join(":")),
        ];
        let mut plan = self.plan(self.program()?, &more)?;
        plan.fds = sockets.iter().map(|fd| fd.as_fd()).zip(FIRST..).collect();
        plan.listen_pid = true;
        plan.spawn().map_err(|error| error.source)
    }

    /// The file that a shell would find now.
    fn program(&self) -> io::Result<CString> {
        let name = self.argv.first().cloned().unwrap_or_default();
        let path = env::var_os("PATH").unwrap_or_default();
        let found = find_program(&name, &path).map(|found| self.folder.join(found));
        let found = found.filter(|path| path.exists());
        let program = found.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        CString::new(program.into_os_string().into_vec()).map_err(io::Error::other)
    }
}

/// Tells the process that waits for us, and lets go of the terminal. Standard error stays if lines of the log go there.
pub(crate) fn say_started(parent: OwnedFd, keep_stderr: bool) -> io::Result<()> {
    File::from(parent).write_all(b"1")?;
    if !keep_stderr {
        let null = File::options().write(true).open("/dev/null")?;
        nix::unistd::dup2_stderr(&null)?;
    }
    Ok(())
}
