//! `trine status`: one line per program. Exit code 0 when all run and are ready, 3 otherwise.

use std::io::{self, Write as _};
use std::time::Duration;

use trine_control::message::{ProgramState, ProgramStatus};
use trine_service::exit::Exit;

use crate::cli::StatusArgs;
use crate::run_dir::RunDir;
use crate::supervisor::Supervisor;

/// Some program is not running, or not ready (supervisorctl's code).
const NOT_ALL_RUNNING: Exit = Exit::Other(3);

pub(crate) async fn run(args: &StatusArgs, run_dir: &RunDir) -> anyhow::Result<Exit> {
    let supervisor = Supervisor::of(run_dir);
    let programs = supervisor.programs().await?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&programs)?)
    } else {
        table(&programs)
    };
    let _ = io::stdout().lock().write_all(text.as_bytes());
    let all = programs
        .iter()
        .all(|program| program.state == ProgramState::Running && program.ready);
    Ok(if all { Exit::Ok } else { NOT_ALL_RUNNING })
}

/// The programs as columns, each as wide as its widest word.
pub(crate) fn table(programs: &[ProgramStatus]) -> String {
    let mut rows = vec![
        [
            "PROGRAM", "STATE", "READY", "PID", "UPTIME", "RESTARTS", "NOTE",
        ]
        .map(str::to_owned),
    ];
    rows.extend(programs.iter().map(row));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(program: &ProgramStatus) -> [String; 7] {
    let dash = || "-".to_owned();
    [
        program.name.clone(),
        program.state.to_string(),
        if program.ready { "yes" } else { "no" }.to_owned(),
        program.pid.map_or_else(dash, |pid| pid.to_string()),
        program
            .uptime_ms
            .map_or_else(dash, |ms| uptime(Duration::from_millis(ms))),
        program.restarts.to_string(),
        note(program),
    ]
}

/// What the columns do not say already.
fn note(program: &ProgramStatus) -> String {
    match program.state {
        ProgramState::Running | ProgramState::Starting | ProgramState::Stopping => String::new(),
        ProgramState::Stopped | ProgramState::Unknown => program.description.clone(),
        ProgramState::Backoff | ProgramState::Exited | ProgramState::Fatal => {
            let verdict = crate::up::verdict(program);
            if program.description.is_empty() || program.description == verdict {
                verdict
            } else {
                format!("{verdict}; {}", program.description)
            }
        }
    }
}

/// `0:01:05`, with days in front when there are any.
fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let clock = format!(
        "{}:{:02}:{:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    match seconds / 86_400 {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes() {
        let check = |seconds, want| assert_eq!(uptime(Duration::from_secs(seconds)), want);
        check(0, "0:00:00");
        check(65, "0:01:05");
        check(90_061, "1 day, 1:01:01");
        check(200_000, "2 days, 7:33:20");
    }

    #[test]
    fn tables() {
        let running = serde_json::json!({"name": "wsgi", "group": "wsgi", "state": "RUNNING", "pid": 12, "uptime_ms": 65000, "ready": true, "restarts": 2});
        let fatal = serde_json::json!({"name": "proxy", "group": "proxy", "state": "FATAL", "exit_code": 78, "description": "gave up"});
        let programs = [running, fatal].map(|json| serde_json::from_value(json).unwrap());
        let want = "\
PROGRAM  STATE    READY  PID  UPTIME   RESTARTS  NOTE
wsgi     RUNNING  yes    12   0:01:05  2
proxy    FATAL    no     -    -        0         ended with exit code 78; gave up
";
        assert_eq!(table(&programs), want);
    }
}
