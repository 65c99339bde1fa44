//! Active health checks: how often a server is asked whether it works, and which answers say that it does.
//!
//! Not here: asking (see `upstream::monitor`).

use std::time::Duration;

use crate::pattern::Pattern;

/// Checks of an upstream's servers.
#[derive(Debug, Clone)]
pub(crate) struct HealthCheck {
    /// Between the end of one check and the beginning of the next.
    pub(crate) interval: Duration,
    /// Up to so much longer, by chance.
    pub(crate) jitter: Duration,
    /// So many failures on end put a server out.
    pub(crate) fails: u32,
    /// So many successes on end bring it back.
    pub(crate) passes: u32,
    /// One check, from connecting to the last byte that is looked at.
    pub(crate) timeout: Duration,
    /// Another port than that of the requests.
    pub(crate) port: Option<u16>,
    /// A server that nothing is known of yet is not asked until it has passed.
    pub(crate) mandatory: bool,
    pub(crate) probe: Probe,
    /// TLS: an index into [`Config::dials`](super::Config::dials), and the name that the server has to have.
    pub(crate) tls: Option<(usize, String)>,
}

/// What is done with a server.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// Connecting is enough.
    Tcp,
    Http {
        uri: String,
        host: String,
        expect: Expectation,
    },
}

/// What an answer has to be like: all of it. Without statuses, any 2xx or 3xx is good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expectation {
    pub(crate) status: Option<StatusTest>,
    pub(crate) headers: Vec<HeaderTest>,
    pub(crate) body: Vec<BodyTest>,
}

/// Ranges, both ends included, that the status has to be in; or must not be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusTest {
    pub(crate) ranges: Vec<(u16, u16)>,
    pub(crate) negated: bool,
}

/// A test of one header field.
#[derive(Debug, Clone)]
pub(crate) struct HeaderTest {
    pub(crate) name: String,
    pub(crate) wanted: FieldTest,
    pub(crate) negated: bool,
}

/// What a field has to be.
#[derive(Debug, Clone)]
pub(crate) enum FieldTest {
    There,
    Equal(String),
    Matching(Pattern),
}

/// A test of the body's beginning.
#[derive(Debug, Clone)]
pub(crate) struct BodyTest {
    pub(crate) pattern: Pattern,
    pub(crate) negated: bool,
}

impl HealthCheck {
    /// With nginx's defaults; the time limit is ours.
    pub(crate) fn new(host: &str) -> Self {
        Self {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            fails: 1,
            passes: 1,
            timeout: Duration::from_secs(5),
            port: None,
            mandatory: false,
            probe: Probe::Http {
                uri: "/".to_owned(),
                host: host.to_owned(),
                expect: Expectation::default(),
            },
            tls: None,
        }
    }
}
