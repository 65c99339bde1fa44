//! The `trine` command: puts an application on the internet through the three daemons, and talks to them.
//! Not here: any daemon's insides. `trine` writes their documented configuration keys and calls their
//! control sockets, nothing more.

mod actions;
mod cache;
mod cli;
mod ending;
mod failure;
mod logs;
mod proxy;
mod reload;
mod run;
mod run_dir;
mod status;
mod supervisor;
mod supervisorctl;
mod top;
mod up;
mod upkeep;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    if supervisorctl::is_called_so(std::env::args_os().next().as_ref()) {
        return supervisorctl::run(std::env::args_os(), None, false);
    }
    let cli = match Cli::typed() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    if let Command::Ctl(args) = &cli.command {
        return supervisorctl::as_ctl(args, &cli);
    }
    match run::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => failure::tell(&error).into(),
    }
}
