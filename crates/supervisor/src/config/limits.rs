//! What a program's processes are held to: resource limits, priority, capabilities, control groups.
//! Not here: setting any of it (`brain::start`, `brain::cgroup`).

use super::extras::{pairs, words};
use super::raw::RawProgram;
use super::values::{TextOrList, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trine_config::{Place, Problems};
use trine_sys::limits;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Name, soft, hard.
    pub rlimits: Vec<(String, u64, u64)>,
    pub nice: Option<i32>,
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    /// The capabilities that stay possible, as bits.
    pub capabilities: Option<u64>,
    /// File of the control group, and what to write there.
    pub cgroup: BTreeMap<String, String>,
}

/// All that is typed about limits, with every problem told.
pub(super) fn check(raw: &RawProgram, at: &Place, problems: &mut Problems) -> Limits {
    let mut out = Limits {
        nice: in_range(raw.nice, -20..=19, &at.key("nice"), problems),
        oom_score_adj: in_range(
            raw.oom_score_adj,
            -1000..=1000,
            &at.key("oom_score_adj"),
            problems,
        ),
        no_new_privileges: raw.no_new_privileges.unwrap_or(false),
        capabilities: raw
            .capabilities
            .as_ref()
            .map(|typed| check_capabilities(typed, &at.key("capabilities"), problems)),
        ..Limits::default()
    };
    let place = at.key("rlimits");
    for (name, value) in raw
        .rlimits
        .as_ref()
        .map_or_else(Vec::new, |raw| pairs(raw, '='))
    {
        if limits::parse(&name).is_none() {
            let names: Vec<&str> = limits::NAMES.iter().map(|(name, _)| *name).collect();
            problems.push(
                place.clone(),
                format!("there is no limit {name}"),
                format!("there are {}", names.join(", ")),
            );
            continue;
        }
        match value.as_deref().and_then(parse_limit) {
            Some((soft, hard)) => out.rlimits.push((name, soft, hard)),
            None => problems.push(
                place.key(&name),
                "not usable as a limit",
                "write a number, unlimited, or SOFT:HARD",
            ),
        }
    }
    let mut set = |file: &str, value: Option<String>| {
        if let Some(value) = value {
            out.cgroup.insert(file.to_owned(), value);
        }
    };
    set(
        "memory.high",
        raw.memory_high.map(|size| size.bytes().to_string()),
    );
    set(
        "memory.max",
        raw.memory_max.map(|size| size.bytes().to_string()),
    );
    set("pids.max", raw.pids_max.map(|count| count.to_string()));
    set(
        "cpu.weight",
        raw.cpu_weight.map(|weight| weight.to_string()),
    );
    set(
        "cpu.max",
        raw.cpu_max
            .as_ref()
            .and_then(|word| check_cpu(&word.0, &at.key("cpu_max"), problems)),
    );
    if raw
        .cpu_weight
        .is_some_and(|weight| !(1..=10_000).contains(&weight))
    {
        problems.push(at.key("cpu_weight"), "expected 1 to 10000", "100 is usual");
    }
    out
}

fn in_range(
    value: Option<i32>,
    range: std::ops::RangeInclusive<i32>,
    at: &Place,
    problems: &mut Problems,
) -> Option<i32> {
    if let Some(value) = value
        && !range.contains(&value)
    {
        let (low, high) = (range.start(), range.end());
        problems.push(
            at.clone(),
            format!("expected {low} to {high}, found {value}"),
            "",
        );
    }
    value
}

fn parse_limit(text: &str) -> Option<(u64, u64)> {
    let one = |word: &str| match word.trim() {
        "unlimited" | "infinity" | "-1" => Some(limits::UNLIMITED),
        number => number.parse().ok(),
    };
    match text.split_once(':') {
        Some((soft, hard)) => {
            let (soft, hard) = (one(soft)?, one(hard)?);
            (soft <= hard).then_some((soft, hard))
        }
        None => one(text).map(|value| (value, value)),
    }
}

/// Microseconds in each tenth of a second: `150%` is one and a half processors.
fn check_cpu(text: &str, at: &Place, problems: &mut Problems) -> Option<String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<u32>().ok());
    match percent {
        Some(percent) if percent > 0 => Some(format!("{} 100000", u64::from(percent) * 1000)),
        _ => {
            problems.push(
                at.clone(),
                format!("{text:?} is no share of processors"),
                "write a percentage: 50% is half a processor, 200% are two",
            );
            None
        }
    }
}

/// In the order of their numbers (`capabilities(7)`).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

fn check_capabilities(raw: &TextOrList<Word>, at: &Place, problems: &mut Problems) -> u64 {
    let mut bits = 0;
    for word in words(Some(raw), Some(' ')) {
        let name = word.to_ascii_lowercase();
        let name = name.strip_prefix("cap_").unwrap_or(&name);
        if name == "none" {
            continue;
        }
        match CAPABILITIES.iter().position(|known| *known == name) {
            Some(number) => bits |= 1 << number,
            None => problems.push(
                at.clone(),
                format!("there is no capability {word}"),
                "see capabilities(7), or write none",
            ),
        }
    }
    bits
}
