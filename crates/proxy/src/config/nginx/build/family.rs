//! Directives that say the same of several protocols: `proxy_read_timeout`, `fastcgi_read_timeout`, …
//!
//! Each protocol hands down its own values. Not here: what the directives do (`proxy`, `shaping`, `cache`, `dial`).

use super::super::tree::Directive;

/// The directives of one protocol, which begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Proxy,
    FastCgi,
    Uwsgi,
    Scgi,
}

impl Family {
    pub(super) const ALL: [Self; 4] = [Self::Proxy, Self::FastCgi, Self::Uwsgi, Self::Scgi];

    /// With the underscore.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Proxy => "proxy_",
            Self::FastCgi => "fastcgi_",
            Self::Uwsgi => "uwsgi_",
            Self::Scgi => "scgi_",
        }
    }

    /// The directive's name without the prefix; empty if it is none of this family's.
    pub(super) fn rest_of(self, directive: &Directive) -> &str {
        let name = directive.name.text.as_str();
        name.strip_prefix(self.prefix()).unwrap_or_default()
    }
}
