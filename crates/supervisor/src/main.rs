//! Entry point: errors become one line of text and an exit code.
fn main() -> std::process::ExitCode {
    trine_supervisor::cli::main()
}
