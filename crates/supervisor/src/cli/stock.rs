//! What is different when we are called `supervisord`: the search for a configuration file, the words of errors on the
//! command line, exit code 2.
//! Not here: the options, which are the same under both names.

use crate::error::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The release whose command line and protocols these are.
pub(super) const VERSION: &str = "4.3.0";
/// For every mistake on the command line or in the file.
pub(super) const EXIT: u8 = 2;

fn program() -> OsString {
    std::env::args_os().next().unwrap_or_default()
}

/// Whether somebody started us by that name.
#[must_use]
pub fn called_supervisord() -> bool {
    Path::new(&program())
        .file_name()
        .is_some_and(|name| name == "supervisord")
}

/// The first of the places where supervisord looks. Under our own name the file has to be named.
pub(super) fn find_configuration() -> Result<PathBuf, Error> {
    if !called_supervisord() {
        return Err(Error::NoConfiguration {
            told: "no configuration file was named; give one by -c FILE".to_owned(),
        });
    }
    let program = PathBuf::from(program());
    let above = program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""));
    let places = [
        above.join("etc/supervisord.conf"),
        above.join("supervisord.conf"),
        "supervisord.conf".into(),
        "etc/supervisord.conf".into(),
        "/etc/supervisord.conf".into(),
        "/etc/supervisor/supervisord.conf".into(),
    ];
    if let Some(found) = places.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    let all: Vec<String> = places
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(Error::NoConfiguration {
        told: format!(
            "No config file found at default paths ({}); use the -c option to specify a config file at a different \
             path",
            all.join(", ")
        ),
    })
}

/// The two lines that supervisord says about every mistake.
pub(super) fn tell(text: &str) {
    eprintln!("Error: {text}");
    eprintln!("For help, use {} -h", program().display());
}

/// A mistake on the command line in supervisord's words.
pub(super) fn words(err: &clap::Error) -> String {
    let context = |kind| match err.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let typed = context(ContextKind::InvalidArg);
    // `--umask <UMASK>` is the option and what it wants.
    let option = typed.split([' ', '=']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    match err.kind() {
        ErrorKind::UnknownArgument if !option.starts_with('-') => {
            format!("positional arguments are not supported: ['{typed}']")
        }
        ErrorKind::UnknownArgument => format!("option {option} not recognized"),
        ErrorKind::ArgumentConflict => format!("conflicting command line option '{option}'"),
        ErrorKind::TooManyValues => format!("option {option} must not have an argument"),
        ErrorKind::InvalidValue if value.is_empty() => format!("option {option} requires argument"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(err).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| "it is not known here".to_owned());
            format!("invalid value for {option} '{value}': {reason}")
        }
        _ => err
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

pub(super) fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text.trim_start_matches("0o"), 8)
        .map_err(|_| format!("{text} can not be converted to an octal type"))
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser as _;

    #[track_caller]
    fn check(args: &[&str], want: &str) {
        let got = match Cli::try_parse_from([&["supervisord"], args].concat()) {
            Ok(_) => "good".to_owned(),
            Err(err) => words(&err),
        };
        assert_eq!(got, want, "{args:?}");
    }

    #[test]
    fn supervisords_command_line_and_its_words() {
        let all = "-c f -n -s -u nobody -m 022 -d /tmp -l log -y 1MB -z 3 -e debug -j pid -i me -q /tmp -k -a 100 -t";
        check(&all.split(' ').collect::<Vec<_>>(), "good");
        check(
            &["-nskt", "-cf", "--minprocs=1", "--profile_options=calls"],
            "good",
        );
        check(&["--conf", "f", "--logfile_max=5"], "good");
        check(&["-e", "DEBUG"], "good");
        check(&["-x"], "option -x not recognized");
        check(&["--frobnicate"], "option --frobnicate not recognized");
        check(&["-c"], "option --configuration requires argument");
        check(
            &["start"],
            "positional arguments are not supported: ['start']",
        );
        check(
            &["-ca", "-cb"],
            "conflicting command line option '--configuration'",
        );
        check(
            &["-m", "9"],
            "invalid value for --umask '9': 9 can not be converted to an octal type",
        );
    }
}
