//! The child between clone and exec, and the memory it works on.
//!
//! It shares our memory and this thread's stack frame stands still meanwhile; other threads run on. So the child
//! makes raw system calls only: no allocation, no locks, no libc function that keeps state (libc's own setuid
//! would try to change *our* other threads).
#![expect(unsafe_code, reason = "clone, exec and the calls between them")]

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::low::Low;
use super::{Child, Spawn, SpawnError, SpawnStep};
use crate::process::{self, Pid};
use crate::signals;

/// Room for the child: a few small frames. (libc::clone runs on it; a page would nearly do.)
const STACK_BYTES: usize = 64 * 1024;

const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// The digits of any pid, and a NUL.
const PID_ROOM: usize = 11;

/// Everything the child reads, as the kernel wants it.
struct Plan {
    program: *const c_char,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// Where the digits of LISTEN_PID go; null when they are not asked for.
    listen_pid: *mut u8,
    cwd: Option<CString>,
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
    umask: Option<u32>,
    setsid: bool,
    process_group: Option<i32>,
    rlimits: Vec<(c_int, libc::rlimit64)>,
    nice: Option<i32>,
    /// As the file wants it: digits.
    oom_score_adj: Option<CString>,
    cgroup: Option<c_int>,
    bounding_set: Option<u64>,
    no_new_privileges: bool,
    fds: Vec<Move>,
    /// The table is shared with us until the child has made one of its own, with our descriptors below this.
    copy_below: Option<c_int>,
    /// Copies are made from here up, so that no target is among them.
    above_targets: c_int,
    /// What went wrong; the child's only message.
    failure: Option<(SpawnStep, c_int)>,
}

struct Move {
    source: c_int,
    copy: c_int,
    target: c_int,
}

pub(super) fn spawn(spawn: Spawn<'_>) -> Result<Child, SpawnError> {
    let failed = |step, source| SpawnError { step, source };
    if spawn.fds.iter().any(|(_, target)| *target < 0) {
        return Err(failed(SpawnStep::Descriptors, Errno::EBADF.into()));
    }
    let mut low = Low::new(spawn.copy_below);
    let cgroup = spawn.cgroup.map(|fd| low.source(fd));
    let fds: Vec<Move> = spawn
        .fds
        .iter()
        .map(|(fd, target)| Move {
            source: low.source(*fd),
            copy: -1,
            target: *target,
        })
        .collect();
    let mut listen_pid = spawn.listen_pid.then(|| {
        let mut entry = LISTEN_PID.to_vec();
        entry.resize(LISTEN_PID.len() + PID_ROOM, 0);
        entry
    });
    let listen_pid_entry = listen_pid.as_mut().map_or(ptr::null_mut(), Vec::as_mut_ptr);
    let mut plan = Plan {
        program: spawn.program.as_ptr(),
        argv: pointers(&spawn.argv, ptr::null()),
        env: environment(&spawn.env, listen_pid_entry),
        listen_pid: listen_pid_entry,
        cwd: spawn.cwd,
        uid: spawn.uid,
        gid: spawn.gid,
        groups: spawn.groups,
        umask: spawn.umask,
        setsid: spawn.setsid,
        process_group: spawn.process_group,
        rlimits: spawn.rlimits.iter().map(limit).collect(),
        nice: spawn.nice,
        // Digits hold no NUL.
        oom_score_adj: spawn
            .oom_score_adj
            .and_then(|score| CString::new(score.to_string()).ok()),
        cgroup,
        bounding_set: spawn.bounding_set,
        no_new_privileges: spawn.no_new_privileges,
        above_targets: spawn
            .fds
            .iter()
            .map(|(_, target)| target + 1)
            .max()
            .unwrap_or(0)
            .max(3),
        fds,
        copy_below: low.limit,
        failure: None,
    };

    let mask = signals::block_all().map_err(|source| failed(SpawnStep::Process, source))?;
    let started = clone_and_run(&mut plan);
    let restored = signals::restore(&mask);
    let child = started.map_err(|source| failed(SpawnStep::Process, source))?;

    // SAFETY: the child wrote it, if at all, before the parent went on. A volatile read, because the compiler saw
    // nobody write.
    let failure = unsafe { ptr::read_volatile(&raw const plan.failure) };
    if let Some((step, errno)) = failure {
        // Somebody else's wait-for-all may have been quicker; the child is gone either way.
        let _ = process::wait_pidfd(&child.pidfd);
        return Err(failed(step, io::Error::from_raw_os_error(errno)));
    }
    restored.map_err(|source| failed(SpawnStep::Process, source))?;
    Ok(child)
}

fn limit((resource, soft, hard): &(crate::limits::Resource, u64, u64)) -> (c_int, libc::rlimit64) {
    (
        *resource as c_int,
        libc::rlimit64 {
            rlim_cur: *soft,
            rlim_max: *hard,
        },
    )
}

fn pointers(strings: &[CString], extra: *const c_char) -> Vec<*const c_char> {
    let mut all: Vec<_> = strings.iter().map(|text| text.as_ptr()).collect();
    if !extra.is_null() {
        all.push(extra);
    }
    all.push(ptr::null());
    all
}

fn environment(env: &[CString], listen_pid: *mut u8) -> Vec<*const c_char> {
    if listen_pid.is_null() {
        return pointers(env, ptr::null());
    }
    let mut all: Vec<_> = env
        .iter()
        .filter(|entry| !entry.as_bytes().starts_with(LISTEN_PID))
        .map(|entry| entry.as_ptr())
        .collect();
    all.push(listen_pid.cast());
    all.push(ptr::null());
    all
}

/// Runs `plan` in a child. Returns once the child has executed its program or ended.
fn clone_and_run(plan: &mut Plan) -> io::Result<Child> {
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    // SAFETY: one past the end of the allocation, which is where a stack that grows down begins.
    let top = unsafe { stack.as_mut_ptr().add(stack.capacity()) };
    let mut pidfd: c_int = -1;
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    if plan.copy_below.is_some() {
        flags |= libc::CLONE_FILES;
    }
    let argument: *mut c_void = ptr::from_mut(plan).cast();
    // SAFETY: CLONE_VFORK keeps this frame, and so `stack`, `plan` and `pidfd`, until the child is done with them;
    // `run` never returns into our code.
    let pid = unsafe { libc::clone(run, top.cast(), flags, argument, &raw mut pidfd) };
    let pid = Errno::result(pid)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child {
        pid: Pid::from_raw(pid),
        pidfd,
    })
}

/// The child's main function.
extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `clone_and_run` passed its exclusive reference, and waits.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    let Err((step, errno)) = prepare_and_exec(plan);
    plan.failure = Some((step, errno));
    // SAFETY: _exit takes an integer, does not return, and runs nothing of ours.
    unsafe { libc::_exit(127) }
}

fn prepare_and_exec(plan: &mut Plan) -> Result<std::convert::Infallible, (SpawnStep, c_int)> {
    if let Some(limit) = plan.copy_below {
        own_descriptors(limit)?;
    }
    let default = [0u64; 4]; // the kernel's own sigaction: SIG_DFL, no flags, no mask
    for signal in 1..=signals::MAX_SIGNAL {
        let arguments = [signal.into(), address(default.as_ptr()), 0, 8];
        let _ = call(SpawnStep::Process, libc::SYS_rt_sigaction, arguments); // KILL and STOP can not change
    }
    if let Some(cgroup) = plan.cgroup {
        let arguments = [cgroup.into(), address(c"0".as_ptr()), 1, 0]; // 0: whoever writes it
        call(SpawnStep::Cgroup, libc::SYS_write, arguments)?;
    }
    if plan.setsid {
        call(SpawnStep::Session, libc::SYS_setsid, [0; 4])?;
    } else if let Some(group) = plan.process_group {
        call(
            SpawnStep::ProcessGroup,
            libc::SYS_setpgid,
            [0, group.into(), 0, 0],
        )?;
    }
    if let Some(nice) = plan.nice {
        let who = [libc::PRIO_PROCESS.into(), 0, nice.into(), 0];
        call(SpawnStep::Nice, libc::SYS_setpriority, who)?;
    }
    if let Some(score) = &plan.oom_score_adj {
        set_oom_score(score)?;
    }
    place_descriptors(plan)?;
    for (resource, limit) in &plan.rlimits {
        let arguments = [0, (*resource).into(), address(ptr::from_ref(limit)), 0];
        call(SpawnStep::Limits, libc::SYS_prlimit64, arguments)?;
    }
    if let Some(umask) = plan.umask {
        call(SpawnStep::Process, libc::SYS_umask, [umask.into(), 0, 0, 0])?;
    }
    if let Some(kept) = plan.bounding_set {
        drop_capabilities(kept)?;
    }
    if let Some(groups) = &plan.groups {
        let arguments = [groups.len() as c_long, address(groups.as_ptr()), 0, 0];
        call(SpawnStep::Groups, libc::SYS_setgroups, arguments)?;
    }
    if let Some(gid) = plan.gid {
        call(
            SpawnStep::Gid,
            libc::SYS_setresgid,
            [gid.into(), gid.into(), gid.into(), 0],
        )?;
    }
    if let Some(uid) = plan.uid {
        call(
            SpawnStep::Uid,
            libc::SYS_setresuid,
            [uid.into(), uid.into(), uid.into(), 0],
        )?;
    }
    if let Some(cwd) = &plan.cwd {
        call(
            SpawnStep::Directory,
            libc::SYS_chdir,
            [address(cwd.as_ptr()), 0, 0, 0],
        )?;
    }
    if plan.no_new_privileges {
        let arguments = [libc::PR_SET_NO_NEW_PRIVS.into(), 1, 0, 0];
        call(SpawnStep::NoNewPrivileges, libc::SYS_prctl, arguments)?;
    }
    if !plan.listen_pid.is_null() {
        let pid = call(SpawnStep::Process, libc::SYS_getpid, [0; 4])?;
        // SAFETY: `spawn` made the entry `LISTEN_PID.len() + PID_ROOM` bytes long.
        let digits = unsafe { plan.listen_pid.add(LISTEN_PID.len()) };
        write_digits(pid, digits);
    }
    let nothing: u64 = 0; // the kernel's empty signal set
    let arguments = [libc::SIG_SETMASK.into(), address(&raw const nothing), 0, 8];
    call(SpawnStep::Process, libc::SYS_rt_sigprocmask, arguments)?;
    let arguments = [
        address(plan.program),
        address(plan.argv.as_ptr()),
        address(plan.env.as_ptr()),
        0,
    ];
    call(SpawnStep::Exec, libc::SYS_execve, arguments)?;
    Err((SpawnStep::Exec, libc::EINVAL))
}

/// Before anything is done to a descriptor: a table of the child's own, without ours from `limit` on.
fn own_descriptors(limit: c_int) -> Result<(), (SpawnStep, c_int)> {
    const STEP: SpawnStep = SpawnStep::Descriptors;
    let rest = [
        limit.into(),
        c_long::from(u32::MAX),
        libc::CLOSE_RANGE_UNSHARE.into(),
        0,
    ];
    if call(STEP, libc::SYS_close_range, rest).is_err() {
        // A kernel before 5.9: a copy of all, then.
        let flags = [libc::CLONE_FILES.into(), 0, 0, 0];
        call(STEP, libc::SYS_unshare, flags)?;
    }
    Ok(())
}

fn set_oom_score(score: &CString) -> Result<(), (SpawnStep, c_int)> {
    const STEP: SpawnStep = SpawnStep::OomScore;
    let path = c"/proc/self/oom_score_adj";
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let arguments = [
        libc::AT_FDCWD.into(),
        address(path.as_ptr()),
        flags.into(),
        0,
    ];
    let fd = call(STEP, libc::SYS_openat, arguments)?;
    let bytes = score.as_bytes();
    let arguments = [fd, address(bytes.as_ptr()), bytes.len() as c_long, 0];
    call(STEP, libc::SYS_write, arguments).map(drop)
}

/// No kernel has more than this.
const CAPABILITIES: u32 = 64;

fn drop_capabilities(kept: u64) -> Result<(), (SpawnStep, c_int)> {
    for number in (0..CAPABILITIES).filter(|number| kept & (1 << number) == 0) {
        let arguments = [libc::PR_CAPBSET_DROP.into(), number.into(), 0, 0];
        match call(SpawnStep::Capabilities, libc::SYS_prctl, arguments) {
            Err((_, libc::EINVAL)) => break, // beyond the last one
            other => other?,
        };
    }
    Ok(())
}

/// First every source is copied above all targets, so that no target overwrites a source still needed; then each
/// copy is put on its target, which also takes CLOEXEC off. Everything else is closed by exec.
fn place_descriptors(plan: &mut Plan) -> Result<(), (SpawnStep, c_int)> {
    const STEP: SpawnStep = SpawnStep::Descriptors;
    for fd in &mut plan.fds {
        let arguments = [
            fd.source.into(),
            libc::F_DUPFD_CLOEXEC.into(),
            plan.above_targets.into(),
            0,
        ];
        fd.copy = call(STEP, libc::SYS_fcntl, arguments)? as c_int;
    }
    // A belt beside the braces (all is opened CLOEXEC); kernels before 5.11 have none, which is no failure.
    let rest = [
        3,
        c_long::from(u32::MAX),
        libc::CLOSE_RANGE_CLOEXEC.into(),
        0,
    ];
    let _ = call(STEP, libc::SYS_close_range, rest);
    for fd in &plan.fds {
        call(
            STEP,
            libc::SYS_dup3,
            [fd.copy.into(), fd.target.into(), 0, 0],
        )?;
    }
    Ok(())
}

fn address<T>(pointer: *const T) -> c_long {
    pointer.expose_provenance() as c_long
}

fn call(
    step: SpawnStep,
    number: c_long,
    [a, b, c, d]: [c_long; 4],
) -> Result<c_long, (SpawnStep, c_int)> {
    // prctl wants its fifth argument to be zero; the others do not look at it.
    let last: c_long = 0;
    // SAFETY: the callers pass integers and addresses of memory in `Plan` or of constants, which outlive the child's
    // use of them; errno is written to this thread's place, which nobody else uses meanwhile.
    let result = unsafe { libc::syscall(number, a, b, c, d, last) };
    if result == -1 {
        Err((step, Errno::last_raw()))
    } else {
        Ok(result)
    }
}

fn write_digits(mut number: c_long, out: *mut u8) {
    let mut digits = [0u8; PID_ROOM];
    let mut first = PID_ROOM - 1; // the last one stays NUL
    for place in digits[..PID_ROOM - 1].iter_mut().rev() {
        first -= 1;
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // SAFETY: `out` has PID_ROOM bytes, of which the digits and their NUL are the first; `first` < PID_ROOM.
    unsafe { ptr::copy_nonoverlapping(digits.as_ptr().add(first), out, PID_ROOM - first) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn digits_of_a_pid() {
        for pid in [0, 1, 9, 10, 4_194_304, i32::MAX] {
            let mut out = [b'x'; PID_ROOM];
            write_digits(pid.into(), out.as_mut_ptr());
            let text = CStr::from_bytes_until_nul(&out).unwrap();
            assert_eq!(text.to_str().unwrap(), pid.to_string());
        }
    }
}
