//! How much a location lets through.
//!
//! Not here: counting (`limit`).

use crate::limit::{LogLevel, bucket, connections};
use crate::template::Template;

/// `limit_req` and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct RequestLimits {
    pub(crate) limits: Vec<bucket::Limit>,
    /// What those that are too many get.
    pub(crate) status: u16,
    pub(crate) level: LogLevel,
    /// It is told, and nobody is held up.
    pub(crate) dry_run: bool,
}

/// `limit_conn` and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    pub(crate) limits: Vec<connections::Limit>,
    pub(crate) status: u16,
    pub(crate) level: LogLevel,
    pub(crate) dry_run: bool,
}

/// How fast an answer goes out: sizes, known with the request. Nothing and zero are no limit.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    /// Bytes in a second.
    pub(crate) rate: Template,
    /// Bytes that go out at full speed first.
    pub(crate) after: Template,
}
