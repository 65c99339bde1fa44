//! USR2: another process of the same command line beside this one, on the same sockets, as nginx does it.
//!
//! The old process hands its listening sockets down and goes on; its pid file gets the ending `.oldbin`. WINCH has it
//! finish its connections and wait; HUP has it serve again, QUIT and TERM end it. When the new one ends first, the pid
//! file gets its name back; when the old one ends, the new one takes its place: socket files, control socket.
//! Not here: starting the process (`launch`), what signals mean (`daemon`).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use trine_service::exit::chain;
use trine_service::pidfile::PidFile;
use trine_service::signals::Signal;
use trine_sys::process::{self, Pid};

use crate::daemon::Daemon;
use crate::error::Error;
use crate::launch::Launch;

/// The processes on either side of us, and our pid file.
#[derive(Debug)]
pub(crate) struct Succession {
    launch: Launch,
    /// The one before us, our parent.
    predecessor: Option<Pid>,
    successor: Option<(Pid, OwnedFd)>,
    pidfile: Option<PidFile>,
    /// Cancelled once there is nobody before us.
    pub(crate) alone: CancellationToken,
}

impl Succession {
    /// Notes the predecessor, and writes the pid file. Must be called in the runtime.
    pub(crate) fn begin(launch: Launch, pidfile: Option<&Path>) -> Result<Self, Error> {
        let predecessor = launch.predecessor().map(Pid::from_raw);
        if predecessor.is_some() {
            // Its end is told like a child's.
            process::set_parent_death_signal(Some(Signal::SIGCHLD)).map_err(Error::Runtime)?;
        }
        let predecessor = predecessor.filter(|pid| *pid == process::getppid());
        let alone = CancellationToken::new();
        if predecessor.is_none() {
            alone.cancel();
        }
        Ok(Self {
            launch,
            predecessor,
            successor: None,
            pidfile: pidfile.map(PidFile::create).transpose()?,
            alone,
        })
    }

    /// Somebody else has our sockets, too.
    pub(crate) fn has_successor(&self) -> bool {
        self.successor.is_some()
    }

    /// A reload may name another pid file.
    pub(crate) fn move_pidfile(&mut self, wanted: Option<&Path>) {
        let now = self.pidfile.as_ref().map(PidFile::path);
        if now == wanted || self.successor.is_some() {
            return;
        }
        match wanted.map(PidFile::create).transpose() {
            Ok(file) => self.pidfile = file,
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    fn rename_pidfile(&mut self, name: impl FnOnce(&Path) -> PathBuf) {
        if let Some(file) = &mut self.pidfile {
            let to = name(file.path());
            if let Err(error) = file.rename(to) {
                tracing::error!("{}", chain(&error));
            }
        }
    }
}

/// nginx's name for the pid file of a process that has a successor.
fn oldbin(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".oldbin");
    name.into()
}

impl Daemon {
    /// USR2.
    pub(crate) fn upgrade(&mut self) {
        if self.succession.successor.is_some() || self.succession.predecessor.is_some() {
            tracing::warn!(
                "USR2 changes nothing: the last upgrade is not over, end one of the two processes first"
            );
            return;
        }
        self.succession.rename_pidfile(oldbin);
        match self.succession.launch.start_successor(self.book.sockets()) {
            Ok(child) => {
                tracing::info!("started new binary process {}", child.pid);
                self.succession.successor = Some((child.pid, child.pidfd));
            }
            Err(error) => {
                tracing::error!("cannot start a new binary process: {error}");
                self.own_pidfile_again();
            }
        }
    }

    fn own_pidfile_again(&mut self) {
        self.succession
            .rename_pidfile(|path| path.with_extension(""));
    }

    /// A process beside us has ended: the predecessor or the successor?
    pub(crate) fn neighbour_ended(&mut self) {
        if self
            .succession
            .predecessor
            .is_some_and(|pid| pid != process::getppid())
        {
            self.promote();
        }
        let Some((pid, pidfd)) = &self.succession.successor else {
            return;
        };
        match process::reap_pidfd(pidfd) {
            Ok(None) => {}
            Ok(Some((_, status))) => {
                tracing::warn!("new binary process {pid} has ended: {status}");
                self.succession.successor = None;
                self.own_pidfile_again();
            }
            Err(error) => tracing::error!("cannot collect process {pid}: {error}"),
        }
    }

    /// The process before us has ended: its place is ours.
    fn promote(&mut self) {
        self.succession.predecessor = None;
        tracing::info!("the process before this one has ended");
        self.book.claim_files();
        crate::daemon::tell(self.notifier.main_pid(process::getpid().as_raw()));
        self.succession.alone.cancel();
    }
}
