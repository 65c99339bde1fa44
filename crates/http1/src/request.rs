//! Request heads: parsing, and the view on a parsed one.
//! Not here: what a daemon does with a valid request (which names it drops, whether it serves
//! CONNECT).

use crate::body::BodyLength;
use crate::error::RequestError;
use crate::fields::{Fields, Headers, Leniency, Span};
use crate::framing::Framing;
use crate::limits::{Limits, Policy};
use crate::scan::Scan;
use crate::syntax::{Version, is_token, is_token_byte, is_word};
use crate::target::{Target, is_host};

/// Empty lines that are skipped before a request line (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 2;

/// The lengths of methods that are accepted without `permit_unconventional_http_method`.
const METHOD_BYTES: std::ops::RangeInclusive<usize> = 3..=20;

/// The four forms of a request target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://host/path?query`, also with `https`.
    Absolute,
    /// `host:port`, only for CONNECT.
    Authority,
    /// `*`, only for OPTIONS.
    Asterisk,
}

/// A request head as positions in the caller's buffer. Made to be used again: it then allocates no
/// more.
///
/// # Example
/// ```
/// use trine_http1::{BodyLength, Limits, Policy, RequestHead};
///
/// let buf = b"POST /form?x=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\na=b";
/// let mut head = RequestHead::default();
/// let used = head.parse(buf, &Limits::default(), &Policy::default())?.expect("it is complete");
/// let request = head.on(buf);
/// assert_eq!((request.method(), request.path()), ("POST", &b"/form"[..]));
/// assert_eq!(request.body(), BodyLength::Known(3));
/// assert_eq!(&buf[used..], b"a=b");
/// # Ok::<(), trine_http1::RequestError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    scan: Scan,
    method: Span,
    /// The method in upper case, where `casefold_http_method` had to change it; else empty.
    casefolded_method: String,
    target: Span,
    form: TargetForm,
    authority: Span,
    path: Span,
    query: Option<Span>,
    version: Version,
    version_text: Span,
    fields: Fields,
    framing: Framing,
    body: BodyLength,
    /// Positions among the fields.
    host: Option<usize>,
    upgrade: Option<usize>,
    expects_continue: bool,
}

impl RequestHead {
    /// Reads the head at the start of `buf`. `Ok(Some(n))`: it is complete and `n` bytes long,
    /// leading empty lines included. `Ok(None)`: more bytes are needed.
    ///
    /// To go on, call again with a buffer that begins with the same bytes; only the new ones are
    /// searched. After a complete head or an error the next call begins a new head.
    ///
    /// # Errors
    /// The head is malformed, ambiguous or beyond a limit; [`RequestError::status`] is what to
    /// answer. An error may come before the head is complete.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Option<usize>, RequestError> {
        let result = self.advance(buf, limits, policy);
        if !matches!(result, Ok(None)) {
            self.scan = Scan::default();
        }
        result
    }

    /// Forgets a head that was not completed, so that the next [`parse`](Self::parse) begins a new
    /// one.
    pub fn clear(&mut self) {
        self.scan = Scan::default();
    }

    /// The view on the head that the last [`parse`](Self::parse) completed. `buf` must be the
    /// buffer that was parsed (longer is fine); with another one the values are meaningless, but
    /// nothing panics.
    #[must_use]
    pub fn on<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        Request { head: self, buf }
    }

    fn advance(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Option<usize>, RequestError> {
        if self.scan.is_new()
            && let Some(extent) = self.fields.parse_whole(buf, limits)
        {
            self.parse_first_line(buf, extent.first_line(buf), policy)?;
            self.interpret(buf)?;
            return Ok(Some(extent.end));
        }
        let Some(extent) = self.scan.advance(buf, limits, MAX_EMPTY_LINES)? else {
            // Tell a peer that does not speak HTTP (TLS, say) before it has sent a line end.
            return match buf.get(self.scan.start()) {
                Some(&first) if first != b'\r' && !is_token_byte(first) => {
                    Err(RequestError::Method)
                }
                _ => Ok(None),
            };
        };
        self.parse_first_line(buf, extent.first_line(buf), policy)?;
        let leniency = Leniency {
            unfold: policy.permit_obsolete_folding,
            strip_name_spaces: policy.strip_header_spaces,
            drop_odd_names: policy.drop_odd_header_names,
        };
        let lines = &buf[extent.fields..extent.end];
        self.fields.parse(buf, lines, extent.folded, leniency)?;
        self.interpret(buf)?;
        Ok(Some(extent.end))
    }

    fn parse_first_line(
        &mut self,
        buf: &[u8],
        line: &[u8],
        policy: &Policy,
    ) -> Result<(), RequestError> {
        let (Some(first), Some(last)) = (memchr::memchr(b' ', line), memchr::memrchr(b' ', line))
        else {
            return Err(RequestError::RequestLine);
        };
        if first == last {
            return Err(RequestError::RequestLine);
        }
        let method = &line[..first];
        let target = &line[first + 1..last];
        let version = &line[last + 1..];
        self.method = Span::locate(method, buf);
        self.target = Span::locate(target, buf);
        self.version_text = Span::locate(version, buf);

        self.casefolded_method.clear();
        if policy.casefold_http_method && method.iter().any(u8::is_ascii_lowercase) {
            self.casefolded_method.extend(
                method
                    .iter()
                    .map(|byte| char::from(byte.to_ascii_uppercase())),
            );
        }
        let method = if self.casefolded_method.is_empty() {
            method
        } else {
            self.casefolded_method.as_bytes()
        };
        if !is_method(method, policy) {
            return Err(RequestError::Method);
        }
        if target.contains(&b' ') {
            return Err(RequestError::RequestLine);
        }
        let parts = Target::parse(method, target)?;
        self.form = parts.form;
        self.authority = Span::locate(parts.authority, buf);
        self.path = Span::locate(parts.path, buf);
        self.query = parts.query.map(|query| Span::locate(query, buf));
        self.version = parse_version(version, policy)?;
        Ok(())
    }

    /// Reads the fields that decide about framing and connection, and checks those that must be
    /// single or valid.
    fn interpret(&mut self, buf: &[u8]) -> Result<(), RequestError> {
        let mut framing = Framing::default();
        let (mut host, mut upgrade, mut content_type, mut expects_continue) =
            (None, None, None, false);
        for (index, (name, value)) in self.fields.iter(buf).enumerate() {
            match name.len() {
                4 if is_word(name, b"host") => {
                    if host.replace(index).is_some() {
                        return Err(RequestError::HostTwice);
                    }
                    if !is_host(value) {
                        return Err(RequestError::Host);
                    }
                }
                6 if is_word(name, b"expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(RequestError::Expectation);
                    }
                    expects_continue = true;
                }
                7 if is_word(name, b"upgrade") => upgrade = upgrade.or(Some(index)),
                12 if is_word(name, b"content-type") => {
                    if content_type.replace(index).is_some() {
                        return Err(RequestError::ContentTypeTwice);
                    }
                }
                _ => framing.note(name, value)?,
            }
        }
        if host.is_none() && self.version == Version::Http11 {
            return Err(RequestError::HostMissing);
        }
        let body = framing.length(self.version)?.unwrap_or(BodyLength::Empty);
        let has_body = !matches!(body, BodyLength::Empty | BodyLength::Known(0));
        if self.form == TargetForm::Authority && has_body {
            return Err(RequestError::ConnectBody);
        }
        self.host = host;
        self.upgrade = upgrade.filter(|_| framing.upgrades(self.version));
        self.expects_continue = expects_continue && has_body && self.version == Version::Http11;
        self.framing = framing;
        self.body = body;
        Ok(())
    }
}

/// Whether `method` is a token, and one of a usual shape or allowed to be unusual.
fn is_method(method: &[u8], policy: &Policy) -> bool {
    is_token(method)
        && (policy.permit_unconventional_http_method
            || (METHOD_BYTES.contains(&method.len())
                && !method
                    .iter()
                    .any(|&byte| byte.is_ascii_lowercase() || byte == b'#')))
}

fn parse_version(text: &[u8], policy: &Policy) -> Result<Version, RequestError> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            b'0'..=b'9',
        ] => match (policy.permit_unconventional_http_version, major) {
            (false, _) => Err(RequestError::UnsupportedVersion),
            (true, b'0') => Ok(Version::Http10),
            (true, _) => Ok(Version::Http11),
        },
        _ => Err(RequestError::MalformedVersion),
    }
}

/// A parsed request head together with the buffer it lies in. All values are slices of the two.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    head: &'a RequestHead,
    buf: &'a [u8],
}

impl<'a> Request<'a> {
    /// The method as received, or in upper case under `casefold_http_method`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        if self.head.casefolded_method.is_empty() {
            match self.head.method.of(self.buf) {
                b"GET" => "GET",
                b"POST" => "POST",
                other => std::str::from_utf8(other).unwrap_or_default(),
            }
        } else {
            &self.head.casefolded_method
        }
    }

    /// The request target as received: printable ASCII without `#`.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.head.target.of(self.buf)
    }

    #[must_use]
    pub fn target_form(&self) -> TargetForm {
        self.head.form
    }

    /// The path of the target before `?`, still percent-encoded and with its dot segments. `/` for
    /// an absolute form without a path, `*` for the asterisk form, empty for CONNECT.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        match self.head.path.of(self.buf) {
            [] if self.head.form == TargetForm::Absolute => b"/",
            path => path,
        }
    }

    /// What follows the first `?` of the target, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&'a [u8]> {
        self.head.query.map(|query| query.of(self.buf))
    }

    /// The version that governs framing and connection.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The version as received; differs from [`version`](Self::version) only under
    /// `permit_unconventional_http_version`.
    #[must_use]
    pub fn version_text(&self) -> &'a [u8] {
        self.head.version_text.of(self.buf)
    }

    /// All fields in the order they came, names as received (underscores too), values without outer
    /// white space.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.head.fields.iter(self.buf)
    }

    /// The first value of a field, by its name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of a name in any case, in the order they came.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.head.fields.likely(self.buf, name).named(name)
    }

    /// The value of Host: a valid host with an optional port, or empty. Always there on HTTP/1.1.
    #[must_use]
    pub fn host(&self) -> Option<&'a [u8]> {
        self.head
            .host
            .and_then(|index| self.head.fields.value(self.buf, index))
    }

    /// Who the request is for: the target's authority if it has one, which then wins over Host
    /// (RFC 9112 section 3.2.2), else [`host`](Self::host).
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        match self.head.authority.of(self.buf) {
            [] => self.host(),
            authority => Some(authority),
        }
    }

    /// How the body is framed (RFC 9112 section 6.3); never `UntilClose`. `Empty` when no length is
    /// given.
    #[must_use]
    pub fn body(&self) -> BodyLength {
        self.head.body
    }

    /// Whether the client wants to keep the connection (RFC 9112 section 9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.head.framing.keep_alive(self.head.version)
    }

    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110 section
    /// 10.1.1): on HTTP/1.1 only, and only when a body is announced.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.head.expects_continue
    }

    /// The first Upgrade field, when Connection lists `upgrade` and the version is 1.1 (RFC 9110
    /// section 7.8).
    #[must_use]
    pub fn upgrade(&self) -> Option<&'a [u8]> {
        self.head
            .upgrade
            .and_then(|index| self.head.fields.value(self.buf, index))
    }
}
