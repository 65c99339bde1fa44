//! Ending what a program leaves behind: processes it started that live on when it has ended, wherever they moved to.
//! They are found by their control group, else by a mark in their environment that they inherited.
//! Not here: the program's own process (`program::state`), or the rest of its process group (the holder).

use super::cgroup;
use super::probe::{Finding, Found};
use super::supervisor::Supervisor;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_sys::process::{self, Pid, Signal};

/// The variable that every process of a program carries on.
pub(super) const MARK: &str = "TRINE_PROCESS";
/// How often the rest is looked for, at first and at most, while there is some.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// They have at most this long to obey before they are killed, and then to be gone.
const LONGEST_GRACE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is looked for.
#[derive(Clone, Debug)]
struct Trail {
    folder: Option<PathBuf>,
    /// `MARK=value`.
    mark: String,
}

impl Supervisor {
    /// The mark of one generation of a process.
    #[must_use]
    pub fn mark(&self, id: &str, generation: u64) -> String {
        let started = self.daemon.started.0;
        format!("{}/{started:x}/{id}/{generation}", self.holder_pid)
    }

    /// Begins to end what a generation has left behind.
    pub fn sweep(&mut self, id: &str, generation: u64) {
        let trail = Trail {
            folder: self
                .cgroups
                .as_ref()
                .map(|cgroups| cgroups.folder(id, generation))
                .filter(|folder| folder.exists()),
            mark: format!("{MARK}={}", self.mark(id, generation)),
        };
        if trail.folder.is_none() && !self.has_strangers() {
            return;
        }
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let grace = process.record.settings.policy.stop_wait.min(LONGEST_GRACE);
        let found = Found {
            id: id.to_owned(),
            generation,
            what: Finding::Swept,
        };
        let id = id.to_owned();
        process.sweeping = Some(self.probes.spawn(async move {
            end(&id, &trail, grace).await;
            found
        }));
    }

    /// Whether what programs have put into the background outlives us, as under supervisord. Not where we are process 1:
    /// there the kernel would kill it without asking.
    #[must_use]
    pub fn leaves_orphans(&self) -> bool {
        let mut all = self.config.processes.iter();
        self.holder_pid != 1 && !all.any(|process| process.extras.kill_descendants)
    }

    /// Whether the holder has children that are no program's: what a program leaves behind becomes one. A look at one
    /// small file spares most ends a look at all processes.
    fn has_strangers(&self) -> bool {
        let holder = self.holder_pid;
        let path = format!("/proc/{holder}/task/{holder}/children");
        let Ok(children) = fs::read_to_string(path) else {
            return true; // the kernel does not tell
        };
        let own = std::process::id().to_string();
        let known: Vec<String> = self
            .processes
            .values()
            .filter_map(|process| process.pid)
            .map(|pid| pid.to_string())
            .chain([own])
            .collect();
        let mut children = children.split_whitespace();
        children.any(|pid| !known.iter().any(|known| known == pid))
    }

    /// What earlier brains had begun to sweep, and what a crash of theirs left.
    pub fn sweep_old_generations(&mut self) {
        let old: Vec<(String, u64)> = self
            .processes
            .iter()
            .filter(|(_, process)| process.record.settings.extras.kill_descendants)
            .filter_map(|(id, process)| {
                let last = match process.record.life.has_process() {
                    true => process.record.generation.checked_sub(1)?,
                    false => process.record.generation,
                };
                (last > 0).then(|| (id.clone(), last))
            })
            .collect();
        for (id, generation) in old {
            self.sweep(&id, generation);
        }
    }
}

async fn end(id: &str, trail: &Trail, grace: Duration) {
    let began = tokio::time::Instant::now();
    let mut wait = FIRST_LOOK;
    let mut told = false;
    loop {
        let trail_now = trail.clone();
        let left = tokio::task::spawn_blocking(move || trail_now.find()).await;
        let left = left.unwrap_or_default();
        if left.is_empty() || began.elapsed() >= grace + PATIENCE {
            break;
        }
        if !told {
            tracing::info!("{id} has left {} processes behind, ending them", left.len());
        }
        let is_over = began.elapsed() >= grace;
        if is_over && let Some(folder) = &trail.folder {
            let _ = cgroup::kill(folder);
        }
        let signal = if is_over {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        if is_over || !told {
            for pidfd in &left {
                let _ = process::pidfd_signal(pidfd, signal);
            }
        }
        told = true;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    if let Some(folder) = &trail.folder {
        let _ = fs::remove_dir(folder);
    }
}

impl Trail {
    /// Those that are left, as descriptors that no other process can slip under.
    fn find(&self) -> Vec<OwnedFd> {
        match &self.folder {
            Some(folder) => {
                let members = cgroup::members(folder);
                let open = |pid: i32| process::pidfd_open(Pid::from_raw(pid)).ok();
                members.into_iter().filter_map(open).collect()
            }
            None => self.find_by_mark(),
        }
    }

    fn find_by_mark(&self) -> Vec<OwnedFd> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| self.is_on(*pid))
            .filter_map(|pid| {
                let pidfd = process::pidfd_open(Pid::from_raw(pid)).ok()?;
                // The number may have gone to somebody else in between.
                self.is_on(pid).then_some(pidfd)
            })
            .collect()
    }

    fn is_on(&self, pid: i32) -> bool {
        let environ = fs::read(Path::new("/proc").join(pid.to_string()).join("environ"));
        environ.is_ok_and(|bytes| {
            bytes
                .split(|byte| *byte == 0)
                .any(|entry| entry == self.mark.as_bytes())
        })
    }
}
