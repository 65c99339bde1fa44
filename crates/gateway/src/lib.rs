//! Sans-IO codecs of the gateway protocols, both roles: what a web server and an application say to each other when it
//! is not HTTP.
//!
//! Bytes come in as slices, pieces and lengths go out; the caller owns the buffers and decides when to read, write or
//! give up. Nothing here allocates by a size that a peer merely names.
//!
//! Rooms: [`fastcgi`] has records, requests and answers of FastCGI 1.0; [`uwsgi`] the packets of uWSGI; [`scgi`] the
//! netstrings of SCGI; [`cgi`] the head of an answer as CGI scripts write it, which all of them use. [`Pairs`] writes variables for
//! each of the three.
//!
//! Not here: sockets, clocks, processes, and which variables a request has.
//!
//! # Strictness
//! What two readers could read differently is refused: lengths that do not add up, names that are no names, control
//! characters in fields, two answers to one question.
#![forbid(unsafe_code)]

pub mod cgi;
mod error;
pub mod fastcgi;
#[doc(hidden)]
pub mod fuzz;
mod pairs;
pub mod scgi;
pub mod uwsgi;

pub use error::Error;
pub use pairs::{Form, Pairs};
