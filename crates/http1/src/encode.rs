//! Writes heads and chunks. The writers trust what they are given; the checks are separate, for
//! values that come from an application.
//! Not here: which fields a message needs (Date, Connection, framing).

use crate::error::EncodeError;
use crate::syntax::{Version, is_field_byte, is_ows, is_token};

/// What follows the content of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk with an empty trailer section, which ends a chunked body. With trailers, write
/// `0\r\n`, the fields by [`write_header`] and `\r\n` instead.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a request line with its CRLF. `method` and `target` must be valid.
pub fn write_request_line(out: &mut Vec<u8>, method: &str, target: &[u8], version: Version) {
    for part in [
        method.as_bytes(),
        b" ",
        target,
        b" ",
        version.as_str().as_bytes(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

/// Appends a status line with its CRLF. `status` must be 100 to 999, and `reason` valid; it may be
/// empty.
pub fn write_status_line(out: &mut Vec<u8>, version: Version, status: u16, reason: &[u8]) {
    debug_assert!((100..1000).contains(&status), "a status has three digits");
    let digit = |scale: u16| b'0' + (status / scale % 10) as u8;
    out.extend_from_slice(version.as_str().as_bytes());
    out.extend_from_slice(&[b' ', digit(100), digit(10), digit(1), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field line with its CRLF. Name and value must be valid: see [`check_header_name`] and
/// [`check_header_value`]. A head ends with one more CRLF.
pub fn write_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends what precedes the content of a chunk of `len` bytes. `len` must not be 0: that would end
/// the body.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len != 0, "an empty chunk ends the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (place * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Tells whether a name may be written: a token (RFC 9110 section 5.1).
///
/// # Errors
/// [`EncodeError::HeaderName`].
pub fn check_header_name(name: &[u8]) -> Result<(), EncodeError> {
    if is_token(name) {
        Ok(())
    } else {
        Err(EncodeError::HeaderName)
    }
}

/// Tells whether a value may be written (RFC 9110 section 5.5): no control character but tab, no
/// CR, LF or DEL, no white space at the ends. It may be empty. Reason phrases follow the same rules
/// but for the white space.
///
/// # Errors
/// [`EncodeError::HeaderValue`].
pub fn check_header_value(value: &[u8]) -> Result<(), EncodeError> {
    let clean = value
        .iter()
        .fold(true, |clean, &byte| clean & is_field_byte(byte));
    let padded = [value.first(), value.last()]
        .into_iter()
        .flatten()
        .any(|&byte| is_ows(byte));
    if clean && !padded {
        Ok(())
    } else {
        Err(EncodeError::HeaderValue)
    }
}

/// The reason phrase of a status (IANA registry, RFC 9110 section 15), `"Unknown"` for one without.
#[must_use]
pub const fn default_reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}
