//! Rows of the table: proxying.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{IF, LIMIT_EXCEPT, LOCATION};
use super::{
    Args, FLAG, HSL, Known, MEMORY, MORE, NOT_HERE, ONE, ONE_OR_TWO, TUNING, accepted, refused,
    works,
};

pub(super) const ROWS: &[Known] = &[
    works("proxy_pass", LOCATION | IF | LIMIT_EXCEPT, ONE),
    works("proxy_set_header", HSL, Args::Words(2, 2)),
    works("proxy_http_version", HSL, ONE),
    works("proxy_connect_timeout", HSL, ONE),
    works("proxy_send_timeout", HSL, ONE),
    works("proxy_read_timeout", HSL, ONE),
    works("proxy_hide_header", HSL, ONE),
    works("proxy_pass_header", HSL, ONE),
    works("proxy_ignore_headers", HSL, MORE),
    works("proxy_redirect", HSL, ONE_OR_TWO),
    works("proxy_intercept_errors", HSL, FLAG),
    accepted(
        "proxy_buffering",
        HSL,
        FLAG,
        "answers are passed on as they come",
    ),
    accepted("proxy_buffer_size", HSL, ONE, MEMORY),
    accepted("proxy_buffers", HSL, Args::Words(2, 2), MEMORY),
    accepted("proxy_busy_buffers_size", HSL, ONE, MEMORY),
    accepted(
        "proxy_max_temp_file_size",
        HSL,
        ONE,
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_temp_file_write_size",
        HSL,
        ONE,
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_temp_path",
        HSL,
        Args::Words(1, 4),
        "nothing is spilled to disk",
    ),
    accepted(
        "proxy_request_buffering",
        HSL,
        FLAG,
        "small bodies are collected, large ones streamed",
    ),
    works("proxy_next_upstream", HSL, MORE),
    works("proxy_next_upstream_tries", HSL, ONE),
    works("proxy_next_upstream_timeout", HSL, ONE),
    accepted("proxy_socket_keepalive", HSL, FLAG, TUNING),
    accepted("proxy_send_lowat", HSL, ONE, TUNING),
    refused(
        "proxy_ignore_client_abort",
        HSL,
        FLAG,
        "a request whose client went away is cancelled",
    ),
    works("proxy_cookie_domain", HSL, ONE_OR_TWO),
    works("proxy_cookie_path", HSL, ONE_OR_TWO),
    works("proxy_cookie_flags", HSL, MORE),
    works("proxy_method", HSL, ONE),
    works("proxy_set_body", HSL, ONE),
    works("proxy_pass_request_headers", HSL, FLAG),
    works("proxy_pass_request_body", HSL, FLAG),
    refused("proxy_bind", HSL, ONE_OR_TWO, NOT_HERE),
    refused("proxy_limit_rate", HSL, ONE, NOT_HERE),
    refused("proxy_store", HSL, ONE, NOT_HERE),
    refused(
        "proxy_ssl_verify",
        HSL,
        FLAG,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_server_name",
        HSL,
        FLAG,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_name",
        HSL,
        ONE,
        "TLS to upstreams is not there yet; use http:// or a Unix socket",
    ),
    refused(
        "proxy_ssl_trusted_certificate",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_certificate",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_certificate_key",
        HSL,
        ONE,
        "TLS to upstreams is not there yet",
    ),
    refused(
        "proxy_ssl_protocols",
        HSL,
        MORE,
        "TLS to upstreams is not there yet",
    ),
];
