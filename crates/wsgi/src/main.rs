//! The program trine-wsgi: command line in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    trine_wsgi::program(std::env::args_os()).into()
}
