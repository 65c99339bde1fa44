//! Starting a program: everything between "this command, these descriptors, that user" and a running child.
//!
//! The child borrows our memory until it executes (CLONE_VM, CLONE_VFORK), so the cost does not grow with our
//! size, a failure comes back as an ordinary error with the step it happened in, and nothing runs in between but
//! plain system calls on memory prepared before. Not here: shells, PATH policy, restarts, waiting (`process`).

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::limits::Resource;
use crate::process::Pid;

mod child;
mod low;

/// What to start, and how. Make one by [`Spawn::new`] and change the fields that matter.
#[derive(Debug)]
pub struct Spawn<'fd> {
    /// The file to execute. No PATH search: see [`find_program`]. A relative one counts from `cwd`.
    pub program: CString,
    /// With the program's own name first.
    pub argv: Vec<CString>,
    /// The whole environment, `NAME=value`; nothing is inherited.
    pub env: Vec<CString>,
    /// Entered as the new user; `None` stays here.
    pub cwd: Option<CString>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// The supplementary groups; `None` keeps ours.
    pub groups: Option<Vec<u32>>,
    pub umask: Option<u32>,
    /// A session of its own, without a terminal (and so a process group of its own too).
    pub setsid: bool,
    /// The process group to join; 0 is a new one led by the child.
    pub process_group: Option<i32>,
    /// Soft and hard limits.
    pub rlimits: Vec<(Resource, u64, u64)>,
    /// The niceness (absolute, -20 to 19).
    pub nice: Option<i32>,
    /// How readily the kernel kills it when memory runs out (`proc_pid_oom_score_adj(5)`, -1000 to 1000).
    pub oom_score_adj: Option<i32>,
    /// An open `cgroup.procs`: the control group to be in from the first instruction on.
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// The capabilities that stay possible (bit N is capability N, `capabilities(7)`); `None` leaves all.
    pub bounding_set: Option<u64>,
    /// Never gain privileges by executing something (PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// Our descriptor, and its number in the child. 0, 1 and 2 are inherited unless named; nothing else is.
    /// Sources and targets may overlap in any way.
    pub fds: Vec<(BorrowedFd<'fd>, i32)>,
    /// Copy only our descriptors below this number for the child: where there are thousands, copying them and closing
    /// them again costs more than all else. Those of `fds` may lie anywhere. `None` copies all.
    pub copy_below: Option<RawFd>,
    /// Writes the child's own pid into `LISTEN_PID` of its environment (added if missing).
    pub listen_pid: bool,
}

impl Spawn<'_> {
    /// `argv[0]` is `program` at first.
    #[must_use]
    pub fn new(program: CString) -> Self {
        Self {
            argv: vec![program.clone()],
            program,
            env: Vec::new(),
            cwd: None,
            uid: None,
            gid: None,
            groups: None,
            umask: None,
            setsid: false,
            process_group: None,
            rlimits: Vec::new(),
            nice: None,
            oom_score_adj: None,
            cgroup: None,
            bounding_set: None,
            no_new_privileges: false,
            fds: Vec::new(),
            copy_below: None,
            listen_pid: false,
        }
    }

    /// Starts it. When this returns `Ok` the program has been executed; otherwise no child is left.
    pub fn spawn(self) -> Result<Child, SpawnError> {
        child::spawn(self)
    }
}

/// A program that was started. Dropping this neither stops nor reaps it.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    /// Readable when it has ended; see `process::reap_pidfd` and `process::pidfd_signal`.
    pub pidfd: OwnedFd,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct SpawnError {
    pub step: SpawnStep,
    #[source]
    pub source: io::Error,
}

/// What was being done when it failed, in the order of doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnStep {
    Process,
    Cgroup,
    Session,
    ProcessGroup,
    Nice,
    OomScore,
    Descriptors,
    Limits,
    Capabilities,
    Groups,
    Gid,
    Uid,
    Directory,
    NoNewPrivileges,
    Exec,
}

impl fmt::Display for SpawnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "make a new process",
            Self::Cgroup => "enter the control group",
            Self::Session => "start a session of its own",
            Self::ProcessGroup => "join the process group",
            Self::Nice => "set the niceness",
            Self::OomScore => "set oom_score_adj",
            Self::Descriptors => "put the descriptors in place",
            Self::Limits => "set the resource limits",
            Self::Capabilities => "reduce the capabilities",
            Self::Groups => "set the supplementary groups",
            Self::Gid => "become the group",
            Self::Uid => "become the user",
            Self::Directory => "enter the working directory",
            Self::NoNewPrivileges => "give up gaining privileges",
            Self::Exec => "execute the program",
        })
    }
}

/// Finds what a shell would run for `name`: itself when it has a slash, else the first executable file in `path`
/// (a PATH value).
#[must_use]
pub fn find_program(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(path)
        .map(|folder| {
            if folder.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                folder
            }
        })
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
