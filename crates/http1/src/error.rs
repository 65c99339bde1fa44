//! Why bytes were refused, one enum for each operation, with the status a server answers.
//! Not here: error pages, logging.

/// A head that neither a request nor a response may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The request line or status line is longer than
    /// [`Limits::request_line`](crate::Limits::request_line).
    #[error("the first line is longer than {limit} bytes")]
    FirstLineTooLong { limit: usize },
    /// A field line is longer than [`Limits::header_line`](crate::Limits::header_line).
    #[error("a header line is longer than {limit} bytes")]
    HeaderLineTooLong { limit: usize },
    /// There are more field lines than [`Limits::header_count`](crate::Limits::header_count).
    #[error("there are more than {limit} headers")]
    TooManyHeaders { limit: usize },
    /// The head is larger than [`Limits::head`](crate::Limits::head).
    #[error("the head is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// More empty lines stand before the first line than are tolerated (RFC 9112 section 2.2).
    #[error("too many empty lines stand before the first line")]
    EmptyLines,
    /// A line ends in LF without CR.
    #[error("a line ends without CR")]
    BareLineFeed,
    /// A field name is empty, has a byte that is not a token byte, is followed by a space, or has
    /// no colon.
    #[error("a header name is not a token followed by a colon")]
    HeaderName,
    /// A field value has a control character, DEL or a bare CR.
    #[error("a header value has a control character")]
    HeaderValue,
    /// A field line is continued on the next line (RFC 9112 section 5.2).
    #[error("a header is folded over several lines")]
    Folded,
}

/// The fields that say where the body ends contradict each other or cannot be understood (RFC 9112
/// section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// Not digits only, or more than 64 bits hold.
    #[error("Content-Length is not a number")]
    ContentLength,
    /// Two Content-Length fields, equal or not.
    #[error("Content-Length is given twice")]
    ContentLengthTwice,
    /// Both fields are there (RFC 9112 section 6.1 allows to refuse).
    #[error("both Transfer-Encoding and Content-Length are given")]
    BothLengths,
    /// HTTP/1.0 knows no Transfer-Encoding (RFC 9112 section 6.1).
    #[error("Transfer-Encoding is given in an HTTP/1.0 message")]
    TransferEncodingOnHttp10,
    /// The list of codings is malformed, does not end in `chunked`, or names it twice.
    #[error("Transfer-Encoding is not exactly \"chunked\"")]
    TransferEncoding,
    /// A well-formed list with a coding that is not implemented; a request is answered 501.
    #[error("Transfer-Encoding names a coding that is not supported")]
    UnsupportedCoding,
}

/// A request head that is refused. After any of these the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The first line is not `METHOD SP TARGET SP VERSION` (RFC 9112 section 3).
    #[error("the request line is not METHOD, TARGET and VERSION with single spaces between")]
    RequestLine,
    /// Not a token, or not within what [`Policy`](crate::Policy) allows.
    #[error("the method is not valid")]
    Method,
    /// The target has a control, non-ASCII or white-space byte or a fragment, or is not a valid
    /// form.
    #[error("the request target is not valid")]
    Target,
    /// `*` without OPTIONS, an authority without CONNECT, or CONNECT without an authority
    /// (RFC 9112 section 3.2).
    #[error("the request target's form does not go with the method")]
    TargetForm,
    /// Not `HTTP/` digit `.` digit.
    #[error("the protocol version is malformed")]
    MalformedVersion,
    /// A well-formed version other than 1.0 and 1.1.
    ///
    /// [`status`](Self::status) is 400 as gunicorn answers; RFC 9110 section 15.6.6 and nginx have
    /// 505 for it.
    #[error("the protocol version is not HTTP/1.0 or HTTP/1.1")]
    UnsupportedVersion,
    /// HTTP/1.1 without Host (RFC 9112 section 3.2).
    #[error("Host is missing")]
    HostMissing,
    #[error("Host is given twice")]
    HostTwice,
    /// Not a name or address with an optional port, or longer than 255 bytes (RFC 9110 section
    /// 7.2).
    #[error("Host is not valid")]
    Host,
    #[error("Content-Type is given twice")]
    ContentTypeTwice,
    /// Something other than `100-continue` is expected (RFC 9110 section 10.1.1).
    #[error("Expect asks for something other than 100-continue")]
    Expectation,
    /// CONNECT with a body (RFC 9110 section 9.3.6 gives it no meaning).
    #[error("a CONNECT request has a body")]
    ConnectBody,
}

impl RequestError {
    /// The status to answer: 400, 414, 417, 431 or 501.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Head(HeadError::FirstLineTooLong { .. }) => 414,
            Self::Head(
                HeadError::HeaderLineTooLong { .. }
                | HeadError::TooManyHeaders { .. }
                | HeadError::TooLarge { .. },
            ) => 431,
            Self::Expectation => 417,
            Self::Framing(FramingError::UnsupportedCoding) => 501,
            _ => 400,
        }
    }

    /// The reason phrase that belongs to [`status`](Self::status).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        crate::default_reason(self.status())
    }
}

/// A response head that is refused. A gateway answers 502 and drops the upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The first line is not `HTTP/1.x SP 3DIGIT [SP reason]` with a status of 100 or more.
    #[error("the status line is not valid")]
    StatusLine,
    /// A version other than 1.0 and 1.1.
    #[error("the protocol version is not HTTP/1.0 or HTTP/1.1")]
    UnsupportedVersion,
}

/// A body that cannot be taken out of its framing. The connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// A chunk size is missing, not hexadecimal, or beyond 64 bits.
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    /// A control character in a chunk extension, or white space that is not followed by one.
    #[error("a chunk extension is not valid")]
    ChunkExtension,
    /// More than [`MAX_EXTENSION_BYTES`](crate::body::MAX_EXTENSION_BYTES) of chunk extensions in
    /// one body.
    #[error(
        "the chunk extensions are larger than {} bytes",
        crate::body::MAX_EXTENSION_BYTES
    )]
    ChunkExtensionsTooLarge,
    /// A chunk line, chunk or trailer line does not end in CRLF.
    #[error("a line of the chunked coding does not end in CRLF")]
    LineEnd,
    /// A trailer line is not a valid field.
    #[error("a trailer field is not valid")]
    Trailer,
    /// A trailer field that decides about framing, routing or access (RFC 9110 section 6.5.1).
    #[error("a field that may not be a trailer is among the trailers")]
    ForbiddenTrailer,
    /// More than [`MAX_TRAILER_BYTES`](crate::body::MAX_TRAILER_BYTES) or
    /// [`MAX_TRAILER_COUNT`](crate::body::MAX_TRAILER_COUNT).
    #[error("the trailers are too large")]
    TrailersTooLarge,
    /// The connection ended before the body did (RFC 9112 section 8).
    #[error("the connection was closed before the end of the body")]
    Truncated,
}

impl BodyError {
    /// The status a server answers, when it has not begun to answer: 400 or 431.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }
}

/// A field that must not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    #[error("the header name is not a token")]
    HeaderName,
    #[error("the header value has a control character or a line break, or white space at an end")]
    HeaderValue,
}
