//! USR2: another arbiter of the same command line beside this one, on the same sockets.
//!
//! The old arbiter hands its listeners down by gunicorn's variables (or by LISTEN_FDS, where it got them so) and goes
//! on. It is for the administrator to end it (QUIT, TERM), or the new one. When the old one is gone, the new one takes
//! its place: name, pid file, socket files, control socket.
//! Not here: what signals mean (`mod`).

use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use trine_service::listeners::{Listener, Origin};
use trine_service::pidfile::PidFile;
use trine_sys::epoll::Interest;
use trine_sys::process::{self, Pid};
use trine_sys::spawn::find_program;
use trine_sys::{fdpass, signals};

use crate::config::Settings;
use crate::error::Error;
use crate::python::{Fact, Forked, Gil, Hook, fork};

use super::control::Control;
use super::{Arbiter, listeners, token};

const PREDECESSOR: &str = "GUNICORN_PID";
const HANDED: &str = "GUNICORN_FD";
/// The first descriptor of LISTEN_FDS.
const FIRST_HANDED: i32 = 3;

/// How this process was started, to be repeated.
#[derive(Debug, Clone)]
pub struct Launch {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// By name, so that a symbolic link that has moved on meanwhile leads to the new release.
    folder: PathBuf,
    /// The arbiter before us, whose child we are.
    predecessor: Option<i32>,
}

impl Launch {
    /// As it is now: to be called first of all.
    #[must_use]
    pub fn here(folder: PathBuf) -> Self {
        let named = env::var(PREDECESSOR).ok().and_then(|pid| pid.parse().ok());
        let ours = [PREDECESSOR, HANDED];
        Self {
            argv: env::args_os().collect(),
            env: env::vars_os()
                .filter(|(name, _)| ours.iter().all(|one| name != one))
                .collect(),
            folder,
            predecessor: named.filter(|pid| *pid == process::getppid().as_raw()),
        }
    }

    /// Whether another arbiter handed its sockets down to us.
    #[must_use]
    pub fn is_second(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Becomes the same program again; returns only if that fails.
    fn repeat(&self, more: Vec<(OsString, OsString)>) -> io::Error {
        let text = |text: &OsString| CString::new(text.as_bytes()).map_err(io::Error::other);
        let attempt = || -> io::Result<()> {
            env::set_current_dir(&self.folder)?;
            let name = self.argv.first().cloned().unwrap_or_default();
            let path = env::var_os("PATH").unwrap_or_default();
            let program = find_program(&name, &path).filter(|path| path.exists());
            let program = program.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
            let argv: Vec<CString> = self.argv.iter().map(text).collect::<Result<_, _>>()?;
            let is_new = |name: &OsString| more.iter().any(|(other, _)| other == name);
            let kept = self.env.iter().filter(|(name, _)| !is_new(name));
            let pairs = kept.chain(&more).map(|(name, value)| {
                let mut pair = name.clone();
                pair.push("=");
                pair.push(value);
                text(&pair)
            });
            let env: Vec<CString> = pairs.collect::<Result<_, _>>()?;
            nix::unistd::execve(&text(&program.into_os_string())?, &argv, &env)?;
            Ok(())
        };
        match attempt() {
            Ok(()) => io::Error::other("it did not happen"),
            Err(error) => error,
        }
    }
}

/// The arbiters on either side of us, and our place among them.
#[derive(Debug)]
pub(super) struct Succession {
    launch: Launch,
    /// Readable when the arbiter before us has ended.
    predecessor: Option<OwnedFd>,
    /// The one after us.
    successor: Option<(Pid, OwnedFd)>,
    pidfile: Option<PidFile>,
}

impl Succession {
    /// Writes the pid file: that of the second arbiter has another name until the first is gone.
    pub(super) fn begin(launch: Launch, settings: &Settings) -> Result<Self, Error> {
        let predecessor = launch
            .predecessor
            .map(|pid| process::pidfd_open(Pid::from_raw(pid)));
        let predecessor = predecessor.transpose().map_err(Error::Arbiter)?;
        let path = settings.pidfile.clone().map(|path| match predecessor {
            Some(_) => second(&path),
            None => path,
        });
        Ok(Self {
            launch,
            predecessor,
            successor: None,
            pidfile: path.map(PidFile::create).transpose()?,
        })
    }

    /// gunicorn's name for this arbiter.
    pub(super) fn name(&self) -> &'static str {
        if self.predecessor.is_some() {
            "Master.2"
        } else {
            "Master"
        }
    }

    pub(super) fn is_second(&self) -> bool {
        self.predecessor.is_some()
    }

    /// There is another arbiter on our sockets.
    pub(super) fn is_shared(&self) -> bool {
        self.predecessor.is_some() || self.successor.is_some()
    }

    pub(super) fn successor(&self) -> Option<i32> {
        self.successor.as_ref().map(|(pid, _)| pid.as_raw())
    }

    /// In a forked child: none of this is its own.
    pub(super) fn forget(&mut self) {
        (self.predecessor, self.successor, self.pidfile) = (None, None, None);
    }
}

/// gunicorn's name for the second arbiter's pid file.
fn second(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".2");
    name.into()
}

impl Arbiter {
    /// Has the loop hear of the end of the arbiter before us.
    pub(super) fn watch_predecessor(&self) -> Result<(), Error> {
        match &self.succession.predecessor {
            Some(pidfd) => self
                .epoll
                .add(pidfd, token::PREDECESSOR, Interest::EPOLLIN)
                .map_err(Error::Arbiter),
            None => Ok(()),
        }
    }

    /// USR2.
    pub(super) fn upgrade(&mut self, gil: Gil<'_>) {
        if self.succession.successor.is_some() {
            tracing::warn!("USR2 signal ignored. Child exists.");
            return;
        }
        if self.succession.predecessor.is_some() {
            tracing::warn!("USR2 signal ignored. Parent exists.");
            return;
        }
        if let Err(error) = self.start_successor(gil) {
            tracing::error!("cannot start another arbiter: {error}");
        }
    }

    fn start_successor(&mut self, gil: Gil<'_>) -> io::Result<()> {
        let arbiter = process::getpid();
        let mask = signals::block_all()?;
        match fork(gil) {
            Ok(Forked::Child) => {
                if let Err(error) = self.server_hook(gil, Hook::PreExec) {
                    tracing::error!("{error}");
                    process::exit_now(1);
                }
                let error = match self.hand_down(arbiter) {
                    Ok(variables) => {
                        // The new program has to hear its signals, and it starts with all at their defaults.
                        let _ = signals::restore(&mask);
                        self.succession.launch.repeat(variables)
                    }
                    Err(error) => error,
                };
                tracing::error!("cannot start another arbiter: {error}");
                process::exit_now(1)
            }
            Ok(Forked::Parent(pid)) => {
                signals::restore(&mask)?;
                let pidfd = process::pidfd_open(pid)?;
                self.epoll
                    .add(&pidfd, token::SUCCESSOR, Interest::EPOLLIN)?;
                self.succession.successor = Some((pid, pidfd));
                self.server
                    .set(gil, &[("reexec_pid", Fact::Number(pid.as_raw().into()))]);
                tracing::info!("another arbiter was started (pid:{pid})");
                Ok(())
            }
            Err(error) => {
                signals::restore(&mask)?;
                Err(error)
            }
        }
    }

    /// Leaves the listeners open for the program to come; returns the variables that tell of them.
    fn hand_down(&self, arbiter: Pid) -> io::Result<Vec<(OsString, OsString)>> {
        let listeners = self.listeners_of(self.state.generation());
        let mut variables: Vec<(OsString, OsString)> =
            vec![(PREDECESSOR.into(), arbiter.to_string().into())];
        if listeners
            .iter()
            .all(|listener| listener.origin == Origin::Own)
        {
            let mut numbers = Vec::new();
            for listener in &listeners {
                fdpass::set_cloexec(&listener.fd, false)?;
                numbers.push(listener.fd.as_raw_fd().to_string());
            }
            variables.push((HANDED.into(), numbers.join(",").into()));
            return Ok(variables);
        }
        hand_down_numbered(&listeners)?;
        let names: Vec<String> = self.listener_names();
        variables.push(("LISTEN_PID".into(), process::getpid().to_string().into()));
        variables.push(("LISTEN_FDS".into(), listeners.len().to_string().into()));
        variables.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
        Ok(variables)
    }

    /// The names that the sockets came with, as far as the settings tell.
    fn listener_names(&self) -> Vec<String> {
        let settings = self.settings_of(self.state.generation());
        let count = self.listeners_of(self.state.generation()).len();
        let name = |index: usize| match settings.bind.get(index) {
            Some(trine_config::ListenAddr::Fd(name)) => name.clone(),
            _ => "unknown".to_owned(),
        };
        (0..count).map(name).collect()
    }

    /// The arbiter after us has ended: we are alone again.
    pub(super) fn successor_ended(&mut self, gil: Gil<'_>) {
        let Some((pid, pidfd)) = self.succession.successor.take() else {
            return;
        };
        match process::reap_pidfd(&pidfd) {
            Ok(Some((_, status))) => {
                tracing::warn!("the other arbiter (pid:{pid}) has ended: {status}")
            }
            Ok(None) => {
                self.succession.successor = Some((pid, pidfd));
                return;
            }
            Err(error) => tracing::error!("cannot collect arbiter {pid}: {error}"),
        }
        self.server.set(gil, &[("reexec_pid", Fact::Number(0))]);
    }

    /// The arbiter before us has ended: we take its place.
    pub(super) fn promote(&mut self, gil: Gil<'_>) {
        if self.succession.predecessor.take().is_none() {
            return;
        }
        tracing::info!("Master has been promoted.");
        let _ = self.notifier.main_pid(process::getpid().as_raw());
        self.show_master(gil);
        let settings = self.settings_of(self.state.generation());
        if let Some(path) = &settings.pidfile {
            match PidFile::create(path) {
                Ok(file) => self.succession.pidfile = Some(file),
                Err(error) => tracing::error!("{}", trine_service::exit::chain(&error)),
            }
        }
        let generation = self.state.generation();
        if let Some(listeners) = self.listeners.get_mut(&generation) {
            listeners::claim_files(listeners);
        }
        if self.control.is_none()
            && let Some(path) = &settings.control
        {
            match Control::bind(path, settings.control_mode, Rc::clone(&self.epoll)) {
                Ok(control) => self.control = Some(control),
                Err(error) => tracing::error!("{}", trine_service::exit::chain(&error)),
            }
        }
    }

    /// What `server` shows of our place.
    pub(super) fn show_master(&self, gil: Gil<'_>) {
        let parent = self
            .succession
            .launch
            .predecessor
            .filter(|_| self.succession.is_second());
        let facts = [
            ("master_name", Fact::Text(self.succession.name().to_owned())),
            ("master_pid", Fact::Number(parent.unwrap_or(0).into())),
        ];
        self.server.set(gil, &facts);
    }

    /// A reload may name another pid file.
    pub(super) fn move_pidfile(&mut self, settings: &Settings) {
        let now = self.succession.pidfile.as_ref().map(PidFile::path);
        let wanted = settings.pidfile.as_deref();
        let is_second = self.succession.is_second();
        if is_second || now == wanted {
            return;
        }
        let made = wanted.map(PidFile::create).transpose();
        match made {
            Ok(file) => self.succession.pidfile = file,
            Err(error) => tracing::error!("{}", trine_service::exit::chain(&error)),
        }
    }
}

/// Puts copies at 3, 4 and so on. All of ours are moved out of the way first.
fn hand_down_numbered(listeners: &[Rc<Listener>]) -> io::Result<()> {
    let above = FIRST_HANDED + i32::try_from(listeners.len()).unwrap_or(i32::MAX);
    let mut copies = Vec::new();
    for listener in listeners {
        copies.push(fdpass::duplicate(&listener.fd, above)?);
    }
    for (copy, number) in copies.iter().zip(FIRST_HANDED..) {
        fdpass::place(copy, number)?;
    }
    Ok(())
}
