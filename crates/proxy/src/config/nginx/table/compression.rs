//! Rows of the table: compression.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::{
    Args, COMPRESSION, FLAG, HSL, HSLI, Known, MEMORY, MORE, ONE, accepted, refused, works,
};

pub(super) const ROWS: &[Known] = &[
    works("gzip", HSLI, FLAG),
    works("gzip_types", HSL, MORE),
    works("gzip_comp_level", HSL, ONE),
    works("gzip_min_length", HSL, ONE),
    works("gzip_proxied", HSL, MORE),
    works("gzip_vary", HSL, FLAG),
    works("gzip_http_version", HSL, ONE),
    accepted("gzip_disable", HSL, MORE, "the browsers it is for are gone"),
    accepted("gzip_buffers", HSL, Args::Words(2, 2), MEMORY),
    works("gzip_static", HSL, ONE),
    refused("gunzip", HSL, FLAG, COMPRESSION),
    refused("brotli", HSLI, FLAG, COMPRESSION),
    works("brotli_static", HSL, ONE),
    works("zstd_static", HSL, ONE),
];
