//! Rows of the table: compression.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::{Args, FLAG, HSL, HSLI, Known, MEMORY, MORE, ONE, accepted, refused, works};

const TWO: Args = Args::Words(2, 2);

pub(super) const ROWS: &[Known] = &[
    works("gzip", HSLI, FLAG),
    works("gzip_types", HSL, MORE),
    works("gzip_comp_level", HSL, ONE),
    works("gzip_min_length", HSL, ONE),
    works("gzip_proxied", HSL, MORE),
    works("gzip_vary", HSL, FLAG),
    works("gzip_http_version", HSL, ONE),
    works("gzip_disable", HSL, MORE),
    accepted("gzip_buffers", HSL, TWO, MEMORY),
    accepted("gzip_window", HSL, ONE, MEMORY),
    accepted("gzip_hash", HSL, ONE, MEMORY),
    accepted("postpone_gzipping", HSL, ONE, MEMORY),
    accepted(
        "gzip_no_buffer",
        HSL,
        FLAG,
        "what has come goes out when nothing follows at once",
    ),
    works("gzip_static", HSL, ONE),
    works("gunzip", HSL, FLAG),
    works("gunzip_max_ratio", HSL, ONE),
    accepted("gunzip_buffers", HSL, TWO, MEMORY),
    works("brotli", HSLI, FLAG),
    works("brotli_types", HSL, MORE),
    works("brotli_comp_level", HSL, ONE),
    works("brotli_min_length", HSL, ONE),
    works("brotli_window", HSL, ONE),
    accepted("brotli_buffers", HSL, TWO, MEMORY),
    works("brotli_static", HSL, ONE),
    works("zstd", HSLI, FLAG),
    works("zstd_types", HSL, MORE),
    works("zstd_comp_level", HSL, ONE),
    works("zstd_min_length", HSL, ONE),
    accepted("zstd_buffers", HSL, TWO, MEMORY),
    refused(
        "zstd_dict_file",
        super::context::HTTP,
        ONE,
        "browsers have no such dictionary; remove it",
    ),
    works("zstd_static", HSL, ONE),
];
