//! `trine reload`: every daemon first rehearses its reload; only when all agree is it done.
//!
//! The supervisor goes last: it knows about programs, and these have the new configurations by then.

use std::io::{self, Write as _};

use trine_control::message::ReloadReport;
use trine_service::exit::Exit;

use crate::actions::REFUSED;
use crate::cli::ReloadArgs;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::supervisor;

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
        let report = supervisor::reload(run_dir, name, true).await?;
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
        let report = supervisor::reload(run_dir, name, false).await?;
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
            return Ok(REFUSED);
        }
    }
    Ok(Exit::Ok)
}

fn tell(name: &str, what: &str, report: &ReloadReport) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{name}: {what}");
    for problem in &report.problems {
        let _ = writeln!(out, "  {problem}");
    }
}
