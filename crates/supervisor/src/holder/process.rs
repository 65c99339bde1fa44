//! From a spawn order to a running process. Not here: which order to give, or what to do when it fails.

use super::slot::{LASTING, Pipe, Slot};
use super::wire::{Channel, Failure, Output, SpawnOrder};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use trine_sys::limits::{self, Resource};
use trine_sys::spawn::{Child, Spawn, SpawnError};

/// What every child gets from the holder itself.
#[derive(Debug)]
pub struct Inheritance {
    pub env: BTreeMap<OsString, OsString>,
    /// The limit on descriptors from before the holder raised its own.
    pub descriptors: (u64, u64),
    pub null: std::fs::File,
}

/// Descriptors the listening sockets start at.
const FIRST_SOCKET: i32 = 3;

/// `sockets`: those of the order, and after them the one that is to be standard input, if there is one.
pub fn spawn(
    order: &SpawnOrder,
    slot: &Slot,
    sockets: &[BorrowedFd<'_>],
    from: &Inheritance,
) -> Result<Child, Failure> {
    let mut plan = Spawn::new(text(&order.program)?);
    plan.argv = order
        .argv
        .iter()
        .map(|arg| text(arg))
        .collect::<Result<_, _>>()?;
    plan.env = environment(order, slot, from)?;
    plan.cwd = order.directory.as_deref().map(text).transpose()?;
    if let Some(user) = &order.user {
        plan.uid = Some(user.uid);
        plan.gid = Some(user.gid);
        plan.groups = Some(user.groups.clone());
    }
    plan.umask = order.umask;
    plan.process_group = Some(0);
    plan.copy_below = Some(LASTING);
    plan.rlimits.push((
        Resource::RLIMIT_NOFILE,
        from.descriptors.0,
        from.descriptors.1,
    ));
    let (handed, stdin) = sockets.split_at(order.sockets.len().min(sockets.len()));
    let stdin = stdin.first().copied();
    plan.fds.push((stdin.unwrap_or(from.null.as_fd()), 0));
    plan.fds.push((output(order.stdout, slot, from)?, 1));
    plan.fds.push((output(order.stderr, slot, from)?, 2));
    let kept = slot.kept.iter().map(|(_, fd)| fd.as_fd());
    let handed: Vec<BorrowedFd<'_>> = handed.iter().copied().chain(kept).collect();
    plan.listen_pid = !handed.is_empty();
    plan.fds.extend(handed.into_iter().zip(FIRST_SOCKET..));
    if let Some(number) = order.ready_fd {
        let output = output(Output::Pipe(Channel::Ready), slot, from)?;
        plan.fds.push((output, number));
    }
    let confinement = &order.confinement;
    for (name, soft, hard) in &confinement.rlimits {
        let resource = limits::parse(name).ok_or_else(|| no_limit(name))?;
        plan.rlimits.push((resource, *soft, *hard));
    }
    plan.nice = confinement.nice;
    plan.oom_score_adj = confinement.oom_score_adj;
    plan.no_new_privileges = confinement.no_new_privileges;
    plan.bounding_set = confinement.capabilities;
    let cgroup = confinement.cgroup.as_deref().map(enter).transpose()?;
    plan.cgroup = cgroup.as_ref().map(AsFd::as_fd);
    plan.spawn().map_err(|err| failure(&err))
}

/// The door into a control group.
fn enter(folder: &str) -> Result<File, Failure> {
    let path = Path::new(folder).join("cgroup.procs");
    let opened = File::options().write(true).open(path);
    opened.map_err(|err| Failure::of("cgroup", &err))
}

fn no_limit(name: &str) -> Failure {
    Failure {
        step: "limits".into(),
        errno: None,
        text: format!("there is no limit {name}"),
    }
}

fn output<'a>(
    output: Output,
    slot: &'a Slot,
    from: &'a Inheritance,
) -> Result<BorrowedFd<'a>, Failure> {
    match output {
        Output::Null => Ok(from.null.as_fd()),
        Output::Pipe(channel) => slot
            .pipes
            .get(&channel)
            .map(|pipe: &Pipe| pipe.write.as_fd())
            .ok_or_else(|| no_pipe(channel)),
    }
}

fn environment(
    order: &SpawnOrder,
    slot: &Slot,
    from: &Inheritance,
) -> Result<Vec<CString>, Failure> {
    let mut env = from.env.clone();
    for name in &order.unset_env {
        env.remove(&OsString::from(name));
    }
    for (name, value) in &order.set_env {
        env.insert(name.into(), value.into());
    }
    if !slot.kept.is_empty() {
        let sockets = order.sockets.iter().map(|(name, _)| name.as_str());
        let kept = slot.kept.iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> = sockets.chain(kept).collect();
        env.insert("LISTEN_FDS".into(), names.len().to_string().into());
        env.insert("LISTEN_FDNAMES".into(), names.join(":").into());
    }
    env.into_iter()
        .map(|(name, value)| {
            let entry = [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
            CString::new(entry).map_err(|_| nul_byte())
        })
        .collect()
}

fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| nul_byte())
}

fn nul_byte() -> Failure {
    Failure {
        step: "prepare".into(),
        errno: None,
        text: "a NUL byte in an argument or the environment".into(),
    }
}

fn no_pipe(channel: Channel) -> Failure {
    Failure {
        step: "prepare".into(),
        errno: None,
        text: format!("no pipe for {}", channel.name()),
    }
}

fn failure(err: &SpawnError) -> Failure {
    Failure {
        step: format!("{:?}", err.step).to_lowercase(),
        errno: err.source.raw_os_error(),
        text: format!("{err}: {}", err.source),
    }
}
