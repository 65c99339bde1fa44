//! Processes that exist: signalling, waiting, kinship. Making them is `spawn`'s business, except for [`fork`].
#![expect(
    unsafe_code,
    reason = "fork, _exit, waitid and pidfd calls have no complete safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
pub use nix::sys::signal::Signal;
pub use nix::unistd::Pid;

/// A descriptor that stands for the process and becomes readable when it ends. Free of races only for our own
/// child that was not reaped yet.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let number = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// Signals exactly the process `pidfd` stands for; ESRCH once it was reaped.
pub fn pidfd_signal(pidfd: impl AsFd, signal: Signal) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means what kill(2) sends; the rest are integers.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, no_info, 0) };
    Errno::result(result)?;
    Ok(())
}

/// Like [`pidfd_signal`], for every number there is, the real-time ones among them.
pub fn pidfd_signal_number(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means what kill(2) sends; the rest are integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
    Errno::result(result)?;
    Ok(())
}

/// Like [`signal_group`], for every number there is.
pub fn signal_group_number(group: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let result = unsafe { libc::killpg(group.as_raw(), signal) };
    Errno::result(result)?;
    Ok(())
}

/// Whether the process `pidfd` stands for has ended, reaped or not.
#[must_use]
pub fn has_ended(pidfd: impl AsFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

/// Signals every process of a group. Keep the leader unreaped until then, or the number may belong to others.
pub fn signal_group(group: Pid, signal: Signal) -> io::Result<()> {
    Ok(nix::sys::signal::killpg(group, signal)?)
}

/// Signals by number: only for our own unreaped children, and for a pid that a person typed.
pub fn signal_pid(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(nix::sys::signal::kill(pid, signal)?)
}

/// Whether a process with this number exists (a zombie counts).
#[must_use]
pub fn pid_exists(pid: Pid) -> bool {
    !matches!(nix::sys::signal::kill(pid, None), Err(Errno::ESRCH))
}

/// Whose exit [`reap`] collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// Any child of ours, and orphans adopted as subreaper.
    Any,
    Pid(Pid),
}

/// Collects one ended child without waiting. `Ok(None)`: none has ended, or there are no children at all.
pub fn reap(which: Reap) -> io::Result<Option<(Pid, ExitStatus)>> {
    let pid = match which {
        Reap::Any => -1,
        Reap::Pid(pid) => pid.as_raw(),
    };
    let mut status = 0;
    // SAFETY: `status` is a live integer for the kernel to write.
    let result = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    match Errno::result(result) {
        Ok(0) | Err(Errno::ECHILD) => Ok(None),
        Ok(pid) => Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(status)))),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until a child ends and collects it.
pub fn wait(pid: Pid) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live integer for the kernel to write.
        let result = unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
        match Errno::result(result) {
            Ok(_) => return Ok(ExitStatus::from_raw(status)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Which ended child the next [`reap`] would bring; it stays unreaped, and is the same one until it is reaped.
pub fn peek_exited() -> io::Result<Option<Pid>> {
    let found = wait_id(
        libc::P_ALL,
        0,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )?;
    Ok(found.map(|(pid, _)| pid))
}

/// Collects the child `pidfd` stands for, without waiting. `Ok(None)`: it still runs.
pub fn reap_pidfd(pidfd: impl AsFd) -> io::Result<Option<(Pid, ExitStatus)>> {
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    wait_id(libc::P_PIDFD, id, libc::WEXITED | libc::WNOHANG)
}

/// How a child ended, and the most memory it ever had in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: ExitStatus,
    pub peak_rss_bytes: u64,
}

/// Collects our own child by its number, which is free of races until then. `Ok(None)`: it still runs.
pub fn reap_with_usage(pid: Pid) -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are live and of the types the kernel writes.
    let result =
        unsafe { libc::wait4(pid.as_raw(), &raw mut status, libc::WNOHANG, &raw mut usage) };
    Ok(match Errno::result(result)? {
        0 => None,
        _ => Some(Ended {
            status: ExitStatus::from_raw(status),
            peak_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        }),
    })
}

/// Waits until the child `pidfd` stands for ends, and collects it.
pub fn wait_pidfd(pidfd: impl AsFd) -> io::Result<(Pid, ExitStatus)> {
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    loop {
        match wait_id(libc::P_PIDFD, id, libc::WEXITED) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

fn wait_id(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: i32,
) -> io::Result<Option<(Pid, ExitStatus)>> {
    // SAFETY: siginfo_t is plain integers, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is live and of the type the kernel writes.
    let result = unsafe { libc::waitid(kind, id, &raw mut info, options) };
    match Errno::result(result) {
        Ok(_) => {}
        Err(Errno::ECHILD) if options & libc::WNOHANG != 0 && kind == libc::P_ALL => {
            return Ok(None);
        }
        Err(errno) => return Err(errno.into()),
    }
    // SAFETY: zeroed above, and filled in by the kernel only for a child that ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let raw = match info.si_code {
        libc::CLD_EXITED => status << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    Ok(Some((Pid::from_raw(pid), ExitStatus::from_raw(raw))))
}

/// Orphaned descendants become our children instead of init's.
pub fn set_child_subreaper(on: bool) -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(on)?)
}

/// This process is sent `signal` when the thread that created it ends (`None`: no more). The parent may have
/// gone before: compare [`getppid`] with the pid known from before the fork.
pub fn set_parent_death_signal(signal: Option<Signal>) -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(signal)?)
}

#[must_use]
pub fn getpid() -> Pid {
    Pid::this()
}

#[must_use]
pub fn getppid() -> Pid {
    Pid::parent()
}

/// Which side of a [`fork`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    Parent(Pid),
    Child,
}

/// Splits the process in two.
///
/// # Safety
/// No other thread may exist, or the child may only make async-signal-safe calls: a lock that another thread
/// held at this moment is held in the child for ever.
pub unsafe fn fork() -> io::Result<Fork> {
    // SAFETY: passed on to our caller.
    let result = unsafe { libc::fork() };
    match Errno::result(result)? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid))),
    }
}

/// Ends this process now: no destructors, no exit handlers, no flushing. For a child after [`fork`].
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer, does not return, and runs nothing of ours.
    unsafe { libc::_exit(code) }
}

/// Sets the niceness of the calling thread alone, as Linux has it.
pub fn set_own_niceness(nice: i32) -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(result)?;
    Ok(())
}

/// The memory a process has in RAM now.
pub fn rss_bytes(pid: Pid) -> io::Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
    pages
        .map(|pages| pages * u64::try_from(page).unwrap_or(4096))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc statm"))
}
