//! Sans-IO HTTP/1.1: strict heads of requests and responses, body framing, encoding.
//!
//! Bytes come in as slices, positions and values go out; the caller owns the buffer and decides
//! when to read, write, wait or give up. Nothing here allocates by a size that the peer names.
//!
//! Rooms: [`request`] and [`response`] parse heads; [`body`] takes content out of its framing;
//! [`encode`] writes heads and chunks; [`syntax`] has the small grammar both sides need. `scan`
//! finds the end of a head and keeps the limits, `fields` holds header fields as offsets, `framing`
//! reads the fields that decide about length and connection, `target` reads request targets and
//! Host.
//!
//! Not here: sockets, clocks, timeouts, policy of a daemon (which underscore names to drop, whether
//! CONNECT is served, what is forwarded), HTTP/2.
//!
//! # Strictness
//! A proxy and an origin that read the same bytes differently make a smuggling pair, therefore both
//! of ours use this crate and it refuses whatever is ambiguous: bare LF, bare CR, control
//! characters, folded fields in requests, repeated Host or Content-Length, Transfer-Encoding that
//! is anything but `chunked`, Transfer-Encoding together with Content-Length or on HTTP/1.0, a
//! missing Host on HTTP/1.1.
#![forbid(unsafe_code)]

pub mod body;
pub mod encode;
mod error;
mod fields;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod preamble;
pub mod request;
pub mod response;
mod scan;
pub mod syntax;
mod target;

pub use body::{BodyDecoder, BodyLength, Decoded};
pub use encode::{
    CHUNK_END, LAST_CHUNK, check_header_name, check_header_value, default_reason, write_chunk_head,
    write_header, write_request_line, write_status_line,
};
pub use error::{BodyError, EncodeError, FramingError, HeadError, RequestError, ResponseError};
pub use fields::Headers;
pub use limits::{Limits, Policy};
pub use preamble::{Preamble, PreambleError, PreambleVersions, read_preamble};
pub use request::{Request, RequestHead, TargetForm};
pub use response::{Response, ResponseHead};
pub use syntax::{
    Version, connection_options, is_hop_by_hop, is_letters, is_token, is_word, trim_ows,
};
