//! Which answers are compressed, and how.
//!
//! Not here: deciding it for an answer (`compress::choose`).

use crate::compress::Coding;
use crate::pattern::Pattern;

/// What holds in a location.
#[derive(Debug, Clone, Default)]
pub(crate) struct CompressionRules {
    /// The codings that are on; of those that a client likes equally the first is taken.
    pub(crate) codings: Vec<CodingRules>,
    /// What comes as gzip is unpacked for clients that do not accept that.
    pub(crate) unpacks: bool,
    /// It may become so many times as long by that; 0: any.
    pub(crate) most_times: u32,
    /// `Vary: Accept-Encoding` is sent.
    pub(crate) vary: bool,
    /// For HTTP/1.0 clients too.
    pub(crate) http10: bool,
    pub(crate) proxied: Proxied,
    /// Clients that are called so get nothing compressed.
    pub(crate) disabled: Vec<Pattern>,
}

/// What holds for one coding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodingRules {
    pub(crate) coding: Coding,
    /// Content types beside `text/html`; `*` is all of them.
    pub(crate) types: Vec<String>,
    /// The coding's own measure of effort.
    pub(crate) level: u32,
    /// Shorter bodies are left alone, in bytes.
    pub(crate) min_length: u64,
    /// How far back it looks, as a power of two of bytes; 0: as the level says.
    pub(crate) window: u32,
}

/// Which answers are compressed for requests that came through a proxy (those with a `Via` field).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// Some may be.
    pub(crate) some: bool,
    pub(crate) any: bool,
    pub(crate) auth: bool,
    pub(crate) expired: bool,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) private: bool,
    pub(crate) no_last_modified: bool,
    pub(crate) no_etag: bool,
}

impl CompressionRules {
    /// Whether there is anything that may be done.
    pub(crate) fn any(&self) -> bool {
        self.unpacks || !self.codings.is_empty()
    }
}
