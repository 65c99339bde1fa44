//! Rows of the table: the connection to the client.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::UPSTREAM;
use super::{Args, FLAG, HS, HSL, Known, MEMORY, MORE, ONE, ONE_OR_TWO, accepted, works};

pub(super) const ROWS: &[Known] = &[
    works("keepalive_timeout", HSL | UPSTREAM, ONE_OR_TWO),
    works("keepalive_requests", HSL | UPSTREAM, ONE),
    works("keepalive_time", HSL | UPSTREAM, ONE),
    works("keepalive_min_timeout", HSL, ONE),
    accepted(
        "keepalive_disable",
        HSL,
        MORE,
        "the browsers it is for are gone",
    ),
    works("client_header_timeout", HS, ONE),
    works("client_body_timeout", HSL, ONE),
    works("send_timeout", HSL, ONE),
    works("client_header_buffer_size", HS, ONE),
    works("large_client_header_buffers", HS, Args::Words(2, 2)),
    works("max_headers", HS, ONE),
    accepted(
        "client_body_early_read",
        HSL,
        FLAG,
        "the body is read when somebody wants it",
    ),
    accepted("connection_pool_size", HS, ONE, MEMORY),
    accepted("request_pool_size", HS, ONE, MEMORY),
    works("client_max_body_size", HSL, ONE),
    works("client_body_buffer_size", HSL, ONE),
    works("client_body_temp_path", HSL, Args::Words(1, 4)),
    accepted(
        "client_body_in_single_buffer",
        HSL,
        FLAG,
        "`$request_body` has a body that is kept in memory, in however many pieces",
    ),
    works("client_body_in_file_only", HSL, ONE),
    works("lingering_close", HSL, ONE),
    works("lingering_time", HSL, ONE),
    works("lingering_timeout", HSL, ONE),
    works("reset_timedout_connection", HSL, FLAG),
];
