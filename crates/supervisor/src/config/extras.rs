//! What a program may ask for beyond supervisord: dependencies, checks, limits, times to run, ways to log.
//! Not here: how the keys are typed (`raw`), or carrying any of it out.

use super::endpoints::check_ready;
use super::raw::RawProgram;
use super::values::{TextOrBlock, TextOrList, Word};
use super::yaml::absolute;
use super::{Process, Ready};
use crate::schedule::Cron;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trine_config::suggest::nearest;
use trine_config::{Place, Problems};
use trine_sys::limits;

/// All of them have a default that changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    pub depends_on: Vec<Dependency>,
    pub liveness: Option<Liveness>,
    /// It has to say WATCHDOG=1 this often.
    pub watchdog: Option<Duration>,
    pub environment_files: Vec<EnvironmentFile>,
    pub limits: Limits,
    pub schedule: Option<Schedule>,
    /// When it has ended, nothing that it started is to live on.
    pub kill_descendants: bool,
    pub shutdown_on: ShutdownOn,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// A program's or group's name: all processes of it.
    pub name: String,
    pub condition: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It has a process.
    Started,
    /// It is RUNNING, and ready if it says so.
    Ready,
    /// It is ready, and its liveness check has succeeded.
    Healthy,
    /// It has ended as expected.
    Completed,
}

impl Condition {
    pub const ALL: [(&str, Self); 4] = [
        ("started", Self::Started),
        ("ready", Self::Ready),
        ("healthy", Self::Healthy),
        ("completed", Self::Completed),
    ];

    fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, condition)| *condition)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    pub check: Ready,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many failures in a row, and it is restarted.
    pub failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentFile {
    pub path: PathBuf,
    /// May be missing (`-` in front of the path).
    pub optional: bool,
}

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub cron: Cron,
    /// IANA name; `None`: the system's.
    pub timezone: Option<String>,
    pub overlap: Overlap,
}

/// What to do when it is time and the last run has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Leave this time out.
    #[default]
    Skip,
    /// Run once more right after.
    Queue,
    /// Stop the last run and begin this one.
    Restart,
}

/// When the whole supervisor ends with a program, and with its exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownOn {
    #[default]
    Never,
    /// It has failed for good: FATAL, or an unexpected exit without a restart.
    Failure,
    /// It has ended for good, however.
    End,
}

/// How lines are written into log files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lines {
    pub format: LineFormat,
    /// A new file begins at least this often.
    pub interval: Option<Duration>,
    pub compress: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
    /// As they came.
    #[default]
    Raw,
    /// Time and process in front.
    Prefixed,
    /// An object each.
    Json,
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_FAILURES: u32 = 3;

pub(super) fn check(
    raw: &RawProgram,
    at: &Place,
    folder: &Path,
    stock: bool,
    problems: &mut Problems,
) -> Extras {
    Extras {
        depends_on: check_depends(raw.depends_on.as_ref(), &at.key("depends_on"), problems),
        liveness: check_liveness(raw, at, folder, problems),
        watchdog: raw
            .watchdog
            .map(|time| time.get())
            .filter(|time| !time.is_zero()),
        environment_files: words(raw.environment_file.as_ref(), None)
            .iter()
            .map(|path| EnvironmentFile {
                path: absolute(folder, path.strip_prefix('-').unwrap_or(path)),
                optional: path.starts_with('-'),
            })
            .collect(),
        limits: check_limits(raw, at, problems),
        schedule: check_schedule(raw, at, problems),
        kill_descendants: raw.kill_descendants.unwrap_or(!stock),
        shutdown_on: choice(
            raw.shutdown_on.as_ref(),
            &at.key("shutdown_on"),
            &[
                ("never", ShutdownOn::Never),
                ("failure", ShutdownOn::Failure),
                ("end", ShutdownOn::End),
            ],
            problems,
        ),
    }
}

pub(super) fn check_lines(raw: &RawProgram, at: &Place, problems: &mut Problems) -> Lines {
    Lines {
        format: choice(
            raw.logfile_format.as_ref(),
            &at.key("logfile_format"),
            &[
                ("raw", LineFormat::Raw),
                ("prefixed", LineFormat::Prefixed),
                ("json", LineFormat::Json),
            ],
            problems,
        ),
        interval: raw
            .logfile_interval
            .map(|time| time.get())
            .filter(|time| !time.is_zero()),
        compress: raw.logfile_compress.unwrap_or(false),
    }
}

/// One of some words; the default if it is not typed.
fn choice<T: Copy + Default>(
    raw: Option<&Word>,
    at: &Place,
    choices: &[(&str, T)],
    problems: &mut Problems,
) -> T {
    let Some(Word(typed)) = raw else {
        return T::default();
    };
    if let Some((_, value)) = choices.iter().find(|(name, _)| name == typed) {
        return *value;
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    problems.push(
        at.clone(),
        format!("{typed:?} is not known here"),
        format!("there are {}", names.join(", ")),
    );
    T::default()
}

/// A list, or a text that is split: at commas, or as given.
fn words(raw: Option<&TextOrList<Word>>, split: Option<char>) -> Vec<String> {
    match raw {
        None => Vec::new(),
        Some(TextOrList::List(words)) => words.iter().map(|word| word.0.clone()).collect(),
        Some(TextOrList::Text(text)) => text
            .split(|c: char| split.map_or(c == ',', |s| s == c || c == ','))
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect(),
    }
}

/// Pairs of a block, or of a text like `a=1, b=2`.
fn pairs(
    raw: &TextOrBlock<BTreeMap<String, Word>>,
    between: char,
) -> Vec<(String, Option<String>)> {
    match raw {
        TextOrBlock::Block(block) => block
            .iter()
            .map(|(name, Word(value))| (name.clone(), Some(value.clone())))
            .collect(),
        TextOrBlock::Text(text) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| match part.split_once(between) {
                Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
                None => (part.to_owned(), None),
            })
            .collect(),
    }
}

fn check_depends(
    raw: Option<&TextOrBlock<BTreeMap<String, Word>>>,
    at: &Place,
    problems: &mut Problems,
) -> Vec<Dependency> {
    let mut all = Vec::new();
    for (name, condition) in raw.map_or_else(Vec::new, |raw| pairs(raw, ':')) {
        let condition = match condition.as_deref() {
            None => Some(Condition::Ready),
            Some(text) => Condition::parse(text),
        };
        match condition {
            Some(condition) => all.push(Dependency { name, condition }),
            None => problems.push(
                at.key(&name),
                "not a condition that is known here",
                "there are started, ready (default), healthy and completed",
            ),
        }
    }
    all
}

fn check_liveness(
    raw: &RawProgram,
    at: &Place,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Liveness> {
    let typed = raw.liveness.as_ref()?;
    let check = check_ready(Some(typed), &at.key("liveness"), folder, problems);
    if !matches!(
        check,
        Ready::Tcp { .. } | Ready::Http { .. } | Ready::Exec { .. }
    ) {
        problems.push(
            at.key("liveness"),
            "this can be asked only once",
            "there are { http: URL }, { tcp: HOST:PORT } and { exec: COMMAND }",
        );
    }
    let time = |given: Option<trine_config::Duration>, default: Duration| {
        given
            .map(|time| time.get())
            .filter(|time| !time.is_zero())
            .unwrap_or(default)
    };
    Some(Liveness {
        check,
        interval: time(raw.liveness_interval, DEFAULT_INTERVAL),
        timeout: time(raw.liveness_timeout, DEFAULT_TIMEOUT),
        failures: raw.liveness_failures.unwrap_or(DEFAULT_FAILURES).max(1),
    })
}

fn check_limits(raw: &RawProgram, at: &Place, problems: &mut Problems) -> Limits {
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

fn check_schedule(raw: &RawProgram, at: &Place, problems: &mut Problems) -> Option<Schedule> {
    let Some(typed) = &raw.schedule else {
        for (key, is_typed) in [
            ("timezone", raw.timezone.is_some()),
            ("overlap", raw.overlap.is_some()),
        ] {
            if is_typed {
                problems.push(
                    at.key(key),
                    "there is no schedule",
                    "give one, or leave it out",
                );
            }
        }
        return None;
    };
    let cron = problems.keep(at.key("schedule"), Cron::parse(&typed.0));
    let timezone = raw.timezone.as_ref().map(|word| word.0.clone());
    if let Some(name) = &timezone
        && jiff::tz::TimeZone::get(name).is_err()
    {
        problems.push(
            at.key("timezone"),
            format!("{name:?} is no time zone of this system"),
            "write an IANA name, such as Europe/Berlin",
        );
    }
    let overlap = choice(
        raw.overlap.as_ref(),
        &at.key("overlap"),
        &[
            ("skip", Overlap::Skip),
            ("queue", Overlap::Queue),
            ("restart", Overlap::Restart),
        ],
        problems,
    );
    Some(Schedule {
        cron: cron?,
        timezone,
        overlap,
    })
}

/// What programs say of one another must make sense together: known names, no circles.
pub(super) fn check_together(
    processes: &[Process],
    place_of: &dyn Fn(&str) -> Option<Place>,
    problems: &mut Problems,
) {
    let place = |name: &str| {
        let known = place_of(name).map(|place| place.key("depends_on"));
        known.unwrap_or_else(|| Place::file_only(""))
    };
    let ids: Vec<String> = processes.iter().map(Process::id).collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (process, id) in processes.iter().zip(&ids) {
        let needed = edges.entry(id).or_default();
        for Dependency { name, .. } in &process.extras.depends_on {
            let before = needed.len();
            let all = processes.iter().zip(&ids);
            let meant = all.filter(|(other, _)| other.is_meant_by(name));
            needed.extend(meant.map(|(_, id)| id.as_str()));
            if needed.len() == before {
                let known = processes.iter().map(|process| process.group.as_str());
                let help = nearest(name, known)
                    .map(|near| format!("did you mean \"{near}\"?"))
                    .unwrap_or_default();
                problems.push(
                    place(&process.group),
                    format!("there is no program or group {name:?}"),
                    help,
                );
            }
        }
    }
    if let Some(circle) = crate::group::circle(&edges) {
        problems.push(
            place(circle[0].split(':').next().unwrap_or(circle[0])),
            format!("they wait for one another: {}", circle.join(", ")),
            "take one of these dependencies away",
        );
    }
}
