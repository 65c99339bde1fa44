//! What /proc tells of a daemon and its programs. Not here: starting either.

use std::fs;
use std::time::Duration;

/// The children of a process; the kernel lists those of its main thread.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

pub(super) fn name(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm"));
    text.unwrap_or_default().trim().to_owned()
}

/// The command line, its words ended by NUL.
pub(super) fn command(pid: u32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Nanoseconds on a processor so far, all threads.
pub(super) fn cpu(pids: &[u32]) -> Duration {
    let nanos: u64 = threads(pids)
        .iter()
        .filter_map(|path| fs::read_to_string(format!("{path}/schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

/// How often they went to sleep by themselves so far, which is how often they were woken.
pub(super) fn wakeups(pids: &[u32]) -> u64 {
    threads(pids)
        .iter()
        .filter_map(|path| fs::read_to_string(format!("{path}/status")).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

fn threads(pids: &[u32]) -> Vec<String> {
    let mut all = Vec::new();
    for pid in pids {
        let entries = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        all.extend(
            entries
                .flatten()
                .map(|entry| entry.path().display().to_string()),
        );
    }
    all
}
