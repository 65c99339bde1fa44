//! What a program leaves behind: members of its process group that live on after its main process, and orphans that
//! came to us as their subreaper. They hold sockets and memory that the next generation wants.
//! Not here: stopping a program in the first place (`program::state`).

use crate::program::state::Exit;
use std::fs;
use std::time::{Duration, Instant};
use trine_sys::process::{self, Pid, Reap, Signal};

/// How long they have, at our own end, to obey SIGTERM, and then to be gone by SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Collects one child that has ended. If its group is to end with it then, while nobody else can have its number, the
/// rest of the group is asked to end: workers of a server that was killed, say, finish what they are doing and go.
pub(super) fn reap(ends_group: impl Fn(Pid) -> bool) -> Option<(Pid, Exit)> {
    let pid = process::peek_exited().ok()??;
    if ends_group(pid) {
        // ESRCH: it led no group, or is the group's last.
        let _ = process::signal_group(pid, Signal::SIGTERM);
    }
    let (pid, status) = process::reap(Reap::Pid(pid)).ok()??;
    Some((pid, super::slot::exit_of(status)))
}

/// Ends all that is still there when every program has been stopped: asked first, killed after a moment. Only
/// children of ours are signalled, which nobody else can reap, so the numbers are good.
pub(super) fn end_all() {
    let began = Instant::now();
    let mut signal = Signal::SIGTERM;
    loop {
        while let Ok(Some(_)) = process::reap(Reap::Any) {}
        let left = children();
        // What sits in the kernel and cannot even be killed is not waited for.
        if left.is_empty() || began.elapsed() >= PATIENCE {
            return;
        }
        if began.elapsed() >= GRACE {
            signal = Signal::SIGKILL;
        }
        for pid in left {
            let _ = process::signal_pid(pid, signal);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Our children that are not dead yet; a zombie is not one of them.
fn children() -> Vec<Pid> {
    let own = process::getpid().as_raw();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_child(&stat, own))
        })
        .map(Pid::from_raw)
        .collect()
}

/// `stat` is proc_pid_stat(5): the name in parentheses may hold anything, state and parent follow it.
fn is_child(stat: &str, parent: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = rest.split(' ');
    let state = fields.next();
    state != Some("Z") && fields.next() == Some(parent.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert!(is_child("12 (a) S 7 12 12 0", 7));
        assert!(is_child("12 (a) S 9) R 7 12 12 0", 7));
        assert!(!is_child("12 (a) S 77 12", 7));
        assert!(!is_child("12 (a) Z 7 12", 7));
        assert!(!is_child("", 7));
    }
}
