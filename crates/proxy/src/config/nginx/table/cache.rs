//! Rows of the table: the cache, for each of the protocols whose answers it keeps.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{ANY, Args, FLAG, HSL, Known, MORE, ONE, own, works};

/// What all protocols have, under their own first word.
macro_rules! rows {
    ($family:literal $(, $own:expr)*) => {
        &[
            works(concat!($family, "_cache"), HSL, ONE),
            works(concat!($family, "_cache_path"), HTTP, Args::Words(2, ANY)),
            works(concat!($family, "_cache_valid"), HSL, MORE),
            works(concat!($family, "_cache_key"), HSL, ONE),
            works(concat!($family, "_cache_bypass"), HSL, MORE),
            works(concat!($family, "_no_cache"), HSL, MORE),
            works(concat!($family, "_cache_use_stale"), HSL, MORE),
            works(concat!($family, "_cache_lock"), HSL, FLAG),
            works(concat!($family, "_cache_lock_timeout"), HSL, ONE),
            works(concat!($family, "_cache_lock_age"), HSL, ONE),
            works(concat!($family, "_cache_methods"), HSL, MORE),
            works(concat!($family, "_cache_min_uses"), HSL, ONE),
            works(concat!($family, "_cache_revalidate"), HSL, FLAG),
            works(concat!($family, "_cache_background_update"), HSL, FLAG),
            works(concat!($family, "_cache_max_range_offset"), HSL, ONE),
            works(concat!($family, "_cache_purge"), HSL, MORE),
            own(concat!($family, "_cache_heed_requests"), HSL, FLAG),
            own(concat!($family, "_cache_heuristics"), HSL, FLAG),
            $($own,)*
        ]
    };
}

pub(super) const ROWS: &[Known] = rows!("proxy", works("proxy_cache_convert_head", HSL, FLAG));
pub(super) const FASTCGI: &[Known] = rows!("fastcgi");
pub(super) const UWSGI: &[Known] = rows!("uwsgi");
pub(super) const SCGI: &[Known] = rows!("scgi");
