//! How a location uses a cache. Not here: the cache itself (`cache`).

use std::sync::Arc;
use std::time::Duration;

use crate::template::Template;

/// `proxy_cache` and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct CacheRules {
    /// An index into [`Config::caches`](super::Config::caches).
    pub(crate) zone: usize,
    pub(crate) key: Template,
    /// Fields of requests that are not passed on, in lower case, since the key does not tell of them.
    pub(crate) unkeyed: Arc<[&'static str]>,
    /// Lifetimes, in seconds, of answers that name none: for these statuses, or for any.
    pub(crate) valid: Vec<(Option<Vec<u16>>, u64)>,
    /// One that is neither empty nor 0 sends the request past what is kept.
    pub(crate) bypass: Vec<Template>,
    /// One that is neither empty nor 0 leaves the answer unkept.
    pub(crate) no_store: Vec<Template>,
    /// One that is neither empty nor 0 has the key forgotten instead of asked for.
    pub(crate) purge: Vec<Template>,
    pub(crate) stale: Stale,
    /// Requests for the same key wait for one that fetches it, at most this long.
    pub(crate) lock: Option<Duration>,
    /// When somebody who fetches is taken to be stuck.
    pub(crate) lock_age: Duration,
    /// A stale answer is refreshed by a request of the proxy's own.
    pub(crate) in_background: bool,
    /// A stale answer is asked about, where it has something to be known by.
    pub(crate) validates: bool,
    /// HEAD goes on as GET.
    pub(crate) converts_head: bool,
    /// A part that begins further in is fetched as it is, and not kept.
    pub(crate) range_offset: Option<u64>,
    /// Requests before an answer is worth keeping.
    pub(crate) min_uses: u32,
    /// Fields of answers that are passed over, in lower case.
    pub(crate) ignored: Vec<String>,
    pub(crate) policy: trine_cache::Rules,
}

/// When a stale answer is better than none (`proxy_cache_use_stale`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Stale {
    /// The upstream cannot be reached, or breaks off.
    pub(crate) on_error: bool,
    pub(crate) on_timeout: bool,
    /// Somebody else is fetching it.
    pub(crate) while_updating: bool,
    /// The upstream answers with one of these.
    pub(crate) statuses: Vec<u16>,
}

impl CacheRules {
    /// The lifetime that the configuration gives to an answer with this status.
    pub(crate) fn valid_for(&self, status: u16) -> Option<u64> {
        let named = |(statuses, _): &&(Option<Vec<u16>>, u64)| {
            statuses
                .as_ref()
                .is_some_and(|statuses| statuses.contains(&status))
        };
        let any = |(statuses, _): &&(Option<Vec<u16>>, u64)| statuses.is_none();
        let found = self.valid.iter().find(named);
        found
            .or_else(|| self.valid.iter().find(any))
            .map(|(_, time)| *time)
    }
}
