//! `rewrite`, `if`, `set`, `break` and `return`, in the order of the file.
//!
//! Not here: carrying them out (`conn::script`).

use super::rules::Return;
use crate::pattern::Pattern;
use crate::template::Template;

/// One directive.
#[derive(Debug)]
pub(crate) enum Op {
    /// Gives a variable a value; variables are numbered over the configuration.
    Set {
        slot: usize,
        value: Template,
    },
    If {
        test: Test,
        then: Vec<Op>,
        /// What holds from then on, if the block says more than these directives.
        rules: Option<usize>,
    },
    Rewrite(Rewrite),
    /// Nothing further is done here.
    Break,
    Return(Return),
}

/// What an `if` asks.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) what: Asked,
    pub(crate) negated: bool,
}

/// What is looked at.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Neither empty nor `0`.
    Truth(Template),
    Equal(Template, Template),
    Match(Template, Pattern),
    File(Template, FileTest),
}

/// Which kind of file there has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileTest {
    Regular,
    Folder,
    Any,
    Executable,
}

/// `rewrite expression replacement [flag]`.
#[derive(Debug)]
pub(crate) struct Rewrite {
    pub(crate) pattern: Pattern,
    /// The new path, or the URL of a redirect.
    pub(crate) to: Template,
    /// The new query; the old one is put behind it.
    pub(crate) args: Option<Template>,
    /// The old query is dropped.
    pub(crate) drops_args: bool,
    pub(crate) flag: Flag,
}

/// What happens after a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// The next directive.
    Next,
    /// A new search for a location.
    Last,
    /// Nothing further is done here, and the location stays.
    Break,
    /// The client is redirected with this status.
    Redirect(u16),
}
