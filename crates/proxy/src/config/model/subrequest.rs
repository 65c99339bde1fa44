//! Requests of the proxy's own that a location makes.
//!
//! Not here: making them (`conn::subrequest`).

use crate::template::Template;

/// Who is asked before a request may pass.
#[derive(Debug)]
pub(crate) struct AuthRequest {
    /// The path of another location.
    pub(crate) uri: String,
    /// Variables that get values of its answer, by their numbers.
    pub(crate) sets: Vec<(usize, Template)>,
}

/// Where requests go as well.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) uris: Vec<String>,
    /// With their bodies.
    pub(crate) body: bool,
}

/// How links prove that we made them.
#[derive(Debug)]
pub(crate) enum SecureLink {
    /// The digest of `md5`, in base64 and perhaps with a time behind a comma, is in `link`.
    Digest { link: Template, md5: Template },
    /// The path has the digest of what follows it and this word.
    Word(Vec<u8>),
}
