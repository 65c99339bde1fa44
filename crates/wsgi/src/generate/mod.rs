//! Texts made from the table of settings: `--help`, and the documents that `--generate` prints.
//!
//! Not here: what the settings do.

mod help;
mod man;
mod parity;
mod reference;

use crate::config::table::{Setting, Tier};

pub use help::help;

/// What the program ends with, and when.
const EXIT_CODES: [(u8, &str); 7] = [
    (0, "stopped as asked"),
    (
        1,
        "a setting is wrong or refused, the configuration file raised, an address is in use, or --check-config found the \
         application unusable",
    ),
    (2, "the command line makes no sense"),
    (3, "the application cannot be imported"),
    (4, "the application object cannot be used"),
    (70, "a bug of ours"),
    (
        78,
        "a YAML file is wrong, or the virtualenv does not fit this program",
    ),
];

/// The document of that name, as it stands in the repository.
#[must_use]
pub fn document(name: &str) -> Option<String> {
    match name {
        "parity" => Some(parity::parity()),
        "reference" => Some(reference::reference()),
        "man" => Some(man::man()),
        _ => None,
    }
}

/// `A`, `B`, `C`, or nothing for what is ours.
fn letter(tier: Tier) -> &'static str {
    match tier {
        Tier::Identical => "A",
        Tier::Mapped(_) => "B",
        Tier::Refused(_) => "C",
        Tier::Own => "",
    }
}

/// What is to be said about how far a setting is followed.
fn remark(setting: &Setting) -> Option<String> {
    match setting.tier {
        Tier::Identical | Tier::Own => None,
        Tier::Mapped(what) => Some(what.to_owned()),
        Tier::Refused(why) => Some(format!("refused: {why}")),
    }
}

/// For a cell of a table in Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests;
