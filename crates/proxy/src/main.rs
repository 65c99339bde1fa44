//! The binary `trine-proxy`: reads the command line, runs the library, turns errors into an exit code.

use std::process::ExitCode;

use trine_proxy::Cli;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(code) = trine_proxy::usage_of_nginx(&error) {
                return code;
            }
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
        Err(error @ (trine_proxy::Error::Told | trine_proxy::Error::Ended(_))) => {
            use trine_service::ExitStatus as _;
            error.exit().into()
        }
        Err(error) => trine_service::report("trine-proxy", &error),
    }
}
