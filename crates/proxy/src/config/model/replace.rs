//! Strings that are replaced in bodies of answers, and what is put around them.
//!
//! Not here: doing it (`filter`).

use crate::template::Template;

/// What holds in a location.
#[derive(Debug)]
pub(crate) struct ReplaceRules {
    pub(crate) pairs: Vec<(Template, Template)>,
    /// Each only where it comes first.
    pub(crate) once: bool,
    /// Content types beside `text/html`; `*` is all of them.
    pub(crate) types: Vec<String>,
    /// The answer's date and entity tag stay.
    pub(crate) keeps_modified: bool,
}

/// What other locations answer, put around what this one does.
#[derive(Debug)]
pub(crate) struct Additions {
    /// Their paths.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// Content types beside `text/html`; `*` is all of them.
    pub(crate) types: Vec<String>,
}
