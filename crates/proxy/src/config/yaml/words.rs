//! The words of the YAML language beyond those with a type of their own: every directive of nginx, many by a better name.
//!
//! One table for reading (`lower`), for writing (`convert`), for the schema and for the reference. Not here: what the
//! directives mean.

use std::borrow::Cow;

use crate::config::nginx::table::{self, Args, Known, context};

/// Our word, and nginx's.
pub(crate) const BETTER: &[(&str, &str)] = &[
    ("headers", "add_header"),
    ("headers_inherit", "add_header_inherit"),
    ("trailers", "add_trailer"),
    ("trailers_inherit", "add_trailer_inherit"),
    ("request_headers", "proxy_set_header"),
    ("hide_headers", "proxy_hide_header"),
    ("show_headers", "proxy_pass_header"),
    ("pass", "proxy_pass"),
    ("pass_redirects", "proxy_redirect"),
    ("connect_timeout", "proxy_connect_timeout"),
    ("read_timeout", "proxy_read_timeout"),
    ("send_timeout_upstream", "proxy_send_timeout"),
    ("retry_on", "proxy_next_upstream"),
    ("retry_tries", "proxy_next_upstream_tries"),
    ("retry_timeout", "proxy_next_upstream_timeout"),
    ("error_pages", "error_page"),
    ("access_logs", "access_log"),
    ("log_formats", "log_format"),
    ("real_ip_from", "set_real_ip_from"),
    ("real_ip_field", "real_ip_header"),
    ("password_realm", "auth_basic"),
    ("password_file", "auth_basic_user_file"),
    ("trace_context", "otel_trace_context"),
    ("stop_timeout", "worker_shutdown_timeout"),
    ("listing", "autoindex"),
    ("maps", "map"),
    ("geo_maps", "geo"),
    ("splits", "split_clients"),
];

/// What a value looks like when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// true or false.
    Flag,
    /// `true`: nothing has to be said but the word.
    Bare,
    /// One value.
    One,
    /// One value or a list: the arguments in their order.
    Words,
    /// A list; each item is a directive of its own, and a list itself if it has several arguments.
    Each,
    /// A map from the first argument to the rest.
    Pairs,
    /// A list of `{ with: ARGUMENTS, rows: … }`, or `do:` with directives.
    Blocks,
}

/// Directives that come several times by their nature.
const EACH: &[&str] = &[
    "proxy_hide_header",
    "proxy_pass_header",
    "proxy_ignore_headers",
    "proxy_redirect",
    "proxy_cookie_path",
    "proxy_cookie_domain",
    "error_page",
    "access_log",
    "error_log",
    "log_format",
    "set_real_ip_from",
    "limit_req",
    "limit_conn",
    "limit_req_zone",
    "limit_conn_zone",
    "proxy_cache_path",
    "proxy_cache_valid",
    "fastcgi_cache_path",
    "fastcgi_cache_valid",
    "uwsgi_cache_path",
    "uwsgi_cache_valid",
    "scgi_cache_path",
    "scgi_cache_valid",
    "ssl_certificate",
    "ssl_certificate_key",
    "fastcgi_cache_path",
    "fastcgi_cache_valid",
    "uwsgi_cache_path",
    "uwsgi_cache_valid",
    "scgi_cache_path",
    "scgi_cache_valid",
    "fastcgi_param",
    "fastcgi_hide_header",
    "fastcgi_pass_header",
    "fastcgi_ignore_headers",
    "fastcgi_catch_stderr",
    "uwsgi_param",
    "uwsgi_hide_header",
    "uwsgi_pass_header",
    "uwsgi_ignore_headers",
    "scgi_param",
    "scgi_hide_header",
    "scgi_pass_header",
    "scgi_ignore_headers",
    "sub_filter",
    "auth_request_set",
    "mirror",
];
const PAIRS: &[&str] = &["add_header", "add_trailer", "proxy_set_header"];

/// The directives whose order among one another counts: they stand in a list under this word.
pub(crate) const LISTS: &[(&str, &[&str])] = &[
    ("access", &["allow", "deny"]),
    ("script", &["set", "if", "rewrite", "return", "break"]),
];

/// nginx's name for a word.
pub(crate) fn nginx_name(word: &str) -> Cow<'_, str> {
    match BETTER.iter().find(|(better, _)| *better == word) {
        Some((_, name)) => Cow::Borrowed(name),
        None => match word.strip_prefix("tls_") {
            Some(rest) => Cow::Owned(format!("ssl_{rest}")),
            None => Cow::Borrowed(word),
        },
    }
}

/// Our word for a directive.
pub(crate) fn word(name: &str) -> Cow<'_, str> {
    match BETTER.iter().find(|(_, theirs)| *theirs == name) {
        Some((better, _)) => Cow::Borrowed(better),
        None => match name.strip_prefix("ssl_") {
            Some(rest) => Cow::Owned(format!("tls_{rest}")),
            None => Cow::Borrowed(name),
        },
    }
}

/// The list in which a directive stands, if its order counts.
pub(crate) fn list_of(name: &str) -> Option<&'static str> {
    let found = LISTS.iter().find(|(_, names)| names.contains(&name));
    found.map(|(list, _)| *list)
}

/// How a directive is written.
pub(crate) fn shape(known: &Known) -> Shape {
    match known.args {
        Args::Flag => Shape::Flag,
        Args::Block(..) => Shape::Blocks,
        Args::Words(..) if PAIRS.contains(&known.name) => Shape::Pairs,
        Args::Words(..) if EACH.contains(&known.name) => Shape::Each,
        Args::Words(0, 0) => Shape::Bare,
        Args::Words(1, 1) => Shape::One,
        Args::Words(..) => Shape::Words,
    }
}

/// Which part of the file a map of keys is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Top,
    /// `http`: for what stands at the top of nginx.conf as well.
    Http,
    Server,
    Location,
    Upstream,
    Stream,
    StreamServer,
    StreamUpstream,
}

impl Scope {
    pub(crate) const ALL: [Self; 8] = [
        Self::Top,
        Self::Http,
        Self::Server,
        Self::Location,
        Self::Upstream,
        Self::Stream,
        Self::StreamServer,
        Self::StreamUpstream,
    ];

    /// What a key path leads to.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.is_empty() {
            return Some(Self::Top);
        }
        if path == "http" {
            return Some(Self::Http);
        }
        if let Some(rest) = path.strip_prefix("stream") {
            let within = rest.strip_prefix('.').map(Self::of);
            return match within {
                None => rest.is_empty().then_some(Self::Stream),
                Some(Some(Self::Server)) => Some(Self::StreamServer),
                Some(Some(Self::Upstream)) => Some(Self::StreamUpstream),
                Some(_) => None,
            };
        }
        if let Some(rest) = path.strip_prefix("upstreams.") {
            let quoted = rest.starts_with('"') && rest.ends_with('"');
            return (quoted || !rest.contains(['.', '['])).then_some(Self::Upstream);
        }
        let mut steps = path.split('.');
        let is_item = |step: Option<&str>, list: &str| {
            step.and_then(|step| step.strip_prefix(list))
                .is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']'))
        };
        if !is_item(steps.next(), "servers") {
            return None;
        }
        let mut scope = Self::Server;
        for step in steps {
            if !is_item(Some(step), "locations") {
                return None;
            }
            scope = Self::Location;
        }
        Some(scope)
    }

    /// Where its words may stand in nginx.conf.
    pub(crate) fn contexts(self) -> u16 {
        match self {
            Self::Top => context::MAIN | context::HTTP,
            Self::Http => context::HTTP,
            Self::Server => context::SERVER,
            Self::Location => context::LOCATION,
            Self::Upstream => context::UPSTREAM,
            Self::Stream => context::STREAM,
            Self::StreamServer => context::STREAM_SERVER,
            Self::StreamUpstream => context::STREAM_UPSTREAM,
        }
    }

    /// The keys that have types of their own (see `raw`), which go before words of the same name.
    pub(crate) fn typed(self) -> &'static [&'static str] {
        match self {
            Self::Top => &[
                "control",
                "pidfile",
                "daemonize",
                "threads",
                "log",
                "access_log",
                "timeouts",
                "servers",
                "upstreams",
                "trusted_proxies",
                "defaults",
                "http",
                "stream",
            ],
            Self::Http => &[],
            Self::Stream => &["servers", "upstreams"],
            Self::StreamServer => &["listen", "names"],
            Self::StreamUpstream => &["servers"],
            Self::Server => &["listen", "names", "max_body", "spool", "locations", "tls"],
            Self::Location => &[
                "path",
                "exact",
                "prefix",
                "prefix_first",
                "regex",
                "regex_caseless",
                "name",
                "files",
                "index",
                "proxy",
                "locations",
            ],
            Self::Upstream => &[
                "servers",
                "connect_timeout",
                "send_timeout",
                "read_timeout",
                "total_timeout",
                "keepalive",
            ],
        }
    }

    /// Whether a key is one of the words.
    pub(crate) fn takes(self, key: &str) -> bool {
        if self.typed().contains(&key) {
            return false;
        }
        let lists = LISTS.iter().find(|(list, _)| *list == key);
        if let Some((_, names)) = lists {
            return names.iter().any(|name| self.has(name));
        }
        self.has(&nginx_name(key))
    }

    fn has(self, name: &str) -> bool {
        let structural = [
            "server", "location", "upstream", "http", "events", "include", "listen", "stream",
        ];
        !structural.contains(&name)
            && table::find_in(name, self.contexts())
                .is_some_and(|known| known.contexts & self.contexts() != 0)
    }

    /// The rows of the table that are words here.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static Known> {
        let of_stream = self.contexts() & context::OF_STREAM != 0;
        let (rows, other) = if of_stream {
            (None, Some(table::STREAM))
        } else {
            (Some(table::rows()), None)
        };
        let all = rows
            .into_iter()
            .flatten()
            .chain(other.into_iter().flatten());
        all.filter(move |known| self.has(known.name) && list_of(known.name).is_none())
    }
}
