//! What is measured of a supervisor, and how. Not here: tables, rounds.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::server::{Field, pss_mib};
use super::daemon::{Daemon, Kind, length};
use super::proc;
use super::rpc::Param;

/// One thing to compare; each run of `measure` gives a number for each of `figures`.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) figures: &'static [Figure],
    /// Its files belong on a disk.
    pub(super) on_disk: bool,
    pub(super) measure: fn(Kind, &Field) -> anyhow::Result<Vec<f64>>,
}

#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) digits: usize,
    pub(super) less_is_better: bool,
    pub(super) goal: &'static str,
}

const fn less(name: &'static str, digits: usize, goal: &'static str) -> Figure {
    Figure {
        name,
        digits,
        less_is_better: true,
        goal,
    }
}

const fn more(name: &'static str, digits: usize, goal: &'static str) -> Figure {
    Figure {
        name,
        digits,
        less_is_better: false,
        goal,
    }
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "supervisor-boot",
        what: "From the daemon's start until 200 programs are executed (startsecs=0)",
        figures: &[less("ms", 0, "8× sooner")],
        on_disk: false,
        measure: boot,
    },
    Scenario {
        name: "supervisor-all",
        what: "startAllProcesses and stopAllProcesses of 200, waiting",
        figures: &[
            less("start, ms", 0, "4× sooner"),
            less("stop, ms", 0, "4× sooner"),
        ],
        on_disk: false,
        measure: start_and_stop_all,
    },
    Scenario {
        name: "supervisor-idle",
        what: "200 programs that do nothing, for 20 s",
        figures: &[
            less(
                "memory of the daemon, MiB PSS",
                1,
                "at most 0.4×: 2.5× less",
            ),
            less("CPU, ms a minute", 2, "at most 0.02×: 50× less"),
            less("wake-ups a minute", 0, "none"),
        ],
        on_disk: false,
        measure: idle,
    },
    Scenario {
        name: "supervisor-log",
        what: "200 MB of output to a log file, in large writes and in lines of 100 bytes with one write each",
        figures: &[
            more("large writes, MB per CPU second of the daemon", 0, "1.1×"),
            more("lines, MB per CPU second of the daemon", 0, "3×"),
        ],
        on_disk: true,
        measure: logs,
    },
    Scenario {
        name: "supervisor-respawn",
        what: "From SIGKILL of a program until its successor is executed (200 programs)",
        figures: &[less("ms, median of several kills", 2, "100× sooner")],
        on_disk: false,
        measure: respawn,
    },
    Scenario {
        name: "supervisor-info",
        what: "getAllProcessInfo of 200 programs over the Unix socket, quiet and while one floods its log",
        figures: &[
            less("p50, ms", 2, "25× sooner"),
            less("p99, ms", 2, "25× sooner"),
            less("p50 during the flood, ms", 2, "at most 2× the quiet one"),
        ],
        on_disk: false,
        measure: info,
    },
];

const PROGRAMS: usize = 200;

/// `sleep` programs, with logs as the default has them.
fn sleepers(field: &Field, more: &str) -> String {
    let mut text = String::new();
    for number in 0..PROGRAMS {
        let log = field.path(&format!("log/{number}"));
        // Writing to a string never fails.
        let _infallible = write!(
            text,
            "[program:p{number:03}]\ncommand=/bin/sleep 100000\nstartsecs=0\nstdout_logfile={log}.out\nstderr_logfile={log}.err\n{more}",
            log = log.display()
        );
    }
    text
}

fn with_sleepers(kind: Kind, field: &Field, more: &str) -> anyhow::Result<Daemon> {
    std::fs::create_dir_all(field.path("log"))?;
    Daemon::start(kind, field, &sleepers(field, more))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn boot(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    let daemon = with_sleepers(kind, field, "")?;
    let time = daemon.wait_for("sleep", PROGRAMS)?;
    Ok(vec![milliseconds(time)])
}

fn start_and_stop_all(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    let daemon = with_sleepers(kind, field, "autostart=false\n")?;
    daemon.wait_socket()?;
    let mut times = Vec::new();
    for (method, count) in [
        ("supervisor.startAllProcesses", PROGRAMS),
        ("supervisor.stopAllProcesses", 0),
    ] {
        let start = Instant::now();
        daemon.call(method, &[Param::Bool(true)])?;
        times.push(milliseconds(start.elapsed()));
        let running = daemon.programs("sleep").len();
        if running != count {
            bail!("{running} programs run after {method}");
        }
    }
    Ok(times)
}

fn idle(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    const TIME: Duration = Duration::from_secs(20);
    let daemon = with_sleepers(kind, field, "")?;
    daemon.wait_for("sleep", PROGRAMS)?;
    daemon.wait_socket()?;
    std::thread::sleep(Duration::from_secs(3)); // what has been begun comes to rest
    let own = daemon.own();
    let (cpu, wakeups) = (proc::cpu(&own), proc::wakeups(&own));
    std::thread::sleep(TIME);
    let minutes = TIME.as_secs_f64() / 60.0;
    let cpu = proc::cpu(&own).saturating_sub(cpu);
    let woken = (proc::wakeups(&own) - wakeups) as f64 / minutes;
    Ok(vec![pss_mib(&own), milliseconds(cpu) / minutes, woken])
}

/// Writes 200 MB, `size` bytes at a time.
fn writer(size: usize) -> String {
    let count = TOTAL / size;
    format!(
        "taskset -c 1 python3 -c \"import os; b = b'x' * {} + b'\\n'; [os.write(1, b) for _ in range({count})]\"",
        size - 1
    )
}

const TOTAL: usize = 200_000_000;

fn logs(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    let mut figures = Vec::new();
    let (large, lines) = (field.path("large.log"), field.path("lines.log"));
    let section = |name: &str, size: usize, log: &std::path::Path| {
        format!(
            "[program:{name}]\ncommand={}\nautostart=false\nautorestart=false\nstartsecs=0\nstdout_logfile={}\nstdout_logfile_maxbytes=0\n",
            writer(size),
            log.display()
        )
    };
    let programs = section("large", 100_000, &large) + &section("lines", 100, &lines);
    let daemon = Daemon::start(kind, field, &programs)?;
    daemon.wait_socket()?;
    for (name, log) in [("large", &large), ("lines", &lines)] {
        let own = daemon.own();
        let before = proc::cpu(&own);
        daemon.call(
            "supervisor.startProcess",
            &[Param::Text(name), Param::Bool(false)],
        )?;
        daemon.until("the output", || {
            std::thread::sleep(Duration::from_millis(20));
            (length(log) >= TOTAL as u64).then_some(())
        })?;
        if length(log) != TOTAL as u64 {
            bail!("{name}: {} bytes in the log", length(log));
        }
        let used = proc::cpu(&own).saturating_sub(before);
        figures.push(TOTAL as f64 / 1e6 / used.as_secs_f64());
        std::fs::remove_file(log)?;
    }
    Ok(figures)
}

fn respawn(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    let kills = match kind {
        Kind::Ours => 40,
        Kind::Supervisord => 5,
    };
    let daemon = with_sleepers(kind, field, "autorestart=true\n")?;
    daemon.wait_for("sleep", PROGRAMS)?;
    daemon.wait_socket()?;
    let mut times = Vec::new();
    for _ in 0..kills {
        let before = daemon.programs("sleep");
        let Some(victim) = before.first().copied() else {
            bail!("there is no program")
        };
        let start = Instant::now();
        kill(Pid::from_raw(i32::try_from(victim)?), Signal::SIGKILL)?;
        let time = daemon.until("the successor", || {
            let now = proc::children(daemon.pid);
            let fresh = now
                .iter()
                .find(|pid| !before.contains(pid) && proc::name(**pid) == "sleep");
            fresh.map(|_| start.elapsed())
        })?;
        times.push(milliseconds(time));
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort_by(f64::total_cmp);
    Ok(vec![times[times.len() / 2]])
}

fn info(kind: Kind, field: &Field) -> anyhow::Result<Vec<f64>> {
    let calls = match kind {
        Kind::Ours => 200,
        Kind::Supervisord => 30,
    };
    let flood = format!(
        "[program:flood]\ncommand=taskset -c 1 python3 -c \"import os; b = b'x' * 4095 + b'\\n'\nwhile True: os.write(1, b)\"\nautostart=false\nstartsecs=0\nstdout_logfile={}\nstdout_logfile_maxbytes=50MB\nstdout_logfile_backups=1\n",
        field.path("flood.log").display()
    )
    .replace("\nwhile True: os.write(1, b)", "; list(iter(lambda: os.write(1, b), 0))");
    std::fs::create_dir_all(field.path("log"))?;
    let daemon = Daemon::start(kind, field, &(sleepers(field, "") + &flood))?;
    daemon.wait_for("sleep", PROGRAMS)?;
    daemon.wait_socket()?;
    let ask = |count: usize| -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            let answer = daemon.call("supervisor.getAllProcessInfo", &[])?;
            times.push(milliseconds(start.elapsed()));
            if answer.matches("<name>statename</name>").count() != PROGRAMS + 1 {
                bail!("not all programs are in the answer");
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    };
    let quiet = ask(calls)?;
    daemon.call(
        "supervisor.startProcess",
        &[Param::Text("flood"), Param::Bool(false)],
    )?;
    daemon.until("the flood", || {
        (length(&field.path("flood.log")) > 1 << 20).then_some(())
    })?;
    let flooded = ask(calls / 2)?;
    let at = |times: &[f64], share: f64| {
        let index = ((times.len() - 1) as f64 * share).round();
        times[index as usize]
    };
    Ok(vec![at(&quiet, 0.5), at(&quiet, 0.99), at(&flooded, 0.5)])
}
