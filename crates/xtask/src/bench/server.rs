//! Servers under measurement: started on one CPU, watched through /proc, ended with their whole group.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The server's CPU; the load generator and upstreams have the other one.
pub(super) const SERVER_CPU: usize = 0;
pub(super) const LOAD_CPU: usize = 1;

/// What every subject of a scenario shares: a scratch folder, and where our binaries are.
#[derive(Debug)]
pub(super) struct Field {
    dir: TempDir,
    pub(super) binaries: PathBuf,
    nice: i32,
}

impl Field {
    pub(super) fn new(binaries: &Path, nice: i32) -> anyhow::Result<Self> {
        Self::new_in(&std::env::temp_dir(), binaries, nice)
    }

    /// With its scratch folder in memory, where the machine has a place for that: what the file system of the disk does
    /// when files are made is no part of the figures then.
    pub(super) fn in_memory(binaries: &Path, nice: i32) -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::new_in(memory, binaries, nice)
        } else {
            Self::new(binaries, nice)
        }
    }

    fn new_in(folder: &Path, binaries: &Path, nice: i32) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("trine-bench")
            .tempdir_in(folder)
            .context("no temporary folder")?;
        Ok(Self {
            dir,
            binaries: binaries.to_owned(),
            nice,
        })
    }

    /// The beginning of a command that stays on one CPU.
    pub(super) fn pinned(&self, cpu: usize) -> Command {
        let mut command = Command::new("nice");
        command.args([
            "-n",
            &self.nice.to_string(),
            "taskset",
            "-c",
            &cpu.to_string(),
        ]);
        command
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let file = self.path(name);
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
    }
}

/// A running server. Dropping it ends it and everything in its process group.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts the command on one CPU, its output in a file.
    pub(super) fn start(command: &Command, cpu: usize, field: &Field) -> anyhow::Result<Self> {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let log = field.path(&format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut pinned = field.pinned(cpu);
        pinned.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => pinned.env(key, value),
                None => pinned.env_remove(key),
            };
        }
        pinned.current_dir(command.get_current_dir().unwrap_or(field.dir.path()));
        pinned
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = pinned.spawn().context("cannot run nice and taskset")?;
        Ok(Self { child, log })
    }

    /// Waits until it accepts connections.
    pub(super) fn wait_tcp(&mut self, addr: SocketAddr) -> anyhow::Result<()> {
        self.wait(|| TcpStream::connect(addr).is_ok())
    }

    pub(super) fn wait_unix(&mut self, path: &Path) -> anyhow::Result<()> {
        self.wait(|| UnixStream::connect(path).is_ok())
    }

    fn wait(&mut self, accepts: impl Fn() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !accepts() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > Duration::from_secs(20) {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("the server does not accept connections ({ended:?}):\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(super) fn alive(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its output.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The share of memory of all its processes, in MiB (PSS).
    pub(super) fn pss_mib(&self) -> f64 {
        pss_mib(&tree(self.child.id()))
    }

    /// User and system time of the whole process tree so far, processes that ended included.
    pub(super) fn cpu(&self) -> Duration {
        let ticks: u64 = tree(self.child.id()).into_iter().map(cpu_ticks).sum();
        Duration::from_secs_f64(ticks_to_seconds(ticks))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).map(Pid::from_raw);
        let Ok(group) = group else { return };
        let _gone_already = killpg(group, Signal::SIGTERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(3)
        {
            thread::sleep(Duration::from_millis(10));
        }
        let _nobody_left = killpg(group, Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

/// Their share of memory in MiB (PSS).
pub(super) fn pss_mib(pids: &[u32]) -> f64 {
    let kib: u64 = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    kib as f64 / 1024.0
}

/// The CPU time of this process's children that have ended: of the load generator, before and after it.
pub(super) fn children_cpu() -> Duration {
    let ticks = stat(std::process::id()).map_or(0, |fields| {
        number(&fields, CHILD_USER) + number(&fields, CHILD_SYSTEM)
    });
    Duration::from_secs_f64(ticks_to_seconds(ticks))
}

// Fields of /proc/PID/stat, counted from the one after the name in parentheses.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;
const CHILD_USER: usize = 13;
const CHILD_SYSTEM: usize = 14;

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], at: usize) -> u64 {
    fields
        .get(at)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0)
}

fn cpu_ticks(pid: u32) -> u64 {
    stat(pid).map_or(0, |fields| {
        [USER, SYSTEM, CHILD_USER, CHILD_SYSTEM]
            .iter()
            .map(|at| number(&fields, *at))
            .sum()
    })
}

fn ticks_to_seconds(ticks: u64) -> f64 {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .unwrap_or(100);
    ticks as f64 / per_second as f64
}

/// The process and all below it.
fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u64)> = pids
        .filter_map(|pid| Some((pid, number(&stat(pid)?, PARENT))))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, above)| *above == u64::from(parent))
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}
