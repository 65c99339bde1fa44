//! What a supervisor can be asked for beyond start and stop: scale, restart one after the other, take a changed
//! configuration over or tell what that would do, make way for a newer program.
//!
//! Not here: the other orders (see `actions`).

use std::io::{self, Write as _};
use std::time::Duration;

use serde::Deserialize;
use trine_control::client::ClientError;
use trine_control::message::Status;
use trine_service::exit::Exit;

use crate::actions::REFUSED;
use crate::cli::{RollingRestartArgs, ScaleArgs, UpdateArgs, UpgradeArgs};
use crate::failure::Failure;
use crate::supervisor::Supervisor;

/// How long a newer program may take until it answers.
const UPGRADE_TIME: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) async fn scale(args: &ScaleArgs, supervisor: &Supervisor) -> anyhow::Result<Exit> {
    let result = supervisor.scale(&args.name, args.count).await;
    told(result.map(|result| result.message))
}

pub(crate) async fn rolling_restart(
    args: &RollingRestartArgs,
    supervisor: &Supervisor,
) -> anyhow::Result<Exit> {
    let result = supervisor.rolling_restart(&args.name, args.batch).await;
    told(result.map(|result| result.message))
}

/// A refusal of the supervisor is told as it is.
fn told(result: Result<String, anyhow::Error>) -> anyhow::Result<Exit> {
    match result {
        Ok(message) => {
            let _ = writeln!(io::stdout(), "{message}");
            Ok(Exit::Ok)
        }
        Err(error) => match error.downcast_ref::<ClientError>() {
            Some(ClientError::Refused { problem, .. }) => {
                let _ = writeln!(io::stderr(), "trine: {problem}");
                Ok(REFUSED)
            }
            _ => Err(error),
        },
    }
}

/// The answer of `GET /v1/plan`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    problems: Vec<String>,
    add: Vec<String>,
    remove: Vec<String>,
    restart: Vec<Change>,
    adjust: Vec<Change>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Change {
    name: String,
    keys: Vec<String>,
}

impl Plan {
    /// One line for each program that something happens to.
    fn lines(&self) -> Vec<String> {
        let changed = |verb: &str, all: &[Change]| -> Vec<String> {
            all.iter()
                .map(|change| format!("{verb} {} ({})", change.name, change.keys.join(", ")))
                .collect()
        };
        let named = |verb: &str, all: &[String]| -> Vec<String> {
            all.iter().map(|name| format!("{verb} {name}")).collect()
        };
        [
            named("start  ", &self.add),
            changed("restart", &self.restart),
            changed("adjust ", &self.adjust),
            named("remove ", &self.remove),
        ]
        .concat()
    }
}

pub(crate) async fn update(args: &UpdateArgs, supervisor: &Supervisor) -> anyhow::Result<Exit> {
    let plan = supervisor.plan().await?;
    let mut out = io::stdout().lock();
    if !plan.problems.is_empty() {
        for problem in &plan.problems {
            let _ = writeln!(io::stderr(), "trine: {problem}");
        }
        return Ok(Exit::Config);
    }
    let lines = plan.lines();
    for line in &lines {
        let _ = writeln!(out, "{line}");
    }
    if lines.is_empty() {
        let _ = writeln!(out, "nothing to change");
    }
    drop(out);
    if args.dry_run || lines.is_empty() {
        return Ok(Exit::Ok);
    }
    let report = supervisor.reload().await?;
    for problem in &report.problems {
        let _ = writeln!(io::stderr(), "trine: {problem}");
    }
    Ok(if report.ok { Exit::Ok } else { REFUSED })
}

fn upgrades(status: &Status) -> u64 {
    status.detail["upgrades"].as_u64().unwrap_or(0)
}

/// The supervisor executes another program in its own place; its programs notice nothing.
pub(crate) async fn upgrade(args: &UpgradeArgs, supervisor: &Supervisor) -> anyhow::Result<Exit> {
    let before = supervisor.status().await?;
    let program = match &args.program {
        Some(path) => Some(std::path::absolute(path)?),
        None => None,
    };
    match supervisor.upgrade(program.as_deref()).await {
        // There is no answer when it comes about: whoever would give it is replaced.
        Ok(_) | Err(ClientError::Broken { .. } | ClientError::NoDaemon { .. }) => {}
        Err(ClientError::Refused { problem, .. }) => {
            return Err(Failure::new(
                REFUSED,
                format!("not upgraded: {problem}"),
                "everything runs on as it was",
            )
            .into());
        }
        Err(error) => return Err(error.into()),
    }
    let wait = async {
        loop {
            if let Ok(now) = supervisor.status().await
                && upgrades(&now) > upgrades(&before)
            {
                return now;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let Ok(now) = tokio::time::timeout(UPGRADE_TIME, wait).await else {
        return Err(Failure::new(
            REFUSED,
            "the newer program does not answer",
            "look into the supervisor's log",
        )
        .into());
    };
    if upgrades(&now) > upgrades(&before) + 1 {
        return Err(Failure::new(
            REFUSED,
            "the newer program could not work, and the old one is back in its place",
            "look into the supervisor's log",
        )
        .into());
    }
    let _ = writeln!(
        io::stdout(),
        "supervisor: version {} is now {}, pid {} as before",
        before.version,
        now.version,
        now.pid
    );
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_in_lines() {
        let plan: Plan = serde_json::from_str(
            r#"{"add":["new"],"remove":["old"],"restart":[{"name":"web:web_00","keys":["command"]}],
                "adjust":[{"name":"db","keys":["priority","stop_wait"]}],"later":1}"#,
        )
        .unwrap();
        let want = [
            "start   new",
            "restart web:web_00 (command)",
            "adjust  db (priority, stop_wait)",
            "remove  old",
        ];
        assert_eq!(plan.lines(), want);
        assert_eq!(Plan::default().lines(), [""; 0]);
    }
}
