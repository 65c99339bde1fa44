//! `trine start`, `stop`, `restart` and `down`: orders to the supervisor, and waiting until they are done.

use std::io::{self, Write as _};

use trine_service::exit::Exit;

use crate::cli::Names;
use crate::failure::Failure;
use crate::run_dir::RunDir;
use crate::supervisor::Supervisor;

/// A program could not do what was asked.
pub(crate) const REFUSED: Exit = Exit::Other(1);

pub(crate) async fn start(args: &Names, run_dir: &RunDir) -> anyhow::Result<Exit> {
    each(args, run_dir, "start", "started").await
}

pub(crate) async fn stop(args: &Names, run_dir: &RunDir) -> anyhow::Result<Exit> {
    each(args, run_dir, "stop", "stopped").await
}

pub(crate) async fn restart(args: &Names, run_dir: &RunDir) -> anyhow::Result<Exit> {
    each(args, run_dir, "restart", "restarted").await
}

/// One after the other, as typed; all are tried, and the first failure is told last by the exit code.
async fn each(args: &Names, run_dir: &RunDir, verb: &str, done: &str) -> anyhow::Result<Exit> {
    let supervisor = Supervisor::of(run_dir);
    let mut exit = Exit::Ok;
    for name in &args.names {
        let told = match supervisor.order(name, verb).await {
            Ok(result) if result.ok => format!("{name}: {done}"),
            Ok(result) => {
                exit = REFUSED;
                format!("{name}: not {done}: {}", result.message)
            }
            Err(error) if error.is::<Failure>() => return Err(error), // there is nobody to ask
            Err(error) => {
                exit = REFUSED;
                format!("{name}: not {done}: {error:#}")
            }
        };
        let _ = writeln!(io::stdout(), "{told}");
    }
    if exit != Exit::Ok {
        let flag = run_dir.flag();
        let _ = writeln!(
            io::stderr(),
            "trine: look at `trine status{flag}` and `trine logs{flag} NAME`"
        );
    }
    Ok(exit)
}

/// Stops everything, and returns once the supervisor is gone.
pub(crate) async fn down(run_dir: &RunDir) -> anyhow::Result<Exit> {
    let supervisor = Supervisor::of(run_dir);
    supervisor.stop_and_wait().await?;
    let _ = writeln!(
        io::stdout(),
        "everything in {} is stopped",
        run_dir.path().display()
    );
    Ok(Exit::Ok)
}
