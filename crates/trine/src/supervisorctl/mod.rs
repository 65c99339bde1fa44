//! supervisorctl: its commands, lines and exit codes, for our daemon and for stock supervisord alike. The binary is
//! supervisorctl when it is called by that name; `trine ctl` is the same with colours on a terminal.
//!
//! Not here: the rest of `trine`, which talks to control sockets and not in XML-RPC.

mod command_line;
mod config_file;
mod daemon;
mod foreground;
mod groups;
mod help;
mod link;
mod logs;
mod processes;
mod session;
mod shell;
mod show;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{Cli, CtlArgs};
use command_line::Typed;
use session::Session;

/// Whether this program was called by supervisorctl's name.
pub(crate) fn is_called_so(argv0: Option<&OsString>) -> bool {
    argv0
        .and_then(|name| Path::new(name).file_name())
        .is_some_and(|name| name == "supervisorctl")
}

/// Runs one action, or the shell. `args` begin with the program's name; `default_url` is asked when neither the command
/// line nor a configuration file names a server; `styled` allows colours.
pub(crate) fn run(
    args: impl IntoIterator<Item = OsString>,
    default_url: Option<String>,
    styled: bool,
) -> ExitCode {
    let args: Vec<String> = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let (program, args) = args
        .split_first()
        .map_or(("supervisorctl", &[][..]), |(program, args)| {
            (program.as_str(), args)
        });
    let options = match command_line::read(program, args, default_url) {
        Ok(Typed::Run(options)) => options,
        Ok(Typed::Help) => {
            help::usage(program);
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("Error: {reason}\nFor help, use {program} -h");
            return ExitCode::from(2);
        }
    };
    let action = options.action.join(" ");
    let mut session = match Session::new(options, styled) {
        Ok(session) => session,
        Err(error) => {
            eprintln!("Error: {error}");
            return ExitCode::from(1);
        }
    };
    if action.is_empty() {
        shell::run(&mut session);
        return ExitCode::SUCCESS;
    }
    session.perform(&action);
    ExitCode::from(session.exit)
}

/// supervisorctl under our own name: with colours, and the site of the run directory where nothing else is named.
pub(crate) fn as_ctl(args: &CtlArgs, cli: &Cli) -> ExitCode {
    let socket = cli.run_dir().map(|dir| dir.socket("supervisor")).ok();
    let url = socket
        .filter(|socket| socket.exists())
        .map(|socket| format!("unix://{}", socket.display()));
    let styled = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let name = OsString::from("trine ctl");
    run(
        std::iter::once(name).chain(args.args.iter().cloned()),
        url,
        styled,
    )
}
