//! How large a head may be, and which deviations from the grammar a server may be told to accept.
//! Not here: body size limits (the caller counts what it is given) and timeouts.

/// Upper bounds for one head. All are in bytes except `header_count`, and count without the line's
/// CRLF.
///
/// A bound that is not wanted is set to `usize::MAX`; heads beyond 4 GiB are refused all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line or status line; beyond it a request is answered 414.
    pub request_line: usize,
    /// Longest field line, folded continuation lines included; beyond it a request is answered 431.
    pub header_line: usize,
    /// Most field lines; beyond it a request is answered 431.
    pub header_count: usize,
    /// Largest head, from its first byte to the end of the empty line; beyond it a request is
    /// answered 431.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 8190,
            header_line: 8190,
            header_count: 100,
            head: 32 * 1024,
        }
    }
}

/// Deviations that a request parser may be told to accept. The default accepts none.
///
/// They carry the names of gunicorn's settings, which they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Accepts folded field lines (RFC 9112 section 5.2); each fold reads as one space.
    pub permit_obsolete_folding: bool,
    /// Accepts and removes spaces and tabs between a field name and its colon.
    pub strip_header_spaces: bool,
    /// Accepts methods that are shorter than 3 or longer than 20 bytes, or have lower-case letters
    /// or `#`. They still have to be tokens.
    pub permit_unconventional_http_method: bool,
    /// Accepts any `HTTP/d.d`; what is not 1.0 or less is then treated as HTTP/1.1.
    pub permit_unconventional_http_version: bool,
    /// Turns the method into upper case, before its letters are judged.
    pub casefold_http_method: bool,
    /// Leaves out fields whose names have visible characters that no token may have, as nginx does. White space and control
    /// characters in a name, an empty one, and a line without a colon are refused all the same.
    pub drop_odd_header_names: bool,
}
