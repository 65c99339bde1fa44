//! Rows of the table: the cache.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{ANY, Args, CACHE, FLAG, HSL, Known, MORE, ONE, accepted, refused};

pub(super) const ROWS: &[Known] = &[
    refused("proxy_cache", HSL, ONE, CACHE),
    refused("proxy_cache_path", HTTP, Args::Words(2, ANY), CACHE),
    accepted("proxy_cache_valid", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_key", HSL, ONE, "goes with proxy_cache"),
    accepted("proxy_cache_bypass", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_no_cache", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_use_stale", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_lock", HSL, FLAG, "goes with proxy_cache"),
    accepted("proxy_cache_methods", HSL, MORE, "goes with proxy_cache"),
    accepted("proxy_cache_min_uses", HSL, ONE, "goes with proxy_cache"),
    accepted("proxy_cache_revalidate", HSL, FLAG, "goes with proxy_cache"),
    accepted(
        "proxy_cache_background_update",
        HSL,
        FLAG,
        "goes with proxy_cache",
    ),
];
