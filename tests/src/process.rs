//! Other programs: run until they are done; and what /proc tells about processes: who is whose child, who is still there, who
//! belongs to a test.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Runs a program that has to succeed; what it wrote to standard output.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{command:?}: {status}\n{text}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}

/// Sends a signal; that the process is gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    let _gone_already = kill(Pid::from_raw(pid), signal);
}

/// Whether the process exists and is not a zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z') || has_other_threads(pid)
}

/// The CPU time that the process has used, in hundredths of a second.
#[must_use]
pub fn cpu_ticks(pid: i32) -> u64 {
    stat(pid).map_or(0, |stat| stat.ticks)
}

/// A leader can be a zombie while other threads of the process are still dying, and its sockets are still open.
fn has_other_threads(pid: i32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 1)
}

/// Waits until the process is gone (or a zombie: it runs no more).
#[track_caller]
pub fn wait_gone(pid: i32) {
    wait::until(
        &format!("the end of process {pid} ({})", command(pid)),
        || (!is_alive(pid)).then_some(()),
    );
}

/// The command line, words separated by spaces.
#[must_use]
pub fn command(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// The direct children, oldest first.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let mut found: Vec<(u64, i32)> = all()
        .into_iter()
        .filter_map(|stat| {
            (stat.parent == pid && stat.state != 'Z').then_some((stat.started, stat.pid))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// All processes below `pid`, without itself.
#[must_use]
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut found = vec![];
    let mut open = vec![pid];
    while let Some(next) = open.pop() {
        let below = children(next);
        open.extend(&below);
        found.extend(below);
    }
    found
}

/// The live processes that were started with `variable=value` in their environment.
#[must_use]
pub fn marked(variable: &str, value: &str) -> Vec<i32> {
    let wanted = format!("{variable}={value}");
    let has_mark = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
    };
    all()
        .into_iter()
        .filter(|stat| stat.state != 'Z' && has_mark(stat.pid))
        .map(|stat| stat.pid)
        .collect()
}

struct Stat {
    pid: i32,
    state: char,
    parent: i32,
    /// CPU time, its own and the kernel's for it.
    ticks: u64,
    started: u64,
}

fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect()
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in the second field may hold spaces and parentheses; what follows the last one is regular.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}
