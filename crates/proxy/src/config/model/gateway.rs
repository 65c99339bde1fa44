//! Forwarding by FastCGI, uwsgi and SCGI: which variables a request has, and how the protocol is used.
//!
//! Not here: writing them (`upstream::params`), or what all protocols have in common (`rules`).

use super::{Protocol, ProxyPass};
use crate::pattern::Pattern;
use crate::template::Template;

/// What only these protocols have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gateway {
    /// In the order of the file. The client's fields follow them, but those that one of these takes the place of.
    pub(crate) params: Vec<Param>,
    /// Connections are left open, by FastCGI's flag.
    pub(crate) keep: bool,
    /// Words on standard error that make an answer a failure.
    pub(crate) caught: Vec<Vec<u8>>,
    /// The application says whether a request may pass (FastCGI 1.0, section 6.3), and does not answer it.
    pub(crate) authorizer: bool,
    /// The numbers of a uwsgi packet.
    pub(crate) modifiers: (u8, u8),
    /// What follows the variables in a uwsgi packet.
    pub(crate) behind: Vec<u8>,
}

/// One variable of a request.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) value: Template,
    /// It is left out when its value is empty.
    pub(crate) if_not_empty: bool,
}

/// Which part of a path is the script.
#[derive(Debug, Clone)]
pub(crate) struct ScriptName {
    /// Goes behind a slash at its end.
    pub(crate) index: Vec<u8>,
    /// Has two groups: the script and what follows.
    pub(crate) split: Option<Pattern>,
}

impl Protocol {
    /// As URLs in logs have it.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::FastCgi => "fastcgi",
            Self::Uwsgi => "uwsgi",
            Self::Scgi => "scgi",
        }
    }
}

impl ProxyPass {
    /// The application is asked to leave its connections open.
    pub(crate) fn keeps_connections(&self) -> bool {
        match (&self.gateway, self.protocol) {
            (Some(gateway), Protocol::FastCgi) => gateway.keep,
            (_, protocol) => protocol == Protocol::Http1,
        }
    }

    /// It says whether a request may pass.
    pub(crate) fn authorizes(&self) -> bool {
        let gateway = self.gateway.as_ref();
        self.protocol == Protocol::FastCgi && gateway.is_some_and(|gateway| gateway.authorizer)
    }

    /// What its standard error must not say.
    pub(crate) fn caught(&self) -> &[Vec<u8>] {
        let gateway = self.gateway.as_ref();
        gateway.map_or(&[], |gateway| gateway.caught.as_slice())
    }

    /// Whom and what it asks, as nginx's logs have it.
    pub(crate) fn shown_url(&self, server: &str, target: &[u8]) -> String {
        let colon = if server.starts_with("unix:") { ":" } else { "" };
        let secure = self.tls.as_ref().is_some_and(|tls| tls.always);
        let scheme = match self.protocol {
            Protocol::Http1 if secure => "https",
            protocol => protocol.scheme(),
        };
        let target = match self.protocol {
            Protocol::Http1 => target,
            // Where the path is one variable among others.
            Protocol::FastCgi | Protocol::Uwsgi | Protocol::Scgi => b"",
        };
        format!("{scheme}://{server}{colon}{}", target.escape_ascii())
    }
}
