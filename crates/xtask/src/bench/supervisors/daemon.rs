//! One of the two daemons, running on a configuration that both read.
//! Not here: what is measured (`scenarios`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::super::server::{Field, SERVER_CPU, Server};
use super::proc;
use super::rpc::{self, Param};
use crate::workspace::target;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Supervisord,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "trine-supervisor",
            Self::Supervisord => "supervisord",
        }
    }

    fn program(self, field: &Field) -> anyhow::Result<PathBuf> {
        let folders = [
            target().join("bench-venv/bin"),
            target().join("test-venv/bin"),
        ];
        match self {
            Self::Ours => Ok(field.binaries.join("trine-supervisor")),
            Self::Supervisord => folders
                .iter()
                .map(|folder| folder.join("supervisord"))
                .find(|program| program.is_file())
                .context("no supervisord; `cargo xtask bench --setup` installs it"),
        }
    }
}

/// A running daemon. Dropping it stops all of its programs.
#[derive(Debug)]
pub(super) struct Daemon {
    kind: Kind,
    _server: Server,
    socket: PathBuf,
    pub(super) pid: u32,
    pub(super) began: Instant,
}

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Daemon {
    /// `programs`: sections of supervisord.conf.
    pub(super) fn start(kind: Kind, field: &Field, programs: &str) -> anyhow::Result<Self> {
        let socket = field.path("supervisor.sock");
        let pidfile = field.path("supervisord.pid");
        let config = format!(
            "[supervisord]\nnodaemon=true\nlogfile={log}\npidfile={pid}\nminfds=1024\n\
             [unix_http_server]\nfile={socket}\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             {programs}",
            log = field.path("supervisord.log").display(),
            pid = pidfile.display(),
            socket = socket.display(),
        );
        let config = field.write("supervisord.conf", &config)?;
        let mut command = Command::new(kind.program(field)?);
        command.arg("-c").arg(config);
        let began = Instant::now();
        let server = Server::start(&command, SERVER_CPU, field)?;
        let mut daemon = Self {
            kind,
            _server: server,
            socket,
            pid: 0,
            began,
        };
        daemon.pid = daemon.until("the pid file", || {
            fs::read_to_string(&pidfile).ok()?.trim().parse().ok()
        })?;
        Ok(daemon)
    }

    /// The processes of the daemon itself.
    pub(super) fn own(&self) -> Vec<u32> {
        let brain = proc::children(self.pid)
            .into_iter()
            .filter(|pid| self.kind == Kind::Ours && proc::command(*pid).contains("--brain"));
        std::iter::once(self.pid).chain(brain).collect()
    }

    /// Its programs that have been executed and have this name.
    pub(super) fn programs(&self, name: &str) -> Vec<u32> {
        let all = proc::children(self.pid).into_iter();
        all.filter(|pid| proc::name(*pid) == name).collect()
    }

    pub(super) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                bail!("{}: waited too long for {what}", self.kind.name());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Until so many of them run; gives the time since the daemon was started.
    pub(super) fn wait_for(&self, name: &str, count: usize) -> anyhow::Result<Duration> {
        self.until("its programs", || {
            let enough = proc::children(self.pid).len() >= count;
            (enough && self.programs(name).len() == count).then(|| self.began.elapsed())
        })
    }

    pub(super) fn call(&self, method: &str, params: &[Param<'_>]) -> anyhow::Result<String> {
        // Under load supervisord resets a connection now and then.
        match rpc::call(&self.socket, method, params) {
            Err(err) if err.is::<std::io::Error>() => rpc::call(&self.socket, method, params),
            answer => answer,
        }
    }

    /// Until it answers calls.
    pub(super) fn wait_socket(&self) -> anyhow::Result<()> {
        self.until("its socket", || {
            self.call("supervisor.getState", &[]).ok().map(drop)
        })
    }
}

/// How long a file is.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}
