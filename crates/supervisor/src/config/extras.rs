//! What a program may ask for beyond supervisord: dependencies, checks, limits, times to run, ways to log.
//! Not here: how the keys are typed (`raw`), what a process is held to (`limits`), or carrying any of it out.

use super::endpoints::check_ready;
use super::limits::{self, Limits};
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
        limits: limits::check(raw, at, problems),
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
pub(super) fn words(raw: Option<&TextOrList<Word>>, split: Option<char>) -> Vec<String> {
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
pub(super) fn pairs(
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
