//! The command line of `cargo xtask`.

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Chores of the Trine repository",
    version
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Formatting, clippy, every test, and the end-to-end tests with real daemons
    Test(TestOptions),
}

#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Install nothing: leave out the tests whose tools are missing
    #[arg(long)]
    pub(crate) no_install: bool,

    /// Run only the end-to-end tests whose name contains FILTER (and no other step but the build)
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}
