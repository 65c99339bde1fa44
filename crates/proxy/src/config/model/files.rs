//! Folders that are served: where they are, and how files go out.
//!
//! Not here: opening anything (`files`).

use crate::template::Template;

/// A folder that is served.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) folder: Folder,
    /// What stands for a folder.
    pub(crate) index: Vec<Template>,
    /// An index file is found by an internal redirect, so that another location may serve it.
    pub(crate) index_redirects: bool,
    /// Dot files and sources are never handed out.
    pub(crate) hides: bool,
    /// Any file of a folder stands for it.
    pub(crate) random_index: bool,
    /// What is in a folder without an index file is listed.
    pub(crate) listing: Option<Listing>,
    pub(crate) how: FileRules,
}

/// How a path becomes a file.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// The whole path lies beneath it.
    Root(Template),
    /// What follows the location's own `strip` bytes lies beneath it.
    Alias { folder: Template, strip: usize },
    /// The template is the file itself (`alias` with captures).
    Whole(Template),
}

/// How a file goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRules {
    pub(crate) etag: bool,
    pub(crate) since: Since,
    /// More parts than this, and the file is sent whole; 0: it always is.
    pub(crate) max_ranges: usize,
    pub(crate) links: Links,
    pub(crate) siblings: Siblings,
}

/// What `If-Modified-Since` is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing is.
    Off,
    /// The file's own date only.
    Exact,
    /// Any date that is not before the file's (RFC 9110).
    Before,
}

/// Which links are followed beneath the folder; none ever leads out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    All,
    /// Those that belong to whom their target belongs to.
    OwnersOnly,
    None,
}

/// Compressed files beside the plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Siblings {
    /// `.br`, `.zst` and `.gz`, in the order of their worth.
    pub(crate) br: Sibling,
    pub(crate) zstd: Sibling,
    pub(crate) gzip: Sibling,
    /// `Vary: Accept-Encoding` is sent where there is one.
    pub(crate) vary: bool,
    /// For HTTP/1.0 clients too, and for requests with a `Via` field.
    pub(crate) http10: bool,
    pub(crate) proxied: bool,
}

/// Whether a kind of compressed file is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sibling {
    Off,
    /// For clients that accept it.
    On,
    /// Whatever the client accepts.
    Always,
}

/// What a folder's list looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) format: ListingFormat,
    /// In bytes; rounded otherwise.
    pub(crate) exact_size: bool,
    /// Not in UTC.
    pub(crate) local_time: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListingFormat {
    Html,
    Xml,
    Json,
    /// In a call of the function that the argument `callback` names.
    Jsonp,
}

impl FileRules {
    /// Our own.
    pub(crate) fn house() -> Self {
        Self {
            since: Since::Before,
            max_ranges: crate::range::MAX_PARTS,
            ..Self::nginx()
        }
    }

    /// nginx's defaults.
    pub(crate) fn nginx() -> Self {
        Self {
            etag: true,
            since: Since::Exact,
            max_ranges: usize::MAX,
            links: Links::All,
            siblings: Siblings {
                br: Sibling::Off,
                zstd: Sibling::Off,
                gzip: Sibling::Off,
                vary: false,
                http10: false,
                proxied: false,
            },
        }
    }
}

impl Siblings {
    /// Whether any are looked for.
    pub(crate) fn any(&self) -> bool {
        [self.br, self.zstd, self.gzip]
            .iter()
            .any(|sibling| *sibling != Sibling::Off)
    }
}
