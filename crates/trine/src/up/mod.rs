//! `trine up`: from an application to a site that answers, and back down again.
//!
//! plan → configurations → preflight → launch → ready → stay → stop. Each step is a room of its own.

mod app;
mod binaries;
mod configs;
mod diagnosis;
mod judge;
mod launch;
mod plan;
mod port_owner;
mod preflight;
mod progress;
mod python;
mod site;
mod summary;

use std::io::{self, Write as _};

use trine_service::exit::Exit;

pub(crate) use self::judge::verdict;
use self::plan::Plan;
use self::site::{Outcome, Site};
use crate::cli::UpArgs;
use crate::run_dir::RunDir;

/// As a shell tells of a program that Ctrl-C ended.
const INTERRUPTED: Exit = Exit::Other(130);

pub(crate) async fn run(args: UpArgs, run_dir: RunDir) -> anyhow::Result<Exit> {
    let (detach, print_config) = (args.detach, args.print_config);
    let plan = Plan::new(args, run_dir)?;
    let files = configs::files(&plan)?;
    if print_config {
        print(&files);
        return Ok(Exit::Ok);
    }
    preflight::check(&plan)?;
    plan.run_dir.create()?;
    for file in &files {
        configs::write(file)?;
    }
    summary::choices(&plan);
    let mut site = Site::launch(plan)?;
    match site.until_ready().await? {
        Outcome::Ready => summary::ready(&site.plan, detach).await,
        Outcome::Interrupted => {
            site.stop_on_request().await?;
            return Ok(INTERRUPTED);
        }
        Outcome::Ended(status) => site.end_told(status)?,
    }
    if detach {
        return Ok(Exit::Ok);
    }
    match site.watch().await? {
        Outcome::Ready => {}
        Outcome::Interrupted => {
            let status = site.stop_on_request().await?;
            site.end_told(status)?;
        }
        Outcome::Ended(status) => site.end_told(status)?,
    }
    Ok(Exit::Ok)
}

fn print(files: &[configs::File]) {
    let mut out = io::stdout().lock();
    for file in files {
        let _ = writeln!(
            out,
            "---\n# {}\n{}",
            file.path.display(),
            file.text.trim_end()
        );
    }
}
