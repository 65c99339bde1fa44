//! supervisorctl's options: from the command line, from the configuration file, and what holds without either.
//! Not here: the file's syntax (see `config_file`).

use std::path::{Path, PathBuf};

use super::config_file;

/// Where supervisord listens unless something else is said.
const DEFAULT_URL: &str = "http://localhost:9001";

/// With what a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) server_url: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) prompt: String,
    pub(super) history_file: Option<PathBuf>,
    /// Questions are asked before the daemon is ended.
    pub(super) interactive: bool,
    /// The words of the action; none means the shell.
    pub(super) action: Vec<String>,
}

pub(super) enum Typed {
    Run(Options),
    Help,
}

#[derive(Debug, Default)]
struct Given {
    config: Option<String>,
    interactive: bool,
    server_url: Option<String>,
    username: Option<String>,
    password: Option<String>,
    history_file: Option<String>,
    help: bool,
}

/// Long name, letter, and whether a value follows.
const OPTIONS: [(&str, char, bool); 7] = [
    ("configuration", 'c', true),
    ("help", 'h', false),
    ("history_file", 'r', true),
    ("interactive", 'i', false),
    ("password", 'p', true),
    ("serverurl", 's', true),
    ("username", 'u', true),
];

/// # Errors
/// One line that says what is wrong; the exit code is 2.
pub(super) fn read(
    program: &str,
    args: &[String],
    default_url: Option<String>,
) -> Result<Typed, String> {
    let (given, action) = options(args)?;
    if given.help {
        return Ok(Typed::Help);
    }
    if let Some(url) = &given.server_url
        && !is_url(url)
    {
        return Err(format!(
            "invalid value for -s '{url}': value '{url}' is not a URL"
        ));
    }
    let file = match given.config {
        Some(path) => Some(PathBuf::from(path)),
        None => config_file::find(Path::new(program)),
    };
    let file = file.as_deref().map(config_file::read).transpose()?;
    let file = file.unwrap_or_default();
    let interactive = given.interactive || action.is_empty();
    Ok(Typed::Run(Options {
        server_url: given
            .server_url
            .or(file.server_url)
            .or(default_url)
            .unwrap_or_else(|| DEFAULT_URL.to_owned()),
        username: given.username.or(file.username),
        password: given.password.or(file.password),
        prompt: file.prompt.unwrap_or_else(|| "supervisor".to_owned()),
        history_file: given.history_file.map(PathBuf::from).or(file.history_file),
        interactive,
        action,
    }))
}

fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.trim_start_matches('/').is_empty()
    })
}

/// getopt's way: options end at the first word that is none, long ones may be shortened.
fn options(args: &[String]) -> Result<(Given, Vec<String>), String> {
    let mut given = Given::default();
    let mut seen = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.clone().next() {
        if arg == "--" {
            args.next();
            break;
        }
        if !arg.starts_with('-') || arg == "-" {
            break;
        }
        args.next();
        if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
            let (name, letter, wants_value) = long_option(name)?;
            let value = match (wants_value, value) {
                (true, None) => Some(
                    args.next()
                        .cloned()
                        .ok_or_else(|| format!("option --{name} requires argument"))?,
                ),
                (false, Some(_)) => {
                    return Err(format!("option --{name} must not have an argument"));
                }
                (_, value) => value,
            };
            set(&mut given, &mut seen, letter, &format!("--{name}"), value)?;
            continue;
        }
        let mut letters = arg.chars().skip(1);
        while let Some(letter) = letters.next() {
            let wants_value = match OPTIONS.iter().find(|(_, known, _)| *known == letter) {
                Some((_, _, wants_value)) => *wants_value,
                None if letter == '?' => false,
                None => return Err(format!("option -{letter} not recognized")),
            };
            let value = wants_value.then(|| {
                let rest: String = letters.by_ref().collect();
                Some(rest)
                    .filter(|rest| !rest.is_empty())
                    .or_else(|| args.next().cloned())
                    .ok_or_else(|| format!("option -{letter} requires argument"))
            });
            set(
                &mut given,
                &mut seen,
                letter,
                &format!("-{letter}"),
                value.transpose()?,
            )?;
        }
    }
    Ok((given, args.cloned().collect()))
}

fn long_option(name: &str) -> Result<(&'static str, char, bool), String> {
    let exact = OPTIONS.iter().find(|(known, _, _)| *known == name);
    let mut like = OPTIONS
        .iter()
        .filter(|(known, _, _)| known.starts_with(name));
    match (exact, like.next(), like.next()) {
        (Some(found), _, _) | (None, Some(found), None) => Ok(*found),
        (None, Some(_), Some(_)) => Err(format!("option --{name} not a unique prefix")),
        (None, None, _) => Err(format!("option --{name} not recognized")),
    }
}

fn set(
    given: &mut Given,
    seen: &mut Vec<char>,
    letter: char,
    typed: &str,
    value: Option<String>,
) -> Result<(), String> {
    if seen.contains(&letter) {
        return Err(format!("conflicting command line option '{typed}'"));
    }
    seen.push(letter);
    match letter {
        'c' => given.config = value,
        's' => given.server_url = value,
        'u' => given.username = value,
        'p' => given.password = value,
        'r' => given.history_file = value,
        'i' => given.interactive = true,
        _ => given.help = true,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let got = match options(&args) {
            Ok((given, action)) => format!(
                "c={} s={} u={} p={} i={} h={} {action:?}",
                given.config.unwrap_or_default(),
                given.server_url.unwrap_or_default(),
                given.username.unwrap_or_default(),
                given.password.unwrap_or_default(),
                given.interactive,
                given.help
            ),
            Err(reason) => reason,
        };
        assert_eq!(got, want, "{line}");
    }

    #[test]
    fn as_getopt() {
        check(
            "status a",
            "c= s= u= p= i=false h=false [\"status\", \"a\"]",
        );
        check(
            "-c x -u me -psecret status -f",
            "c=x s= u=me p=secret i=false h=false [\"status\", \"-f\"]",
        );
        check(
            "--server=unix:///x -i",
            "c= s=unix:///x u= p= i=true h=false []",
        );
        check("-ih -- -x", "c= s= u= p= i=true h=true [\"-x\"]");
        check("-x", "option -x not recognized");
        check("--nope", "option --nope not recognized");
        check("--h", "option --h not a unique prefix");
        check("-c", "option -c requires argument");
        check(
            "--interactive=1",
            "option --interactive must not have an argument",
        );
        check("-s a -s b", "conflicting command line option '-s'");
    }

    #[test]
    fn urls() {
        assert!(is_url("http://localhost:9001") && is_url("unix:///run/x.sock"));
        assert!(!is_url("foo") && !is_url("http://") && !is_url(":x"));
    }
}
