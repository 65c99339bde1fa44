//! Rows of the table: the cache.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{ANY, Args, FLAG, HSL, Known, MORE, ONE, accepted, works};

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
    accepted(
        "proxy_cache_lock_age",
        HSL,
        ONE,
        "who fetches is waited for until proxy_cache_lock_timeout",
    ),
    works("proxy_cache_methods", HSL, MORE),
    works("proxy_cache_min_uses", HSL, ONE),
    accepted(
        "proxy_cache_revalidate",
        HSL,
        FLAG,
        "what has a validator is always validated by it",
    ),
    accepted(
        "proxy_cache_background_update",
        HSL,
        FLAG,
        "the first client that finds an answer stale refreshes it, the others get it stale",
    ),
    accepted(
        "proxy_cache_convert_head",
        HSL,
        FLAG,
        "answers to HEAD are not kept, those to GET serve HEAD",
    ),
    accepted(
        "proxy_cache_max_range_offset",
        HSL,
        ONE,
        "the whole is fetched and kept",
    ),
];
