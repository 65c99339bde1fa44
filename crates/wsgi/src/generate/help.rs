//! `--help`, in the shape of argparse's.
//!
//! Not here: the longer texts (`reference`, `man`).

use std::fmt::Write as _;

use crate::cli::Program;
use crate::config::table::{self, Action, Setting};

/// Where the texts begin, and where lines end.
const COLUMN: usize = 24;
const WIDTH: usize = 80;

/// The usage, and a few lines for each flag: gunicorn's first, then ours.
#[must_use]
pub fn help(program: &Program) -> String {
    let mut text = program.usage();
    text.push_str(
        "\nServes a WSGI application: MODULE, MODULE:NAME or MODULE:FACTORY(literals).\n",
    );
    text.push_str("\noptions:\n");
    option(&mut text, "-h, --help", "Show this text and end.");
    option(&mut text, "-v, --version", "Show the version and end.");
    let mut own = false;
    for setting in table::all()
        .iter()
        .filter(|setting| !setting.flags.is_empty())
    {
        if setting.is_own() && !own {
            own = true;
            text.push_str("\nbeyond gunicorn:\n");
        }
        let default = setting.default.shown();
        let meaning = match default.as_str() {
            "" => setting.meaning.to_owned(),
            default => format!("{} [{default}]", setting.meaning),
        };
        option(&mut text, &flags(setting), &meaning);
    }
    text
}

/// `-w INT, --workers INT`
#[must_use]
pub(super) fn flags(setting: &Setting) -> String {
    let value = match setting.action {
        Action::On | Action::Off => String::new(),
        Action::Maybe(_) => format!(" [{}]", setting.metavar),
        Action::Text | Action::Number | Action::Octal | Action::Each => {
            format!(" {}", setting.metavar)
        }
    };
    let flags: Vec<String> = setting
        .flags
        .iter()
        .map(|flag| format!("{flag}{value}"))
        .collect();
    flags.join(", ")
}

fn option(text: &mut String, flags: &str, meaning: &str) {
    let mut line = format!("  {flags}");
    if line.len() + 2 > COLUMN {
        let _ = writeln!(text, "{line}");
        line.clear();
    }
    line = format!("{line:COLUMN$}");
    let mut empty = true;
    for word in meaning.split(' ') {
        if line.len() + 1 + word.len() > WIDTH && !empty {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(COLUMN);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}
