//! The `Cache-Status` field (RFC 9211): how an answer came about. Not here: nginx's `$upstream_cache_status`.

use std::fmt;

use crate::Seconds;
use crate::reuse::Why;

/// What one cache says about one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// From the store; negative when stale (2.4).
    Hit { ttl: i64 },
    Forwarded {
        why: Forwarded,
        /// The origin's status, where it differs from the one that the client gets (2.3).
        status: Option<u16>,
        stored: bool,
        /// Together with requests of other clients (2.6).
        collapsed: bool,
    },
}

/// Why a request went on (2.2), in the field's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The cache was configured not to handle it.
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
    Partial,
}

impl Forwarded {
    fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl From<Why> for Forwarded {
    fn from(why: Why) -> Self {
        match why {
            Why::Miss => Self::UriMiss,
            Why::Method => Self::Method,
            Why::Request => Self::Request,
            Why::Stale | Why::NoCache => Self::Stale,
        }
    }
}

impl Status {
    /// Of an answer of this age that is fresh for `lifetime`.
    #[must_use]
    pub fn hit(lifetime: Seconds, age: Seconds) -> Self {
        let signed = |time: Seconds| i64::try_from(time).unwrap_or(i64::MAX);
        Self::Hit {
            ttl: signed(lifetime) - signed(age),
        }
    }
}

/// The member of the list, with the cache's name in front.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl } => write!(f, "Trine; hit; ttl={ttl}"),
            Self::Forwarded {
                why,
                status,
                stored,
                collapsed,
            } => {
                write!(f, "Trine; fwd={}", why.word())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if *stored {
                    f.write_str("; stored")?;
                }
                if *collapsed {
                    f.write_str("; collapsed")?;
                }
                Ok(())
            }
        }
    }
}
