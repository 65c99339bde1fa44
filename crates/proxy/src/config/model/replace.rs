//! Strings that are replaced in bodies of answers.
//!
//! Not here: replacing them (`filter`).

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
