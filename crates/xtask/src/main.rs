//! `cargo xtask`: the project's chores, each one command that installs by itself what it needs.
//! Not here: anything that ships. The daemons are only run as programs, never linked.

mod bench;
mod cli;
mod debian;
mod demo;
mod http;
mod python;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Task};

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Answer(options) => bench::answer(&options),
        Task::Test(options) => test::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("xtask: {problem:#}");
            ExitCode::FAILURE
        }
    }
}
