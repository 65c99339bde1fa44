//! Who is asked for the addresses of names.
//!
//! Not here: asking (see `upstream::names`).

use std::net::SocketAddr;
use std::time::Duration;

/// Name servers, and how they are asked (`resolver`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NameRules {
    pub(crate) servers: Vec<SocketAddr>,
    /// Answers hold so long, whatever they say themselves.
    pub(crate) valid: Option<Duration>,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    /// For one question, however often it is repeated.
    pub(crate) timeout: Duration,
}
