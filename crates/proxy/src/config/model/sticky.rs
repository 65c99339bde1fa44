//! Clients that stay with the server that has their session (`sticky`).
//!
//! Not here: finding that server, or learning of it (see `upstream::sticky`).

use std::time::Duration;

use crate::template::Template;

/// What tells which server a request belongs to.
#[derive(Debug)]
pub(crate) struct Sticky {
    /// The first one with a value holds: the id of a server, or of a session if sessions are learned.
    pub(crate) lookup: Vec<Template>,
    /// Clients are told their server.
    pub(crate) cookie: Option<StickyCookie>,
    /// Servers tell which sessions are theirs.
    pub(crate) learn: Option<Learn>,
}

/// A cookie with the id of a server, and its attributes.
#[derive(Debug)]
pub(crate) struct StickyCookie {
    pub(crate) name: String,
    pub(crate) expires: Option<CookieEnd>,
    pub(crate) domain: Option<Template>,
    pub(crate) path: Option<String>,
    pub(crate) http_only: bool,
    pub(crate) secure: bool,
    pub(crate) same_site: Option<Template>,
}

/// How long a client keeps its cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEnd {
    After(Duration),
    /// As long as can be said.
    Never,
}

/// Sessions that answers tell of.
#[derive(Debug)]
pub(crate) struct Learn {
    /// The first one with a value holds: the id of a session that begins.
    pub(crate) create: Vec<Template>,
    pub(crate) zone: String,
    /// Bytes of the table.
    pub(crate) size: u64,
    /// One that is not used for so long is forgotten.
    pub(crate) timeout: Duration,
    /// It is known once the head of the answer is there, not only at its end.
    pub(crate) at_head: bool,
}
