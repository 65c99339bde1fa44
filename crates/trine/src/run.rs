//! From what was typed to the one who does it. Not here: what is typed (`cli`), or doing it.

use trine_service::exit::Exit;

use crate::cli::{Cli, Command, SupervisorCommand};
use crate::supervisor::Supervisor;
use crate::{actions, cache, logs, proxy, reload, status, top, up, upkeep};

/// One current-thread runtime for whatever the command asks of the control sockets.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run_dir = cli.run_dir()?;
    runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::run(args, run_dir).await,
            Command::Status(args) => status::run(&args, &run_dir).await,
            Command::Logs(args) => logs::run(&args, &run_dir).await,
            Command::Start(args) => actions::start(&args, &run_dir).await,
            Command::Stop(args) => actions::stop(&args, &run_dir).await,
            Command::Restart(args) => actions::restart(&args, &run_dir).await,
            Command::Reload(args) => reload::run(&args, &run_dir).await,
            Command::Ctl(_) => Ok(Exit::Ok), // done in `main`: it has a runtime of its own
            Command::Down => actions::down(&run_dir).await,
            Command::Top(args) => {
                let supervisor = Supervisor::at(args.control.as_deref(), &run_dir);
                tokio::task::LocalSet::new()
                    .run_until(top::run(supervisor))
                    .await
            }
            Command::Scale(args) => {
                upkeep::scale(&args, &Supervisor::at(args.at.control.as_deref(), &run_dir)).await
            }
            Command::RollingRestart(args) => {
                let supervisor = Supervisor::at(args.at.control.as_deref(), &run_dir);
                upkeep::rolling_restart(&args, &supervisor).await
            }
            Command::Update(args) => {
                upkeep::update(&args, &Supervisor::at(args.at.control.as_deref(), &run_dir)).await
            }
            Command::Cache(command) => cache::run(&command, &run_dir).await,
            Command::Proxy(command) => proxy::run(&command, &run_dir).await,
            Command::Supervisor(SupervisorCommand::Upgrade(args)) => {
                upkeep::upgrade(&args, &Supervisor::at(args.at.control.as_deref(), &run_dir)).await
            }
        }
    })
}
