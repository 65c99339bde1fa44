//! The reader of `nginx.conf`: text to tokens to directives to the checked configuration.
//!
//! `lexer` splits words, `tree` makes blocks and follows includes, `table` knows the directives, `check` holds the tree
//! against it, `units` reads values, `build` makes the configuration. Not here: what the configuration does.

mod build;
mod check;
pub(crate) mod lexer;
pub(crate) mod table;
pub(crate) mod tree;
mod units;

use std::path::Path;

use trine_config::Problems;

use super::model::{Config, Timeouts};
pub(crate) use build::{
    ERROR_LOG, PID_FILE, is_https, is_same_site, local_address, peer_address, split_kind, split_url,
};
pub(crate) use units::{expires, size};

/// What is read, and how.
pub(super) struct Order<'a> {
    /// Absolute.
    pub(super) path: &'a Path,
    /// Where relative paths start.
    pub(super) prefix: &'a Path,
    pub(super) directives: Option<&'a str>,
    pub(super) ignore_unsupported: bool,
    /// The program is called as nginx.
    pub(super) as_nginx: bool,
    /// The tree comes from a YAML file.
    pub(super) own: Option<Own>,
}

/// What only YAML files have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    /// Our own defaults hold, with these times.
    pub(super) house: Option<Timeouts>,
}

/// Reads and checks a file with all that it includes.
pub(super) fn load(
    order: &Order<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Config> {
    let mut tree = order.directives.map_or_else(Vec::new, |text| {
        tree::parse(text, Path::new("command line"), problems)
    });
    tree.extend(tree::read(order.path, order.prefix, problems).0);
    finish(&tree, order, problems, warnings)
}

/// The same for a text, whose includes are not followed; for tests and fuzzers.
pub(crate) fn parse(
    text: &str,
    path: &Path,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Config> {
    let order = Order {
        path,
        prefix: path.parent().unwrap_or(Path::new("/")),
        directives: None,
        ignore_unsupported: false,
        as_nginx: false,
        own: None,
    };
    let tree = tree::parse(text, path, problems);
    finish(&tree, &order, problems, warnings)
}

/// Whether a directive may stand outside of `http`.
pub(super) fn is_main(directive: &tree::Directive) -> bool {
    table::find(&directive.name.text)
        .is_some_and(|known| known.contexts & table::context::MAIN != 0)
}

/// Checks a tree and makes the configuration of it.
pub(super) fn finish(
    tree: &[tree::Directive],
    order: &Order<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Config> {
    if !problems.is_empty() {
        // What could not be read would be reported once more as missing.
        return None;
    }
    let unsupported = if order.ignore_unsupported {
        &mut *warnings
    } else {
        &mut *problems
    };
    let mut found = Problems::new();
    check::check(tree, order.own.is_some(), &mut found, unsupported);
    problems.append(found);
    build::build(tree, order, problems, warnings)
}

#[cfg(test)]
mod tests;
