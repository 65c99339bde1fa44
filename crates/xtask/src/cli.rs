//! The command line of `cargo xtask`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// What stands behind the proxies in some measurements: answers every request on a Unix socket
    #[command(hide = true)]
    Answer(AnswerOptions),
    /// Measures ours against the peers that are installed, and prints tables
    Bench(BenchOptions),
    /// Serves examples/flask through all three daemons
    Demo(DemoOptions),
    /// Formatting, clippy, every test, and the end-to-end tests with real daemons
    Test(TestOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// What to measure; all scenarios when none is named
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,

    /// How often each subject is started and measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,

    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,

    /// Measure only these subjects, for example: --subjects nginx,HAProxy
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) subjects: Vec<String>,

    /// Niceness of servers and load generator; a negative one (as root) keeps other work out of the figures
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub(crate) nice: i32,

    /// Take the release binaries as they are
    #[arg(long)]
    pub(crate) no_build: bool,

    /// Show the scenarios
    #[arg(long)]
    pub(crate) list: bool,

    /// Install the load generator and the peers (Debian packages, and a virtual environment under target/)
    #[arg(long)]
    pub(crate) setup: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerOptions {
    pub(crate) protocol: Gateway,
    pub(crate) socket: PathBuf,
}

/// How a web server asks an application.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Gateway {
    Fastcgi,
    Uwsgi,
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Ask for every route, compare, stop; the exit code tells whether all was well
    #[arg(long)]
    pub(crate) check: bool,

    /// Where the site is to be reached
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
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
