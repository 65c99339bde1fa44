//! What of a request goes into the `environ` of PEP 3333, as a pure function over any place to put it.
//!
//! Not here: Python objects (`python::environ` has the place), and the keys that are the same for every request.

use smallvec::SmallVec;
use trine_http1::{Request, Version};

use super::gateway::Given;
use crate::config::settings::HeaderMap;

use super::trust::SchemeHeaders;

/// The keys that have a fixed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Key {
    RequestMethod,
    RawUri,
    PathInfo,
    QueryString,
    ScriptName,
    ServerProtocol,
    ServerName,
    ServerPort,
    RemoteAddr,
    RemotePort,
    ContentType,
    ContentLength,
    UrlScheme,
}

impl Key {
    pub const ALL: [Self; 13] = [
        Self::RequestMethod,
        Self::RawUri,
        Self::PathInfo,
        Self::QueryString,
        Self::ScriptName,
        Self::ServerProtocol,
        Self::ServerName,
        Self::ServerPort,
        Self::RemoteAddr,
        Self::RemotePort,
        Self::ContentType,
        Self::ContentLength,
        Self::UrlScheme,
    ];

    /// The name in `environ`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestMethod => "REQUEST_METHOD",
            Self::RawUri => "RAW_URI",
            Self::PathInfo => "PATH_INFO",
            Self::QueryString => "QUERY_STRING",
            Self::ScriptName => "SCRIPT_NAME",
            Self::ServerProtocol => "SERVER_PROTOCOL",
            Self::ServerName => "SERVER_NAME",
            Self::ServerPort => "SERVER_PORT",
            Self::RemoteAddr => "REMOTE_ADDR",
            Self::RemotePort => "REMOTE_PORT",
            Self::ContentType => "CONTENT_TYPE",
            Self::ContentLength => "CONTENT_LENGTH",
            Self::UrlScheme => "wsgi.url_scheme",
        }
    }
}

/// A place for the values. Bytes are to be read as latin-1.
pub trait Environ {
    fn set(&mut self, key: Key, value: &[u8]);
    /// A header by its name on the wire; the place makes `HTTP_…` of it. Never called twice for one name.
    fn header(&mut self, name: &[u8], value: &[u8]);
    /// A variable of a gateway protocol by its name in `environ`.
    fn variable(&mut self, name: &[u8], value: &[u8]);
}

/// What is known beside the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The static mount prefix, from the environment variable SCRIPT_NAME.
    pub script_name: &'a [u8],
    /// The peer may say what scheme and prefix the client used.
    pub trusted: bool,
    pub scheme_headers: &'a SchemeHeaders,
    /// What becomes of names with an underscore, which look like others in `environ`.
    pub header_map: HeaderMap,
    /// Those that a trusted peer may send all the same: upper case, with underscores; `*` is all.
    pub forwarder_headers: &'a [String],
    /// The connection itself is secure.
    pub secure: bool,
    /// SERVER_NAME and SERVER_PORT are not known from the listener, a Unix socket.
    pub name_from_host: bool,
    /// The length of a chunked body that was read already.
    pub chunked_length: Option<u64>,
    /// What a web server said beside the request; it knows better.
    pub given: Option<&'a Given>,
}

/// Why a request that parsed well cannot be given to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvironError {
    #[error("the forwarding headers contradict each other about the scheme")]
    SchemeConflict,
    #[error("the path does not begin with SCRIPT_NAME")]
    ScriptName,
    #[error("a header name has an underscore")]
    Underscore,
}

impl EnvironError {
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::SchemeConflict | Self::Underscore => 400,
            Self::ScriptName => 500,
        }
    }
}

/// Fills `into` from `request`. `scratch` is memory to work in.
pub fn fill(
    request: &Request<'_>,
    around: &Around<'_>,
    scratch: &mut Vec<u8>,
    into: &mut impl Environ,
) -> Result<(), EnvironError> {
    into.set(Key::RequestMethod, request.method().as_bytes());
    into.set(Key::RawUri, request.target());
    if let Some(query) = request.query().filter(|query| !query.is_empty()) {
        into.set(Key::QueryString, query);
    }
    if request.version() != Version::Http11 {
        into.set(Key::ServerProtocol, request.version().as_str().as_bytes());
    }
    let found = headers(request, around, into)?;
    if let Some(length) = around.chunked_length {
        into.set(Key::ContentLength, length.to_string().as_bytes());
    }
    if found.secure {
        into.set(Key::UrlScheme, b"https");
    }
    if let Some(given) = around.given {
        return fill_given(given, around, found.secure, into);
    }
    if around.name_from_host {
        let port: &[u8] = if found.secure { b"443" } else { b"80" };
        let host = request.host().filter(|host| !host.is_empty());
        let (name, port) = split_host(host.unwrap_or(b"localhost"), port);
        into.set(Key::ServerName, name);
        into.set(Key::ServerPort, port);
    }
    let path = decode_path(request.path(), scratch);
    let prefix = found.script_name.unwrap_or(around.script_name);
    if prefix.is_empty() {
        into.set(Key::PathInfo, path);
        return Ok(());
    }
    let rest = beneath(prefix, path)?;
    into.set(Key::ScriptName, prefix);
    into.set(Key::PathInfo, rest);
    Ok(())
}

/// The keys of which the web server's word counts, and what else it has to say.
fn fill_given(
    given: &Given,
    around: &Around<'_>,
    secure: bool,
    into: &mut impl Environ,
) -> Result<(), EnvironError> {
    // SERVER_NAME and such are among them.
    for (name, value) in given.others() {
        into.variable(name, value);
    }
    if !secure && given.secure() {
        into.set(Key::UrlScheme, b"https");
    }
    if let Some(query) = given.get("QUERY_STRING") {
        into.set(Key::QueryString, query);
    }
    if let Some(protocol) = given.get("SERVER_PROTOCOL").filter(|text| !text.is_empty()) {
        into.set(Key::ServerProtocol, protocol);
    }
    let path = given.path().unwrap_or_default();
    if let Some(mount) = given.mount() {
        into.set(Key::ScriptName, mount);
        into.set(Key::PathInfo, path);
        return Ok(());
    }
    let rest = beneath(around.script_name, path)?;
    if !around.script_name.is_empty() {
        into.set(Key::ScriptName, around.script_name);
    }
    into.set(Key::PathInfo, rest);
    Ok(())
}

/// What is left of `path` below a mount.
fn beneath<'a>(prefix: &[u8], path: &'a [u8]) -> Result<&'a [u8], EnvironError> {
    let rest = path.strip_prefix(prefix).ok_or(EnvironError::ScriptName)?;
    let splits_a_name = !prefix.is_empty()
        && !prefix.ends_with(b"/")
        && rest.first().is_some_and(|&byte| byte != b'/');
    if splits_a_name {
        return Err(EnvironError::ScriptName);
    }
    Ok(rest)
}

#[derive(Default)]
struct Found<'a> {
    secure: bool,
    script_name: Option<&'a [u8]>,
}

fn headers<'a>(
    request: &Request<'a>,
    around: &Around<'_>,
    into: &mut impl Environ,
) -> Result<Found<'a>, EnvironError> {
    let mut found = Found {
        secure: around.secure,
        ..Found::default()
    };
    let mut scheme = None;
    let mut repeated = repeated_classes(request);
    // Only then an underscore may stand for a dash, and two names for one key.
    let folds = around.header_map == HeaderMap::Dangerous
        || around.trusted
            && around
                .forwarder_headers
                .iter()
                .any(|name| name != "SCRIPT_NAME" && name != "PATH_INFO");
    if folds {
        repeated = u64::MAX;
    }
    for (index, (name, value)) in request.headers().enumerate() {
        if around.trusted
            && let Some(secure) = around.scheme_headers.says(name, value)
        {
            if scheme.is_some_and(|before| before != secure) {
                return Err(EnvironError::SchemeConflict);
            }
            scheme = Some(secure);
            found.secure = secure || around.secure;
        }
        if memchr::memchr(b'_', name).is_some() {
            let forwarded = around.trusted && forwarder_header(around.forwarder_headers, name);
            match around.header_map {
                _ if forwarded => {}
                HeaderMap::Drop => continue,
                HeaderMap::Refuse => return Err(EnvironError::Underscore),
                HeaderMap::Dangerous => {}
            }
            if forwarded && name.eq_ignore_ascii_case(b"script_name") {
                found.script_name = Some(value);
            }
        }
        let maybe_repeated = repeated & class_of(name) != 0;
        if maybe_repeated && seen_before(request, name, index, folds) {
            continue;
        }
        match name.len() {
            12 if name.eq_ignore_ascii_case(b"content-type") => into.set(Key::ContentType, value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                into.set(Key::ContentLength, value);
            }
            _ => match maybe_repeated
                .then(|| joined(request, name, index, folds))
                .flatten()
            {
                Some(all) => into.header(name, &all),
                None => into.header(name, value),
            },
        }
    }
    Ok(found)
}

/// What a trusted peer may set in spite of the underscore.
fn forwarder_header(known: &[String], name: &[u8]) -> bool {
    let fits = |known: &String| known == "*" || known.as_bytes().eq_ignore_ascii_case(name);
    known.iter().any(fits)
}

/// Whether two names are one key of `environ`.
fn same_key(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

/// A cheap first look for repeated names: one bit per class of names, set when two names share the class.
fn repeated_classes(request: &Request<'_>) -> u64 {
    let (mut once, mut twice) = (0, 0);
    for (name, _) in request.headers() {
        let class = class_of(name);
        twice |= once & class;
        once |= class;
    }
    twice
}

fn class_of(name: &[u8]) -> u64 {
    let edge = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or(0) | 0x20);
    let mixed = (name.len() as u32)
        .wrapping_mul(7)
        .wrapping_add(edge(name.first()).wrapping_mul(3))
        .wrapping_add(edge(name.last()));
    1 << (mixed % 64)
}

fn seen_before(request: &Request<'_>, name: &[u8], index: usize, folds: bool) -> bool {
    request
        .headers()
        .take(index)
        .any(|(other, _)| is_same(other, name, folds))
}

fn is_same(one: &[u8], other: &[u8], folds: bool) -> bool {
    one.eq_ignore_ascii_case(other) || folds && same_key(one, other)
}

/// All values of a repeated field: Cookie lines with "; " (RFC 6265), others with ",". `None` when there is only one.
fn joined(
    request: &Request<'_>,
    name: &[u8],
    index: usize,
    folds: bool,
) -> Option<SmallVec<[u8; 256]>> {
    let mut all: Option<SmallVec<[u8; 256]>> = None;
    let mut headers = request.headers().skip(index);
    let (_, first) = headers.next()?;
    for (other, value) in headers {
        if other.len() != name.len() || !is_same(other, name, folds) {
            continue;
        }
        let all = all.get_or_insert_with(|| SmallVec::from_slice(first));
        let comma: &[u8] = if name.eq_ignore_ascii_case(b"cookie") {
            b"; "
        } else {
            b","
        };
        all.extend_from_slice(comma);
        all.extend_from_slice(value);
    }
    all
}

/// `example.org:8000` as name and port; brackets of IPv6 stay.
fn split_host<'a>(host: &'a [u8], port: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    match memchr::memrchr(b':', host) {
        Some(at) if at + 1 < host.len() && host[at + 1..].iter().all(u8::is_ascii_digit) => {
            (&host[..at], &host[at + 1..])
        }
        Some(at) if at + 1 == host.len() => (&host[..at], port),
        _ => (host, port),
    }
}

/// Percent-decodes once; a `%` that is not followed by two hexadecimal digits stays as it is.
pub(crate) fn decode_path<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(first) = memchr::memchr(b'%', path) else {
        return path;
    };
    scratch.clear();
    scratch.extend_from_slice(&path[..first]);
    let mut rest = &path[first..];
    while let [byte, after @ ..] = rest {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                scratch.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                scratch.push(*byte);
                rest = after;
            }
        }
    }
    scratch
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests;
