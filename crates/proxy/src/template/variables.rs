//! The values of variables for a request.
//!
//! Not here: which there are (`named`), and strings that they stand in (see the parent module).

use std::io::Write as _;
use std::time::{Instant, UNIX_EPOCH};

use jiff::tz::TimeZone;
use trine_http1::{BodyLength, Request, Response};
use trine_sys::net::tcp_info;

use super::fields::{cookie, head_cookie, is_field, request_field, sent_field, set_cookie};
use super::named::Variable;
use super::scene::{Scene, given_rate};
use super::{attempts, link};
use crate::config::Folder;
use crate::conn::reply::push_number;
use crate::route::host::{name_of, port_of};
use crate::tls::Verdict;
use crate::upstream::trace;

impl Variable {
    /// Appends the value; false if there is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>) -> bool {
        let before = out.len();
        let Scene {
            conn,
            request,
            record,
            config,
            ..
        } = *scene;
        let put = |out: &mut Vec<u8>, value: Option<&[u8]>| match value {
            Some(value) => {
                out.extend_from_slice(value);
                true
            }
            None => false,
        };
        match self {
            Self::Uri => out.extend_from_slice(&record.visit.path),
            Self::DocumentRoot => {
                let Some(files) = scene.files() else {
                    return false;
                };
                match &files.folder {
                    Folder::Root(root) | Folder::Alias { folder: root, .. } => {
                        root.write(out, scene)
                    }
                    Folder::Whole(file) => file.write(out, scene),
                }
            }
            Self::RequestFilename => {
                let Some(files) = scene.files() else {
                    return false;
                };
                let (root, rest) = crate::files::place(&files.folder, scene);
                out.extend_from_slice(root.as_os_str().as_encoded_bytes());
                if out.last() != Some(&b'/') {
                    out.push(b'/');
                }
                out.extend_from_slice(&rest);
            }
            Self::RequestUri => return put(out, request.map(|request| request.target())),
            Self::Args => return put(out, scene.args()),
            Self::IsArgs => {
                if scene.args().is_some_and(|args| !args.is_empty()) {
                    out.push(b'?');
                }
            }
            Self::Argument(name) => return put(out, scene.argument(name)),
            Self::Cookie(name) => {
                return put(out, request.and_then(|request| cookie(&request, name)));
            }
            Self::RequestField(name) => {
                let servers = &config.servers;
                let server = servers.get(record.visit.server);
                let underscores = server.is_some_and(|server| server.field_names.underscores);
                return request_field(out, request, name, underscores);
            }
            Self::SentField(name) => {
                let head = match record.sent_head.get() {
                    Some(sent) if scene.sent.is_empty() => sent,
                    _ => scene.sent,
                };
                return put(out, sent_field(head, name));
            }
            Self::SentTrailer(name) => {
                let end = record.sent_end.get();
                return put(out, end.and_then(|end| sent_field(end, name)));
            }
            Self::UpstreamTrailer(name) => {
                let end = record.upstream_end.get();
                return put(out, end.and_then(|end| sent_field(end, name)));
            }
            Self::UpstreamField(name) => {
                let named = |answer: Response<'_>| {
                    let fields = answer.headers();
                    // An underscore stands for itself as well.
                    let mut fields = fields.filter(|(field, _)| is_field(field, name));
                    fields.next().map(|(_, value)| value.to_vec())
                };
                let found = |answer: Response<'_>| match answer.get(name) {
                    Some(value) => Some(value.to_vec()),
                    None => named(answer),
                };
                if let Some(answer) = scene.answer {
                    return put(out, found(answer).as_deref());
                }
                let head = record.answer_head.as_deref();
                return put(out, head.and_then(|head| sent_field(head, name)));
            }
            Self::UpstreamCookie(name) => {
                if let Some(answer) = scene.answer {
                    let mut set = answer.get_all("set-cookie");
                    return put(out, set.find_map(|line| set_cookie(line, name)));
                }
                let head = record.answer_head.as_deref().unwrap_or_default();
                return put(out, head_cookie(head, name));
            }
            Self::Host => match request.and_then(|request| request.authority()) {
                Some(authority) => {
                    out.extend_from_slice(name_of(authority));
                    out[before..].make_ascii_lowercase();
                }
                None => out.extend_from_slice(scene.server_name()),
            },
            // As nginx has it since 1.29.3.
            Self::HostPort => return put(out, request.and_then(port)),
            Self::IsHostPort => {
                if request.and_then(port).is_some() {
                    out.push(b':');
                }
            }
            Self::HostName => match nix::unistd::gethostname() {
                Ok(name) => out.extend_from_slice(name.as_encoded_bytes()),
                Err(_) => return false,
            },
            Self::ServerName => out.extend_from_slice(scene.server_name()),
            Self::ServerPort => {
                if conn.port != 0 {
                    push_number(out, u64::from(conn.port));
                }
            }
            Self::ServerProtocol => {
                return put(out, request.map(|request| request.version_text()));
            }
            Self::Scheme => out.extend_from_slice(conn.scheme().as_bytes()),
            Self::Https => {
                if conn.stream.tls().is_some() {
                    out.extend_from_slice(b"on");
                }
            }
            Self::TlsProtocol => {
                let protocol = conn.stream.tls().and_then(|tls| tls.protocol());
                return put(out, protocol.map(str::as_bytes));
            }
            Self::TlsCipher => {
                let cipher = conn.stream.tls().and_then(|tls| tls.cipher());
                return put(out, cipher.as_deref().map(str::as_bytes));
            }
            Self::TlsServerName => {
                let name = conn.stream.tls().and_then(|tls| tls.server_name());
                return put(out, name.as_deref().map(str::as_bytes));
            }
            Self::TlsClientVerify => {
                let Some(tls) = conn.stream.tls() else {
                    return false;
                };
                match tls.verdict() {
                    Verdict::Nothing => out.extend_from_slice(b"NONE"),
                    Verdict::Good => out.extend_from_slice(b"SUCCESS"),
                    Verdict::Bad { why, .. } => {
                        out.extend_from_slice(b"FAILED:");
                        out.extend_from_slice(why.as_bytes());
                    }
                }
            }
            Self::TlsClient(what) => {
                let shown = conn.stream.tls().and_then(|tls| tls.shown(*what));
                return put(out, shown.as_deref().map(str::as_bytes));
            }
            Self::TlsCurve => {
                let curve = conn.stream.tls().and_then(|tls| tls.curve());
                return put(out, curve.as_deref().map(str::as_bytes));
            }
            Self::TlsApplication => {
                let name = conn.stream.tls().and_then(|tls| tls.application());
                return put(out, name.as_deref().map(str::as_bytes));
            }
            Self::TlsReused => {
                let Some(tls) = conn.stream.tls() else {
                    return false;
                };
                out.push(if tls.is_resumed() { b'r' } else { b'.' });
            }
            Self::Method if record.visit.as_get => out.extend_from_slice(b"GET"),
            Self::Method => {
                return put(out, request.map(|request| request.method().as_bytes()));
            }
            Self::ScriptName => scene.script_name(out),
            Self::PathInfo => return put(out, scene.path_info().as_deref()),
            Self::Request => {
                let Some(request) = request else { return false };
                out.extend_from_slice(request.method().as_bytes());
                out.push(b' ');
                out.extend_from_slice(request.target());
                out.push(b' ');
                out.extend_from_slice(request.version_text());
            }
            Self::RequestLength => push_number(out, record.request_bytes),
            Self::RequestId => out.extend_from_slice(&record.any_id(&conn.engine)),
            Self::TraceId => {
                let given = || trace::given(&request?);
                let field = record.trace.get().map(Vec::as_slice).or_else(given);
                return put(out, field.map(trace::trace_id));
            }
            Self::RequestBody => return put(out, record.body_text.as_deref()),
            Self::RequestBodyFile => {
                let file = record.body_file.as_deref();
                return put(out, file.map(|file| file.as_os_str().as_encoded_bytes()));
            }
            Self::RequestTime => seconds(out, record.started, Instant::now()),
            Self::RemoteAddr => match record.real_ip {
                // Writing to a Vec cannot fail.
                Some(addr) => _ = write!(out, "{addr}"),
                None => out.extend_from_slice(conn.peer_text.as_bytes()),
            },
            Self::PeerAddr => out.extend_from_slice(conn.peer_text.as_bytes()),
            Self::PeerPort if conn.peer_port == 0 => return false,
            Self::PeerPort => push_number(out, u64::from(conn.peer_port)),
            Self::RemotePort => {
                // A field tells an address only; the preamble tells both.
                let told = conn.introduced.as_deref().map(|(from, _)| *from);
                match (record.real_ip, told) {
                    (None, _) => return Self::PeerPort.write(out, scene),
                    (Some(addr), Some(from)) if from.ip() == addr => {
                        push_number(out, u64::from(from.port()));
                    }
                    (Some(_), _) => return false,
                }
            }
            Self::ServerAddr => return put(out, conn.local_text()),
            Self::IntroducedAddr
            | Self::IntroducedPort
            | Self::IntroducedServerAddr
            | Self::IntroducedServerPort => {
                let Some((from, to)) = conn.introduced.as_deref() else {
                    return false;
                };
                // Writing to a Vec cannot fail.
                _ = match self {
                    Self::IntroducedAddr => write!(out, "{}", from.ip()),
                    Self::IntroducedPort => write!(out, "{}", from.port()),
                    Self::IntroducedServerAddr => write!(out, "{}", to.ip()),
                    _ => write!(out, "{}", to.port()),
                };
            }
            Self::BinaryRemoteAddr => match record.real_ip.or(conn.peer.ip()) {
                Some(std::net::IpAddr::V4(addr)) => out.extend_from_slice(&addr.octets()),
                Some(std::net::IpAddr::V6(addr)) => out.extend_from_slice(&addr.octets()),
                None => out.extend_from_slice(b"unix:"),
            },
            Self::RemoteUser => {
                let found = request.and_then(|request| crate::access::credentials(&request));
                return put(out, found.as_ref().map(|(user, _)| &user[..]));
            }
            Self::ContentLength if matches!(scene.body, Some(BodyLength::Known(_))) => {
                let Some(BodyLength::Known(length)) = scene.body else {
                    return false;
                };
                push_number(out, length);
            }
            Self::ContentLength
                if scene.body.is_some()
                    && request.is_some_and(|request| request.body() != BodyLength::Empty) =>
            {
                // It does not go on.
                return false;
            }
            Self::ContentLength => {
                return put(
                    out,
                    request.and_then(|request| request.get("content-length")),
                );
            }
            Self::ContentType => {
                return put(out, request.and_then(|request| request.get("content-type")));
            }
            Self::ForwardedFor => {
                if let Some(request) = request {
                    for value in request.get_all("x-forwarded-for") {
                        out.extend_from_slice(value);
                        out.extend_from_slice(b", ");
                    }
                }
                return Self::RemoteAddr.write(out, scene);
            }
            Self::ProxyHost => match scene.proxy() {
                Some((host, _)) => out.extend_from_slice(host.as_bytes()),
                None => return false,
            },
            Self::ProxyPort => match scene.proxy() {
                Some((_, port)) => push_number(out, u64::from(port)),
                None => return false,
            },
            Self::Status => {
                // While the head of an upstream's answer is written, its status has not gone out.
                let status = match scene.answer {
                    Some(answer) if record.status == 0 => record.status_for(answer.status()),
                    _ if record.status == 0 => record.status_for(record.shown_status()),
                    _ => record.shown_status(),
                };
                let _ = write!(out, "{status:03}");
            }
            Self::BodyBytes => push_number(out, record.body_bytes),
            Self::SentBytes => push_number(out, conn.takes.bytes()),
            Self::Ratio(coding) => {
                let packed = &record.packed;
                if packed.coding != Some(*coding) || packed.made == 0 {
                    return false;
                }
                let hundredths = (packed.taken * 1000 / packed.made + 5) / 10;
                push_number(out, hundredths / 100);
                // Written to memory.
                let _ = write!(out, ".{:02}", hundredths % 100);
            }
            Self::TimeLocal => conn.engine.time.write_local(out),
            Self::TimeIso => {
                let now = jiff::Timestamp::try_from(conn.engine.time.now()).unwrap_or_default();
                let zoned = now.to_zoned(TimeZone::system());
                let _ = write!(out, "{}", zoned.strftime("%Y-%m-%dT%H:%M:%S%:z"));
            }
            Self::DateGmt => conn.engine.time.write_long(out, TimeZone::UTC, "GMT"),
            Self::DateLocal => conn.engine.time.write_long(out, TimeZone::system(), "%Z"),
            Self::Tcp(part) => match tcp_info(&*conn.stream) {
                Ok(info) => push_number(out, u64::from(part.of(&info))),
                Err(_) => return false,
            },
            Self::Msec => {
                let since = conn.engine.time.now().duration_since(UNIX_EPOCH);
                let since = since.unwrap_or_default();
                let _ = write!(out, "{}.{:03}", since.as_secs(), since.subsec_millis());
            }
            Self::Pid => push_number(out, u64::from(std::process::id())),
            Self::Version => out.extend_from_slice(crate::NGINX_VERSION.as_bytes()),
            Self::Connection => push_number(out, conn.number),
            Self::ConnectionRequests => push_number(out, conn.requests.get()),
            Self::ConnectionTime => {
                let time = conn.opened().elapsed();
                let _ = write!(out, "{}.{:03}", time.as_secs(), time.subsec_millis());
            }
            // As `stub_status` counts them: nobody is between waiting and writing.
            Self::ConnectionsReading => push_number(out, 0),
            Self::ConnectionsActive => push_number(out, conn.engine.tally.sums().active),
            Self::ConnectionsWaiting => push_number(out, conn.engine.tally.sums().waiting),
            Self::ConnectionsWriting => {
                let sums = conn.engine.tally.sums();
                push_number(out, sums.active.saturating_sub(sums.waiting));
            }
            Self::Http2 => {
                let Some(_) = conn.stream.http2() else {
                    return false;
                };
                let tls = conn.stream.tls().is_some();
                out.extend_from_slice(if tls { b"h2" } else { b"h2c" });
            }
            Self::Upstream(what) => return attempts::write(out, *what, record),
            Self::UpstreamCacheStatus => match record.cache {
                Some(word) => out.extend_from_slice(word.as_bytes()),
                None => return false,
            },
            Self::SliceRange => {
                let Some((start, size)) = record.visit.slice else {
                    return false;
                };
                let last = start.saturating_add(size - 1);
                out.extend_from_slice(format!("bytes={start}-{last}").as_bytes());
            }
            Self::UpstreamCacheKey => {
                let kept = record.kept.as_ref().map(|entry| &entry.key[..]);
                return put(out, kept.or(record.cache_key.as_deref()));
            }
            Self::UpstreamCacheField(name) => {
                let kept = record.kept.as_ref();
                return put(out, kept.and_then(|entry| entry.field(name)));
            }
            Self::Completion => {
                if record.status != 0 && record.status != 499 {
                    out.extend_from_slice(b"OK");
                }
            }
            Self::LimitRequests => {
                return put(
                    out,
                    record
                        .limited
                        .requests
                        .map(|status| status.name().as_bytes()),
                );
            }
            Self::LimitConnections => {
                let status = record.limited.connections;
                return put(out, status.map(|status| status.name().as_bytes()));
            }
            Self::LimitRate => push_number(out, given_rate(scene).unwrap_or(0)),
            Self::SecureLink | Self::SecureLinkExpires => {
                let Some(rule) = &config.rules(record.visit.rules).secure_link else {
                    return false;
                };
                let value = match self {
                    Self::SecureLink => link::value(rule, scene),
                    _ => link::expires(rule, scene),
                };
                return put(out, value.as_deref());
            }
            Self::InvalidReferer => {
                let referers = &config.rules(record.visit.rules).referers;
                let referer = request.and_then(|request| request.get("referer"));
                if referers.as_ref().is_some_and(|list| !list.allows(referer)) {
                    out.push(b'1');
                }
            }
            Self::Empty => return false,
            Self::Group(number) => {
                let group = usize::from(*number);
                return put(out, scene.groups().and_then(|groups| groups.number(group)));
            }
            Self::NamedGroup(name, slot) => {
                // That of the string at hand, if it has one; else the last that was met, or set.
                return match scene.captures.and_then(|groups| groups.name(name)) {
                    Some(here) => put(out, Some(here)),
                    None => record.visit.write_group(out, *slot),
                };
            }
            Self::Set(slot) => {
                let value = record.visit.vars.get(*slot);
                return put(out, value.and_then(Option::as_deref));
            }
            Self::Map(index) => config.maps[*index].write(out, scene),
        }
        out.len() > before
    }
}

/// The port that a request names with its host.
fn port<'a>(request: Request<'a>) -> Option<&'a [u8]> {
    request.authority().and_then(port_of)
}

fn seconds(out: &mut Vec<u8>, from: Instant, to: Instant) {
    let time = to.saturating_duration_since(from);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{}.{:03}", time.as_secs(), time.subsec_millis());
}
