//! The binary `trine-proxy`: reads the command line, runs the library, turns errors into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use trine_proxy::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = error.print();
            let usage = trine_service::Exit::Usage;
            return if error.use_stderr() {
                usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match trine_proxy::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Every problem has been told already.
        Err(error @ trine_proxy::Error::Told) => {
            use trine_service::ExitStatus as _;
            error.exit().into()
        }
        Err(error) => trine_service::report("trine-proxy", &error),
    }
}
