//! Rows of the table: TLS and HTTP/2.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{
    Args, FLAG, HS, HSL, Known, MEMORY, MORE, ONE, ONE_OR_TWO, TUNING, accepted, refused, works,
};

pub(super) const ROWS: &[Known] = &[
    works("ssl_certificate", HS, ONE),
    works("ssl_certificate_key", HS, ONE),
    works("ssl_protocols", HS, MORE),
    works("ssl_ciphers", HS, ONE),
    works("ssl_prefer_server_ciphers", HS, FLAG),
    works("ssl_session_cache", HS, ONE_OR_TWO),
    works("ssl_session_timeout", HS, ONE),
    works("ssl_session_tickets", HS, FLAG),
    works("ssl_session_ticket_key", HS, ONE),
    works("ssl_reject_handshake", HS, FLAG),
    works("ssl_crl", HS, ONE),
    accepted("ssl_verify_depth", HS, ONE, "chains are as long as needed"),
    refused(
        "ssl_password_file",
        HS,
        ONE,
        "store the key without a password",
    ),
    accepted(
        "ssl_certificate_cache",
        HS,
        MORE,
        "those by name are kept for ten seconds, the others until their files change",
    ),
    refused(
        "ssl_early_data",
        HS,
        FLAG,
        "requests that can be replayed are not taken; remove it",
    ),
    refused(
        "ssl_conf_command",
        HS,
        Args::Words(2, 2),
        "there is no OpenSSL; remove it",
    ),
    refused(
        "ssl_stapling_file",
        HS,
        ONE,
        "OCSP is not stapled; remove it",
    ),
    accepted("ssl_stapling_responder", HS, ONE, "goes with ssl_stapling"),
    accepted("ssl_dhparam", HS, ONE, "there is no DHE"),
    accepted("ssl_ecdh_curve", HS, ONE, "X25519, P-256 and P-384"),
    accepted("ssl_stapling", HS, FLAG, "authorities have given OCSP up"),
    accepted(
        "ssl_stapling_verify",
        HS,
        FLAG,
        "authorities have given OCSP up",
    ),
    works("ssl_trusted_certificate", HS, ONE),
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
