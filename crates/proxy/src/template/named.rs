//! Which variables there are, by their names: nginx's, and those that a configuration defines.
//!
//! Not here: their values (`variables`).

use trine_sys::net::TcpInfo;

use super::Names;
use super::attempts::Told;
use crate::compress::Coding;
use crate::tls::Shown;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Uri,
    DocumentRoot,
    RequestFilename,
    RequestUri,
    Args,
    IsArgs,
    Argument(String),
    Cookie(String),
    RequestField(String),
    SentField(String),
    UpstreamField(String),
    /// A cookie that the upstream sets.
    UpstreamCookie(String),
    /// Of those that follow the content.
    SentTrailer(String),
    UpstreamTrailer(String),
    Host,
    /// The port that the client named with the host.
    HostPort,
    IsHostPort,
    HostName,
    ServerName,
    ServerPort,
    ServerProtocol,
    Scheme,
    Method,
    ScriptName,
    PathInfo,
    Request,
    RequestLength,
    RequestId,
    RequestTime,
    TraceId,
    RequestBody,
    RequestBodyFile,
    RemoteAddr,
    RemoteUser,
    PeerAddr,
    PeerPort,
    RemotePort,
    ServerAddr,
    IntroducedAddr,
    IntroducedPort,
    IntroducedServerAddr,
    IntroducedServerPort,
    BinaryRemoteAddr,
    ContentLength,
    ContentType,
    ForwardedFor,
    ProxyHost,
    ProxyPort,
    Status,
    BodyBytes,
    /// Heads and framing included.
    SentBytes,
    /// How many times longer the answer was before it was compressed.
    Ratio(Coding),
    TimeLocal,
    TimeIso,
    DateGmt,
    DateLocal,
    /// Of the client's connection.
    Tcp(TcpPart),
    Msec,
    Pid,
    Version,
    Connection,
    ConnectionRequests,
    ConnectionTime,
    ConnectionsActive,
    ConnectionsReading,
    ConnectionsWriting,
    ConnectionsWaiting,
    Http2,
    Upstream(Told),
    UpstreamCacheStatus,
    SliceRange,
    UpstreamCacheKey,
    /// Of the kept answer.
    UpstreamCacheField(&'static str),
    Completion,
    LimitRequests,
    LimitConnections,
    LimitRate,
    /// Always empty here: what it tells of does not happen.
    Empty,
    SecureLink,
    SecureLinkExpires,
    InvalidReferer,
    Https,
    TlsProtocol,
    TlsCipher,
    TlsServerName,
    TlsClientVerify,
    TlsClient(Shown),
    TlsCurve,
    TlsApplication,
    TlsReused,
    Group(u8),
    /// Its number is that among the values of `set`.
    NamedGroup(String, usize),
    Map(usize),
    Set(usize),
}

/// What `$tcpinfo_…` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpPart {
    Rtt,
    RttVar,
    SndCwnd,
    RcvSpace,
}

impl TcpPart {
    pub(super) fn of(self, info: &TcpInfo) -> u32 {
        match self {
            Self::Rtt => info.rtt,
            Self::RttVar => info.rttvar,
            Self::SndCwnd => info.snd_cwnd,
            Self::RcvSpace => info.rcv_space,
        }
    }
}

const NAMED: &[(&str, Variable)] = &[
    ("document_root", Variable::DocumentRoot),
    ("realpath_root", Variable::DocumentRoot),
    ("request_filename", Variable::RequestFilename),
    ("uri", Variable::Uri),
    ("document_uri", Variable::Uri),
    ("request_uri", Variable::RequestUri),
    ("args", Variable::Args),
    ("query_string", Variable::Args),
    ("is_args", Variable::IsArgs),
    ("host", Variable::Host),
    ("request_port", Variable::HostPort),
    ("is_request_port", Variable::IsHostPort),
    ("hostname", Variable::HostName),
    ("server_name", Variable::ServerName),
    ("server_port", Variable::ServerPort),
    ("server_protocol", Variable::ServerProtocol),
    ("scheme", Variable::Scheme),
    ("request_method", Variable::Method),
    ("fastcgi_script_name", Variable::ScriptName),
    ("fastcgi_path_info", Variable::PathInfo),
    ("request", Variable::Request),
    ("request_length", Variable::RequestLength),
    ("request_id", Variable::RequestId),
    ("request_time", Variable::RequestTime),
    ("otel_trace_id", Variable::TraceId),
    ("request_body", Variable::RequestBody),
    ("request_body_file", Variable::RequestBodyFile),
    ("remote_addr", Variable::RemoteAddr),
    ("remote_user", Variable::RemoteUser),
    ("realip_remote_addr", Variable::PeerAddr),
    ("remote_port", Variable::RemotePort),
    ("realip_remote_port", Variable::PeerPort),
    ("server_addr", Variable::ServerAddr),
    ("proxy_protocol_addr", Variable::IntroducedAddr),
    ("proxy_protocol_port", Variable::IntroducedPort),
    ("proxy_protocol_server_addr", Variable::IntroducedServerAddr),
    ("proxy_protocol_server_port", Variable::IntroducedServerPort),
    ("binary_remote_addr", Variable::BinaryRemoteAddr),
    ("content_length", Variable::ContentLength),
    ("content_type", Variable::ContentType),
    ("proxy_add_x_forwarded_for", Variable::ForwardedFor),
    ("proxy_host", Variable::ProxyHost),
    ("proxy_port", Variable::ProxyPort),
    ("status", Variable::Status),
    ("body_bytes_sent", Variable::BodyBytes),
    ("bytes_sent", Variable::SentBytes),
    ("time_local", Variable::TimeLocal),
    ("time_iso8601", Variable::TimeIso),
    ("date_gmt", Variable::DateGmt),
    ("date_local", Variable::DateLocal),
    ("tcpinfo_rtt", Variable::Tcp(TcpPart::Rtt)),
    ("tcpinfo_rttvar", Variable::Tcp(TcpPart::RttVar)),
    ("tcpinfo_snd_cwnd", Variable::Tcp(TcpPart::SndCwnd)),
    ("tcpinfo_rcv_space", Variable::Tcp(TcpPart::RcvSpace)),
    ("msec", Variable::Msec),
    ("pid", Variable::Pid),
    ("nginx_version", Variable::Version),
    ("connection", Variable::Connection),
    ("upstream_addr", Variable::Upstream(Told::Addr)),
    ("upstream_status", Variable::Upstream(Told::Status)),
    ("upstream_queue_time", Variable::Upstream(Told::Queued)),
    (
        "upstream_connect_time",
        Variable::Upstream(Told::ConnectTime),
    ),
    ("upstream_header_time", Variable::Upstream(Told::HeaderTime)),
    (
        "upstream_response_time",
        Variable::Upstream(Told::ResponseTime),
    ),
    ("upstream_response_length", Variable::Upstream(Told::Length)),
    (
        "upstream_bytes_received",
        Variable::Upstream(Told::Received),
    ),
    ("upstream_bytes_sent", Variable::Upstream(Told::Sent)),
    ("upstream_cache_etag", Variable::UpstreamCacheField("etag")),
    ("upstream_cache_key", Variable::UpstreamCacheKey),
    (
        "upstream_cache_last_modified",
        Variable::UpstreamCacheField("last-modified"),
    ),
    ("upstream_cache_status", Variable::UpstreamCacheStatus),
    ("slice_range", Variable::SliceRange),
    ("request_completion", Variable::Completion),
    ("secure_link", Variable::SecureLink),
    ("secure_link_expires", Variable::SecureLinkExpires),
    ("invalid_referer", Variable::InvalidReferer),
    ("https", Variable::Https),
    ("ssl_server_name", Variable::TlsServerName),
    ("ssl_client_verify", Variable::TlsClientVerify),
    ("ssl_client_s_dn", Variable::TlsClient(Shown::Subject)),
    ("ssl_client_i_dn", Variable::TlsClient(Shown::Issuer)),
    ("ssl_client_serial", Variable::TlsClient(Shown::Serial)),
    (
        "ssl_client_fingerprint",
        Variable::TlsClient(Shown::Fingerprint),
    ),
    ("ssl_client_v_start", Variable::TlsClient(Shown::Begin)),
    ("ssl_client_v_end", Variable::TlsClient(Shown::End)),
    ("ssl_client_v_remain", Variable::TlsClient(Shown::Remain)),
    ("ssl_client_cert", Variable::TlsClient(Shown::Indented)),
    ("ssl_client_raw_cert", Variable::TlsClient(Shown::Raw)),
    (
        "ssl_client_escaped_cert",
        Variable::TlsClient(Shown::Escaped),
    ),
    ("ssl_curve", Variable::TlsCurve),
    ("ssl_alpn_protocol", Variable::TlsApplication),
    ("ssl_session_reused", Variable::TlsReused),
    ("ssl_session_id", Variable::Empty),
    ("ssl_early_data", Variable::Empty),
    ("http2", Variable::Http2),
    ("ssl_protocol", Variable::TlsProtocol),
    ("ssl_cipher", Variable::TlsCipher),
    ("limit_req_status", Variable::LimitRequests),
    ("limit_conn_status", Variable::LimitConnections),
    ("limit_rate", Variable::LimitRate),
    ("gzip_ratio", Variable::Ratio(Coding::Gzip)),
    ("brotli_ratio", Variable::Ratio(Coding::Br)),
    ("zstd_ratio", Variable::Ratio(Coding::Zstd)),
    ("pipe", Variable::Empty),
    ("connection_requests", Variable::ConnectionRequests),
    ("connection_time", Variable::ConnectionTime),
    ("connections_active", Variable::ConnectionsActive),
    ("connections_reading", Variable::ConnectionsReading),
    ("connections_writing", Variable::ConnectionsWriting),
    ("connections_waiting", Variable::ConnectionsWaiting),
];

/// Variables of [`NAMED`] that a configuration may give another meaning: nginx lets it, or does not have them (or has them for so
/// short a time that a configuration may have its own).
const FREE: [&str; 10] = [
    "args",
    "limit_rate",
    "proxy_host",
    "proxy_port",
    "proxy_add_x_forwarded_for",
    "request_port",
    "is_request_port",
    "etag",
    "otel_trace_id",
    "upstream_cache_etag",
];

/// Whether a variable of this name has its meaning from us alone.
pub(crate) fn is_fixed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is = |(known, _): &(&str, Variable)| *known == name;
    NAMED.iter().any(is) && !FREE.contains(&&*name)
}

impl Variable {
    /// The variable with this lower-case name.
    pub(super) fn find(name: &str, names: &Names) -> Option<Self> {
        if let Some(&map) = names.maps.get(name) {
            return Some(Self::Map(map));
        }
        // What is given to these is given to the request.
        match name {
            "limit_rate" => return Some(Self::LimitRate),
            "args" => return Some(Self::Args),
            _ => {}
        }
        if let Some(&slot) = names.groups.get(name) {
            return Some(Self::NamedGroup(name.to_owned(), slot));
        }
        if let Some(&slot) = names.set.get(name) {
            return Some(Self::Set(slot));
        }
        if let Some((_, variable)) = NAMED.iter().find(|(known, _)| *known == name) {
            let tells_body = &names.tells_body;
            tells_body.set(tells_body.get() || *variable == Self::RequestBody);
            let tells_slice = &names.tells_slice;
            tells_slice.set(tells_slice.get() || *variable == Self::SliceRange);
            return Some(variable.clone());
        }
        if let Ok(number @ 0..=9) = name.parse() {
            return Some(Self::Group(number));
        }
        let field = |rest: &str| rest.replace('_', "-");
        if let Some(rest) = name.strip_prefix("upstream_http_") {
            names.tells_heads.set(true);
            Some(Self::UpstreamField(field(rest)))
        } else if let Some(rest) = name.strip_prefix("upstream_cookie_") {
            names.tells_heads.set(true);
            Some(Self::UpstreamCookie(rest.to_owned()))
        } else if let Some(rest) = name.strip_prefix("upstream_trailer_") {
            Some(Self::UpstreamTrailer(field(rest)))
        } else if let Some(rest) = name.strip_prefix("sent_trailer_") {
            Some(Self::SentTrailer(field(rest)))
        } else if let Some(rest) = name.strip_prefix("sent_http_") {
            names.tells_heads.set(true);
            Some(Self::SentField(field(rest)))
        } else if let Some(rest) = name.strip_prefix("http_") {
            Some(Self::RequestField(field(rest)))
        } else if let Some(rest) = name.strip_prefix("arg_") {
            Some(Self::Argument(rest.to_owned()))
        } else {
            name.strip_prefix("cookie_")
                .map(|rest| Self::Cookie(rest.to_owned()))
        }
    }
}
