//! Rows of the table: TLS and HTTP/2.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{FLAG, HS, HSL, Known, MEMORY, MORE, ONE, TUNING, accepted, refused, works};

pub(super) const ROWS: &[Known] = &[
    works("ssl_certificate", HS, ONE),
    works("ssl_certificate_key", HS, ONE),
    works("ssl_protocols", HS, MORE),
    accepted(
        "ssl_ciphers",
        HS,
        ONE,
        "rustls offers only suites with forward secrecy and authenticated encryption",
    ),
    accepted(
        "ssl_prefer_server_ciphers",
        HS,
        FLAG,
        "suites are all strong",
    ),
    accepted(
        "ssl_session_cache",
        HS,
        MORE,
        "sessions are resumed by tickets",
    ),
    accepted(
        "ssl_session_timeout",
        HS,
        ONE,
        "tickets live for up to twelve hours",
    ),
    works("ssl_session_tickets", HS, FLAG),
    accepted(
        "ssl_session_ticket_key",
        HS,
        ONE,
        "keys are made and changed by the daemon",
    ),
    accepted("ssl_dhparam", HS, ONE, "there is no DHE"),
    accepted("ssl_ecdh_curve", HS, ONE, "X25519, P-256 and P-384"),
    accepted("ssl_stapling", HS, FLAG, "authorities have given OCSP up"),
    accepted(
        "ssl_stapling_verify",
        HS,
        FLAG,
        "authorities have given OCSP up",
    ),
    accepted("ssl_trusted_certificate", HS, ONE, "goes with ssl_stapling"),
    accepted("ssl_buffer_size", HS, ONE, TUNING),
    works("ssl_verify_client", HS, ONE),
    works("ssl_client_certificate", HS, ONE),
    works("http2", HS, FLAG),
    works("http2_max_concurrent_streams", HS, ONE),
    works("http2_body_preread_size", HS, ONE),
    accepted(
        "http2_chunk_size",
        HSL,
        ONE,
        "frames are as large as the client lets them be",
    ),
    accepted("http2_recv_buffer_size", HTTP, ONE, MEMORY),
    refused("http3", HS, FLAG, "HTTP/3 is not supported; remove it"),
];
