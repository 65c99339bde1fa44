//! What holds for the requests of one location, with everything inherited already in place.
//!
//! Not here: which requests those are (`Matcher`), or carrying any of it out (`conn::serve`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::compression::CompressionRules;
use super::files::Files;
use super::limits::{ConnectionLimits, RateLimit, RequestLimits};
use super::net::{Network, Trusted};
use super::replace::{Additions, ReplaceRules};
use super::shaping::Shaping;
use super::signature::Signature;
use super::spool::{BodyRules, Buffers};
use super::subrequest::{AuthRequest, Mirror, SecureLink};
use super::{
    Gateway, LogFormat, NameRules, NextUpstream, Op, Outgoing, PassTls, RealIp, ScriptName,
    Timeouts,
};
use crate::access::referer::Referers;
use crate::headers::added;
use crate::pattern::Pattern;
use crate::template::{Scene, Template};

/// All of it.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What is done before anything else is looked at.
    pub(crate) script: Vec<Op>,
    /// Reached by internal redirects only.
    pub(crate) internal: bool,
    /// The first that fits decides; none that fits allows.
    pub(crate) access: Vec<Access>,
    /// Either an address or a password is enough.
    pub(crate) satisfy_any: bool,
    pub(crate) auth: Option<BasicAuth>,
    /// How long a client without a right password waits for being told.
    pub(crate) auth_delay: Duration,
    /// Other rules hold for other methods.
    pub(crate) limit_except: Option<LimitExcept>,
    /// Another location has to agree.
    pub(crate) auth_request: Option<Arc<AuthRequest>>,
    pub(crate) mirror: Option<Arc<Mirror>>,
    /// What `$invalid_referer` is made by.
    pub(crate) referers: Option<Arc<Referers>>,
    pub(crate) secure_link: Option<Arc<SecureLink>>,
    /// Answers are fetched in slices of so many bytes, and put together.
    pub(crate) slice: Option<u64>,
    pub(crate) limit_requests: Option<Arc<RequestLimits>>,
    pub(crate) limit_connections: Option<Arc<ConnectionLimits>>,
    pub(crate) rate: Option<Arc<RateLimit>>,
    /// Largest body of a request in bytes.
    pub(crate) max_body: u64,
    /// Where bodies wait that are read before anybody is asked.
    pub(crate) bodies: Arc<BodyRules>,
    /// How long clients may take here; `None`: as in the server.
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) try_files: Option<TryFiles>,
    pub(crate) content: Content,
    /// Where `try_files` looks when the content is not files.
    pub(crate) fallback_files: Option<Files>,
    pub(crate) error_pages: Vec<ErrorPage>,
    /// Answers of unknown length go out in chunks where they can; else the connection's end is theirs.
    pub(crate) chunks: bool,
    /// An error page may itself lead to an error page.
    pub(crate) recursive_errors: bool,
    pub(crate) headers: Vec<AddedHeader>,
    /// Those that follow the content.
    pub(crate) trailers: Vec<AddedHeader>,
    /// 103 goes on to clients of HTTP/1.1 if one of these is neither empty nor `0`; `None`: always.
    pub(crate) early_hints: Option<Vec<Template>>,
    pub(crate) expires: Option<Expires>,
    /// Answers are compressed on their way, or unpacked.
    pub(crate) compression: Option<Arc<CompressionRules>>,
    /// Strings in answers are replaced on their way.
    pub(crate) replace: Option<Arc<ReplaceRules>>,
    /// Others' answers are put around the location's.
    pub(crate) additions: Option<Arc<Additions>>,
    /// The name of this proxy in `Via`, by which requests that come round again are known.
    pub(crate) via: Option<Arc<str>>,
    /// What answers tell of the program.
    pub(crate) signature: Signature,
    pub(crate) logs: Vec<LogUse>,
    /// A missing file is worth a line in the error log.
    pub(crate) log_not_found: bool,
    pub(crate) redirects: RedirectStyle,
    pub(crate) kinds: Arc<Kinds>,
    /// The character set of texts, if a variable names it.
    pub(crate) charset: Option<Template>,
    /// How `$fastcgi_script_name` and `$fastcgi_path_info` are made.
    pub(crate) script_name: Option<Arc<ScriptName>>,
}

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) allow: bool,
    pub(crate) who: Who,
}

/// Whom an access rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    All,
    Unix,
    Network(Network),
}

/// Passwords that are asked for (RFC 7617).
#[derive(Debug, Clone)]
pub(crate) struct BasicAuth {
    /// `off` asks for none.
    pub(crate) realm: Template,
    /// The path of the user file.
    pub(crate) file: Template,
}

/// Methods that a location is for, and what holds for all others.
#[derive(Debug, Clone)]
pub(crate) struct LimitExcept {
    pub(crate) methods: Vec<String>,
    /// An index into [`Config::rules`](super::Config::rules).
    pub(crate) rules: usize,
}

/// A fixed answer.
#[derive(Debug, Clone)]
pub(crate) struct Return {
    /// 444 closes the connection without an answer.
    pub(crate) status: u16,
    pub(crate) body: ReturnBody,
}

/// What a fixed answer has beside its status.
#[derive(Debug, Clone)]
pub(crate) enum ReturnBody {
    None,
    /// The body, of the location's default type.
    Text(Template),
    /// The `Location` field.
    Location(Template),
}

/// Where the content comes from.
#[derive(Debug)]
pub(crate) enum Content {
    Files(Files),
    Proxy(Box<ProxyPass>),
    /// nginx's `stub_status` page.
    Status,
    /// There is nothing.
    Nothing,
}

/// Files that are looked for one after another.
#[derive(Debug, Clone)]
pub(crate) struct TryFiles {
    /// Each with whether it is a folder that is looked for: it was written with a slash at its end.
    pub(crate) paths: Vec<(Template, bool)>,
    pub(crate) last: TryLast,
}

/// When none of them is there.
#[derive(Debug, Clone)]
pub(crate) enum TryLast {
    Uri(Template),
    Named(String),
    Status(u16),
}

/// What is sent in place of an error.
#[derive(Debug, Clone)]
pub(crate) struct ErrorPage {
    pub(crate) statuses: Vec<u16>,
    /// `=`: the status of the page's own answer; `=N`: this one.
    pub(crate) status: Option<Option<u16>>,
    pub(crate) target: ErrorTarget,
}

/// Where an error page is.
#[derive(Debug, Clone)]
pub(crate) enum ErrorTarget {
    Uri(Template),
    Named(String),
    /// Another server: the client is redirected.
    Url(Template),
}

/// A field that answers get.
#[derive(Debug, Clone)]
pub(crate) struct AddedHeader {
    pub(crate) name: String,
    pub(crate) value: Template,
    /// With every status, not only the good ones.
    pub(crate) always: bool,
}

/// How long clients may keep an answer.
#[derive(Debug, Clone)]
pub(crate) enum Expires {
    /// Seconds from now; negative: never.
    After(i64),
    /// Seconds from when the file was changed.
    AfterModified(i64),
    /// At this second of the day.
    At(u32),
    Epoch,
    Max,
    /// A word that a variable brings.
    Variable(Arc<Template>),
}

/// One access log of a location.
#[derive(Debug, Clone)]
pub(crate) struct LogUse {
    /// An index into [`Config::access_logs`](super::Config::access_logs).
    pub(crate) log: usize,
    pub(crate) format: LogFormat,
    /// Written only if this is neither empty nor `0`.
    pub(crate) condition: Option<Template>,
}

/// How redirects of our own are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RedirectStyle {
    /// With scheme and host.
    pub(crate) absolute: bool,
    pub(crate) port: bool,
    /// The server's own name in place of the client's `Host`.
    pub(crate) server_name: bool,
}

/// Content types by the ending of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// `None`: a built-in list.
    pub(crate) by_ending: Option<Arc<HashMap<String, String>>>,
    pub(crate) default: String,
    pub(crate) charset: Charset,
    /// The types that get it beside `text/html`; `None`: those that are usual.
    pub(crate) texts: Option<Vec<String>>,
    /// Answers of upstreams get it too.
    pub(crate) for_upstreams: bool,
    /// Tells these types from others, so that ready-made heads are not mixed up.
    pub(crate) fingerprint: u64,
}

/// The character set of texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Charset {
    None,
    Named(String),
}

/// Requests go on to servers.
#[derive(Debug)]
pub(crate) struct ProxyPass {
    pub(crate) protocol: Protocol,
    /// Who is asked for the addresses of servers that variables name; `None`: the system.
    pub(crate) names: Option<Arc<NameRules>>,
    pub(crate) outgoing: Outgoing,
    pub(crate) target: ProxyTarget,
    pub(crate) rebase: Rebase,
    /// What `$proxy_host` and `$proxy_port` are.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TLS, for URLs of `https://`.
    pub(crate) tls: Option<PassTls>,
    pub(crate) fields: RequestFields,
    /// For protocols whose requests are variables.
    pub(crate) gateway: Option<Box<Gateway>>,
    /// Lower-case names of fields that clients do not get.
    pub(crate) hidden: Vec<String>,
    /// Lower-case names that clients get although they are hidden by default.
    pub(crate) shown: Vec<String>,
    pub(crate) redirects: Vec<RedirectRule>,
    pub(crate) connect_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) total_timeout: Option<Duration>,
    /// When another server is tried.
    pub(crate) next: NextUpstream,
    /// Errors of the upstream lead to error pages.
    pub(crate) intercepts_errors: bool,
    pub(crate) shaping: Shaping,
    pub(crate) buffers: Buffers,
    pub(crate) cache: Option<Arc<super::CacheRules>>,
    /// Answers are left behind as files.
    pub(crate) store: Option<Arc<super::Store>>,
}

/// What is spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// FastCGI 1.0, as a responder.
    FastCgi,
    /// uWSGI's own.
    Uwsgi,
    Scgi,
}

/// Who is asked.
#[derive(Debug)]
pub(crate) enum ProxyTarget {
    /// An index into [`Config::upstreams`](super::Config::upstreams).
    Group(usize),
    /// A URL that is known only with the request.
    Dynamic(Template),
}

/// What becomes of the path.
#[derive(Debug)]
pub(crate) enum Rebase {
    /// It goes on as the client wrote it.
    Keep,
    /// The first `strip` bytes of the normalised path are replaced.
    Replace { with: String, strip: usize },
}

/// The fields of the request that goes on.
#[derive(Debug)]
pub(crate) enum RequestFields {
    /// The client's, with true `X-Forwarded-*` fields in place of what it says itself.
    Forwarded,
    /// The client's, and these in place of any of the same name; an empty value leaves the field out.
    Set(Vec<(String, Template)>),
}

/// How `Location` and `Refresh` fields of the upstream are rewritten.
#[derive(Debug)]
pub(crate) enum RedirectRule {
    /// What begins so begins with that.
    Prefix {
        from: Template,
        to: Template,
    },
    Regex {
        from: Pattern,
        to: Template,
    },
}

impl Rules {
    /// Rules that only answer 404, which every reader starts from.
    pub(crate) fn empty() -> Self {
        Self {
            script: Vec::new(),
            internal: false,
            access: Vec::new(),
            satisfy_any: false,
            auth: None,
            auth_delay: Duration::ZERO,
            limit_except: None,
            auth_request: None,
            mirror: None,
            referers: None,
            secure_link: None,
            slice: None,
            limit_requests: None,
            limit_connections: None,
            rate: None,
            max_body: u64::MAX,
            bodies: Arc::new(BodyRules::in_memory()),
            timeouts: None,
            try_files: None,
            content: Content::Nothing,
            fallback_files: None,
            error_pages: Vec::new(),
            chunks: true,
            recursive_errors: false,
            headers: Vec::new(),
            trailers: Vec::new(),
            early_hints: None,
            expires: None,
            compression: None,
            replace: None,
            additions: None,
            via: None,
            signature: Signature::name(),
            logs: Vec::new(),
            log_not_found: true,
            redirects: RedirectStyle {
                absolute: false,
                port: false,
                server_name: false,
            },
            kinds: Arc::new(Kinds::built_in()),
            charset: None,
            script_name: None,
        }
    }

    /// Whether bodies of answers may be changed on their way.
    pub(crate) fn filters(&self) -> bool {
        self.compression.is_some() || self.replace.is_some() || self.additions.is_some()
    }

    /// The types that a request's answers have.
    pub(crate) fn kinds(&self, scene: &Scene<'_>) -> Cow<'_, Kinds> {
        let Some(charset) = &self.charset else {
            return Cow::Borrowed(&self.kinds);
        };
        let name = String::from_utf8(charset.value(scene)).unwrap_or_default();
        let is_fit = !name.is_empty() && added::is_clean(name.as_bytes());
        let charset = match is_fit {
            true => Charset::Named(name),
            false => Charset::None,
        };
        Cow::Owned(self.kinds.with(charset))
    }

    /// The page for a status, if there is one.
    pub(crate) fn error_page(&self, status: u16) -> Option<&ErrorPage> {
        self.error_pages
            .iter()
            .find(|page| page.statuses.contains(&status))
    }
}

impl Kinds {
    /// The types that everybody knows, texts as UTF-8.
    pub(crate) fn built_in() -> Self {
        let charset = Charset::Named("utf-8".to_owned());
        Self::new(None, "application/octet-stream".to_owned(), charset, None)
    }

    /// The same with another character set.
    fn with(&self, charset: Charset) -> Self {
        let mut hasher = DefaultHasher::new();
        self.fingerprint.hash(&mut hasher);
        charset.hash(&mut hasher);
        Self {
            charset,
            fingerprint: hasher.finish(),
            ..self.clone()
        }
    }

    pub(crate) fn new(
        by_ending: Option<HashMap<String, String>>,
        default: String,
        charset: Charset,
        texts: Option<Vec<String>>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        default.hash(&mut hasher);
        charset.hash(&mut hasher);
        texts.hash(&mut hasher);
        if let Some(table) = &by_ending {
            let mut rows: Vec<_> = table.iter().collect();
            rows.sort();
            rows.hash(&mut hasher);
        }
        Self {
            by_ending: by_ending.map(Arc::new),
            default,
            charset,
            texts,
            for_upstreams: false,
            fingerprint: hasher.finish(),
        }
    }
}

impl RealIp {
    /// Nobody is believed.
    pub(crate) fn nobody() -> Self {
        Self {
            trusted: Trusted::default(),
            header: "x-real-ip".to_owned(),
            recursive: false,
        }
    }
}
