//! Rows of the table: the cache.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{ANY, Args, FLAG, HSL, Known, MORE, ONE, works};

pub(super) const ROWS: &[Known] = &[
    works("proxy_cache", HSL, ONE),
    works("proxy_cache_path", HTTP, Args::Words(2, ANY)),
    works("proxy_cache_valid", HSL, MORE),
    works("proxy_cache_key", HSL, ONE),
    works("proxy_cache_bypass", HSL, MORE),
    works("proxy_no_cache", HSL, MORE),
    works("proxy_cache_use_stale", HSL, MORE),
    works("proxy_cache_lock", HSL, FLAG),
    works("proxy_cache_lock_timeout", HSL, ONE),
    works("proxy_cache_lock_age", HSL, ONE),
    works("proxy_cache_methods", HSL, MORE),
    works("proxy_cache_min_uses", HSL, ONE),
    works("proxy_cache_revalidate", HSL, FLAG),
    works("proxy_cache_background_update", HSL, FLAG),
    works("proxy_cache_convert_head", HSL, FLAG),
    works("proxy_cache_max_range_offset", HSL, ONE),
    works("proxy_cache_purge", HSL, MORE),
];
