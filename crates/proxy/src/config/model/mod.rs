//! The checked configuration: what can run. Every reader (YAML, `nginx.conf`) ends here.
//!
//! Nothing in it has to be interpreted any more: names are resolved to indices, inheritance is resolved, defaults are
//! filled in, units are in the types, strings with variables are compiled. It is read-only and swapped whole.
//! `net` has names and addresses, `rules` what holds for a location, `upstream` where requests go on to. Not here: reading files, or anything that is open.

mod cache;
mod compression;
mod files;
mod gateway;
mod health;
mod limits;
mod names;
mod net;
mod replace;
mod rules;
mod script;
mod shaping;
mod signature;
mod spool;
mod sticky;
mod store;
mod stream;
mod subrequest;
mod upstream;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;
use trine_config::ListenAddr;
use trine_service::logging::SyslogSettings;

use crate::headers::FieldNames;

pub(crate) use cache::{CacheRules, Stale};
pub(crate) use compression::{CodingRules, CompressionRules, Proxied};
pub(crate) use files::{
    FileRules, Files, Folder, Links, Listing, ListingFormat, Sibling, Siblings, Since,
};
pub(crate) use gateway::{Gateway, Param, ScriptName};
pub(crate) use health::{
    BodyTest, Expectation, FieldTest, HeaderTest, HealthCheck, Probe, StatusTest,
};
pub(crate) use limits::{ConnectionLimits, RateLimit, RequestLimits};
pub(crate) use names::NameRules;
pub(crate) use net::{HostPattern, Network, PeerAddr, Trusted};
pub(crate) use rules::{
    Access, AddedHeader, BasicAuth, Charset, Content, ErrorPage, ErrorTarget, Expires, Kinds,
    LimitExcept, LogUse, Protocol, ProxyPass, ProxyTarget, Rebase, RedirectRule, RedirectStyle,
    RequestFields, Return, ReturnBody, Rules, TryFiles, TryLast, Who,
};

pub(crate) use replace::{Additions, ReplaceRules};
pub(crate) use shaping::{CookieFlags, CookieName, CookieRule, CookieRules, SameSite, Shaping};
pub(crate) use signature::Signature;
pub(crate) use spool::{BodyFile, BodyRules, Buffers, Quota, Room, SpoolFolder};
pub(crate) use sticky::{CookieEnd, Learn, Sticky, StickyCookie};
pub(crate) use store::Store;
pub(crate) use stream::{
    SessionLimits, StreamContent, StreamLog, StreamPass, StreamServer, StreamTable, StreamTarget,
    Streams,
};
pub(crate) use subrequest::{AuthRequest, Mirror, SecureLink};
pub(crate) use upstream::{
    DialRules, KeepAlive, LeastTime, Method, NEXT_STATUSES, NextUpstream, Outgoing, PassTls, Queue,
    Upstream, UpstreamServer,
};

pub(crate) use script::{Asked, FileTest, Flag, Op, Rewrite, Test};

use crate::limit::zone::Zone;
use crate::pattern::Pattern;
use crate::template::{Table, Template};

/// Everything that was configured.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the control API listens.
    pub(crate) control: Option<PathBuf>,
    pub(crate) pidfile: Option<PathBuf>,
    /// The daemon leaves the terminal once it serves.
    pub(crate) background: bool,
    pub(crate) threads: usize,
    /// Who serves, when root starts the daemon.
    pub(crate) user: Option<Identity>,
    pub(crate) log: Log,
    /// Each file once; [`LogUse::log`] is an index.
    pub(crate) access_logs: Vec<AccessLog>,
    pub(crate) timeouts: Timeouts,
    /// Each address once, with the servers that are reached by it.
    pub(crate) listens: Vec<Listen>,
    pub(crate) servers: Vec<Server>,
    pub(crate) streams: Streams,
    /// What holds for the locations, and for each server where no location does.
    pub(crate) rules: Vec<Rules>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// TLS towards upstream servers, each way once.
    pub(crate) dials: Vec<DialRules>,
    pub(crate) trusted: Trusted,
    pub(crate) maps: Vec<Table>,
    /// What `limit_req` and `limit_conn` count in.
    pub(crate) zones: Vec<Zone>,
    /// Where answers are kept.
    pub(crate) caches: Vec<crate::cache::Zone>,
    /// Where bodies wait, each folder once; those that somebody named are made if need be.
    pub(crate) spools: Vec<Arc<SpoolFolder>>,
    /// Some string tells the body of the request.
    pub(crate) tells_body: bool,
    /// Some string has `$slice_range`: without it nobody can be asked for slices.
    pub(crate) tells_slice: bool,
    /// Heads of answers are kept until the log has them: some string has a field of theirs.
    pub(crate) tells_heads: bool,
    /// The number of the variable that sets how fast an answer goes out, if anything sets it.
    pub(crate) rate_slot: Option<usize>,
    /// Where named groups of expressions have their values, among those of `set`.
    pub(crate) group_slots: HashMap<String, usize>,
}

/// Numbers of a user, of its group, and of all its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The daemon's own log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) json: Option<bool>,
    pub(crate) level: Option<String>,
    pub(crate) file: Option<PathBuf>,
    /// Those of `error_log`, in nginx's form: each gets lines of its level and above.
    pub(crate) targets: Vec<(Level, LogPlace)>,
}

/// Where lines of a log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Stderr,
    File(PathBuf),
    Syslog(SyslogSettings),
}

/// A log of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessLog {
    pub(crate) place: AccessPlace,
    /// Lines wait until so many bytes have come together on a core,
    pub(crate) buffer: usize,
    /// or so long.
    pub(crate) flush: Duration,
    /// Each piece is compressed.
    pub(crate) gzips: bool,
}

impl AccessLog {
    pub(crate) const BUFFER: usize = 32 * 1024;
    pub(crate) const FLUSH: Duration = Duration::from_secs(1);
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessPlace {
    Stdout,
    File(PathBuf),
    Syslog(SyslogSettings),
}

/// How the line of a request is written.
#[derive(Debug, Clone)]
pub(crate) enum LogFormat {
    Combined,
    Json,
    Custom(Arc<Template>, LogEscape),
}

/// How a variable's value is made safe in a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogEscape {
    /// Quotes, backslashes and all that is not printable ASCII become `\xXX`; nothing becomes `-`.
    Default,
    /// As in a JSON string.
    Json,
    None,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// From the first byte of a head to its last.
    pub(crate) header: Duration,
    /// Between two reads of a body.
    pub(crate) body: Duration,
    /// Between two writes to the client.
    pub(crate) send: Duration,
    /// Between two requests.
    pub(crate) keepalive: Duration,
    /// A connection that has waited for less is not closed by a drain, or for want of descriptors.
    pub(crate) keepalive_min: Duration,
    /// For one request and its answer, all in all.
    pub(crate) total: Option<Duration>,
    /// A connection older than this ends with its next request.
    pub(crate) lifetime: Duration,
    /// So many requests a connection may bring.
    pub(crate) requests: u64,
    /// A client that is late, and one that is to get no answer, is cut off by a reset.
    pub(crate) resets: bool,
    /// For everything in flight, once the daemon was told to stop.
    pub(crate) shutdown: Duration,
    /// A client that may still be sending when it got its answer is read on for a while, so that it gets it whole.
    pub(crate) lingers: bool,
    /// How long in all, and how long it may be silent.
    pub(crate) linger: Duration,
    pub(crate) linger_silence: Duration,
    /// Bytes in a second that a body has to come with, and an answer has to be taken with; 0 asks for nothing.
    pub(crate) body_rate: u64,
    pub(crate) send_rate: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Listen {
    pub(crate) addr: ListenAddr,
    /// Mode of the socket file, when `addr` is a path.
    pub(crate) mode: u32,
    pub(crate) backlog: u32,
    /// Indices into [`Config::servers`]; the first is the default one.
    pub(crate) servers: Vec<usize>,
    /// The first was named as the default.
    pub(crate) has_default: bool,
    /// Clients speak TLS.
    pub(crate) tls: bool,
    /// All its servers speak HTTP/2, whatever they say themselves.
    pub(crate) http2: bool,
    /// Connections begin with a preamble of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// Indices into [`Streams::servers`], the default one first, if what comes is no HTTP.
    pub(crate) streams: Vec<usize>,
    /// It takes datagrams, and no connections.
    pub(crate) udp: bool,
}

/// HTTP/2 to the clients of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Http2Rules {
    pub(crate) on: bool,
    /// Most requests that a client has open at once.
    pub(crate) streams: u32,
    /// How many bytes of a body may come before they are asked for.
    pub(crate) window: u32,
}

impl Default for Http2Rules {
    fn default() -> Self {
        Self {
            on: false,
            streams: 128,
            window: 256 * 1024,
        }
    }
}

impl Timeouts {
    /// nginx's bounds for a connection's use.
    pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
    pub(crate) const REQUESTS: u64 = 1000;
    /// nginx's bounds for reading on.
    pub(crate) const LINGER: Duration = Duration::from_secs(30);
    pub(crate) const LINGER_SILENCE: Duration = Duration::from_secs(5);
}

/// What answers for some host names.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is written: `FILE:LINE`.
    pub(crate) at: String,
    pub(crate) names: Vec<HostPattern>,
    /// As it was written first: what `$server_name` is.
    pub(crate) name: String,
    /// An index into [`Config::rules`]: what holds where no location does.
    pub(crate) rules: usize,
    /// What is done before any location is looked for.
    pub(crate) script: Vec<Op>,
    pub(crate) locations: Locations,
    /// By name, reached by internal redirects only.
    pub(crate) named: Vec<(String, Location)>,
    /// Which names clients' fields may have.
    pub(crate) field_names: FieldNames,
    pub(crate) merge_slashes: bool,
    pub(crate) real_ip: Option<RealIp>,
    /// How long its clients may take.
    pub(crate) timeouts: Timeouts,
    /// How large the heads of their requests may be; what the first server of an address says counts there.
    pub(crate) heads: trine_http1::Limits,
    /// For listeners that speak TLS.
    pub(crate) tls: Option<TlsRules>,
    pub(crate) http2: Http2Rules,
    /// How much its temporary files may hold.
    pub(crate) quota: Option<Arc<Quota>>,
}

/// Where a certificate's chain and its key are, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateFiles {
    /// The one variable that the paths may have in them: the name that a client asks for.
    pub(crate) const VARIABLE: &str = "$ssl_server_name";

    /// Whether the files are known only when a client has said whom it wants.
    pub(crate) fn by_name(&self) -> bool {
        [&self.certificate, &self.key]
            .iter()
            .any(|path| path.to_string_lossy().contains(Self::VARIABLE))
    }

    /// The files for a name.
    pub(crate) fn of(&self, name: &str) -> (PathBuf, PathBuf) {
        let fill = |path: &Path| path.to_string_lossy().replace(Self::VARIABLE, name).into();
        (fill(&self.certificate), fill(&self.key))
    }
}

/// What a server needs to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TlsRules {
    /// Files of chains and keys, PEM. Several: RSA beside ECDSA.
    pub(crate) certificates: Vec<CertificateFiles>,
    pub(crate) tls12: bool,
    pub(crate) tls13: bool,
    /// Sessions may be resumed by tickets.
    pub(crate) tickets: bool,
    /// Files with keys for tickets, which other machines have too: the first makes tickets, all open them.
    pub(crate) ticket_keys: Vec<PathBuf>,
    /// How many sessions are kept for clients without tickets.
    pub(crate) sessions: usize,
    /// How long a session may be resumed.
    pub(crate) session_time: Duration,
    /// Suites of TLS 1.2 by OpenSSL's names, best first; `None`: all there are.
    pub(crate) suites: Option<Vec<&'static str>>,
    /// Of the suites that a client offers, our best is taken.
    pub(crate) own_order: bool,
    /// Handshakes are refused: nobody is to get a certificate by an unknown name.
    pub(crate) rejects: bool,
    pub(crate) clients: Option<ClientCertificates>,
}

/// Certificates that clients show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientCertificates {
    /// Files of authorities, PEM. Of the first kind clients are told which they are.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) trusted: Option<PathBuf>,
    /// File of the certificates that are revoked, PEM.
    pub(crate) revoked: Option<PathBuf>,
    pub(crate) demand: Demand,
}

/// What is asked of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Demand {
    /// A certificate of a known authority.
    Required,
    /// The same, or none.
    Optional,
    /// Any or none: the application judges.
    OptionalNoCa,
}

/// Whose word about the client's address is believed, and which field has it.
#[derive(Debug, Clone)]
pub(crate) struct RealIp {
    pub(crate) trusted: Trusted,
    pub(crate) header: String,
    /// Trusted addresses in the list are passed over.
    pub(crate) recursive: bool,
}

/// Locations that stand beside one another.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    /// Exact ones first, then prefixes; longest first.
    pub(crate) plain: Vec<Location>,
    /// In the order of the file.
    pub(crate) regexes: Vec<Location>,
}

#[derive(Debug)]
pub(crate) struct Location {
    /// Where it is written: `FILE:LINE`.
    pub(crate) at: String,
    pub(crate) matcher: Matcher,
    /// An index into [`Config::rules`].
    pub(crate) rules: usize,
    pub(crate) nested: Locations,
}

/// Which normalised paths belong to a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matcher {
    /// This path alone.
    Exact(String),
    /// Every path that begins with these bytes.
    Prefix {
        path: String,
        /// No regular expression is tried once this is the longest.
        stops: bool,
    },
    /// `/a` holds `/a` and what is below `/a/`; `/a/` only the latter.
    Below(String),
    Regex(Pattern),
    /// `@name`.
    Named,
}

impl Matcher {
    /// The path of one that has a path.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix { path, .. } | Self::Below(path) => path,
            Self::Regex(_) | Self::Named => "",
        }
    }
}

impl Locations {
    /// Brings the plain ones into the order that the search relies on.
    pub(crate) fn sort(&mut self) {
        self.plain.sort_by_key(|location| {
            let exact = matches!(location.matcher, Matcher::Exact(_));
            (!exact, std::cmp::Reverse(location.matcher.path().len()))
        });
    }
}

impl Config {
    /// What holds for a location or server.
    pub(crate) fn rules(&self, index: usize) -> &Rules {
        &self.rules[index]
    }

    /// How each server that ends TLS does so, of HTTP and below.
    pub(crate) fn tls_rules(&self) -> impl Iterator<Item = &TlsRules> {
        let of_http = self.servers.iter().map(|server| &server.tls);
        let of_stream = self.streams.servers.iter().map(|server| &server.tls);
        of_http.chain(of_stream).flatten()
    }
}
