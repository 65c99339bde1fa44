//! What a process uses, as /proc tells (`proc_pid_stat(5)`). Not here: its children, or control groups.

/// Of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) memory_bytes: u64,
}

/// `None`: it is gone.
#[must_use]
pub(super) fn of(pid: i32) -> Option<Usage> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    parse(&text, u32::try_from(ticks).ok()?, u64::try_from(page).ok()?)
}

fn parse(stat: &str, ticks: u32, page: u64) -> Option<Usage> {
    // The name in the second field may hold anything; what follows the last parenthesis is regular.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let cpu = number(11)?.checked_add(number(12)?)?;
    Some(Usage {
        cpu_seconds: cpu as f64 / f64::from(ticks),
        memory_bytes: number(21)?.checked_mul(page)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let line = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 9 1000000 512 18446744073709551615";
        let want = Usage {
            cpu_seconds: 3.0,
            memory_bytes: 512 * 4096,
        };
        assert_eq!(parse(line, 100, 4096), Some(want));
        assert_eq!(parse("42 (x", 100, 4096), None);
        assert!(
            of(i32::try_from(std::process::id()).unwrap())
                .unwrap()
                .memory_bytes
                > 0
        );
    }
}
