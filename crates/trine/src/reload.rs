//! `trine reload`: every daemon first rehearses its reload; only when all agree is it done.
//!
//! The supervisor goes last: it knows about programs, and these have the new configurations by then.

use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::Value;
use trine_control::client::Client;
use trine_service::exit::Exit;

use crate::actions::REFUSED;
use crate::cli::ReloadArgs;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::supervisor::told;

/// How long a new generation may take to boot.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often a daemon that boots one is asked.
const LOOK: Duration = Duration::from_millis(50);

const DAEMONS: [&str; 3] = ["wsgi", "proxy", "supervisor"];

pub(crate) async fn run(args: &ReloadArgs, run_dir: &RunDir) -> anyhow::Result<Exit> {
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| !DAEMONS.contains(&name.as_str()))
    {
        let what = format!("`{unknown}` cannot be reloaded");
        return Err(Failure::new(
            Exit::Usage,
            what,
            format!("reload one of {}", DAEMONS.join(", ")),
        )
        .into());
    }
    let asked =
        |name: &&&str| args.names.is_empty() || args.names.iter().any(|asked| asked == **name);
    let chosen: Vec<&str> = DAEMONS.iter().filter(asked).copied().collect();

    let mut all_good = true;
    for name in &chosen {
        let report = ask(run_dir, name, true).await?;
        all_good &= report.ok;
        if args.dry_run || !report.ok {
            tell(
                name,
                if report.ok {
                    "can be reloaded"
                } else {
                    "would not take the new configuration"
                },
                &report,
            );
        }
    }
    if args.dry_run || !all_good {
        return Ok(if all_good { Exit::Ok } else { Exit::Config });
    }
    for name in &chosen {
        let report = ask(run_dir, name, false).await?;
        tell(
            name,
            if report.ok {
                "reloaded"
            } else {
                "not reloaded, the former configuration serves on"
            },
            &report,
        );
        if !report.ok {
            let _ = writeln!(
                io::stderr(),
                "trine: all of it: trine logs{} {name}",
                run_dir.flag()
            );
            return Ok(REFUSED);
        }
    }
    Ok(Exit::Ok)
}

/// How a reload, or its rehearsal, went.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    ok: bool,
    problems: Vec<String>,
}

/// A daemon answers with the report, or, when booting the new generation takes its time, that it has begun;
/// then the report shows up in its status.
async fn ask(run_dir: &RunDir, name: &str, dry_run: bool) -> anyhow::Result<Verdict> {
    let daemon = Client::new(run_dir.socket(name));
    let told =
        |error| anyhow::Error::context(told(error, run_dir), format!("cannot reload {name}"));
    let before = daemon.status().await.map_err(told)?.last_reload;
    let path = if dry_run {
        "/v1/reload?dry_run=true"
    } else {
        "/v1/reload"
    };
    let answer = match daemon.post::<Value>(path).await {
        Ok(answer) => answer,
        Err(error) => match error
            .problem()
            .filter(|problem| !problem.problems.is_empty())
        {
            Some(problem) => {
                return Ok(Verdict {
                    ok: false,
                    problems: problem.problems.clone(),
                });
            }
            None => return Err(told(error)),
        },
    };
    if dry_run || is_report(&answer) {
        return Ok(verdict(&answer));
    }
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            let now = daemon.status().await?.last_reload;
            if let Some(report) =
                now.filter(|now| before.as_ref().is_none_or(|before| before.time != now.time))
            {
                return Ok(Verdict {
                    ok: report.ok,
                    problems: report.problems,
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    let silent = |_| {
        let what = format!("{name} began to reload and has not said how that went");
        Failure::new(
            REFUSED,
            what,
            format!("look at its log: trine logs{} {name}", run_dir.flag()),
        )
    };
    ended.await.map_err(silent)?.map_err(told)
}

/// A report tells when the reload ended; a mere acknowledgement cannot.
fn is_report(answer: &Value) -> bool {
    answer.get("time").is_some()
}

fn verdict(answer: &Value) -> Verdict {
    let problems = answer.get("problems").and_then(Value::as_array);
    let problems = problems.into_iter().flatten().filter_map(Value::as_str);
    Verdict {
        ok: answer.get("ok").and_then(Value::as_bool).unwrap_or(false),
        problems: problems.map(str::to_owned).collect(),
    }
}

fn tell(name: &str, what: &str, verdict: &Verdict) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{name}: {what}");
    for line in verdict.problems.iter().flat_map(|problem| problem.lines()) {
        let _ = writeln!(out, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let report = serde_json::json!({"ok": false, "time": "2026-11-23T10:00:00Z", "problems": ["a:1: bad"]});
        assert!(is_report(&report));
        assert_eq!(
            verdict(&report),
            Verdict {
                ok: false,
                problems: vec!["a:1: bad".to_owned()]
            }
        );
        let begun = serde_json::json!({"ok": true, "message": "reloading"});
        assert!(!is_report(&begun));
        assert!(verdict(&begun).ok);
    }
}
