//! The program trine-wsgi: command line in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use trine_service::report;
use trine_wsgi::Cli;

/// argparse's code for a command line that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match trine_wsgi::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report("trine-wsgi", &error),
    }
}
