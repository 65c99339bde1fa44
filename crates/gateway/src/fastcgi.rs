//! FastCGI 1.0 (the specification of April 1996): one request at a time on a connection, as every server and
//! application in use has it.
//!
//! [`Server`] is the application's side, [`Client`] the web server's; the `write_…` functions make what each sends.
//! Not here: multiplexing. An application that is asked whether it can says no, and a second request on a connection is
//! refused as the specification has it.

mod client;
mod params;
mod record;
mod server;

pub use client::{Answer, Client};
pub use params::{Params, write_param};
pub use record::{
    Kind, MOST_CONTENT, Piece, ProtocolStatus, Reader, Role, write_abort, write_begin,
    write_end_request, write_end_stream, write_params, write_record_head, write_stream,
};
pub use server::{Event, Server};
