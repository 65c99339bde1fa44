//! The command line, under our own name and under supervisord's, and which of the two processes this one is to be.
//! Not here: anything either of them does (`brain`, `holder`), or becoming a daemon (`launch`).

mod stock;

use crate::config::{self, Level, Overrides};
use crate::error::Error;
use crate::generate::{Document, document};
use crate::{brain, holder, launch};
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trine_config::ByteSize;
use trine_service::exit::{Exit, ExitStatus as _};
use trine_service::logging::LogFormat;

pub use stock::called_supervisord;

/// Keeps programs running, and their sockets, logs and exit codes safe, even while it is replaced itself.
#[derive(Debug, Parser)]
#[command(
    name = "trine-supervisor",
    version,
    infer_long_args = true,
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = "trine-supervisor convert FILE prints what a supervisord.conf means as YAML."
)]
pub struct Cli {
    /// The configuration file: YAML, or supervisord's INI.
    #[arg(
        short = 'c',
        long = "configuration",
        visible_alias = "config",
        value_name = "FILE"
    )]
    pub configuration: Option<PathBuf>,
    /// Check a configuration file (this one, or that of -c), print every problem and every trap, and start nothing.
    #[arg(short = 'T', long, value_name = "FILE", num_args = 0..=1)]
    pub check: Option<Option<PathBuf>>,
    /// Stay in the foreground.
    #[arg(short = 'n', long)]
    pub nodaemon: bool,
    /// In the foreground, do not repeat the log on standard output.
    #[arg(short = 's', long)]
    pub silent: bool,
    /// Become this user, by name or number. Only root can.
    #[arg(short = 'u', long, value_name = "USER")]
    pub user: Option<String>,
    /// Octal; for the supervisor and its programs.
    #[arg(short = 'm', long, value_name = "UMASK", value_parser = stock::octal)]
    pub umask: Option<u32>,
    /// Where programs run that do not say it themselves.
    #[arg(short = 'd', long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
    /// The supervisor's own log: a file, or syslog.
    #[arg(short = 'l', long, value_name = "FILE")]
    pub logfile: Option<String>,
    /// When to begin a new log file; 0 for never.
    #[arg(short = 'y', long = "logfile_maxbytes", value_name = "SIZE")]
    pub logfile_maxbytes: Option<ByteSize>,
    /// How many old log files to keep.
    #[arg(short = 'z', long = "logfile_backups", value_name = "COUNT")]
    pub logfile_backups: Option<u32>,
    /// critical, error, warn, info, debug, trace or blather.
    #[arg(
        short = 'e',
        long,
        alias = "log-level",
        value_name = "LEVEL",
        ignore_case = true
    )]
    pub loglevel: Option<Level>,
    /// `text` or `json`; instead of the file's.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A file that holds the process id.
    #[arg(short = 'j', long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// The name in events and in the RPC interface.
    #[arg(short = 'i', long, value_name = "NAME")]
    pub identifier: Option<String>,
    /// Folder of AUTO logs.
    #[arg(short = 'q', long, value_name = "FOLDER")]
    pub childlogdir: Option<PathBuf>,
    /// Keep AUTO logs of earlier runs.
    #[arg(short = 'k', long)]
    pub nocleanup: bool,
    /// Least number of descriptors to run with.
    #[arg(short = 'a', long, value_name = "COUNT")]
    pub minfds: Option<u64>,
    /// Leave escape sequences of terminals out of the logs of programs.
    #[arg(short = 't', long = "strip_ansi")]
    pub strip_ansi: bool,
    /// Least number of processes to run with.
    #[arg(long, value_name = "COUNT")]
    pub minprocs: Option<u64>,
    /// Accepted; there is no Python to profile.
    #[arg(long = "profile_options", value_name = "OPTIONS")]
    pub profile_options: Option<String>,
    /// The socket of the control API.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Print this help.
    #[arg(short = 'h', short_alias = '?', long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// Print the version.
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    pub version: Option<bool>,
    /// Print a document that is made from the code: reference, man or schema.
    #[arg(long, value_name = "DOCUMENT", hide = true)]
    pub generate: Option<Document>,
    /// Print the configuration as YAML of the same meaning, and start nothing: `convert FILE`.
    #[arg(long, hide = true)]
    pub convert: bool,
    /// Print what a configuration file is taken for, as JSON, and start nothing.
    #[arg(long, hide = true)]
    pub dump: bool,
    /// Set by the holder when it starts the brain.
    #[arg(long, hide = true)]
    pub brain: bool,
    /// Set by a process that goes into the background, for the one that stays.
    #[arg(long, hide = true)]
    pub in_background: bool,
}

/// Reads the command line and runs until the end.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = holder::upgrade::trial() {
        return ExitCode::from(code);
    }
    let cli = Cli::command()
        .try_get_matches_from(arguments())
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match cli {
        Ok(cli) => match run(cli) {
            Ok(code) => ExitCode::from(code),
            Err(err) => fail(&err),
        },
        Err(err) if !err.use_stderr() => {
            if called_supervisord() && err.kind() == clap::error::ErrorKind::DisplayVersion {
                println!("{}", stock::VERSION);
            } else {
                let _ = err.print();
            }
            Exit::Ok.into()
        }
        Err(err) if called_supervisord() => {
            stock::tell(&stock::words(&err));
            ExitCode::from(stock::EXIT)
        }
        Err(err) => {
            let _ = err.print();
            Exit::Usage.into()
        }
    }
}

/// `convert FILE` is a command of ours; supervisord has none.
fn arguments() -> Vec<OsString> {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if !called_supervisord() && args.get(1).is_some_and(|word| word == "convert") {
        args[1] = "--convert".into();
        if args.len() > 2 {
            args.insert(2, "--configuration".into());
        }
    }
    args
}

fn fail(err: &Error) -> ExitCode {
    if called_supervisord() {
        stock::tell(&trine_service::exit::chain(err));
        return ExitCode::from(stock::EXIT);
    }
    trine_service::report("trine-supervisor", err)
}

/// The code that an error at the start ends us with.
#[must_use]
pub fn exit_code(err: &Error) -> u8 {
    if called_supervisord() {
        stock::EXIT
    } else {
        err.exit().code()
    }
}

fn run(cli: Cli) -> Result<u8, Error> {
    let overrides = overrides(&cli);
    if cli.brain {
        return brain::run(&overrides);
    }
    if holder::upgrade::takes_over() {
        return holder::main::run(holder::main::Start::default());
    }
    if let Some(which) = cli.generate {
        print!("{}", document(which));
        return Ok(0);
    }
    let given = cli.check.clone().flatten().or(cli.configuration.clone());
    let file = match given {
        Some(file) => file,
        None => stock::find_configuration()?,
    };
    if called_supervisord() && !file.exists() {
        return Err(Error::NoConfiguration {
            told: format!("could not find config file {}", file.display()),
        });
    }
    let loaded = config::load(&file, &overrides)?;
    if cli.dump {
        println!(
            "{}",
            serde_json::to_string_pretty(&loaded.config).unwrap_or_default()
        );
        return Ok(0);
    }
    if cli.check.is_some() || cli.convert {
        for trap in loaded.traps.iter() {
            eprintln!("warning: {trap}");
        }
    }
    if cli.convert {
        print!(
            "{}",
            config::convert::to_yaml(&loaded).map_err(Error::Convert)?
        );
        return Ok(0);
    }
    if cli.check.is_some() {
        let count = loaded.config.processes.len();
        println!("{}: good, {count} processes", file.display());
        return Ok(0);
    }
    launch::start(loaded, cli.in_background)
}

/// Paths on the command line count from where it was given.
fn overrides(cli: &Cli) -> Overrides {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let log_file = |text: &String| match text.as_str() {
        "syslog" => text.clone(),
        path => absolute(&Path::new(path).to_owned()).display().to_string(),
    };
    Overrides {
        control: cli.control.as_ref().map(absolute),
        json: cli.log_format.map(|format| format == LogFormat::Json),
        level: cli.loglevel,
        nodaemon: cli.nodaemon,
        silent: cli.silent,
        user: cli.user.clone(),
        umask: cli.umask,
        directory: cli.directory.as_ref().map(absolute),
        log_file: cli.logfile.as_ref().map(log_file),
        log_max_bytes: cli.logfile_maxbytes.map(ByteSize::bytes),
        log_backups: cli.logfile_backups,
        pidfile: cli.pidfile.as_ref().map(absolute),
        identifier: cli.identifier.clone(),
        child_log_folder: cli.childlogdir.as_ref().map(absolute),
        keep_child_logs: cli.nocleanup,
        min_descriptors: cli.minfds,
        min_processes: cli.minprocs,
        strip_ansi: cli.strip_ansi,
        ..Overrides::default()
    }
}
