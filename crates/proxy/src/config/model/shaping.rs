//! How requests to upstreams and their answers are changed on the way, beside fields and redirects.
//!
//! Not here: changing them (`upstream`, `headers::cookies`).

use crate::pattern::Pattern;
use crate::template::Template;

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Shaping {
    /// Lower-case names of fields of the upstream that are not obeyed.
    pub(crate) ignored: Vec<String>,
    pub(crate) cookies: CookieRules,
    /// In place of the client's method.
    pub(crate) method: Option<Template>,
    /// In place of the client's body.
    pub(crate) body: Option<Template>,
    /// The client's fields go on.
    pub(crate) passes_fields: bool,
    /// A client that leaves does not end what its server does for it.
    pub(crate) ignores_abort: bool,
    /// Fields that follow an answer's content go on.
    pub(crate) passes_trailers: bool,
    /// Requests without a trace begin one.
    pub(crate) traces: bool,
    /// Parts of answers can be had although the upstream cannot make them.
    pub(crate) forces_ranges: bool,
    /// The client's body goes on.
    pub(crate) passes_body: bool,
}

/// What becomes of `Set-Cookie` fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct CookieRules {
    /// The first that fits changes the attribute.
    pub(crate) domains: Vec<CookieRule>,
    pub(crate) paths: Vec<CookieRule>,
    pub(crate) flags: Vec<(CookieName, CookieFlags)>,
}

/// One replacement.
#[derive(Debug, Clone)]
pub(crate) enum CookieRule {
    /// The whole domain is this one.
    Domain {
        from: Template,
        to: Template,
    },
    /// The path begins so.
    Path {
        from: Template,
        to: Template,
    },
    Like {
        from: Pattern,
        to: Template,
    },
}

/// Which cookies.
#[derive(Debug, Clone)]
pub(crate) enum CookieName {
    Is(Template),
    Like(Pattern),
}

/// Attributes that are set, or taken away; `None` leaves them as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CookieFlags {
    pub(crate) secure: Option<bool>,
    pub(crate) http_only: Option<bool>,
    pub(crate) same_site: Option<SameSite>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
    Remove,
}

impl SameSite {
    /// As it is written, if it is.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Strict => Some("Strict"),
            Self::Lax => Some("Lax"),
            Self::None => Some("None"),
            Self::Remove => None,
        }
    }
}

impl CookieRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty()
    }
}

impl Default for Shaping {
    fn default() -> Self {
        Self {
            ignored: Vec::new(),
            cookies: CookieRules::default(),
            method: None,
            body: None,
            ignores_abort: false,
            traces: false,
            forces_ranges: false,
            passes_trailers: false,
            passes_fields: true,
            passes_body: true,
        }
    }
}

impl Shaping {
    /// Whether a field of the upstream, by its lower-case name, is obeyed.
    pub(crate) fn obeys(&self, name: &str) -> bool {
        !self.ignored.iter().any(|ignored| ignored == name)
    }
}
