//! Rows of the table: TLS and HTTP/2.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::HTTP;
use super::{
    Args, FLAG, HS, HSL, Known, MEMORY, MORE, ONE, ONE_OR_TWO, TUNING, accepted, refused, works,
};

const OBSOLETE: &str = "nginx has given it up; the directives without `http2_` in their names hold";
const PUSH: &str = "browsers and nginx have given server push up";

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
    accepted("http2_idle_timeout", HS, ONE, OBSOLETE),
    accepted("http2_recv_timeout", HS, ONE, OBSOLETE),
    accepted("http2_max_field_size", HS, ONE, OBSOLETE),
    accepted("http2_max_header_size", HS, ONE, OBSOLETE),
    accepted("http2_max_requests", HS, ONE, OBSOLETE),
    accepted("http2_pool_size", HS, ONE, MEMORY),
    accepted("http2_streams_index_size", HS, ONE, TUNING),
    accepted("http2_max_concurrent_pushes", HS, ONE, PUSH),
    accepted("http2_push_preload", HSL, FLAG, PUSH),
    accepted("http2_push", HSL, ONE, PUSH),
    refused(
        "ssl_ocsp",
        HS,
        ONE,
        "revoked certificates are told by `ssl_crl`",
    ),
    accepted("ssl_ocsp_cache", HS, ONE, "goes with ssl_ocsp"),
    accepted("ssl_ocsp_responder", HS, ONE, "goes with ssl_ocsp"),
    refused(
        "ssl_key_log",
        HS,
        ONE,
        "keys of sessions are not told; remove it",
    ),
    refused("ssl_ech_file", HS, ONE, "remove it"),
    accepted(
        "ssl_certificate_compression",
        HS,
        FLAG,
        "certificates are sent as they are",
    ),
    refused("http3", HS, FLAG, "HTTP/3 is not supported; remove it"),
];
