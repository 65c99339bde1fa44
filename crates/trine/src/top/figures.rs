//! What processes use: CPU time and memory of whole process trees, from /proc.
//! Not here: which processes to look at, or showing anything.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Share of one processor since the look before.
    pub(crate) cpu_percent: f64,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: usize,
}

/// Looks at /proc again and again.
#[derive(Debug)]
pub(crate) struct Figures {
    /// CPU ticks of each root's tree at the last look.
    before: BTreeMap<u32, u64>,
    looked: Instant,
    ticks_per_second: f64,
    page_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    parent: u32,
    ticks: u64,
    pages: u64,
}

impl Figures {
    pub(crate) fn new() -> Self {
        use nix::unistd::{SysconfVar, sysconf};
        let get = |what, usual: i64| sysconf(what).ok().flatten().unwrap_or(usual);
        Self {
            before: BTreeMap::new(),
            looked: Instant::now(),
            ticks_per_second: get(SysconfVar::CLK_TCK, 100) as f64,
            page_bytes: get(SysconfVar::PAGE_SIZE, 4096).unsigned_abs(),
        }
    }

    /// The usage of each of `roots` with its descendants.
    pub(crate) fn look(&mut self, roots: &[u32]) -> BTreeMap<u32, Usage> {
        let all = processes();
        let seconds = self.looked.elapsed().as_secs_f64().max(0.001);
        self.looked = Instant::now();
        let mut ticks: BTreeMap<u32, u64> = BTreeMap::new();
        let mut usage: BTreeMap<u32, Usage> = BTreeMap::new();
        for (pid, entry) in &all {
            if let Some(root) = root_of(*pid, roots, &all) {
                *ticks.entry(root).or_default() += entry.ticks;
                let sum = usage.entry(root).or_default();
                sum.memory_bytes += entry.pages * self.page_bytes;
                sum.processes += 1;
            }
        }
        for (root, sum) in &mut usage {
            if let (Some(before), Some(now)) = (self.before.get(root), ticks.get(root)) {
                let used = now.saturating_sub(*before) as f64 / self.ticks_per_second;
                sum.cpu_percent = used / seconds * 100.0;
            }
        }
        self.before = ticks;
        usage
    }
}

fn root_of(pid: u32, roots: &[u32], all: &BTreeMap<u32, Entry>) -> Option<u32> {
    let mut at = pid;
    for _ in 0..64 {
        if roots.contains(&at) {
            return Some(at);
        }
        at = all.get(&at)?.parent;
    }
    None
}

fn processes() -> BTreeMap<u32, Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect()
}

/// `proc_pid_stat(5)`; the name in parentheses may hold anything.
fn parse(stat: &str) -> Option<Entry> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Entry {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        pages: number(21)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_stat() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 1 0 0 0 12 5 0 0 20 0 1 0 100 1000 42 18446744073709551615";
        let want = Entry {
            parent: 3,
            ticks: 17,
            pages: 42,
        };
        assert_eq!(parse(stat), Some(want));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn trees_are_summed() {
        let own = std::process::id();
        let mut figures = Figures::new();
        let first = figures.look(&[own]);
        assert!(first[&own].memory_bytes > 0 && first[&own].processes >= 1);
        let entry = |parent| Entry {
            parent,
            ticks: 0,
            pages: 0,
        };
        let all = BTreeMap::from([(5, entry(1)), (6, entry(5)), (7, entry(6)), (8, entry(1))]);
        assert_eq!(root_of(7, &[5], &all), Some(5));
        assert_eq!(root_of(8, &[5], &all), None);
    }
}
