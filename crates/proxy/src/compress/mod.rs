//! Compression of answers on their way.
//!
//! `choose` is the rule whether and how, by nginx's `gzip_…` directives and RFC 9110; `encode` does it, `unpack` undoes it. Not here:
//! ready-made `.gz` files (`files`), what else happens to a body, and where it happens (`filter`).

mod choose;
mod encode;
mod unpack;

pub(crate) use choose::{Answer, Choice, accepts, choose, is_listed, takes_gzip};
pub(crate) use encode::{Encoder, Shelf, Then};
pub(crate) use encode::{nanos_per_byte, nanos_to_begin};
pub(crate) use unpack::{Inflater, MOST_TIMES, STEP};

/// How content is compressed (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Br,
    Zstd,
    Gzip,
}

impl Coding {
    /// As it is called in fields.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What follows the plain file's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// A strong entity tag made weak: the compressed answer is another representation.
pub(crate) fn weak(etag: &[u8]) -> Vec<u8> {
    if etag.starts_with(b"W/") {
        etag.to_vec()
    } else {
        [b"W/", etag].concat()
    }
}
