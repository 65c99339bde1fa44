//! What can be wrong with a peer's bytes. None of it can be mended: the connection is of no use afterwards.
//! Not here: answers that tell of a failure, which are well-formed.

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("a FastCGI record of version {0}, expected 1")]
    Version(u8),
    #[error("a FastCGI record of type {kind} with {len} bytes, which that type cannot have")]
    RecordLength { kind: u8, len: usize },
    #[error("a FastCGI record of type {kind} where none of that type may come")]
    RecordOrder { kind: u8 },
    #[error("a FastCGI record for request {found}, expected {expected}")]
    RequestId { found: u16, expected: u16 },
    #[error("a FastCGI request ended with protocol status {0}, which does not exist")]
    ProtocolStatus(u8),
    #[error("variables of more than {max} bytes")]
    TooLarge { max: usize },
    #[error("a variable whose length goes beyond the end")]
    VariableLength,
    #[error("a variable without a name, or with a NUL in it")]
    VariableName,
    #[error("a netstring whose length is not a plain number")]
    NetstringLength,
    #[error("a netstring that does not end with a comma")]
    NetstringEnd,
    #[error("an SCGI request that does not begin with CONTENT_LENGTH, or is not of version 1")]
    ScgiHead,
    #[error("a head of more than {max} bytes")]
    HeadTooLarge { max: usize },
    #[error("a head of more than {max} fields")]
    TooManyFields { max: usize },
    #[error("a head without any field")]
    NoField,
    #[error("a header name that is not a token")]
    HeaderName,
    #[error("a header value with a control character")]
    HeaderValue,
    #[error("a status that is not three digits and a reason, or is given twice")]
    Status,
    #[error("Location is given twice or is empty")]
    Location,
    #[error("Content-Length is not a plain number, or is given twice")]
    ContentLength,
}
